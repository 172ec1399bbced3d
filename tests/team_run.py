"""What tests of training in several processes run: the same steps alone, or under torchrun on a share of each batch.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/team_run.py FOLDER

writes FOLDER/WAY.safetensors, the weights, losses and last gradient after the steps of every way.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from ramkit.checkpoints import Checkpoints
from ramkit.config import TrainConfig
from ramkit.distributed import Team, join_team
from ramkit.embeddings import Embedded
from ramkit.ram.model import AlignmentHead, ModelConfig
from ramkit.ram.sharding import whole
from ramkit.ram.training import Trainer

B, C, D, E, T, V, SIDE, STEPS = 6, 7, 3, 8, 4, 6, 8, 3
BASE: dict[str, Any] = {"warmup_steps": 2, "learning_rate": 1e-2, "epochs": 1, "gather_captions": True, "device": "cpu"}
END_TO_END = {"freeze_image_encoder": False}
# What two processes do on half a batch each.
WAYS: dict[str, dict[str, Any]] = {
    "copies": {},
    "copies, end to end": END_TO_END,
    "copies, in parts": {**END_TO_END, "accumulate": 2},
    "copies, tags alone": {"gather_captions": False, "text_loss": 0.0},
    "copies, alike passed over": {"pass_over_alike": True},
    "copies, no re-weighting": {"reweighting": False},
    "copies, clipped": {"clip_gradient": 0.1},
    "copies, recomputed": {**END_TO_END, "recompute_activations": True},
    "copies, one without a photo": {"empty": True},
    "shards": {"shard": True},
    "shards, end to end": {**END_TO_END, "shard": True},
    "shards, in parts": {**END_TO_END, "shard": True, "accumulate": 3},
    "shards, clipped": {"shard": True, "clip_gradient": 0.1},
    "shards, resumed": {"shard": True, "resumed": True},
}
OTHER_WAYS: dict[str, dict[str, Any]] = {  # that come out otherwise than in one process
    "copies, sum": {"reduction": "sum"},
    "copies, own captions": {"gather_captions": False},
}


class Encoder(nn.Module):
    """In the place of a timm model: a patch embedding and two blocks."""

    num_features = V

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, V, SIDE // 2, SIDE // 2)
        self.blocks = nn.Sequential(*(nn.Linear(V, V) for _ in range(2)))
        self.recompute = False

    def set_grad_checkpointing(self, enable: bool) -> None:
        self.recompute = enable

    def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(pixels).flatten(2).transpose(1, 2)
        if self.recompute:
            return torch.utils.checkpoint.checkpoint(self.blocks, tokens, use_reentrant=False)
        return self.blocks(tokens)


def torchrun(*command: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a script or module in several processes of one thread each."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    return subprocess.run(
        [*start, *map(str, command)], capture_output=True, text=True, check=False, timeout=300, env=environment
    )


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def trainer_of(settings: dict[str, Any], team: Team) -> Trainer:
    settings = {**BASE, **{key: value for key, value in settings.items() if key not in ("empty", "resumed")}}
    config = TrainConfig(**settings)
    torch.manual_seed(5)
    model = ModelConfig("any", SIDE, V, E, query_width=8, heads=2, hidden=16, reweighting=config.reweighting)
    head, encoder = AlignmentHead(model), None if config.freeze_image_encoder else Encoder()
    embedded = Embedded(F.normalize(drawn(C, D, E, seed=1), dim=-1), torch.full((C,), D))
    return Trainer(head, encoder, embedded, None, config, 10, team=team)


def steps_of(settings: dict[str, Any], team: Team, folder: Path) -> tuple[Trainer, list[list[float]]]:
    """The trainer after its steps, and the losses of each."""
    trainer = trainer_of(settings, team)
    losses = []
    for step in range(STEPS):
        if step == 1 and settings.get("resumed") and team.size > 1:
            trainer.save(Checkpoints(folder / "run"))
            trainer = trainer_of(settings, team)
            trainer.resume(Checkpoints(folder / "run"))
        # Alone, one process does what the first of two does where the second has no photo.
        own = range(B // 2) if settings.get("empty") else range(B)
        images = drawn(B, T, V, seed=10 + step) if trainer.image_encoder is None else drawn(B, 3, SIDE, SIDE, seed=step)
        captions = F.normalize(drawn(B, E, seed=50 + step), dim=-1)
        captions[4] = captions[1]  # the same words twice
        chosen = list(own)[team.rank * len(own) // team.size : (team.rank + 1) * len(own) // team.size]
        if settings.get("empty") and team.size > 1:
            chosen = list(own) if team.first else []
        with_caption = [number for number in chosen if number != 2 and trainer.config.text_loss]
        found = trainer.step(
            images[chosen],
            [[image % C, (image * step + 1) % C] for image in chosen],
            captions[with_caption],
            [chosen.index(number) for number in with_caption],
        )
        losses.append([float(value) for value in (found.tag, found.text)])
    return trainer, losses


def results_of(trainer: Trainer, losses: list[list[float]]) -> dict[str, torch.Tensor]:
    """Losses, gradients and weights by name; of a team all processes have to ask."""
    found = {"losses": torch.tensor(losses)}
    for name, weight in trainer.objective.named_parameters():
        if weight.grad is not None:
            found[f"gradient of {name}"] = whole(weight.grad)
    head, encoder = trainer.finish()
    for part, module in (("head", head), ("image_encoder", encoder)):
        if module is not None:
            found |= {f"{part}.{name}": tensor.detach() for name, tensor in module.state_dict().items()}
    return {name: tensor.contiguous() for name, tensor in found.items()}


def main(folder: Path) -> None:
    with join_team("cpu") as team:
        for way, settings in (WAYS | OTHER_WAYS).items():
            found = results_of(*steps_of(settings, team, folder))
            if team.first:
                save_file(found, folder / f"{way}.safetensors")
        shares = team.gather(torch.full((team.rank, 2), team.rank + 0.5))  # a process may have none
        assert [len(part) for part in shares] == list(range(team.size))
        assert team.share("word", "from the first" if team.first else "") == "from the first"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
