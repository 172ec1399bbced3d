"""embed: every text's vector, each encoded once, whatever happens in between."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import stand_in_hub
import tiny_models
import torch
from tiny_home import TAGS, Home, described

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import EmbedConfig
from ramkit.embeddings import TENSORS, Embedded, read_embeddings
from ramkit.errors import ArtifactError, InputError
from ramkit.files import read_rows
from ramkit.stages import embed as stage
from ramkit.text.encoders import OpenClipTextEncoder, load_text_encoder


class Counting:
    """A text encoder that remembers what it was asked and may be interrupted."""

    def __init__(self, spec: str, stop_after: int = 1_000_000) -> None:
        self._encoder = load_text_encoder(spec)
        self.width = self._encoder.width
        self.texts: list[str] = []
        self._stop_after = stop_after

    def identity(self) -> dict[str, str]:
        return self._encoder.identity()

    def to(self, device: torch.device) -> None:
        self._encoder.to(device)

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        if len(self.texts) >= self._stop_after:
            raise KeyboardInterrupt
        self.texts += texts
        return self._encoder.encode(texts)


def run(home: Home, encoder: Counting, **settings: Any) -> Artifact:
    return stage.embed(artifacts=home.root, encoder=encoder, config=EmbedConfig(**settings))


def vectors_of(made: Artifact) -> Embedded:
    return read_embeddings(made.file(TENSORS))


@pytest.fixture
def encoder(home: Home) -> Counting:
    return Counting(home.encoder_spec)


@pytest.fixture
def texts(home: Home) -> list[str]:
    """All that the five tags' descriptions hold, published with their vocabulary."""
    home.descriptions(home.vocabulary())
    return [text for tag in TAGS for text in described(tag)]


@pytest.mark.parametrize(("precision", "error"), [("float32", 0.0), ("float16", 5e-4), ("int8", 5e-3)])
def test_each_tag_has_the_vectors_of_its_texts(
    home: Home, encoder: Counting, texts: list[str], precision: str, error: float
) -> None:
    made = run(home, encoder, precision=precision)
    found = vectors_of(made)
    assert found.descriptions.shape == (5, 4, tiny_models.WIDTH)
    assert found.counts.tolist() == [3, 4, 3, 4, 4]
    wanted = load_text_encoder(home.encoder_spec)
    for number, tag in enumerate(TAGS):
        own = found.descriptions[number, : found.counts[number]]
        torch.testing.assert_close(own, wanted.encode(described(tag)), atol=max(error, 1e-6), rtol=0)
    assert not found.descriptions[~found.present].any()
    assert sorted(encoder.texts) == sorted(texts)
    assert [(row["tag"], row["texts"]) for row in read_rows(made.file("texts.jsonl"))] == [
        (tag, described(tag)) for tag in TAGS
    ]
    assert made.manifest["inputs"].keys() == {"vocabulary", "descriptions"}
    counted = {key: made.statistics[key] for key in ("tags", "texts", "encoded", "resumed")}
    assert counted == {"tags": 5, "texts": 18, "encoded": 18, "resumed": False}
    assert set(made.manifest["files"]) == {TENSORS, "texts.jsonl"}


def test_the_first_descriptions_are_kept_and_equal_ones_count_once(home: Home, encoder: Counting) -> None:
    words = home.vocabulary(("cat", "dog"))
    home.descriptions(words, {"dog": ["one", "two", "one", "three"], "fish": ["four"], "cat": ["two", "five"]})
    found = vectors_of(run(home, encoder, max_descriptions=2))
    assert found.counts.tolist() == [2, 2]
    assert sorted(encoder.texts) == ["five", "one", "two"]
    torch.testing.assert_close(found.descriptions[0, 0], found.descriptions[1, 1])


def test_only_new_texts_are_encoded(home: Home, encoder: Counting, texts: list[str]) -> None:
    first = run(home, encoder)
    more = {tag: [*described(tag), "a new one"] for tag in TAGS}
    home.descriptions(artifact.find(home.root, "vocabulary"), more)
    again = Counting(home.encoder_spec)
    second = run(home, again)
    assert again.texts == ["a new one"]
    assert (second.version, second.statistics["encoded"], second.statistics["texts"]) == (2, 1, 23)
    one, other = vectors_of(first), vectors_of(second)
    assert torch.equal(one.descriptions[one.present], other.descriptions[:, :4][one.present])


