"""Losses of RAM++: the asymmetric loss, for image–tag and image–text alignment alike."""

import torch
import torch.nn.functional as F

TAG_FOCUS = 7.0  # γ− of the image–tag alignment, published settings
TEXT_FOCUS = 4.0  # γ− of the image–text alignment
CLIP = 0.05
_LEAST = 1e-8  # of a probability whose logarithm is taken


def asymmetric_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    negative_focus: float,
    positive_focus: float = 0.0,
    clip: float = CLIP,
) -> torch.Tensor:
    """ASL (Ridnik et al. 2021), element by element, of the shape of `logits`.

    L = −y (1 − p)^γ₊ log p − (1 − y) p_m^γ₋ log(1 − p_m), with p = σ(logit) and p_m = max(p − clip, 0).
    The focusing factors are constants to the gradient, as in the authors' code, which RAM++ uses.

    Args:
        logits: any shape.
        targets: y of the same shape, 0 or 1, or soft labels between them.
    """
    probability = torch.sigmoid(logits)
    shifted = (probability - clip).clamp_min(0)
    with torch.no_grad():
        positive_factor = (1 - probability) ** positive_focus
        negative_factor = shifted**negative_focus
    positive = targets * positive_factor * F.logsigmoid(logits)
    rest = (torch.sigmoid(-logits) + clip).clamp(_LEAST, 1)  # 1 - p_m, exact where p is near 1
    negative = (1 - targets) * negative_factor * rest.log()
    return -(positive + negative)
