"""A trained fine-grained classifier, ready to ask: what a `fine` artefact holds, how it is saved, loaded and asked.

fine.json                  kinds, super-category, architecture of encoder and head, how photos are prepared
image_encoder.safetensors  the image encoder
head.safetensors           classifiers, projection, texts E_T, VLFM; what texts came from is not needed any more

    classifier = Classifier(artifact.find(root, "fine", "v2"))
    pixels = torch.stack([classifier.prepare(read_photo(path)) for path in paths])
    probabilities = classifier.predict(pixels)                                            # [B, C]
    probabilities = classifier.predict_features(classifier.features(pixels))              # the same in two steps
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from ramkit.artifact import Artifact
from ramkit.errors import ArtifactError
from ramkit.fgvc.crops import middle_crop
from ramkit.fgvc.encoders import architecture, rebuild
from ramkit.fgvc.model import FineHead, HeadConfig
from ramkit.fgvc.vision import Vision
from ramkit.image_encoder import ImageEncoder
from ramkit.photos import Preprocess
from ramkit.tensors import Precision, load_tensors, save_tensors

KIND = "fine"
_SETTINGS, _ENCODER, _HEAD = "fine.json", "image_encoder.safetensors", "head.safetensors"


@dataclass(frozen=True)
class KindScore:
    """A kind with its probability."""

    kind: str
    score: float


class Classifier:
    """Tells which of its kinds a photo of the super-category shows.

    Args:
        device: where it computes; what it is given and gives is on the CPU.

    Raises:
        ArtifactError: the artefact's settings are of another ramkit.
    """

    def __init__(self, source: Artifact, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        settings = json.loads(source.file(_SETTINGS).read_text(encoding="utf-8"))
        self.source = source
        try:
            self.kinds: list[str] = settings["kinds"]
            self.supercategory: str = settings["supercategory"]
            self.crop = middle_crop(settings["crop_share"])
            self.encoder_identity: str = settings["encoder_identity"]
            self._vision_settings: dict[str, Any] = settings["vision"]
            self._architecture: dict[str, Any] = settings["architecture"]
            self._head_config = HeadConfig(**settings["head"])
            values = settings["preprocess"]
            pairs = {name: tuple(values[name]) for name in ("mean", "std")}  # JSON has lists only
            self.preprocess = Preprocess(**{**values, **pairs})
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"{source.path}: {_SETTINGS} is of another ramkit ({error}).", cure="Train anew: ramkit fine train"
            ) from None

    @cached_property
    def vision(self) -> Vision:
        """The image encoder, float32, ready to run."""
        module = rebuild(self._architecture, self.preprocess.size)
        module.load_state_dict(load_tensors(self.source.file(_ENCODER)))
        made = Vision(module, self.source.name, self.preprocess.size, **self._vision_settings)
        return made.eval().requires_grad_(False).to(self._device)

    @cached_property
    def head(self) -> FineHead:
        made = FineHead(self._head_config)
        made.load_state_dict(load_tensors(self.source.file(_HEAD)))
        return made.eval().requires_grad_(False).to(self._device)

    def prepare(self, photo: Image.Image) -> torch.Tensor:
        """Pixels [3, S, S] of an upright RGB photo: its middle."""
        return self.crop.pixels(photo, self.preprocess)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """E_V [B, V] of prepared pixels [B, 3, S, S]."""
        with torch.inference_mode():
            return self.vision(pixels.to(self._device)).cpu()

    def features_of_map(self, cells: torch.Tensor) -> torch.Tensor:
        """E_V [B, V] of spatial features [B, T, V] that another model's encoder has given, where `shares_encoder`."""
        with torch.inference_mode():
            return self.vision.of_map(cells.to(self._device)).cpu()

    def predict_features(self, features: torch.Tensor) -> torch.Tensor:
        """Probabilities [B, C] of E_V [B, V]."""
        return self.predictions(features)[self.head.answer]

    def predictions(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Probabilities [B, C] of E_V [B, V] by ŷ_1 (`plain`), ŷ_2 (`fused`) and their `average`, as far as there."""
        with torch.inference_mode():
            found = self.head.predictions(features.to(self._device))
        return {name: probabilities.cpu() for name, probabilities in found.items()}

    def predict(self, pixels: torch.Tensor) -> torch.Tensor:
        """Probabilities [B, C] of prepared pixels [B, 3, S, S]."""
        return self.predict_features(self.features(pixels))

    def ranked(self, probabilities: Sequence[float], count: int = 0) -> list[KindScore]:
        """The kinds of one photo's probabilities [C], most likely first; `count` of them, 0 for all."""
        order = sorted(range(len(probabilities)), key=lambda number: -probabilities[number])
        return [KindScore(self.kinds[number], probabilities[number]) for number in order[: count or None]]

    def selected(self, pixels: torch.Tensor) -> torch.Tensor | None:
        """Numbers [B, K] of the patches that the last layer saw, row by row; None where it saw all."""
        with torch.inference_mode():
            ids = self.vision.selected(pixels.to(self._device))
        return None if ids is None else ids.cpu()

    def shares_encoder(self, identity: str, preprocess: Preprocess) -> bool:
        """Whether spatial features of another model's encoder are those that this one would compute.

        Args:
            identity: `ImageEncoder.identity()` of the other.
        """
        whole = middle_crop(1.0) == self.crop
        return whole and identity == self.encoder_identity and preprocess == self.preprocess and self.vision.takes_maps


def save_classifier(
    folder: Path,
    *,
    kinds: list[str],
    supercategory: str,
    encoder: ImageEncoder,
    vision: Vision,
    head: FineHead,
    crop_share: float,
) -> None:
    """Write all files of a `fine` artefact; the image encoder in half precision, see `round_weights`."""
    save_tensors(folder / _ENCODER, encoder.module.state_dict(), _precision(encoder.module))
    save_tensors(folder / _HEAD, head.state_dict())
    settings = {
        "supercategory": supercategory,
        "kinds": kinds,
        "crop_share": crop_share,
        "preprocess": asdict(encoder.preprocess),
        "architecture": architecture(encoder),
        # What `frozen` gives is shared only where nothing was trained; an encoder that was is like no other.
        "encoder_identity": encoder.identity() if vision.train_layers == 0 else "",
        "vision": {
            "selection": vision.selection, "patches": vision.patches, "train_layers": vision.train_layers
        },
        "head": asdict(head.config),
    }  # fmt: skip
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / _SETTINGS).write_text(text, encoding="utf-8")


def round_weights(vision: Vision) -> None:
    """Round the encoder's weights as saving will, so that what follows in training sees what is saved."""
    if _precision(vision.module) == "float16":
        with torch.no_grad():
            for tensor in vision.module.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(tensor.half())


def _precision(module: nn.Module) -> Precision:
    """Half precision, unless a number is beyond its range, as some BatchNorm's variance."""
    tensors = (tensor for tensor in module.state_dict().values() if tensor.is_floating_point())
    return "float16" if all(tensor.half().isfinite().all() for tensor in tensors) else "float32"
