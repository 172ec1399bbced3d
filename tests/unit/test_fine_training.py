"""Steps of both stages against what the equations say, rates, groups, and what rests."""

import math
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import torch.nn.functional as F

from ramkit.config import FineTrainConfig, with_values
from ramkit.fgvc.model import FineHead, HeadConfig
from ramkit.fgvc.prompts import Prompts
from ramkit.fgvc.training import (
    StageOne,
    StageTwo,
    Trainer,
    decayed_apart,
    epoch_batches,
    parameter_groups,
    schedule,
)
from ramkit.fgvc.vision import Vision
from ramkit.text.encoders import TextEncoder, load_text_encoder

KINDS, SIZE = 4, 64
CONFIG = FineTrainConfig(
    epochs=2, batch=4, optimizer="sgd", learning_rate=0.01, weight_decay=0.0, clip_gradient=0.0, warmup_epochs=0.0,
    precision="float32", layer_decay=0.5, head_factor=2.0, label_smoothing=0.2, fusion_learning_rate=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return load_text_encoder(f"sentence:{tiny_models.write_bert(tmp_path_factory.mktemp('bert'))}")


def vision(train_layers: int = -1, name: str = "test_vit") -> Vision:
    from timm import create_model

    torch.manual_seed(0)
    options = {"img_size": SIZE} if "vit" in name else {}
    module = create_model(name, num_classes=0, **options)
    selection: Any = "attention" if "vit" in name else "activation"
    return Vision(module, name, SIZE, selection=selection, patches=3, train_layers=train_layers)


def head(width: int, text_width: int) -> FineHead:
    torch.manual_seed(1)
    return FineHead(HeadConfig(KINDS, width, text_width, True, True, "cosine", True, "none", "gelu", "fused"))


def stage_one(encoder: TextEncoder, config: FineTrainConfig = CONFIG, **options: Any) -> StageOne:
    eye = vision(**options)
    torch.manual_seed(2)
    prompts = Prompts(encoder, "dog", kinds=KINDS, tokens=2, per_kind=True, chunk=128)
    return StageOne(eye.train(), head(eye.width, encoder.width).train(), prompts, config, 5)


def photos(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, 3, SIZE, SIZE, generator=generator), torch.arange(count) % KINDS


def test_stage_one_minimises_both_losses_at_each_parts_own_rate(encoder: TextEncoder) -> None:
    stage = stage_one(encoder)
    images, kinds = photos()
    features = stage.vision(images)
    log_shares = stage.head.classifier(features).log_softmax(1)
    smoothed = torch.full((4, KINDS), 0.2 / KINDS) + 0.8 * F.one_hot(kinds, KINDS)
    of_classifier = -(smoothed * log_shares).sum(1).mean()
    assert stage.prompts is not None
    assert stage.head.projection is not None
    projected, texts = stage.head.projection(features), stage.prompts()
    cosines = torch.stack([F.cosine_similarity(row[None], texts) for row in projected])
    to_texts = -torch.stack([(cosines[n] / 0.07).log_softmax(0)[kind] for n, kind in enumerate(kinds)]).mean()
    loss = of_classifier + to_texts
    weights = dict(stage.trainer.module.named_parameters())
    gradients = dict(zip(weights, torch.autograd.grad(loss, list(weights.values()), allow_unused=True), strict=True))
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    outcome = stage.step(images, kinds, frozen_done=False)
    assert outcome.photos == 4
    assert outcome.loss / 4 == pytest.approx(float(loss.detach()), rel=1e-4)
    assert outcome.right == int((log_shares.argmax(1) == kinds).sum())
    levels = {id(weight): above for weight, above in stage.vision.levels().items()}
    moved = set()
    for name, weight in weights.items():
        scale = 0.5 ** levels[id(weight)] if name.startswith("vision") else 2.0
        gradient = gradients[name]
        if gradient is None:
            assert torch.equal(weight, before[name]), name
            continue
        torch.testing.assert_close(weight, before[name] - 0.01 * scale * gradient, atol=1e-5, rtol=1e-3)
        moved.add(name)
    assert {"prompts.vectors", "head.projection.weight", "head.classifier.bias", "vision.module.cls_token"} <= moved
    assert not [name for name in moved if "fusion" in name or "fused" in name]


@pytest.mark.parametrize(("name", "train_layers"), [("test_vit", 2), ("test_vit", 1), ("test_efficientnet", 2)])
def test_what_is_frozen_stays_to_the_last_bit(encoder: TextEncoder, name: str, train_layers: int) -> None:
    words = encoder.word_embeddings.clone()
    text = encoder.encode(["a dog"])
    stage = stage_one(
        encoder, with_values(CONFIG, optimizer="adamw", weight_decay=0.1), name=name, train_layers=train_layers
    )
    trained = {id(weight) for weight in stage.vision.trained_weights()}
    before = {key: tensor.clone() for key, tensor in stage.vision.module.state_dict().items()}
    images, kinds = photos()
    hidden = stage.vision.frozen(images).clone()
    for _ in range(3):
        stage.step(hidden, kinds, frozen_done=True)
    weights = dict(stage.vision.module.named_parameters())
    moved = {key for key, tensor in stage.vision.module.state_dict().items() if not torch.equal(tensor, before[key])}
    assert {key for key in moved if key in weights} == {key for key, weight in weights.items() if id(weight) in trained}
    assert torch.equal(stage.vision.frozen(images), hidden), "statistics included"
    assert torch.equal(encoder.word_embeddings, words)
    assert torch.equal(encoder.encode(["a dog"]), text)


def test_stage_two_moves_the_fusion_and_its_classifier_alone(encoder: TextEncoder) -> None:
    made = head(6, encoder.width)
    assert made.texts is not None
    made.texts.copy_(torch.randn(made.texts.shape, generator=torch.Generator().manual_seed(3)))
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    stage = StageTwo(made, with_values(CONFIG, optimizer="adamw", weight_decay=0.1), 5)
    features, kinds = torch.randn(8, 6, generator=torch.Generator().manual_seed(4)), torch.arange(8) % KINDS
    wanted = F.cross_entropy(made.fused(features), kinds, label_smoothing=0.2)
    losses = [stage.step(features, kinds).loss / 8 for _ in range(10)]
    assert losses[0] == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert losses[-1] < 0.8 * losses[0]
    moved = {name for name, tensor in made.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if name.startswith(("fusion.", "fused_classifier."))}


def test_the_rate_rises_then_falls_as_a_cosine() -> None:
    assert [schedule(step, 10, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule(7, 10, 4) == pytest.approx((1 + math.cos(math.pi / 2)) / 2)
    assert schedule(10, 10, 4) == pytest.approx(0)
    assert schedule(0, 10, 0) == 1


def test_norms_biases_and_tokens_do_not_decay() -> None:
    stage = vision()
    groups = parameter_groups(stage, [], with_values(CONFIG, weight_decay=0.1))
    kept = {id(w) for group in groups if group["weight_decay"] == 0 for w in group["params"]}  # type: ignore[attr-defined]
    names = {name for name, weight in stage.module.named_parameters() if id(weight) in kept}
    everything = {name for name, _ in stage.module.named_parameters()}
    assert {"cls_token", "pos_embed", "norm.weight", "blocks.0.attn.qkv.bias"} <= names
    assert not {"blocks.0.attn.qkv.weight", "patch_embed.proj.weight"} & names
    assert sum(len(group["params"]) for group in groups) == len(everything)  # type: ignore[arg-type]
    assert decayed_apart([], 1.0, 0.1) == []


def test_an_epoch_visits_each_photo_once_in_another_order() -> None:
    first, second = epoch_batches(10, 3, 0, 0), epoch_batches(10, 3, 1, 0)
    assert [len(batch) for batch in first] == [3, 3, 3]
    assert len({position for batch in first for position in batch}) == 9
    assert first != second
    assert first == epoch_batches(10, 3, 0, 0)
    assert epoch_batches(2, 3, 0, 0)[0] in ([0, 1], [1, 0])


def test_a_step_without_a_photo_is_counted_and_moves_nothing() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    module = torch.nn.ParameterList([weight])
    trainer = Trainer(module, decayed_apart([weight], 1.0, 0.5), rate=0.1, steps=4, warmup=0, config=CONFIG)
    outcome = trainer.step(torch.zeros(()), torch.zeros(()), 0)
    assert (outcome.photos, trainer.steps_done, weight.tolist()) == (0, 1, [[1, 1], [1, 1]])


def test_a_trainer_goes_on_from_its_state_to_the_last_bit(encoder: TextEncoder, tmp_path: Path) -> None:
    from ramkit.checkpoints import Checkpoints

    config = with_values(CONFIG, optimizer="adamw")
    images, kinds = photos()
    straight = stage_one(encoder, config)
    for _ in range(4):
        straight.step(images, kinds, frozen_done=False)
    stopped = stage_one(encoder, config)
    for _ in range(2):
        stopped.step(images, kinds, frozen_done=False)
    Checkpoints(tmp_path / "x").save(2, stopped.trainer.state(), {"step": 2})
    again = stage_one(encoder, config)
    checkpoint = Checkpoints(tmp_path / "x").newest()
    assert checkpoint is not None
    again.trainer.resume(checkpoint)
    for _ in range(2):
        again.step(images, kinds, frozen_done=False)
    assert again.trainer.steps_done == 4
    ends = [stage.trainer.module.state_dict() for stage in (straight, again)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
