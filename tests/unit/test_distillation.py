"""Distillation from CLIP's image tower, against a slow loop; a tiny open_clip model of random weights stands for it."""

import re
from pathlib import Path

import pytest
import torch
from tiny_models import write_clip

from ramkit.errors import InputError, MissingError
from ramkit.photos import Preprocess
from ramkit.ram.distillation import Distillation, read_distillation
from ramkit.ram.objective import _distance

E, SIZE = 12, 32
CPU = torch.device("cpu")
PREPROCESS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic"}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_clip(tmp_path_factory.mktemp("clip"), width=E, **PREPROCESS)
    return f"open_clip:local-dir:{folder}"


def slow_distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Mean over images and channels of |V_global − CLIP(image)|."""
    total = 0.0
    for image in range(len(ours)):
        for channel in range(E):
            total += abs(float(ours[image, channel]) - float(theirs[image, channel]))
    return total / (len(ours) * E)


def test_the_target_is_the_towers_own_feature_not_normalised(spec: str) -> None:
    import open_clip

    found = read_distillation(spec, width=E, device=CPU)
    assert found.preprocess == Preprocess(SIZE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bicubic")
    pixels = torch.randn(3, 3, SIZE, SIZE)
    model = open_clip.create_model(spec.removeprefix("open_clip:"), require_pretrained=True).eval()
    with torch.no_grad():
        wanted = model.encode_image(pixels)
    target = found.target(pixels)
    torch.testing.assert_close(target, wanted)
    assert not target.requires_grad
    assert (target.norm(dim=1) - 1).abs().min() > 0.1
    assert found.target(target) is target, "computed before"


def test_the_loss_is_the_slow_loop_and_draws_the_global_feature_alone(spec: str) -> None:
    clip = read_distillation(spec, width=E, device=CPU)
    feature = torch.randn(4, E, requires_grad=True)
    target = clip(torch.randn(4, 3, SIZE, SIZE))
    loss = _distance(feature, target) / 4
    assert loss.item() == pytest.approx(slow_distance(feature.detach(), target), rel=1e-5)
    loss.backward()
    torch.testing.assert_close(feature.grad, (feature - target).sign().detach() / (4 * E))


def test_the_identity_follows_the_weights(spec: str, tmp_path: Path) -> None:
    other = write_clip(tmp_path, seed=1, width=E, **PREPROCESS)
    first = read_distillation(spec, width=E, device=CPU).identity()
    assert first == read_distillation(spec, width=E, device=CPU).identity()
    assert first != read_distillation(f"open_clip:local-dir:{other}", width=E, device=CPU).identity()


def test_what_cannot_be_distilled_from_is_told(spec: str) -> None:
    with pytest.raises(InputError, match=r"'clip' names no model to distil from\. Use open_clip:MODEL/WEIGHTS"):
        read_distillation("clip", width=E, device=CPU)
    message = f"{spec} gives image features of 12 numbers, the text encoder vectors of 32. Distil from the model whose"
    with pytest.raises(InputError, match=re.escape(message)):
        read_distillation(spec, width=32, device=CPU)
    with pytest.raises(MissingError, match=r"open_clip:ViT-B-16/no-such cannot be loaded \("):
        read_distillation("open_clip:ViT-B-16/no-such", width=E, device=CPU)


def test_a_tower_of_any_kind_will_do() -> None:
    mean = Distillation(lambda pixels: pixels.mean(dim=(2, 3)).double(), Preprocess(2), "mean")
    assert mean(torch.ones(2, 3, 2, 2)).dtype == torch.float32
