"""SsVP against a slow reference that forms whole attention matrices; freezing; every kind of image encoder."""

import time
from typing import Any

import pytest
import torch
from torch import nn

from ramkit.errors import InputError
from ramkit.fgvc.patch_selection import attention_ids, choose, class_row, response_ids
from ramkit.fgvc.towers import take_apart
from ramkit.fgvc.vision import ALL, Vision

SIZE = 64


def vit(**options: Any) -> nn.Module:
    """Three blocks, 16 patches, two heads; random weights large enough that attention is not flat."""
    from timm.models.vision_transformer import VisionTransformer

    settings = {"patch_size": 16, "embed_dim": 24, "depth": 3, "num_heads": 2, "img_size": SIZE, "num_classes": 0}
    torch.manual_seed(0)
    return _spread(VisionTransformer(**{**settings, **options}))


def clip_vit(**options: Any) -> nn.Module:
    from open_clip.transformer import VisionTransformer

    torch.manual_seed(0)
    settings = {"image_size": SIZE, "patch_size": 16, "width": 24, "layers": 3, "heads": 2, "mlp_ratio": 2.0}
    return _spread(VisionTransformer(**{**settings, "output_dim": 10, **options}))


def distilled() -> nn.Module:
    from timm.models.deit import VisionTransformerDistilled

    torch.manual_seed(0)
    settings = {"patch_size": 16, "embed_dim": 24, "depth": 3, "num_heads": 2, "img_size": SIZE, "num_classes": 0}
    return _spread(VisionTransformerDistilled(**settings))


def eva(**options: Any) -> nn.Module:
    """Rotary positions: EVA, DINOv3, RoPE-ViT."""
    from timm.models.eva import Eva

    torch.manual_seed(0)
    settings = {"patch_size": 16, "embed_dim": 24, "depth": 3, "num_heads": 2, "img_size": SIZE, "num_classes": 0}
    return _spread(Eva(**{**settings, "use_rot_pos_emb": True, **options}))


def clip_around(name: str, **options: Any) -> nn.Module:
    """A timm model as open_clip wraps it: `proj` none leaves the way into CLIP's space to the model's own head."""
    from open_clip.timm_model import TimmModel

    torch.manual_seed(0)
    return TimmModel(name, embed_dim=10, image_size=SIZE, **{"pool": "avg", "proj": None, **options}).eval()


def clip_resnet() -> nn.Module:
    from open_clip.modified_resnet import ModifiedResNet

    torch.manual_seed(0)
    return ModifiedResNet(layers=(1, 1, 1, 1), output_dim=10, heads=2, image_size=SIZE, width=8).eval()


def _spread(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return module.eval()


def tiny(name: str) -> nn.Module:
    from timm import create_model

    torch.manual_seed(0)
    return create_model(name, num_classes=0).eval()


def pixels(batch: int = 3, size: int = SIZE) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(2))


def vision(module: nn.Module, **options: Any) -> Vision:
    settings = {"selection": "attention", "patches": 5, "train_layers": ALL, "size": SIZE}
    return Vision(module, "the encoder", **{**settings, **options}).eval()


MAKERS = {
    "class token": vit,
    "registers": lambda: vit(reg_tokens=3),
    "distilled": distilled,
    "normalised queries": lambda: vit(qk_norm=True),
    "no bias": lambda: vit(qkv_bias=False),
    "layer scale, mean pool": lambda: vit(init_values=0.5, global_pool="avg"),
    "pool by attention": lambda: vit(global_pool="map"),
    "norm before": lambda: vit(pre_norm=True, no_embed_class=True),
    "EVA": eva,
    "EVA-02": lambda: eva(qkv_fused=False, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True),
    "EVA, norm after": lambda: eva(use_post_norm=True),
    "EVA, no rotary positions": lambda: eva(use_rot_pos_emb=False),
    "DINOv3": lambda: eva(
        rope_type="dinov3",
        num_reg_tokens=2,
        use_abs_pos_emb=False,
        rope_rotate_half=True,
        rope_temperature=100.0,
        qkv_bias=False,
        dynamic_img_size=True,
    ),
    "RoPE, learnt for each layer": lambda: eva(rope_type="mixed", attn_type="rope", qk_norm=True),
    "open_clip": clip_vit,
    "open_clip, own attention": lambda: clip_vit(qk_norm=True),
    "open_clip, no heads' norm": lambda: clip_vit(scale_attn_inner=True),
    "open_clip, attentional pool": lambda: clip_vit(attentional_pool=True, attn_pooler_queries=4, attn_pooler_heads=2),
}


