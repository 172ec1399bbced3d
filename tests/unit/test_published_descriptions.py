"""Descriptions in the published format: read as they are, refused in one line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ramkit.errors import InputError
from ramkit.text.published_descriptions import read_published_descriptions, read_published_entries


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "d.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_list_of_tags_and_one_object_are_read_alike(tmp_path: Path) -> None:
    wanted = {"aerial photography": ["a photo.", "from above"], "ale": ["a beer"]}
    entries: dict[str, Any] = {"Aerial photography": ["a  photo.\n", "from above", " "], "Ale": ["a beer"]}
    for form in ([{tag: texts} for tag, texts in entries.items()], entries):
        found = read_published_descriptions(written(tmp_path, form))
        assert found == wanted
        assert list(found) == list(wanted)


def test_of_a_tag_that_comes_twice_the_first_texts_stand(tmp_path: Path) -> None:
    path = written(tmp_path, [{"missile": ["one"]}, {"Missile": ["two"]}])
    assert read_published_descriptions(path) == {"missile": ["one"]}


def test_entries_are_as_written(tmp_path: Path) -> None:
    written_so: list[Any] = [{"Ale": ["a  beer", ""], "aloe": ["x"]}, {"Ale": ["two"]}]
    wanted = [("Ale", ["a  beer", ""]), ("aloe", ["x"]), ("Ale", ["two"])]
    assert read_published_entries(written(tmp_path, written_so)) == wanted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{oops", "d.json: not JSON ("),
        ([], "d.json: holds no descriptions."),
        ([["ale"]], "d.json, entry 1: no object in braces."),
        ([{"ale": ["x"]}, {"aloe": "x"}], "d.json, entry 2, 'aloe': no list of texts."),
        ([{"ale": ["x", 3]}], "d.json, entry 1, 'ale': no list of texts."),
        ([{"ale": []}], "d.json, entry 1, 'ale': no list of texts."),
        ([{"ale": [" "]}], "d.json: 'ale' has no text."),
    ],
)
def test_another_form_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_published_descriptions(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json: cannot be read \(No such file"):
        read_published_descriptions(tmp_path / "gone.json")


def test_the_published_file_is_read_whole(shared: Path) -> None:
    found = read_published_descriptions(shared / "data/upstream/openimages_rare_200_llm_tag_descriptions.json")
    tags = (shared / "data/upstream/openimages_rare_200_ram_taglist.txt").read_text().split("\n")
    assert list(found) == [tag.lower() for tag in tags if tag]
    assert {len(texts) for texts in found.values()} == {51}
    assert found["aerial photography"][0] == "a photo of a aerial photography."
