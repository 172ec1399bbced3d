"""The asymmetric loss, against its formula written out for one number at a time."""

import math

import pytest
import torch
import torch.nn.functional as F

from ramkit.ram.losses import CLIP, TAG_FOCUS, TEXT_FOCUS, asymmetric_loss

LOGITS = [-12.0, -4.0, -2.94, -1.0, 0.0, 0.3, 2.0, 9.0]  # σ(-2.94) is just above the clip


def slow_loss(logit: float, y: float, negative_focus: float, positive_focus: float, clip: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    shifted = max(p - clip, 0.0)
    negative = shifted**negative_focus * math.log(1 - shifted)
    return -(y * (1 - p) ** positive_focus * math.log(p) + (1 - y) * negative)


@pytest.mark.parametrize("focus", [TAG_FOCUS, TEXT_FOCUS, 0.0])
@pytest.mark.parametrize("positive_focus", [0.0, 1.0])
@pytest.mark.parametrize("clip", [CLIP, 0.0])
@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
def test_each_element_is_the_formula(focus: float, positive_focus: float, clip: float, y: float) -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    found = asymmetric_loss(
        logits, torch.full_like(logits, y), negative_focus=focus, positive_focus=positive_focus, clip=clip
    )
    wanted = [slow_loss(logit, y, focus, positive_focus, clip) for logit in LOGITS]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


def test_the_published_settings() -> None:
    assert (TAG_FOCUS, TEXT_FOCUS, CLIP) == (7.0, 4.0, 0.05)


def test_without_focus_and_clip_it_is_binary_cross_entropy() -> None:
    logits = torch.tensor(LOGITS, requires_grad=True)
    targets = torch.tensor([0.0, 1.0] * (len(LOGITS) // 2))
    found = asymmetric_loss(logits, targets, negative_focus=0.0, clip=0.0).sum()
    wanted = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, wanted)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_the_focusing_factors_are_constants_to_the_gradient() -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0.0, 1.0] * (len(LOGITS) // 2), dtype=torch.float64)
    found = asymmetric_loss(logits, targets, negative_focus=4.0, positive_focus=1.0)
    p = torch.sigmoid(logits)
    shifted = torch.relu(p - CLIP)
    formula = -(
        targets * (1 - p.detach()) * torch.log(p) + (1 - targets) * shifted.detach() ** 4 * torch.log(1 - shifted)
    )
    gradients = [torch.autograd.grad(loss.sum(), logits)[0] for loss in (found, formula)]
    torch.testing.assert_close(*gradients)


def test_easy_negatives_below_the_clip_cost_and_teach_nothing() -> None:
    logits = torch.tensor([-3.0, -20.0], requires_grad=True)  # σ(-3) = 0.047
    loss = asymmetric_loss(logits, torch.zeros(2), negative_focus=TAG_FOCUS)
    loss.sum().backward()
    assert not loss.any()
    assert not logits.grad.any()


@pytest.mark.parametrize("logit", [-200.0, 200.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_sure_logits_give_finite_losses_and_gradients(logit: float, y: float) -> None:
    logits = torch.tensor([logit], requires_grad=True)
    loss = asymmetric_loss(logits, torch.tensor([y]), negative_focus=TAG_FOCUS, clip=0.0).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