def plain(module: Any, images: torch.Tensor) -> torch.Tensor:
    """The encoder's own features, as its library computes them."""
    if hasattr(module, "conv1") and hasattr(module, "transformer"):
        return module(images)
    return module.forward_head(module.forward_features(images), pre_logits=True)


def slow_attention(attn: Any, tokens: torch.Tensor, rope: torch.Tensor | None = None) -> torch.Tensor:
    """All attention weights [B, M, T, T] of a module, pair by pair, for its input [B, T, D]; of timm's rotary kinds
    those that they form themselves where nothing is fused."""
    if hasattr(attn, "rotate_half"):
        fused, attn.fused_attn, seen = attn.fused_attn, False, []
        hook = attn.attn_drop.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        attn(tokens, rope=rope)
        hook.remove()
        attn.fused_attn = fused
        return seen[0]
    if isinstance(attn, nn.MultiheadAttention):
        return attn(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)[1]
    joined = attn.qkv if hasattr(attn, "qkv") else None
    weight, bias = (joined.weight, joined.bias) if joined is not None else (attn.in_proj_weight, attn.in_proj_bias)
    norms = (attn.q_norm, attn.k_norm) if joined is not None else (attn.ln_q, attn.ln_k)
    made = tokens.double() @ weight.double().T + (0 if bias is None else bias.double())
    query, key, _ = made.chunk(3, dim=-1)
    batch, count, width = query.shape
    size = width // attn.num_heads
    found = torch.zeros(batch, attn.num_heads, count, count, dtype=torch.double)
    for head in range(attn.num_heads):
        part = slice(head * size, (head + 1) * size)
        q, k = (norm(side[..., part].float()).double() for norm, side in zip(norms, (query, key), strict=True))
        for image in range(batch):
            for row in range(count):
                logits = torch.stack([(q[image, row] * k[image, other]).sum() for other in range(count)])
                found[image, head, row] = (logits / size**0.5).softmax(0)
    return found


def own_ropes(module: Any) -> list[dict[str, torch.Tensor]]:
    """What each block is called with beside its tokens, as the encoder itself calls it."""
    found: list[dict[str, torch.Tensor]] = []

    def note(block: nn.Module, given: Any, named: dict[str, Any]) -> None:
        found.append({"rope": named["rope"]} if named.get("rope") is not None else {})

    blocks = module.blocks if hasattr(module, "blocks") else module.transformer.resblocks
    hooks = [block.register_forward_pre_hook(note, with_kwargs=True) for block in blocks]
    plain(module, pixels(1))
    for hook in hooks:
        hook.remove()
    return found


def slow_features(module: Any, images: torch.Tensor, count: int) -> tuple[torch.Tensor, list[list[int]]]:
    """(E_V [B, V], patches chosen): block by block, the penultimate with whole attention matrices, photo by photo."""
    tower = take_apart(module, SIZE)
    features, chosen = [], []
    for image in images:
        tokens, ropes = tower.stem(image[None]), own_ropes(module)
        for block, rope in zip(tower.layers[:-2], ropes, strict=False):
            tokens = block(tokens, **rope)
        block = tower.layers[-2]
        norm = block.norm1 if hasattr(block, "norm1") else block.ln_1
        attends_to = tokens if type(block).__name__ == "EvaBlockPostNorm" else norm(tokens)
        attention = slow_attention(block.attn, attends_to, **ropes[-2])[0]
        summed = [
            float(sum(attention[head, 0, tower.prefix + patch] for head in range(len(attention))))
            for patch in range(tokens.shape[1] - tower.prefix)
        ]
        best = sorted(sorted(range(len(summed)), key=lambda patch: -summed[patch])[:count])
        tokens = block(tokens, **ropes[-2])
        kept = [tokens[:, place] for place in range(tower.prefix)] + [tokens[:, tower.prefix + p] for p in best]
        last = {name: rope[..., best, :] for name, rope in ropes[-1].items()}
        tokens = tower.layers[-1](torch.stack(kept, dim=1), **last)
        features.append(tower.pool(tower.finish(tokens))[0])
        chosen.append(best)
    return torch.stack(features), chosen


