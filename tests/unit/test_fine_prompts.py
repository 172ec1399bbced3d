"""DaTP: learnt words before a super-category's name."""

import pytest
import tiny_models
import torch
import torch.nn.functional as F

from ramkit.errors import InputError
from ramkit.fgvc.prompts import Prompts
from ramkit.text.encoders import TextEncoder, load_text_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return load_text_encoder(f"sentence:{tiny_models.write_bert(tmp_path_factory.mktemp('bert'))}")


def prompts(encoder: TextEncoder, kinds: int = 5, *, per_kind: bool = True, chunk: int = 128) -> Prompts:
    torch.manual_seed(0)
    return Prompts(encoder, "red cat", kinds=kinds, tokens=2, per_kind=per_kind, chunk=chunk)


def test_words_in_the_place_of_x_give_the_plain_texts(encoder: TextEncoder) -> None:
    words = ["the dog", "of a", "photo with", "a a", "cat dog"]
    made = prompts(encoder)
    frames = [encoder.frame(text, 0) for text in words]
    vectors = torch.stack([encoder.word_embeddings[frame.tokens[frame.start : -1]] for frame in frames])
    with torch.no_grad():
        made.vectors.copy_(vectors)
        texts = F.normalize(made(), dim=-1)
    torch.testing.assert_close(texts, encoder.encode([f"{text} red cat" for text in words]), atol=1e-5, rtol=0)


def test_each_kind_learns_its_own_words_and_the_text_encoder_nothing(encoder: TextEncoder) -> None:
    made = prompts(encoder)
    assert made.vectors.shape == (5, 2, tiny_models.WIDTH)
    assert [name for name, _ in made.named_parameters()] == ["vectors"], "the text encoder is no part of it"
    made()[3].sum().backward()
    assert made.vectors.grad is not None
    assert (made.vectors.grad.abs().amax(dim=(1, 2)) > 0).tolist() == [False, False, False, True, False]
    spread = float(made.vectors.detach().std() / encoder.word_embeddings.std())
    assert spread == pytest.approx(1, abs=0.15), "as far from one another as words"


def test_one_x_for_all_makes_all_prompts_coincide(encoder: TextEncoder) -> None:
    texts = prompts(encoder, per_kind=False)()
    assert texts.shape == (5, encoder.width)
    assert torch.equal(texts, texts[:1].expand(5, -1))


def test_chunks_change_neither_texts_nor_gradients(encoder: TextEncoder) -> None:
    whole, parts = prompts(encoder), prompts(encoder, chunk=2)
    target = torch.randn(5, encoder.width)
    for made in (whole, parts):
        (made() * target).sum().backward()
    torch.testing.assert_close(parts(), whole(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(parts.vectors.grad, whole.vectors.grad, atol=1e-5, rtol=1e-4)


def test_more_words_than_the_encoder_reads_are_refused(encoder: TextEncoder) -> None:
    with pytest.raises(InputError, match=r"'red cat' after 60 learnable tokens is longer .* Give fewer prompt_tokens"):
        Prompts(encoder, "red cat", kinds=2, tokens=60, per_kind=True, chunk=8)
