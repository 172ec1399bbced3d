"""Descriptions' vectors in memory and on disk."""

from pathlib import Path

import pytest
import torch

from ramkit.embeddings import Embedded, EmbeddingFile, read_embeddings, save_embeddings
from ramkit.tensors import Precision

TAGS = Embedded(torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 1, 2, 3, 1]))


def test_present_is_true_where_a_description_stands() -> None:
    assert TAGS.present.tolist() == [
        [True, True, True], [True, False, False], [True, True, False], [True, True, True], [True, False, False]
    ]  # fmt: skip


def test_splitting_and_choosing_keep_vectors_and_counts_together() -> None:
    parts = list(TAGS.split(2))
    assert [part.counts.tolist() for part in parts] == [[3, 1], [2, 3], [1]]
    assert torch.equal(torch.cat([part.descriptions for part in parts]), TAGS.descriptions)
    chosen = TAGS.choose([4, 0])
    assert chosen.counts.tolist() == [1, 3]
    assert torch.equal(chosen.descriptions, TAGS.descriptions[[4, 0]])
    assert TAGS.choose([]).descriptions.shape == (0, 3, 4)


@pytest.mark.parametrize(("precision", "error"), [("float32", 0.0), ("float16", 2e-3), ("int8", 2e-2)])
def test_what_was_saved_is_read(tmp_path: Path, precision: Precision, error: float) -> None:
    save_embeddings(tmp_path / "e.safetensors", TAGS, precision)
    found = read_embeddings(tmp_path / "e.safetensors")
    assert torch.equal(found.counts, TAGS.counts)
    assert found.descriptions.dtype == torch.float32
    torch.testing.assert_close(found.descriptions, TAGS.descriptions, atol=error, rtol=0)


def test_templates_alone_are_the_first_descriptions() -> None:
    embedded = Embedded(torch.arange(12.0).reshape(2, 3, 2), torch.tensor([3, 1]))
    assert embedded.queries("descriptions") is embedded
    alone = embedded.queries("template")
    assert alone.descriptions.tolist() == [[[0.0, 1.0]], [[6.0, 7.0]]]
    assert alone.counts.tolist() == [1, 1]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_file_written_tag_by_tag_is_the_one_saved_whole(tmp_path: Path, precision: Precision) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    given = Embedded(TAGS.descriptions * TAGS.present[..., None], TAGS.counts)
    save_embeddings(whole, given, precision)
    with EmbeddingFile.create(parts, TAGS.counts.tolist(), width=4, precision=precision) as file:
        assert (file.tags, file.most, file.width) == (5, 3, 4)
        for first in (3, 0):  # in any order
            rows: list[tuple[bytes, ...] | None] = []
            for vectors, count in zip(
                given.descriptions[first : first + 3], given.counts[first : first + 3], strict=True
            ):
                rows += [*file.stored(vectors[:count], precision), *[None] * (3 - int(count))]
            file.write(first, rows)
        file.sync()
        assert file.row(1) == file.stored(given.descriptions[0, 1:2], precision)[0]
        found = list(file.split(2))
    assert torch.equal(read_embeddings(parts).descriptions, read_embeddings(whole).descriptions)
    assert torch.equal(read_embeddings(parts).counts, given.counts)
    assert [part.counts.tolist() for part in found] == [[3, 1], [2, 3], [1]]
    assert torch.equal(torch.cat([part.descriptions for part in found]), read_embeddings(whole).descriptions)