@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_the_prompted_encoder_is_the_slow_one(name: str) -> None:
    module = MAKERS[name]()
    wanted, chosen = slow_features(module, pixels(), 5)
    made = vision(module)
    torch.testing.assert_close(made(pixels()), wanted, atol=1e-4, rtol=1e-4)
    selected = made.selected(pixels())
    assert selected is not None
    assert selected.tolist() == chosen
    assert len({tuple(row) for row in chosen}) > 1, "each photo has its own patches"


@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_with_all_patches_it_is_the_plain_encoder(name: str) -> None:
    module = MAKERS[name]()
    wanted = plain(module, pixels())
    torch.testing.assert_close(vision(module, patches=16)(pixels()), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vision(module, selection="none")(pixels()), wanted, atol=1e-5, rtol=1e-5)
    assert (vision(module, patches=1)(pixels()) - wanted).abs().max() > 1e-3, "few patches tell something else"


@pytest.mark.parametrize("name", ["class token", "normalised queries", "open_clip", "open_clip, own attention"])
@torch.no_grad()
def test_the_class_row_is_that_of_the_whole_matrix(name: str) -> None:
    attn = take_apart(MAKERS[name](), SIZE).layers[-2].attn
    tokens = torch.randn(2, 9, 24, generator=torch.Generator().manual_seed(3))
    block = nn.Module()
    block.attn = attn
    row = class_row(block, "x")(tokens)
    torch.testing.assert_close(row.double(), slow_attention(attn, tokens)[:, :, 0].double(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: clip_around("test_vit", pool="token"),
        lambda: clip_around("test_vit", pool="token", proj="linear"),
        lambda: clip_around("test_efficientnet"),
        lambda: clip_around("test_efficientnet", proj="mlp"),
        clip_resnet,
    ],
)
@pytest.mark.parametrize("train_layers", [ALL, 0])
@torch.no_grad()
def test_features_of_a_clip_lie_in_the_space_of_its_texts(make: Any, train_layers: int) -> None:
    module = make()
    made = vision(module, selection="none", train_layers=train_layers)
    assert made.width == 10
    torch.testing.assert_close(made(pixels()), module(pixels()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("proj", [None, "linear"])
def test_the_way_into_a_clips_space_is_trained_with_the_last_layer(proj: Any) -> None:
    module: Any = clip_around("test_vit", pool="token", proj=proj)
    made = vision(module, patches=2, train_layers=1)
    last = module.head.proj.weight if proj else module.trunk.head.weight
    assert made.levels()[last] == 0
    assert last.requires_grad
    assert module.trunk.patch_embed.proj.weight.requires_grad is False


def test_top_k_sums_the_heads_and_leaves_prefix_tokens_out() -> None:
    attention = torch.tensor([[[0.9, 0.0, 0.3, 0.1, 0.2], [0.9, 0.0, 0.0, 0.3, 0.25]]])
    assert attention_ids(attention, prefix=2, count=2).tolist() == [[1, 2]]
    cells = torch.arange(12.0).view(1, 4, 3)
    assert choose(cells, torch.tensor([[0, 3]])).tolist() == [[[0, 1, 2], [9, 10, 11]]]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext", "test_vit2"])
@torch.no_grad()
def test_activation_keeps_the_cells_that_respond_most(name: str) -> None:
    module: Any = tiny(name) if name != "test_vit2" else vit(class_token=False, global_pool="avg")
    made = vision(module, selection="activation", patches=3)
    features = module.forward_features(pixels())
    cells = features if features.ndim == 3 else features.flatten(2).transpose(1, 2)
    chosen = []
    for image in cells:
        mean = sum(image) / len(image)
        scores = [float((mean * cell).sum()) for cell in image]
        chosen.append(sorted(sorted(range(len(image)), key=lambda cell: -scores[cell])[:3]))
    assert response_ids(cells, 3).tolist() == chosen
    selected = made.selected(pixels())
    assert selected is not None
    assert selected.tolist() == chosen
    means = torch.stack([image[ids].mean(0) for image, ids in zip(cells, chosen, strict=True)])
    wanted = (
        module.forward_head(means[:, :, None, None], pre_logits=True) if features.ndim == 4 else module.fc_norm(means)
    )
    torch.testing.assert_close(made(pixels()), wanted, atol=1e-5, rtol=1e-5)
    everything = vision(module, selection="activation", patches=cells.shape[1])
    torch.testing.assert_close(everything(pixels()), plain(module, pixels()), atol=1e-5, rtol=1e-5)


def test_how_many_patches_unless_told() -> None:
    assert vision(vit(img_size=224), patches=0, size=224).patches == 12
    assert vision(tiny("test_efficientnet"), selection="activation", patches=0, size=224).cells == 49
    assert vision(tiny("test_efficientnet"), selection="activation", patches=0, size=224).patches == 12


# ---- layers


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext", "test_vit", "open_clip", "EVA"])
@pytest.mark.parametrize("train_layers", [ALL, 0, 1, 2, 3])
@torch.no_grad()
def test_the_frozen_part_and_the_rest_are_the_whole(name: str, train_layers: int) -> None:
    module = MAKERS[name]() if name in MAKERS else tiny(name)
    size = 160 if name == "test_vit" else SIZE
    made = vision(module, selection="none", train_layers=train_layers, size=size)
    images = pixels(2, size)
    hidden = made.frozen(images)
    assert torch.equal(hidden, images) == (train_layers == ALL)
    wanted = plain(module, images)
    torch.testing.assert_close(made.trained(hidden), wanted, atol=1e-5, rtol=1e-5)
    assert (hidden.shape == wanted.shape) == (train_layers == 0)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("test_efficientnet", "InvertedResidual", "InvertedResidual"),
        ("test_resnet", "BasicBlock", "BasicBlock"),
        ("test_convnext", "Conv2d", "ConvNeXtStage"),
        ("test_vit", "Block", "Block"),
    ],
)
def test_layers_are_the_repeated_blocks(name: str, first: str, last: str) -> None:
    tower = take_apart(tiny(name), 160)
    assert type(tower.layers[-1]).__name__ == last
    assert tower.module is not tower.layers[0]
    levels = set(tower.level().values())
    assert levels <= set(range(len(tower.layers) + 1))
    assert len(levels) >= 3


