"""One training step taken apart: what is asked, at which rate, in which order, and checkpoints."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ramkit.checkpoints import Checkpoints
from ramkit.config import TrainConfig, with_values
from ramkit.embeddings import Embedded
from ramkit.errors import InputError
from ramkit.photos import Preprocess
from ramkit.ram.distillation import Distillation
from ramkit.ram.losses import asymmetric_loss
from ramkit.ram.model import AlignmentHead, ModelConfig
from ramkit.ram.objective import LOSSES
from ramkit.ram.questions import draw_questions
from ramkit.ram.teacher import Teacher
from ramkit.ram.training import Trainer, batches, epoch_order, learning_rate

C, D, E, T, V = 9, 2, 8, 4, 6
SETTINGS = TrainConfig(warmup_steps=3, epochs=4, learning_rate=1e-2, final_learning_rate=1e-3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit_vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=generator(seed)), dim=-1)


# ---- questions

OWN = [[3, 1], [], [8, 0, 4, 2, 7]]


@pytest.mark.parametrize("count", [0, C, C + 5])
def test_all_is_asked_of_every_image(count: int) -> None:
    found = draw_questions(OWN, C, count, generator())
    assert found.selected is None
    for row, own in enumerate(OWN):
        assert found.targets[row].tolist() == [float(number in own) for number in range(C)]


@pytest.mark.parametrize("seed", range(20))
def test_its_own_come_first_and_whatever_is_drawn_has_its_true_answer(seed: int) -> None:
    found = draw_questions(OWN, C, 4, generator(seed))
    assert found.selected is not None
    assert found.selected.shape == found.targets.shape == (3, 4)
    assert found.selected.min() >= 0
    assert found.selected.max() < C
    assert found.selected[0, :2].tolist() == [3, 1]
    assert found.selected[2].tolist() == [8, 0, 4, 2], "of too many the first"
    for row, own in enumerate(OWN):
        assert found.targets[row].tolist() == [float(number in own) for number in found.selected[row].tolist()]


def test_a_random_question_may_hit_its_own_and_then_counts_as_true() -> None:
    drawn = [draw_questions([[3]], 5, 4, generator(seed)) for seed in range(30)]
    assert any(questions.targets.sum() > 1 for questions in drawn)
    assert len({tuple(q.selected[0].tolist()) for q in drawn if q.selected is not None}) > 10


def test_what_is_drawn_stands_for_all_that_is_not_asked() -> None:
    """Averaged over many draws, the weighted sum is the sum over everything."""
    losses = torch.arange(1.0, 1 + C).expand(len(OWN), C)
    draws, total = 4000, torch.zeros(())
    for seed in range(draws):
        found = draw_questions(OWN, C, 7, generator(seed))
        assert found.selected is not None
        total += found.weigh(losses.gather(1, found.selected))
    torch.testing.assert_close(total / draws, losses.sum(), rtol=0.02, atol=0)


def test_all_that_is_asked_of_every_image_counts_alike() -> None:
    losses = torch.rand(len(OWN), C)
    torch.testing.assert_close(draw_questions(OWN, C, 0, generator()).weigh(losses), losses.sum())


def test_nothing_can_be_asked_where_there_is_nothing() -> None:
    assert draw_questions([[], []], 0, 16, generator()).targets.shape == (2, 0)


# ---- rate and order


def test_the_rate_warms_up_linearly_to_its_full_height() -> None:
    rates = [learning_rate(step, 10, with_values(SETTINGS, warmup_steps=4)) for step in range(5)]
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert learning_rate(0, 10, with_values(SETTINGS, warmup_steps=0)) == 1e-2


def test_the_rate_falls_by_a_factor_an_epoch_to_its_floor() -> None:
    config = TrainConfig()  # as published: 1e-4, a tenth less an epoch, no less than 5e-7
    for step in (3000, 3999, 4000, 12_345):
        assert learning_rate(step, 1000, config) == pytest.approx(1e-4 * 0.9 ** (step // 1000))
    assert learning_rate(10**6, 1000, config) == 5e-7


def test_the_rate_follows_a_cosine_from_the_warm_up_to_the_end() -> None:
    config = with_values(SETTINGS, schedule="cosine")
    last = 4 * 10 - 1
    for step in range(3, last + 1):
        wanted = 1e-3 + 9e-3 * (1 + math.cos(math.pi * (step - 3) / (40 - 3))) / 2
        assert learning_rate(step, 10, config) == pytest.approx(wanted)
    assert learning_rate(3, 10, config) == pytest.approx(1e-2)
    assert learning_rate(40, 10, config) == pytest.approx(1e-3)
    assert learning_rate(500, 10, config) == pytest.approx(1e-3)
    assert learning_rate(2, 1, with_values(config, warmup_steps=0, epochs=1)) == pytest.approx(1e-3)


def test_an_epoch_visits_each_example_once_in_its_own_order() -> None:
    orders = [epoch_order(50, epoch, seed).tolist() for epoch in range(3) for seed in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(map(tuple, orders))) == 9
    assert epoch_order(50, 1, 2).tolist() == orders[5]


@pytest.mark.parametrize(
    ("count", "size", "lengths"), [(10, 3, [3, 3, 3]), (9, 3, [3, 3, 3]), (2, 3, [2]), (3, 3, [3]), (5, 1, [1] * 5)]
)
def test_what_does_not_fill_the_last_batch_waits(count: int, size: int, lengths: list[int]) -> None:
    found = list(batches(torch.arange(count) + 100, size))
    assert [len(batch) for batch in found] == lengths
    assert [number for batch in found for number in batch] == [100 + number for number in range(sum(lengths))]


# ---- a step


def made(config: TrainConfig, *, teacher: bool = False, similarity: bool = False, **model: Any) -> Trainer:
    torch.manual_seed(0)
    head = AlignmentHead(
        ModelConfig("any", 32, V, E, query_width=8, heads=2, hidden=16, similarity=similarity, **model)
    )
    counts = torch.tensor([1 + number % D for number in range(C)])
    teaching = Teacher(torch.randn(5, V), torch.randn(5), unit_vectors(5, E, seed=3)) if teacher else None
    return Trainer(head, None, Embedded(unit_vectors(C, D, E), counts), teaching, config, 10)


def given(seed: int = 0) -> tuple[torch.Tensor, list[list[int]], torch.Tensor, list[int]]:
    """Features, tags, captions, owners: the second image has no caption, the third no tag."""
    features = torch.randn(3, T, V, generator=generator(seed))
    return features, [[0, 4], [2], []], unit_vectors(3, E, seed=seed + 50), [0, 2, 2]


@pytest.mark.parametrize("reweighting", [True, False])
def test_the_losses_are_the_published_sums_over_the_batch(reweighting: bool) -> None:
    trainer = made(SETTINGS, reweighting=reweighting)
    features, tags, captions, owners = given()
    head = trainer.head
    with torch.no_grad():
        logits = head(features, trainer.objective.descriptions, trainer.objective.present)
        true = torch.tensor([[float(number in own) for number in range(C)] for own in tags])
        texts = head.align(captions, head.project(features))
        belongs = torch.tensor([[float(owner == image) for owner in owners] for image in range(3)])
        wanted = [
            sum(asymmetric_loss(logits[b], true[b], negative_focus=7.0).sum() for b in range(3)) / 3,
            sum(asymmetric_loss(texts[b], belongs[b], negative_focus=4.0).sum() for b in range(3)) / 3,
        ]
    losses = trainer.step(features, tags, captions, owners)
    torch.testing.assert_close([losses.tag.detach(), losses.text.detach()], wanted)
    assert losses.teacher == 0


def test_weights_of_the_losses_leave_one_out() -> None:
    features, tags, captions, owners = given()
    config = with_values(SETTINGS, tag_loss=2.0, text_loss=0.0, teacher_loss=3.0)
    losses = made(config, teacher=True).step(features, tags, captions, owners)
    assert losses.total(config).item() == pytest.approx(2 * losses.tag.item() + 3 * losses.teacher.item())
    assert losses.text > 0
    assert losses.teacher > 0


@pytest.mark.parametrize("reweighting", [True, False])
def test_the_published_objective_is_the_plain_sum(reweighting: bool) -> None:
    """tag + text + distillation: two sums over the batch and one mean."""
    config = with_values(SETTINGS, reduction="sum", distillation_loss=1.0)
    trainer, mean = made(config, reweighting=reweighting), made(SETTINGS, reweighting=reweighting)
    guide = torch.randn(3, E, generator=generator(9))
    trainer.distillation = Distillation(lambda pixels: pixels, Preprocess(1), "given")
    with torch.no_grad():
        seen = trainer.head.project(given()[0])[:, 0]
    found, means = trainer.step(*given(), guide), mean.step(*given())
    assert found.tag.item() == pytest.approx(3 * means.tag.item())
    assert found.text.item() == pytest.approx(3 * means.text.item())
    assert found.distillation.item() == pytest.approx((seen - guide).abs().mean().item())
    assert means.distillation == 0
    assert found.total(config).item() == pytest.approx(
        sum(at.item() for at in (found.tag, found.text, found.distillation))
    )


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: at.grad.clone() for name, at in trainer.objective.named_parameters() if at.grad is not None}


WHOLE = with_values(SETTINGS, teacher_loss=1.0, distillation_loss=2.0, pass_over_alike=True, clip_gradient=0.5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole(parts: int, reduction: str) -> None:
    """Of the text loss too: every part asks the captions of the whole batch."""
    found = []
    for accumulate in (1, parts):
        config = with_values(WHOLE, reduction=reduction, accumulate=accumulate)
        trainer = made(config, teacher=True, similarity=True)
        trainer.distillation = Distillation(lambda pixels: pixels, Preprocess(1), "given")
        losses = trainer.step(*given(), torch.randn(3, E, generator=generator(9)))
        found.append((losses, gradients(trainer)))
    (one, whole), (other, in_parts) = found
    for name in LOSSES:
        torch.testing.assert_close(getattr(one, name), getattr(other, name))
        assert getattr(one, name) > 0
    assert whole.keys() == in_parts.keys()
    torch.testing.assert_close(in_parts, whole, rtol=1e-4, atol=1e-6)


def test_recomputed_activations_give_the_same_gradients_bit_by_bit() -> None:
    found = []
    for recompute in (False, True):
        trainer = made(with_values(SAMPLED, recompute_activations=recompute), similarity=True, dropout=0.2)
        trainer.step(*given())
        found.append(gradients(trainer))
    assert all(torch.equal(found[0][name], at) for name, at in found[1].items())


def test_an_encoder_that_cannot_recompute_is_told() -> None:
    config = with_values(SETTINGS, recompute_activations=True)
    embedded = Embedded(unit_vectors(C, D, E), torch.full((C,), D))
    with pytest.raises(InputError, match=r"Sequential cannot recompute its activations \(.*\)\. Set recompute_act"):
        Trainer(made(SETTINGS).head, encoder(), embedded, None, config, 10)


@pytest.mark.slow
def test_compiled_steps_have_the_losses_of_plain_ones() -> None:
    found = []
    for compiled in (False, True):
        config = with_values(SETTINGS, compile=compiled, tags_per_image=4)
        trainer = made(config, teacher=True, similarity=True)
        trainer = Trainer(
            trainer.head, encoder().train(), Embedded(unit_vectors(C, D, E), torch.full((C,), D)), None, config, 10
        )
        pixels = torch.randn(3, 3, 4, 4, generator=generator(4))
        steps = [trainer.step(pixels, *given(step)[1:]) for step in range(3)]
        found.append([[getattr(losses, name).item() for name in LOSSES] for losses in steps])
    torch.testing.assert_close(torch.tensor(found[1]), torch.tensor(found[0]), rtol=1e-4, atol=1e-5)


def test_a_batch_without_captions_trains_tags() -> None:
    features, tags, _, _ = given()
    for config in (SETTINGS, with_values(SETTINGS, captions_per_image=2, tags_per_image=3)):
        losses = made(config).step(features, tags, torch.empty(0, E), [])
        assert losses.text == 0
        assert losses.tag > 0


def test_steps_drive_the_loss_down() -> None:
    config = with_values(SETTINGS, warmup_steps=1, weight_decay=0.0)
    trainer = made(config, similarity=True)
    totals = [trainer.step(*given()).total(config).item() for _ in range(30)]
    assert totals[-1] < totals[0] / 3
    assert trainer.steps_done == 30


def test_the_temperature_starts_at_its_published_value_and_is_learnt() -> None:
    trainer = made(SETTINGS)
    assert trainer.head.log_temperature.exp().item() == pytest.approx(14.2857, abs=1e-3)
    before = trainer.head.log_temperature.item()
    trainer.step(*given())
    assert trainer.head.log_temperature.item() != before


def test_a_large_gradient_is_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for limit in (0.0, 1e-3):
        trainer = made(with_values(SETTINGS, clip_gradient=limit))
        monkeypatch.setattr(trainer.optimizer, "step", lambda: None)
        trainer.step(*given())
        gradients = [weight.grad.norm() for weight in trainer.head.parameters() if weight.grad is not None]
        seen.append(torch.stack(gradients).norm().item())
    assert seen[0] > 1e-2
    assert seen[1] == pytest.approx(1e-3, rel=1e-2)


def test_a_step_in_bfloat16_is_close_to_the_full_one() -> None:
    found = [
        made(with_values(SETTINGS, precision=precision), teacher=True).step(*given())
        for precision in ("float32", "bfloat16")
    ]
    for name in ("tag", "text", "teacher"):
        one, other = (getattr(losses, name).item() for losses in found)
        assert one != other
        assert other == pytest.approx(one, rel=0.05)


# ---- checkpoints

SAMPLED = with_values(SETTINGS, tags_per_image=4, captions_per_image=2, dropout=0.2)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.objective.state_dict().items()}


def test_a_resumed_run_gives_the_same_weights_bit_by_bit(tmp_path: Path) -> None:
    whole = made(SAMPLED, teacher=True, similarity=True, dropout=0.2)
    for step in range(6):
        whole.step(*given(step))
        if step == 2:
            whole.save(Checkpoints(tmp_path / "run"))
    resumed = made(SAMPLED, teacher=True, similarity=True, dropout=0.2)
    torch.rand(17)  # another state of the global generator
    assert resumed.resume(Checkpoints(tmp_path / "run")) == 3
    assert resumed.steps_done == 3
    for step in range(3, 6):
        resumed.step(*given(step))
    one, other = weights(whole), weights(resumed)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_step_without_a_photo_counts_and_changes_nothing() -> None:
    trainer = made(SETTINGS)
    before = weights(trainer)
    assert trainer.step(torch.empty(0, T, V), [], torch.empty(0, E), []) is None
    assert trainer.steps_done == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())


def encoder(seed: int = 1) -> torch.nn.Module:
    """Stands for a timm model: one patch embedding, batch-normalised."""
    torch.manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, V, 2, 2), torch.nn.BatchNorm2d(V))
    module.forward_features, module.num_features = module.forward, V
    return module


def test_the_encoder_is_trained_and_saved_too(tmp_path: Path) -> None:
    def with_encoder() -> Trainer:
        trainer = made(SETTINGS)
        embedded = Embedded(trainer.objective.descriptions, trainer.objective.present.sum(1))
        return Trainer(trainer.head, encoder(), embedded, None, SETTINGS, 10)

    pixels = torch.randn(3, 3, 4, 4)
    whole, resumed = with_encoder(), with_encoder()
    before = weights(whole)
    whole.step(pixels, *given()[1:])
    assert all(not torch.equal(before[name], at) for name, at in weights(whole).items() if "image_encoder." in name)
    whole.save(Checkpoints(tmp_path / "run"))
    resumed.resume(Checkpoints(tmp_path / "run"))
    for trainer in (whole, resumed):
        trainer.step(pixels, *given()[1:])
    one, other = weights(whole), weights(resumed)
    assert one["image_encoder.1.num_batches_tracked"] == 2
    assert all(torch.equal(one[name], other[name]) for name in one)
