"""VLFM against a loop over photos and kinds, in every reading of what the paper leaves open."""

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ramkit.fgvc.fusion import Fusion
from ramkit.fgvc.model import FineHead, HeadConfig

B, C, D = 3, 5, 6
READINGS = list(
    itertools.product([True, False], ["cosine", "raw"], ["none", "fused", "image"], ["gelu", "relu", "none"])
)


def slow_fusion(module: Fusion, image: torch.Tensor, texts: torch.Tensor, reading: tuple[Any, ...]) -> torch.Tensor:
    """Ê_V [B, D], photo by photo and kind by kind."""
    shared, features, residual, activation = reading
    act = {"gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))), "relu": lambda x: max(x, 0.0), "none": float}
    if features == "cosine":
        image, texts = (rows / rows.norm(dim=1, keepdim=True) * math.sqrt(D) for rows in (image, texts))
    weight, bias = module.image_in.weight, module.image_in.bias
    query, key, value = ((weight[n * D : (n + 1) * D], bias[n * D : (n + 1) * D]) for n in range(3))
    text_key, text_value = key, value
    if not shared:
        assert module.text_in is not None
        text_key = (module.text_in.weight[:D], module.text_in.bias[:D])
        text_value = (module.text_in.weight[D:], module.text_in.bias[D:])
    rows = []
    for vector in image:
        q = query[0] @ vector + query[1]
        keys = [key[0] @ vector + key[1]] + [text_key[0] @ text + text_key[1] for text in texts]
        values = [value[0] @ vector + value[1]] + [text_value[0] @ text + text_value[1] for text in texts]
        powers = [math.exp(float(q @ k) / math.sqrt(D)) for k in keys]
        fused = sum(power / sum(powers) * v for power, v in zip(powers, values, strict=True))
        wide = module.expand.weight @ fused + module.expand.bias
        assert len(wide) == 4 * D
        wide = torch.tensor([act[activation](float(x)) for x in wide])
        made = module.contract.weight @ wide + module.contract.bias
        rows.append(made + {"none": torch.zeros(D), "fused": fused, "image": vector}[residual])
    return torch.stack(rows)


@pytest.mark.parametrize("reading", READINGS)
@torch.no_grad()
def test_fusion_is_the_papers_in_each_reading(reading: tuple[Any, ...]) -> None:
    torch.manual_seed(0)
    shared, features, residual, activation = reading
    module = Fusion(D, shared=shared, features=features, residual=residual, activation=activation)
    image, texts = 3 * torch.randn(B, D), 2 * torch.randn(C, D)
    wanted = slow_fusion(module, image, texts, reading)
    torch.testing.assert_close(module(image, texts), wanted, atol=1e-5, rtol=1e-4)


def test_readings_differ() -> None:
    torch.manual_seed(0)
    image, texts = 3 * torch.randn(B, D), 2 * torch.randn(C, D)
    found = []
    for shared, features, residual, activation in READINGS:
        torch.manual_seed(1)
        module = Fusion(D, shared=shared, features=features, residual=residual, activation=activation)
        found.append(module(image, texts))
    assert all((a - b).abs().max() > 1e-4 for a, b in itertools.combinations(found, 2))


@torch.no_grad()
def test_one_softmax_over_the_images_own_key_and_all_texts() -> None:
    torch.manual_seed(0)
    module = Fusion(D, features="raw")
    image, texts = torch.randn(B, D), torch.randn(C, D)
    alone = module.attend(image, texts[:0])
    torch.testing.assert_close(alone, module.image_in(image)[:, 2 * D :])
    assert (module.attend(image, texts) - alone).abs().max() > 1e-3
    more = module.attend(image, torch.cat([texts, texts.flip(0)]))
    assert (more - module.attend(image, texts)).abs().max() > 1e-4, "texts told twice outweigh the image"


def config(**options: Any) -> HeadConfig:
    settings = {
        "kinds": C, "image_width": 7, "text_width": D, "fusion": True, "projection": True, "features": "cosine",
        "shared": True, "residual": "none", "activation": "gelu", "inference": "fused",
    }  # fmt: skip
    return HeadConfig(**{**settings, **options})


def head(**options: Any) -> FineHead:
    torch.manual_seed(0)
    made = FineHead(config(**options)).eval()
    if made.texts is not None:
        made.texts.copy_(torch.randn(made.texts.shape))
    return made


@torch.no_grad()
def test_answers_by_the_fused_feature_or_averaged() -> None:
    image = torch.randn(B, 7)
    made = head()
    found = made.predictions(image)
    assert made.fusion is not None
    assert made.fused_classifier is not None
    fused = made.fused_classifier(made.fusion(image @ made.projection.weight.T, made.texts)).softmax(1)
    torch.testing.assert_close(found["fused"], fused)
    torch.testing.assert_close(found["plain"], made.classifier(image).softmax(1))
    torch.testing.assert_close(found["average"], (found["fused"] + found["plain"]) / 2)
    assert (made.answer, head(inference="average").answer) == ("fused", "average")
    assert head(fusion=False).answer == "plain"
    assert list(head(fusion=False, text_width=0).predictions(image)) == ["plain"]


def test_one_clip_for_both_needs_no_projection() -> None:
    made = head(image_width=D, projection=False)
    image = torch.randn(B, D)
    assert made.projection is None
    assert torch.equal(made.project(image), image)


@torch.no_grad()
def test_image_to_text_logits_are_cosines_over_the_temperature() -> None:
    made = head()
    image, texts = torch.randn(B, 7), torch.randn(C, D)
    found = made.image_to_text(image, texts, 0.07)
    assert made.projection is not None
    for row in range(B):
        for kind in range(C):
            cosine = F.cosine_similarity(made.projection(image[row]), texts[kind], dim=0)
            assert float(found[row, kind]) == pytest.approx(float(cosine) / 0.07, abs=1e-4)
