"""A saved model and its loaded twin: the same answers, in chunks or at once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_models import WIDTH, write_bert

from ramkit import artifact
from ramkit import tagger as module
from ramkit.artifact import Artifact, draft
from ramkit.embeddings import Embedded
from ramkit.errors import ArtifactError
from ramkit.image_encoder import ImageEncoder, create_image_encoder
from ramkit.ram.model import AlignmentHead, ModelConfig
from ramkit.tagger import Tagger, save_model, text_encoder_named
from ramkit.text.encoders import TextEncoder, load_text_encoder

TAGS = ["cat", "dog", "red dog", "sea", "tree"]
CONFIG = ModelConfig(
    "test_vit", 32, 64, WIDTH, query_width=16, heads=2, hidden=32, similarity=True,
    mean=(0.1, 0.2, 0.3), interpolation="bicubic",
)  # fmt: skip


class Named:
    """A text encoder that does not travel with the model, as open_clip's."""

    width = WIDTH

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256

    def identity(self) -> dict[str, str]:
        return {"spec": "open_clip:some/weights", "sha256": self.sha256}

    def encode(self, texts: list[str]) -> torch.Tensor:
        return F.normalize(torch.ones(len(texts), WIDTH), dim=-1)


def parts() -> tuple[ImageEncoder, AlignmentHead, Embedded]:
    torch.manual_seed(0)
    encoder = create_image_encoder("test_vit", size=32)
    vectors = F.normalize(torch.randn(len(TAGS), 3, WIDTH), dim=-1)
    embedded = Embedded(vectors, torch.tensor([3, 1, 2, 3, 1]))
    return encoder, AlignmentHead(CONFIG).eval(), Embedded(vectors * embedded.present[..., None], embedded.counts)


def publish(root: Path, text_encoder: TextEncoder, **options: Any) -> Artifact:
    encoder, head, embedded = parts()
    with draft(root, "model", config={}) as work:
        save_model(
            work.path, config=CONFIG, head=head, image_encoder=encoder.module, embedded=embedded,
            rows=[{"tag": tag, "aliases": ["Sea Side", "dog"] if tag == "sea" else []} for tag in TAGS],
            text_encoder=text_encoder, threshold=0.25, **options,
        )  # fmt: skip
        return work.publish()


@pytest.fixture
def text_encoder(tmp_path: Path) -> TextEncoder:
    return load_text_encoder(f"sentence:{write_bert(tmp_path / 'bert')}")


def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_loaded_model_answers_as_the_one_saved(tmp_path: Path, text_encoder: TextEncoder) -> None:
    found = Tagger(publish(tmp_path, text_encoder, weights="float32", vectors="float32"))
    encoder, head, embedded = parts()
    with torch.inference_mode():
        wanted = head(encoder(pixels()), embedded.descriptions, embedded.present)
    torch.testing.assert_close(found.logits(found.features(pixels()), found.vocabulary), wanted)
    assert (found.tags, found.threshold) == (TAGS, 0.25)
    assert (found.preprocess.size, found.preprocess.mean, found.preprocess.interpolation) == (
        32, (0.1, 0.2, 0.3), "bicubic"
    )  # fmt: skip
    vectors = found.text_encoder.encode(["a photo of a zebra."])
    assert (vectors * text_encoder.encode(["a photo of a zebra."])).sum() > 0.999
    torch.testing.assert_close(found.describe(["zebra"]).descriptions[:, 0], vectors)


def test_half_precision_and_eight_bits_change_little(tmp_path: Path, text_encoder: TextEncoder) -> None:
    fine = Tagger(publish(tmp_path, text_encoder, weights="float32", vectors="float32"))
    small = Tagger(publish(tmp_path, text_encoder))
    one, other = (made.logits(made.features(pixels()), made.vocabulary) for made in (fine, small))
    torch.testing.assert_close(one, other, atol=0.05, rtol=0)
    assert not torch.equal(one, other)


def test_chunks_change_nothing(tmp_path: Path, text_encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Tagger(publish(tmp_path, text_encoder))
    features = found.features(pixels())
    at_once = found.logits(features, found.vocabulary)
    monkeypatch.setattr(module, "_CHUNK", 2)
    torch.testing.assert_close(found.logits(features, found.vocabulary), at_once)
    assert found.logits(features, found.vocabulary.choose([])).shape == (2, 0)


def test_names_and_aliases_have_their_tags_number(tmp_path: Path, text_encoder: TextEncoder) -> None:
    found = Tagger(publish(tmp_path, text_encoder)).numbers
    assert {name: found[name] for name in ("cat", "red dog", "sea side", "dog")} == {
        "cat": 0, "red dog": 2, "sea side": 3, "dog": 1
    }  # fmt: skip


def test_a_text_encoder_that_does_not_travel_is_loaded_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = publish(tmp_path, Named("1"))
    assert not Tagger(made).has_text_encoder
    assert json.loads(made.file("model.json").read_text())["text_encoder"] == Named("1").identity()
    monkeypatch.setattr(module, "load_text_encoder", lambda spec: Named({"open_clip:some/weights": "1"}[spec]))
    assert Tagger(made).describe(["zebra", "sled"]).descriptions.shape == (2, 1, WIDTH)
    monkeypatch.setattr(module, "load_text_encoder", lambda _: Named("2"))
    with pytest.raises(ArtifactError, match=r"open_clip:some/weights is not the text encoder that model:v1 was"):
        _ = Tagger(made).text_encoder


def test_a_bundled_models_encoder_is_named_by_the_model(
    tmp_path: Path, text_encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = publish(tmp_path / "root", text_encoder)
    (tmp_path / "bundled").mkdir()
    made.path.rename(tmp_path / "bundled" / "tiny")
    monkeypatch.setattr(module, "BUNDLED", tmp_path / "bundled")
    assert text_encoder_named("tiny").identity() == text_encoder.identity()
    spec = text_encoder.identity()["spec"]
    assert text_encoder_named(spec).identity() == text_encoder.identity()


def test_words_with_texts_of_their_own_are_asked_by_all_of_them(tmp_path: Path) -> None:
    encoder = load_text_encoder(f"sentence:{write_bert(tmp_path / 'bert')}")
    found = Tagger(publish(tmp_path, encoder)).describe(["Zebra", "sled"], {"zebra": ["a red dog", "the cat", "dog"]})
    assert found.counts.tolist() == [3, 1]
    wanted = Tagger(artifact.find(tmp_path, "model")).text_encoder.encode(
        ["a red dog", "the cat", "dog", "a photo of a sled."]
    )
    torch.testing.assert_close(found.descriptions[0], wanted[:3])
    torch.testing.assert_close(found.descriptions[1, 0], wanted[3])
    assert not found.descriptions[1, 1:].any()
