"""Automatic re-weighting of a tag's descriptions by the image (RAM++, section 3.3)."""

import torch
import torch.nn.functional as F


def description_weights(
    global_feature: torch.Tensor,
    descriptions: torch.Tensor,
    temperature: torch.Tensor | float,
    present: torch.Tensor | None = None,
) -> torch.Tensor:
    """w_ij = softmax over j of τ · ⟨V_global / ‖V_global‖, d_ij⟩.

    Args:
        global_feature: V_global [B, E], any length.
        descriptions: d [C, D, E], unit vectors; or [B, C, D, E] where each image is asked other tags.
        temperature: τ, exp(log(1 / 0.07)) = 14.286 at the start of training.
        present: [C, D] or [B, C, D], false where a tag has no j-th description; absent ones get weight 0.

    Returns:
        w [B, C, D], sums to 1 over D.
    """
    direction = F.normalize(global_feature, dim=-1)
    of_one = "cde" if descriptions.ndim == 3 else "bcde"
    similarity = temperature * torch.einsum(f"be,{of_one}->bcd", direction, descriptions)
    if present is not None:
        similarity = similarity.masked_fill(~present, float("-inf"))
    return similarity.softmax(dim=-1)


def reweight(
    global_feature: torch.Tensor,
    descriptions: torch.Tensor,
    temperature: torch.Tensor | float,
    present: torch.Tensor | None = None,
) -> torch.Tensor:
    """q_i = Σ_j w_ij d_ij, the tag queries [B, C, E] (not normalised again). Arguments as `description_weights`."""
    weights = description_weights(global_feature, descriptions, temperature, present)
    of_one = "cde" if descriptions.ndim == 3 else "bcde"
    return torch.einsum(f"bcd,{of_one}->bce", weights, descriptions)


def average(descriptions: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
    """The plain mean over a tag's descriptions, [C, E] or [B, C, E]: without re-weighting (Table 3, row e)."""
    if present is None:
        return descriptions.mean(dim=-2)
    weights = present.to(descriptions.dtype).unsqueeze(-1)
    return (descriptions * weights).sum(dim=-2) / weights.sum(dim=-2)
