"""The published RAM++ checkpoints (xinyu1205/recognize-anything-plus-model): what their tensors tell, and our names.

A checkpoint is a state dict of one Swin Transformer and the parts above it. Everything but the decoder's number of
heads can be read off shapes. timm builds each stage's downsampling into the stage after it, the published code into
the stage before; otherwise the tensors of Swin carry the same names and layouts in both.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ramkit.errors import InputError
from ramkit.image_encoder import build_timm
from ramkit.ram.model import LOG_TEMPERATURE, AlignmentHead, ModelConfig

DEFAULT_THRESHOLD = 0.68
_HEADS = 4  # of the decoder: no shape tells it
_SWIN = "visual_encoder."
_LABELS, _TEMPERATURE = "label_embed", "reweight_scale"
_BUFFERS = (".relative_position_index", ".attn_mask")  # what the model makes by itself
_PATCH = 4  # pixels of a patch's side
_SIZES = {7: 224, 12: 384}  # window → pixels, where no mask tells

# (width of the first stage, blocks a stage, heads a stage) → timm's name, which ends in window and pixels
_ENCODERS: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2), (3, 6, 12, 24)): "swin_tiny",
    (96, (2, 2, 18, 2), (3, 6, 12, 24)): "swin_small",
    (128, (2, 2, 18, 2), (4, 8, 16, 32)): "swin_base",
    (192, (2, 2, 18, 2), (6, 12, 24, 48)): "swin_large",
}
_DECODER_NAMES = (  # ours → theirs, within a layer of the decoder
    (r"^(query|key|value)\.", r"crossattention.self.\1."),
    (r"^output\.", "crossattention.output.dense."),
    (r"^attention_norm\.", "crossattention.output.LayerNorm."),
    (r"^expand\.", "intermediate.dense."),
    (r"^contract\.", "output.dense."),
    (r"^norm\.", "output.LayerNorm."),
)
_HEAD_NAMES = {"log_temperature": _TEMPERATURE, "decoder.input.": "wordvec_proj.", "decoder.readout.": "fc."}


@dataclass(frozen=True)
class Published:
    """A published checkpoint under our names; its tensors may still lie in the file."""

    config: ModelConfig
    image_encoder: dict[str, torch.Tensor]
    head: dict[str, torch.Tensor]
    label_embed: torch.Tensor  # d [C · D, E], tag by tag
    temperature_stored: bool
    ignored: int  # buffers that the model makes by itself

    def descriptions(self, tags: int) -> torch.Tensor:
        """d [C, D, E] of C tags.

        Raises:
            InputError: the vectors do not divide among so many tags.
        """
        rows = len(self.label_embed)
        if tags < 1 or rows % tags:
            raise InputError(
                f"{tags} tags, but the checkpoint holds {rows} vectors of descriptions, which is no multiple of that.",
                cure="Give the list of tags that belongs to it, one a line.",
            )
        return self.label_embed.unflatten(0, (tags, rows // tags))


def read_published(state: Mapping[str, torch.Tensor], source: Path) -> Published:
    """Take a checkpoint's state dict apart.

    Args:
        source: where it is from, for errors.

    Raises:
        InputError: a tensor is missing, left over, of another shape or of no finite numbers, or the encoder is no Swin
            that timm has.
    """
    tensors = {name: tensor for name, tensor in state.items() if not name.endswith(_BUFFERS)}
    config = _architecture(tensors, state, source)
    with torch.device("meta"):
        swin, head = build_timm(config.image_encoder, size=config.image_size), AlignmentHead(config)
    swin_names = {_SWIN + _published_swin_name(own): own for own, _ in swin.named_parameters()}
    head_names = {_published_head_name(own): own for own, _ in head.named_parameters()}
    shapes = {
        **{name: swin.get_parameter(own).shape for name, own in swin_names.items()},
        **{name: head.get_parameter(own).shape for name, own in head_names.items()},
        _LABELS: torch.Size([len(tensors[_LABELS]), config.embed_width]),
    }
    stored = _TEMPERATURE in tensors
    tensors.setdefault(_TEMPERATURE, torch.tensor(LOG_TEMPERATURE))
    _refuse_misfits(tensors, shapes, source)
    exact = {name: tensor.float() for name, tensor in tensors.items()}  # no copy of what is float32 already
    return Published(
        config=config,
        image_encoder={own: exact[name] for name, own in swin_names.items()},
        head={own: exact[name] for name, own in head_names.items()},
        label_embed=exact[_LABELS],
        temperature_stored=stored,
        ignored=sum(name.endswith(_BUFFERS) for name in state),
    )


def _architecture(tensors: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], source: Path) -> ModelConfig:
    """All of it, from names and shapes."""

    def shape(name: str, dimensions: int) -> list[int]:
        if name not in tensors or tensors[name].ndim != dimensions:
            found = f"is {list(tensors[name].shape)}" if name in tensors else "is missing"
            raise InputError(f"{source}: {name} {found}.", cure="Name a checkpoint of RAM++ (ram_plus_swin_*.pth).")
        return list(tensors[name].shape)

    embed_width, image_width = shape("image_proj.weight", 2)
    shape(_LABELS, 2)
    encoder, window = _encoder(tensors, shape(f"{_SWIN}patch_embed.proj.weight", 4)[0], source)
    size = _image_size(state, window)
    return ModelConfig(
        image_encoder=_timm_name(encoder, window, source),
        image_size=size,
        image_width=image_width,
        embed_width=embed_width,
        query_width=shape("wordvec_proj.weight", 2)[0],
        heads=_HEADS,
        hidden=shape("tagging_head.encoder.layer.0.intermediate.dense.weight", 2)[0],
        layers=_count(tensors, r"tagging_head\.encoder\.layer\.(\d+)\."),
    )


def _encoder(tensors: Mapping[str, torch.Tensor], width: int, source: Path) -> tuple[str, int]:
    """Which Swin, and the side of its windows in patches."""
    stages = _count(tensors, r"visual_encoder\.layers\.(\d+)\.")
    blocks = tuple(_count(tensors, rf"visual_encoder\.layers\.{stage}\.blocks\.(\d+)\.") for stage in range(stages))
    tables = [
        tensors.get(f"{_SWIN}layers.{stage}.blocks.0.attn.relative_position_bias_table", torch.empty(0, 0))
        for stage in range(stages)
    ]
    heads = tuple(table.shape[1] for table in tables)
    if (width, blocks, heads) not in _ENCODERS:
        raise InputError(
            f"{source}: its image encoder, {width} wide with {blocks} blocks and {heads} heads, is no known Swin.",
            cure="Swin-T, -S, -B and -L are.",
        )
    return _ENCODERS[width, blocks, heads], (math.isqrt(len(tables[0])) + 1) // 2  # a table has (2w − 1)² rows


def _timm_name(encoder: str, window: int, source: Path) -> str:
    import timm

    wanted = f"{encoder}_patch{_PATCH}_window{window}_"
    found: list[str] = timm.list_models(f"{wanted}*")
    if len(found) != 1:
        raise InputError(
            f"{source}: {encoder} with windows of {window} patches is unknown to timm.",
            cure="Windows of 7 patches (224 pixels) and, for Swin-B and -L, of 12 (384 pixels) are known.",
        )
    return found[0]


def _image_size(state: Mapping[str, torch.Tensor], window: int) -> int:
    """Pixels of a side: the mask of the first shifted block has a row for each window."""
    mask = state.get(f"{_SWIN}layers.0.blocks.1.attn_mask")
    if mask is None or mask.ndim != 3:
        return _SIZES.get(window, 0)
    return math.isqrt(len(mask)) * window * _PATCH


def _count(tensors: Mapping[str, torch.Tensor], pattern: str) -> int:
    """One more than the largest number that stands in the pattern's group."""
    found = (re.match(pattern, name) for name in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _published_swin_name(own: str) -> str:
    return re.sub(r"^layers\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", own)


def _published_head_name(own: str) -> str:
    for ours, theirs in _HEAD_NAMES.items():
        if own.startswith(ours):
            return theirs + own.removeprefix(ours)
    layer = re.match(r"decoder\.layers\.(\d+)\.(.*)", own)
    if layer is None:
        return own
    name = layer[2]
    for ours, theirs in _DECODER_NAMES:
        name, found = re.subn(ours, theirs, name)
        if found:
            break
    return f"tagging_head.encoder.layer.{layer[1]}.{name}"


def _refuse_misfits(tensors: Mapping[str, torch.Tensor], shapes: Mapping[str, torch.Size], source: Path) -> None:
    cure = "Fetch the checkpoint anew, or name one of RAM++."
    if missing := [name for name in shapes if name not in tensors]:
        raise InputError(f"{source}: lacks {_listed(missing)}.", cure=cure)
    if left_over := [name for name in tensors if name not in shapes]:
        raise InputError(f"{source}: {_listed(left_over)} has no place in the model.", cure=cure)
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise InputError(f"{source}: {name} is {list(tensors[name].shape)}, the model's {list(shape)}.", cure=cure)
        if not tensors[name].is_floating_point():
            raise InputError(f"{source}: {name} holds {str(tensors[name].dtype).removeprefix('torch.')}.", cure=cure)
        if not (tensors[name].is_meta or tensors[name].isfinite().all()):
            raise InputError(f"{source}: {name} holds what is no finite number.", cure=cure)


def _listed(names: list[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
