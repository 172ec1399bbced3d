"""What the model's stages are tested on: five tags, small photos, a text encoder of random weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance, ImageOps

from ramkit.artifact import Artifact, draft
from ramkit.config import EmbedConfig, TrainConfig, with_values
from ramkit.files import write_rows
from ramkit.ram.training import Trainer
from ramkit.stages.embed import embed
from ramkit.stages.train import train
from ramkit.text.encoders import load_text_encoder

EXAMPLES = Path(__file__).parents[1] / "examples" / "photos"
TAGS = ("cat", "coffee", "cup", "rocket", "woman")
ALIASES = {"woman": ["lady"]}
SHOWN: dict[str, tuple[list[str], list[str]]] = {  # photo → its tags and captions
    "astronaut": (["woman"], ["A woman in an orange suit.", "The woman smiles!"]),
    "cat": (["cat"], ["A brown cat.", "A cat looks up."]),
    "coffee": (["coffee", "cup"], ["A cup of coffee.", "Coffee and a spoon."]),
    "rocket": (["rocket"], ["A rocket flies."]),
}
CONFIG = TrainConfig(
    image_encoder="test_efficientnet",
    image_weights="",
    image_size=64,
    query_width=16,
    heads=2,
    hidden=32,
    epochs=2,
    batch=4,
    learning_rate=3e-3,
    warmup_steps=2,
    validation=0.0,
    checkpoint_steps=2,
    device="cpu",
)
# Settings under which so few photos teach something.
LEARNS: dict[str, Any] = {
    "image_encoder": "test_resnet", "similarity": True, "tag_focus": 0.0, "query_width": 32, "hidden": 64,
    "epochs": 100, "learning_rate": 3e-3, "schedule": "cosine", "clip_gradient": 1.0,
}  # fmt: skip


def write_photos(folder: Path) -> list[str]:
    """The four example photos, each in four variants, 80 pixels wide: cat-0.jpg …"""
    found = []
    for name in SHOWN:
        photo = Image.open(EXAMPLES / f"{name}.jpg").convert("RGB").resize((80, 60))
        for number, brightness in enumerate((1.0, 0.7, 1.3, 0.4)):
            variant = ImageEnhance.Brightness(ImageOps.mirror(photo) if number % 2 else photo).enhance(brightness)
            path = folder / f"{name}-{number}.jpg"
            variant.save(path, quality=95)
            found.append(str(path))
    return found


@dataclass
class Home:
    """An artefact root and short ways to fill it."""

    root: Path
    encoder_spec: str

    def vocabulary(self, tags: Sequence[str] = TAGS) -> Artifact:
        with draft(self.root, "vocabulary", config={}) as work:
            write_rows(work.path / "vocabulary.jsonl", ({"tag": tag, "aliases": ALIASES.get(tag, [])} for tag in tags))
            return work.publish()

    def triplets(self, vocabulary: Artifact, photos: Sequence[str]) -> Artifact:
        """Of photos named as in SHOWN, others without tags."""
        rows = []
        for photo in photos:
            tags, captions = SHOWN.get(Path(photo).name.partition("-")[0], ([], ["A dog."]))
            rows.append({"image": photo, "tags": tags, "captions": captions})
        with draft(self.root, "triplets", inputs=[vocabulary], config={}) as work:
            write_rows(work.path / "triplets.jsonl", rows)
            return work.publish()

    def descriptions(self, vocabulary: Artifact, texts: Mapping[str, Sequence[str]] | None = None) -> Artifact:
        texts = {tag: described(tag) for tag in TAGS} if texts is None else texts
        rows = [{"tag": tag, "text": text} for tag, own in texts.items() for text in own]
        with draft(self.root, "descriptions", inputs=[vocabulary], config={}) as work:
            write_rows(work.path / "descriptions.jsonl", rows)
            return work.publish()

    def embeddings(self, **options: Any) -> Artifact:
        config = EmbedConfig(text_encoder=self.encoder_spec)
        return embed(artifacts=self.root, encoder=load_text_encoder(self.encoder_spec), config=config, **options)

    def train(self, **settings: Any) -> Artifact:
        return train(artifacts=self.root, config=with_values(CONFIG, **settings))


def described(tag: str) -> list[str]:
    """As many sentences as the tag has letters, at most four; the template first."""
    return [f"a photo of a {tag}.", f"{tag} on the red", f"the {tag} with a dog", f"a {tag}, a {tag}"][: len(tag)]


def fill(home: Home, photos: Sequence[str]) -> None:
    """Write all that training needs."""
    vocabulary = home.vocabulary()
    home.triplets(vocabulary, photos)
    home.descriptions(vocabulary)
    home.embeddings()


def stop_training_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training be interrupted where so many steps are done."""
    step = Trainer.step

    def stop(self: Trainer, *given: Any) -> Any:
        if self.steps_done == steps:
            raise KeyboardInterrupt
        return step(self, *given)

    monkeypatch.setattr(Trainer, "step", stop)
