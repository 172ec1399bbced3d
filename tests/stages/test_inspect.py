"""`ramkit artifacts`: what there is, and what it was made from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_home import Home

from ramkit import artifact
from ramkit.errors import ArtifactError, InputError
from ramkit.stages.inspect import lineage_tree, list_artifacts, show_artifact

KINDS = ["vocabulary", "triplets", "descriptions", "embeddings", "model"]


def test_all_are_listed_with_what_they_were_made_from(trained: Home) -> None:
    rows = {row["artifact"]: row for row in list_artifacts(trained.root)}
    assert list(rows) == [f"{kind}:v1" for kind in KINDS]
    assert rows["vocabulary:v1"]["inputs"] == ""
    assert rows["embeddings:v1"]["inputs"] == "vocabulary:v1, descriptions:v1"
    assert rows["model:v1"]["inputs"] == "vocabulary:v1, triplets:v1, embeddings:v1"
    assert rows["model:v1"]["id"] == artifact.find(trained.root, "model").id[:12]
    assert "5 tags" in rows["model:v1"]["holds"]
    assert list_artifacts(trained.root / "nowhere") == []


def test_inputs_that_are_gone_are_named_by_their_identity(ready: Home) -> None:
    made = artifact.find(ready.root, "vocabulary")
    made.path.rename(ready.root / "vocabulary" / "elsewhere")
    (row,) = (row for row in list_artifacts(ready.root) if row["artifact"] == "triplets:v1")
    assert row["inputs"] == made.id[:12]


@pytest.mark.parametrize("which", ["model:v1", "model", "model:1", "PATH"])
def test_one_is_named_by_kind_version_or_folder(trained: Home, which: str) -> None:
    path = trained.root / "model" / "v1"
    assert show_artifact(trained.root, which.replace("PATH", str(path))).path == path


@pytest.mark.parametrize(
    ("which", "error", "message"),
    [
        ("models:v1", InputError, "'models:v1': there is no such kind. Kinds: vocabulary, triplets, descriptions,"),
        ("model:v9", ArtifactError, "has no model:v9 (there: v1)."),
        ("report", ArtifactError, "holds no report yet. Make one: ramkit evaluate"),
        ("nothing", ArtifactError, "nothing: no artefact here"),
    ],
)
def test_what_is_not_there_is_told(trained: Home, which: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        show_artifact(trained.root, which)
    assert message in str(caught.value)


def lines(tree: Any, depth: int = 0) -> list[tuple[int, str]]:
    line, below = tree
    return [(depth, line), *(entry for branch in below for entry in lines(branch, depth + 1))]


def test_the_lineage_is_a_tree_down_to_the_captions(trained: Home) -> None:
    found = [
        (depth, line.split()[0])
        for depth, line in lines(lineage_tree(artifact.find(trained.root, "model")))
        if line.split()[0].partition(":")[0] in KINDS
    ]
    assert found == [
        (0, "model:v1"), (1, "vocabulary:v1"), (1, "triplets:v1"), (2, "vocabulary:v1"), (1, "embeddings:v1"),
        (2, "vocabulary:v1"), (2, "descriptions:v1"), (3, "vocabulary:v1"),
    ]  # fmt: skip


def test_the_command_line(ramkit: Callable[..., Any], trained: Home, tmp_path: Path) -> None:
    home = ("--artifacts", trained.root)
    assert all(f"{kind}:v1" in ramkit("artifacts", *home).out for kind in KINDS)
    assert [row["artifact"] for row in json.loads(ramkit("artifacts", "--json", *home).out)] == [
        f"{kind}:v1" for kind in KINDS
    ]
    shown = ramkit("artifacts", "show", "model:v1", *home)
    assert (shown.code, shown.err) == (0, "")
    assert "image_encoder=test_resnet" in shown.out
    assert shown.out.count("vocabulary:v1") == 4
    manifest = json.loads(ramkit("artifacts", "show", "model:v1", "--json", *home).out)
    assert manifest == artifact.find(trained.root, "model").manifest
    empty = ramkit("artifacts", "--artifacts", tmp_path / "none")
    assert (empty.code, empty.out) == (0, "")
    assert f"{tmp_path}/none: no artefact yet. The first is made by: ramkit parse-tags CAPTIONS" in empty.err
    wrong = ramkit("artifacts", "show", "model:v9", *home)
    assert wrong.code == 1
    assert len(wrong.err.splitlines()) == 1


def test_options_before_show_count_too(ramkit: Callable[..., Any], trained: Home) -> None:
    shown = ramkit("artifacts", "--artifacts", trained.root, "--json", "show", "model:v1")
    assert shown.code == 0, shown.err
    assert json.loads(shown.out)["kind"] == "model"


def test_a_changed_artefact_is_listed_but_not_shown(ramkit: Callable[..., Any], ready: Home) -> None:
    path = artifact.find(ready.root, "descriptions").file("descriptions.jsonl")
    path.write_text(path.read_text().replace("dog", "god"))
    home = ("--artifacts", ready.root)
    assert "descriptions:v1" in ramkit("artifacts", *home).out
    shown = ramkit("artifacts", "show", "descriptions:v1", *home)
    assert shown.code == 1
    assert "descriptions.jsonl was changed after it was written. Make it anew: ramkit describe" in shown.err