def test_nothing_new_encodes_nothing_and_makes_no_version(home: Home, encoder: Counting, texts: list[str]) -> None:
    first = run(home, encoder)
    again = Counting(home.encoder_spec)
    told: list[str] = []
    config = EmbedConfig(device="cpu")
    same = stage.embed(artifacts=home.root, encoder=again, config=config, tell=told.append)
    assert (same.version, same.id, again.texts) == (1, first.id, [])
    assert told == ["nothing to do: embeddings:v1 is up to date."]


def test_vectors_are_taken_from_all_earlier_embeddings(home: Home, encoder: Counting) -> None:
    for tags in (("cat", "dog"), ("fish",), ("dog", "fish", "cat")):
        home.descriptions(home.vocabulary(tags), {tag: [f"the {tag}", "a thing"] for tag in tags})
        last = run(home, encoder)
    assert encoder.texts == ["the cat", "a thing", "the dog", "the fish"]
    wanted = load_text_encoder(home.encoder_spec).encode(["the dog", "the fish", "the cat"])
    torch.testing.assert_close(vectors_of(last).descriptions[:, 0], wanted, atol=5e-4, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_what_is_taken_over_is_the_same_to_the_last_bit(home: Home, encoder: Counting, precision: str) -> None:
    words = home.vocabulary(("cat", "dog"))
    home.descriptions(words, {"cat": ["a red cat", "the cat"], "dog": ["the dog"]})
    first = run(home, encoder, precision=precision)
    home.descriptions(words, {"cat": ["the cat", "a red cat"], "dog": ["the dog", "a new one"]})
    second = run(home, encoder, precision=precision)
    one, other = vectors_of(first).descriptions, vectors_of(second).descriptions
    assert torch.equal(one[0], other[0].flip(0))
    assert torch.equal(one[1, 0], other[1, 0])


def test_how_description_0_is_worded_is_told(home: Home, encoder: Counting) -> None:
    for texts, wording in (
        ({"apple": ["a photo of an apple."], "scissors": ["a photo of scissors."]}, "worded"),
        ({"apple": ["a photo of a apple."], "scissors": ["a photo of a scissors."]}, "literal"),
        ({"apple": ["an apple"], "scissors": ["a photo of scissors."]}, ""),
    ):
        home.descriptions(home.vocabulary(tuple(texts)), texts)
        assert run(home, encoder).config["template"] == wording


def test_another_encoder_or_precision_encodes_all(
    home: Home, encoder: Counting, texts: list[str], tmp_path: Path
) -> None:
    run(home, encoder)
    other = Counting(f"sentence:{tiny_models.write_bert(tmp_path / 'other', seed=1)}")
    run(home, other)
    finer = Counting(home.encoder_spec)
    run(home, finer, precision="float32")
    assert len(other.texts) == len(finer.texts) == len(texts)
    third = Counting(home.encoder_spec)
    run(home, third)
    assert third.texts == [], "what the same encoder made before others is found"


@pytest.mark.parametrize(("stop_after", "left"), [(0, 18), (5, 11), (12, 4)])
def test_an_interrupted_run_goes_on(
    home: Home, texts: list[str], monkeypatch: pytest.MonkeyPatch, stop_after: int, left: int
) -> None:
    monkeypatch.setattr(stage, "_PART", 5)
    stopped = Counting(home.encoder_spec, stop_after)
    with pytest.raises(KeyboardInterrupt):
        run(home, stopped)
    assert artifact.versions(home.root, "embeddings") == []
    encoder = Counting(home.encoder_spec)
    made = run(home, encoder)
    assert len(encoder.texts) == left
    assert made.statistics["resumed"] == (stop_after > 0)
    assert set(made.manifest["files"]) == {TENSORS, "texts.jsonl"}
    found = vectors_of(made)
    plain = load_text_encoder(home.encoder_spec)
    torch.testing.assert_close(found.descriptions[1], plain.encode(described("coffee")), atol=5e-4, rtol=0)


def test_a_run_stopped_while_it_publishes_has_nothing_to_encode_again(
    home: Home, encoder: Counting, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(artifact.os, "rename", stop)
        with pytest.raises(KeyboardInterrupt):
            run(home, encoder)
    again = Counting(home.encoder_spec)
    assert run(home, again).statistics["resumed"] is True
    assert again.texts == []
    left = [path.name for path in (home.root / "embeddings").iterdir() if path.suffix != ".lock"]
    assert left == ["v1"]


def test_what_a_kill_left_unreadable_is_begun_anew(
    home: Home, encoder: Counting, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_PART", 5)
    for spoil in (b"", b"no", b"\xff" * 20):
        with pytest.raises(KeyboardInterrupt):
            run(home, Counting(home.encoder_spec, 5))
        [begun] = (home.root / "embeddings").glob(f".draft-*/{TENSORS}")
        begun.write_bytes(spoil)
    made = run(home, encoder)
    assert (len(encoder.texts), made.statistics["resumed"]) == (18, False)
    assert [path.name for path in (home.root / "embeddings").iterdir() if path.suffix != ".lock"] == ["v1"]


_SLOW = """
import sys, time
from pathlib import Path
from ramkit.config import EmbedConfig
from ramkit.stages import embed as stage
from ramkit.text.encoders import OpenClipTextEncoder, load_text_encoder

stage._PART = 8
encoder = load_text_encoder(sys.argv[2])
encode = encoder.encode

def slowly(texts):
    print(len(texts), flush=True)
    time.sleep(0.02)
    return encode(texts)

encoder.encode = slowly
stage.embed(artifacts=Path(sys.argv[1]), encoder=encoder, config=EmbedConfig(device="cpu"))
"""


def test_a_kill_at_any_moment_loses_one_part_at_most(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    tags = tuple(f"thing {number}" for number in range(60))
    texts = {tag: [f"the {tag}", f"a red {tag}"] for tag in tags}
    home.descriptions(home.vocabulary(tags), texts)
    command = [sys.executable, "-c", _SLOW, str(home.root), home.encoder_spec]
    encoded = 0
    for parts in (1, 4, 6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            encoded += sum(int(process.stdout.readline()) for _ in range(parts))
            process.kill()
            encoded += sum(map(int, process.stdout.read().split()))
        assert process.returncode == -signal.SIGKILL
    monkeypatch.setattr(stage, "_PART", 8)
    encoder = Counting(home.encoder_spec)
    made = run(home, encoder)
    assert made.statistics["resumed"]
    assert 0 < len(encoder.texts) < 120
    assert encoded + len(encoder.texts) <= 120 + 3 * 8
    wanted = load_text_encoder(home.encoder_spec).encode([text for own in texts.values() for text in own])
    torch.testing.assert_close(vectors_of(made).descriptions.flatten(0, 1), wanted, atol=5e-4, rtol=0)


def test_damaged_earlier_embeddings_are_no_obstacle(home: Home, encoder: Counting, texts: list[str]) -> None:
    one = run(home, encoder)
    home.descriptions(artifact.find(home.root, "vocabulary"), {tag: [*described(tag), "more"] for tag in TAGS})
    two = run(home, encoder)
    (two.path / TENSORS).write_bytes(b"damaged")
    again = Counting(home.encoder_spec)
    assert run(home, again).id == two.id
    assert again.texts == ["more"], "the others are taken from the one before"
    (one.path / "manifest.json").write_text("{")
    (home.root / "embeddings" / "v3" / "manifest.json").write_text("{")
    run(home, again)
    assert len(again.texts) == 1 + len(texts) + 1


def test_tags_without_description_are_named(home: Home, encoder: Counting) -> None:
    home.descriptions(home.vocabulary(("a", "b")), {"a": ["x"]})
    words = home.vocabulary(tuple("abcdefgh"))
    with pytest.raises(ArtifactError) as caught:
        run(home, encoder)
    assert str(caught.value) == (
        "descriptions:v1 describes none of: b, c, d, e, f … (7 of 8 tags). Describe this vocabulary: ramkit describe"
    )
    assert words.version == 2
    home.descriptions(words, {tag: [f"the {tag}"] for tag in "abcdefgh"})
    assert run(home, encoder).statistics["tags"] == 8


def test_other_versions_may_be_named(home: Home, encoder: Counting) -> None:
    words = home.vocabulary(("cat",))
    home.descriptions(words, {"cat": ["first"]})
    home.descriptions(words, {"cat": ["second"]})
    home.vocabulary(("dog",))
    made = stage.embed(artifacts=home.root, encoder=encoder, config=EmbedConfig(), vocabulary="v1", descriptions="v1")
    assert encoder.texts == ["first"]
    assert made.manifest["inputs"]["vocabulary"] == words.id


def test_what_cannot_be_embedded_is_told(home: Home, encoder: Counting) -> None:
    with pytest.raises(ArtifactError, match=r"holds no vocabulary yet\. Make one: ramkit parse-tags"):
        run(home, encoder)
    home.vocabulary(())
    with pytest.raises(ArtifactError, match=r"holds no descriptions yet\. Make one: ramkit describe"):
        run(home, encoder)
    home.descriptions(home.vocabulary(()), {"a": ["x"]})
    with pytest.raises(InputError, match=r"the vocabulary is empty\. Parse more captions"):
        run(home, encoder)
    with pytest.raises(InputError, match=r"max_descriptions = 0\. Give a whole number above 0\."):
        run(home, encoder, max_descriptions=0)


def test_the_command_line(ramkit: Callable[..., Any], home: Home, texts: list[str], tmp_path: Path) -> None:
    given = ("--artifacts", home.root, "--text-encoder", home.encoder_spec)
    first = ramkit("embed", *given)
    assert (first.code, first.out) == (0, "")
    assert f"embeddings:v1: 18 texts of 5 tags, 18 encoded now; in {home.root}/embeddings/v1" in first.err
    second = ramkit("embed", *given, "--json")
    assert "nothing to do: embeddings:v1 is up to date." in second.err
    assert "18 texts of 5 tags, 0 encoded now; in" in second.err
    assert json.loads(second.out)["encoded"] == 0
    (tmp_path / "embed.toml").write_text(f'text_encoder = "{home.encoder_spec}"\nmax_descriptions = 1\n')
    third = ramkit("embed", "--config", tmp_path / "embed.toml", "--precision", "int8", "--artifacts", home.root)
    assert "embeddings:v2: 5 texts of 5 tags, 5 encoded now" in third.err
    for wrong, message in {
        ("--text-encoder", "clip"): "error: 'clip' names no text encoder.",
        ("--text-encoder", "sentence:/no/where"): "error: /no/where: no such file or folder.",
        ("--vocabulary", "v9"): "has no vocabulary:v9 (there: v1).",
    }.items():
        result = ramkit("embed", *given, *wrong)
        assert result.code == 1
        assert message in result.err
        assert len(result.err.splitlines()) == 1
    refused = ramkit("embed", *given, "--precision", "float64")
    assert refused.code == 2
    assert "float64" in refused.err


def test_an_encoder_is_fetched_from_a_hub(
    ramkit: Callable[..., Any], home: Home, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    folder = tiny_models.write_clip(tmp_path / "clip")
    files = {f"someone/tiny/{path.name}": path.read_bytes() for path in folder.iterdir()}
    spec = "open_clip:hf-hub:someone/tiny"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with stand_in_hub.serve(files) as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        done = ramkit("embed", "--artifacts", home.root, "--text-encoder", spec)
        gone = ramkit("embed", "--artifacts", home.root, "--text-encoder", "open_clip:hf-hub:someone/else")
    assert done.code == 0, done.err
    assert (gone.code, gone.err.count("\n")) == (1, 1)
    assert "open_clip:hf-hub:someone/else cannot be loaded (" in gone.err
    made = artifact.find(home.root, "embeddings")
    assert made.config["encoder"]["spec"] == spec
    assert made.config["encoder"]["sha256"] == OpenClipTextEncoder(f"local-dir:{folder}").identity()["sha256"]
    assert made.statistics["encoded"] == len(set(texts))


def test_neighbors_of_a_tag_and_of_any_word(ramkit: Callable[..., Any], home: Home, texts: list[str]) -> None:
    made = home.embeddings()
    shown = ramkit("embed", "--neighbors", "Rocket", "--artifacts", home.root, "--json", "--top-k", 2)
    found = json.loads(shown.out)
    means = [load_text_encoder(home.encoder_spec).encode(described(tag)).mean(0) for tag in TAGS]
    cosines = {
        tag: float(torch.cosine_similarity(means[3], mean, dim=0)) for tag, mean in zip(TAGS, means, strict=True)
    }
    del cosines["rocket"]
    best = sorted(cosines, key=cosines.__getitem__, reverse=True)[:2]
    assert [row["tag"] for row in found["neighbors"]] == best
    assert [row["cosine"] for row in found["neighbors"]] == pytest.approx([cosines[tag] for tag in best], abs=1e-3)
    assert (found["is_tag"], found["descriptions"], len(found["least_typical"])) == (True, 4, 3)
    assert {row["text"] for row in found["least_typical"]} < set(described("rocket"))
    other = json.loads(ramkit("embed", "--neighbors", "red cat", "--artifacts", home.root, "--json").out)
    assert (other["is_tag"], other["descriptions"], len(other["neighbors"])) == (False, 1, 5)
    table = ramkit("embed", "--neighbors", "cat", "--artifacts", home.root)
    assert "Nearest to cat" in table.out
    assert "Least like the others" in table.out
    assert "3 descriptions: mean cosine of all pairs" in table.err
    assert "is no tag" in ramkit("embed", "--neighbors", "zebra", "--artifacts", home.root).err
    assert artifact.versions(home.root, "embeddings") == [made.version]


def test_neighbors_need_embeddings_and_their_encoder(
    ramkit: Callable[..., Any], home: Home, texts: list[str], tmp_path: Path
) -> None:
    empty = ramkit("embed", "--neighbors", " ", "--artifacts", home.root)
    assert (empty.code, empty.err) == (1, "error: --neighbors: no word. Give a tag or any other word.\n")
    refused = ramkit("embed", "--neighbors", "cat", "--artifacts", home.root)
    assert (refused.code, "holds no embeddings yet. Make one: ramkit embed" in refused.err) == (1, True)
    folder = tiny_models.write_bert(tmp_path / "bert")
    run(home, Counting(f"sentence:{folder}"), text_encoder=f"sentence:{folder}")
    tiny_models.write_bert(folder, seed=1)
    assert ramkit("embed", "--neighbors", "cat", "--artifacts", home.root).code == 0, "a tag needs no encoder"
    refused = ramkit("embed", "--neighbors", "zebra", "--artifacts", home.root)
    assert "is no longer the encoder that embeddings:v1 was made with. Embed anew: ramkit embed" in refused.err


_PUBLISHED_SCALE = """
import hashlib, json, resource, sys
from pathlib import Path
import torch
from ramkit.artifact import draft
from ramkit.config import EmbedConfig
from ramkit.files import write_rows
from ramkit.stages.embed import embed

class Encoder:  # as wide as CLIP, and as good as nothing: measured is all around it
    width = 512
    def identity(self): return {"spec": "none", "sha256": "0"}
    def to(self, device): pass
    def encode(self, texts):
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        return torch.sin(torch.tensor(seeds)[:, None] * torch.arange(1, 513) / 1e9)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def describe(changed):
    with draft(root, "descriptions", inputs=[words], config={}) as work:
        write_rows(work.path / "descriptions.jsonl", (
            {"tag": tag, "prompt": 1, "index": index, "text": f"{tag} has side {index} {changed.get((tag, index), '')} "
             "with a long body and a short tail, red or green, often on grass or sand in bright light."}
            for tag in tags for index in range(50)
        ))
        work.publish()

root, tags = Path(sys.argv[1]), [f"thing {number}" for number in range(int(sys.argv[2]))]
with draft(root, "vocabulary", config={}) as work:
    write_rows(work.path / "vocabulary.jsonl", ({"tag": tag} for tag in tags))
    words = work.publish()
before = peak()
describe({})
first = embed(artifacts=root, encoder=Encoder(), config=EmbedConfig()).statistics
describe({(tags[3], 7): "and a new one"})
second = embed(artifacts=root, encoder=Encoder(), config=EmbedConfig()).statistics
print(json.dumps([first["encoded"], second["encoded"], peak() - before]))
"""


@pytest.mark.slow
def test_the_published_scale_fits_a_flat_memory(tmp_path: Path) -> None:
    """229,250 texts, then one of them changed: vectors of 447 MiB never are in memory."""
    command = [sys.executable, "-c", _PUBLISHED_SCALE, str(tmp_path), "4585"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    encoded, again, grown = json.loads(done.stdout)
    assert (encoded, again) == (229_250, 1)
    assert grown < 200  # MiB: hashes and places of the texts, and of those of the version before