@pytest.mark.parametrize("selection", ["attention", "none"])
def test_rotary_positions_that_training_draws_are_the_same_for_all_layers(selection: Any) -> None:
    module: Any = eva(rope_type="dinov3", attn_type="rope", rope_rotate_half=True)
    module.rope.shift_coords, module.rope.aug_active = 0.5, True
    given: list[torch.Tensor] = []
    for block in module.blocks:
        block.register_forward_pre_hook(lambda block, inputs, named: given.append(named["rope"]), with_kwargs=True)
    made = vision(module, selection=selection, patches=16).train()
    given.clear()
    made(pixels())
    first, second, last = (rope.flatten(end_dim=-2)[:16] for rope in given)
    assert torch.equal(first, second)
    assert torch.equal(second, last)
    assert not torch.equal(first, eva(rope_type="dinov3", attn_type="rope", rope_rotate_half=True).rope.get_embed())  # type: ignore[operator]


def test_what_is_no_chain_is_used_as_a_whole() -> None:
    module = tiny("test_nfnet")
    module.forward_features = lambda images: type(module).forward_features(module, images) * 2  # type: ignore[method-assign]
    assert take_apart(module, SIZE).layers == ()
    with pytest.raises(InputError, match=r"train_layers = 1: the encoder is taken apart into 0 layers\. Give -1 for"):
        vision(module, selection="none", train_layers=1)
    torch.testing.assert_close(vision(module, selection="none")(pixels()), plain(module, pixels()))


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_vit"])
@pytest.mark.parametrize("selection", ["none", "own"])
def test_training_moves_what_is_trained_and_nothing_else(name: str, selection: str) -> None:
    module = tiny(name)
    size = 160 if name == "test_vit" else SIZE
    own: Any = {"test_vit": "attention"}.get(name, "activation") if selection == "own" else "none"
    made = vision(module, selection=own, train_layers=1, size=size, patches=2)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    trained = {id(weight) for weight in made.trained_weights()}
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1, weight_decay=0.1)
    made.train()
    for _ in range(2):
        optimizer.zero_grad()
        made(pixels(4, size)).square().sum().backward()
        optimizer.step()
    moved = {key for key, tensor in module.state_dict().items() if not torch.equal(tensor, before[key])}
    weights = {key for key, weight in module.named_parameters() if id(weight) in trained}
    statistics = {key for key in before if key not in dict(module.named_parameters())}
    last = {key.rpartition(".")[0] for key in weights}
    assert moved & set(dict(module.named_parameters())) == weights
    assert {key.rpartition(".")[0] for key in moved & statistics} <= last
    assert bool(moved & statistics) == (name != "test_vit")
    assert 0 < len(weights) < len(list(module.parameters()))


