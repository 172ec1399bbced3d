"""Where tokens lie, against what the encoders themselves answer to, and maps spread over photos against loops."""

import numpy as np
import pytest
import torch
from torch import nn

from ramkit.errors import InputError
from ramkit.image_encoder import build_timm, spatial_features
from ramkit.token_places import spread_over, token_places


@pytest.mark.parametrize(
    ("name", "size", "middles"),
    [
        ("test_vit", 64, [8, 24, 40, 56]),  # patches of 16 side by side, a class token before them
        ("swin_tiny_patch4_window7_224", 64, [16, 48]),  # merged patches of 32
        ("test_convnext", 64, [16, 48]),  # kernels as large as their strides
        ("test_resnet", 96, [0.5, 32.5, 64.5]),  # odd kernels with even padding: the first on the edge
        ("test_efficientnet", 96, [0.5, 32.5, 64.5]),
        ("tf_efficientnet_lite0", 65, [0.5, 32.5, 64.5]),  # "same" padding of an odd side: on both edges
        ("tf_efficientnet_lite0", 64, [31.5, 63.5]),  # and of an even one: towards the end
    ],
)
def test_places_are_those_of_the_encoders_own_strides_and_paddings(name: str, size: int, middles: list[float]) -> None:
    found = np.array(token_places(build_timm(name, size=size), size)) * size
    np.testing.assert_allclose(found, middles)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext", "test_mambaout"])
def test_a_token_answers_most_to_its_own_place(name: str) -> None:
    """A bright spot changes the token whose place is nearest more than those farther away, for every token inside."""
    torch.manual_seed(0)
    size = 160
    module = build_timm(name, size=size).eval()
    places = token_places(module, size)
    side = len(places)
    with torch.no_grad():
        still = spatial_features(module, torch.zeros(1, 3, size, size))
        for row, column in [(1, 1), (1, side - 2), (side - 2, 1), (side // 2, side // 2)]:
            pixels = torch.zeros(1, 3, size, size)
            y, x = (round(places[number] * size - 0.5) for number in (row, column))
            pixels[0, :, y - 3 : y + 4, x - 3 : x + 4] = 3.0
            change = (spatial_features(module, pixels) - still).norm(dim=-1)[0].reshape(side, side)
            assert divmod(int(change.argmax()), side) == (row, column)


class Tokens(nn.Module):
    """Answers with a given number of tokens."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(pixels), self.count, 4)


def test_tokens_that_are_no_square_are_refused() -> None:
    with pytest.raises(InputError, match=r"^Tokens: its 6 tokens are no square map\. Leave --explain out\.$"):
        token_places(Tokens(6), 32)
    assert token_places(Tokens(4), 32) == [0.25, 0.75]


def slow_spread(width: int, height: int, tokens: np.ndarray, places: list[float]) -> np.ndarray:
    """Each pixel by itself, bilinear between the four tokens around it."""

    def around(share: float) -> tuple[int, int, float]:
        if share <= places[0]:
            return 0, 0, 0.0
        for i in range(len(places) - 1):
            if share <= places[i + 1]:
                return i, i + 1, (share - places[i]) / (places[i + 1] - places[i])
        return len(places) - 1, len(places) - 1, 0.0

    found = np.zeros((height, width))
    for y in range(height):
        top, bottom, down = around((y + 0.5) / height)
        for x in range(width):
            left, right, across = around((x + 0.5) / width)
            upper = tokens[top, left] * (1 - across) + tokens[top, right] * across
            lower = tokens[bottom, left] * (1 - across) + tokens[bottom, right] * across
            found[y, x] = upper * (1 - down) + lower * down
    return found


@pytest.mark.parametrize("places", [[0.0, 0.5, 1.0], [1 / 6, 3 / 6, 5 / 6], [0.02, 0.45, 0.9]])
def test_a_map_is_spread_linearly_between_places(places: list[float]) -> None:
    tokens = np.random.default_rng(0).random((3, 3))
    np.testing.assert_allclose(spread_over((13, 8), tokens, places), slow_spread(13, 8, tokens, places))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 3), (3, 0), (3, 3)])
def test_one_tokens_map_lies_in_its_corner_of_the_photo(row: int, column: int) -> None:
    tokens = np.zeros((4, 4))
    tokens[row, column] = 1.0
    found = spread_over((120, 80), tokens, [0.125, 0.375, 0.625, 0.875])
    assert found.shape == (80, 120)
    quarter = found[(row // 2) * 40 :, (column // 2) * 60 :][:40, :60]
    assert quarter.sum() == pytest.approx(found.sum())
    assert found.max() == pytest.approx(1.0)
