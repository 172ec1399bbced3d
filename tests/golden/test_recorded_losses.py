"""The losses of a fixed training, as they were recorded once: a change of the code's order must not move them.

`recorded_losses.json` beside this file holds them. Where a change of the numbers is meant, write it anew and say why:
python tests/golden/test_recorded_losses.py
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ramkit.config import TrainConfig
from ramkit.embeddings import Embedded
from ramkit.ram.model import AlignmentHead, ModelConfig
from ramkit.ram.teacher import Teacher
from ramkit.ram.training import Trainer

RECORD = Path(__file__).with_name("recorded_losses.json")
B, C, D, E, K, V, SIDE = 4, 12, 3, 8, 5, 6, 8
STEPS = 8
BASE: dict[str, Any] = {"warmup_steps": 3, "learning_rate": 3e-2, "epochs": 2}
WAYS: dict[str, dict[str, Any]] = {
    "published": {},
    "mini": {
        "similarity": True, "teacher_loss": 1.0, "tags_per_image": 5, "captions_per_image": 2, "schedule": "cosine",
        "clip_gradient": 1.0, "tag_focus": 4.0,
    },
    "end to end": {"freeze_image_encoder": False, "reweighting": False, "weight_decay": 0.2},
}  # fmt: skip


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Encoder(nn.Module):
    """Two convolutions in the place of a timm model."""

    num_features = V

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 2, 2), nn.Conv2d(5, V, 2, 2)

    def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.second(F.gelu(self.first(pixels)))


def fill(module: nn.Module, seed: int) -> None:
    """Weights that follow from their names' order alone, not from a library's way of drawing them."""
    with torch.no_grad():
        for number, (name, weight) in enumerate(sorted(module.named_parameters())):
            if "log_" not in name:
                weight.copy_(
                    (1.0 if name.endswith("norm.weight") else 0.0) + 0.3 * drawn(*weight.shape, seed=seed + number)
                )


def losses_of(way: str) -> list[dict[str, float]]:
    config = TrainConfig(**BASE, **WAYS[way])
    head = AlignmentHead(
        ModelConfig("any", SIDE, V, E, query_width=8, heads=2, hidden=16, reweighting=config.reweighting,
                    similarity=config.similarity)
    )  # fmt: skip
    fill(head, 0)
    encoder = None if config.freeze_image_encoder else Encoder()
    if encoder is not None:
        fill(encoder, 1000)
    embedded = Embedded(
        F.normalize(drawn(C, D, E, seed=1), dim=-1), torch.tensor([1 + number % D for number in range(C)])
    )
    names = F.normalize(drawn(K, E, seed=2), dim=-1)
    teacher = Teacher(drawn(K, V, seed=3), drawn(K, seed=4), names) if config.teacher_loss else None
    trainer = Trainer(head, encoder, embedded, teacher, config, steps_an_epoch=4)
    found = []
    for step in range(STEPS):
        images = drawn(B, 4, V, seed=100 + step) if encoder is None else drawn(B, 3, SIDE, SIDE, seed=100 + step)
        tags = [[(step + image) % C, (step * image + 3) % C] for image in range(B - 1)] + [[]]
        captions = F.normalize(drawn(B, E, seed=200 + step), dim=-1)
        losses = trainer.step(images, tags, captions, [0, 1, 1, 3])
        found.append({name: round(float(getattr(losses, name).detach()), 5) for name in ("tag", "text", "teacher")})
    return found


@pytest.mark.parametrize("way", WAYS)
def test_the_losses_are_those_that_were_recorded(way: str) -> None:
    recorded = json.loads(RECORD.read_text())[way]
    for step, (found, wanted) in enumerate(zip(losses_of(way), recorded, strict=True)):
        assert found == pytest.approx(wanted, rel=2e-4, abs=2e-5), f"step {step}"


if __name__ == "__main__":
    RECORD.write_text(json.dumps({way: losses_of(way) for way in WAYS}, indent=1) + "\n")