def test_no_layer_is_trained() -> None:
    made = vision(tiny("test_efficientnet"), selection="none", train_layers=0).train()
    assert not [weight for weight in made.parameters() if weight.requires_grad]
    assert not [part for part in made.module.modules() if part.training]
    assert made.training


def test_layers_above_count_as_in_timms_layer_decay() -> None:
    from timm.optim import param_groups_layer_decay

    module = tiny("test_vit")
    groups = param_groups_layer_decay(module, layer_decay=0.5)
    scale = {id(weight): group["lr_scale"] for group in groups for weight in group["params"]}
    top = max(scale.values())
    made = vision(module, selection="none", size=160)
    assert {0.5**above * top for above in made.levels().values()} == set(scale.values())
    for weight, above in made.levels().items():
        assert scale[id(weight)] == pytest.approx(top * 0.5**above)


# ---- what is refused


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (
            lambda: vit(class_token=False, global_pool="avg"),
            {},
            r"has no class token .* Set patch_selection = \"activa",
        ),
        (lambda: vit(class_token=False, global_pool="map", reg_tokens=2), {}, "has no class token"),
        (lambda: tiny("test_efficientnet"), {}, r"has no class token whose attention could select patches \(SsVP\)"),
        (
            lambda: tiny("pit_ti_224"),
            {"size": 224},
            r"the encoder \(PoolingVisionTransformer\) has a class token, but SsVP cannot take its layers apart\.",
        ),
        (
            lambda: tiny("pit_ti_distilled_224"),
            {"size": 224, "selection": "activation"},
            r"the encoder \(PoolingVisionTransformer\) has a class token and does not tell its patches\.",
        ),
        (vit, {"selection": "activation"}, r"has a class token; patch_selection = \"activation\" is for encoders with"),
        (vit, {"patches": 17}, r"patches = 17: the encoder has 16 at 64 pixels\. Give fewer, or 0"),
        (clip_resnet, {}, "has no class token"),
        (clip_resnet, {"selection": "activation"}, r"does not tell its feature map\. Set patch_selection = \"none\""),
        (lambda: vit(depth=1), {}, "has no layer before the last"),
        (vit, {"train_layers": 4}, r"is taken apart into 3 layers\. Give -1 for all, or 0 to 3"),
        (vit, {"train_layers": -2}, "train_layers = -2"),
        (lambda: vit(attn_layer="diff"), {}, r"its attention \(DiffAttention\) is not of a kind"),
        (lambda: clip_vit(scaled_cosine_attn=True), {}, r"its attention \(Attention\) is not of a kind"),
    ],
)
def test_a_selection_that_an_encoder_has_no_place_for_is_refused(module: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vision(module(), **options)


# ---- cost


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_base_patch16_224", "vit_small_patch16_dinov3"])
def test_the_class_row_costs_less_than_three_hundredths_of_a_forward_pass(name: str) -> None:
    torch.set_num_threads(1)
    module: Any = tiny(name)
    block, rope = module.blocks[-2], take_apart(module, 224).ropes()[-2]
    images = torch.randn(1, 3, *module.pretrained_cfg["input_size"][1:])
    tokens = module.forward_features(images).detach()
    row = class_row(block, "x")

    def seconds(run: Any) -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    with torch.inference_mode():
        ratios = sorted(seconds(lambda: row(tokens, rope)) / seconds(lambda: module(images)) for _ in range(15))
    print(f"\nthe class row takes {ratios[7]:.3%} of the forward pass of {name} at {images.shape[-1]} pixels")
    assert ratios[7] < 0.03
