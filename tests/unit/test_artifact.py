"""Artefacts: whole or absent, verified when loaded, and traceable to all that they came from."""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ramkit import artifact
from ramkit.artifact import MANIFEST, Artifact, draft, find, lineage_of, list_all, load, read_manifest, versions
from ramkit.errors import ArtifactError, BusyError
from ramkit.files import write_rows


def publish(root: Path, kind: str = "vocabulary", content: str = "dog", **options: Any) -> Artifact:
    with draft(root, kind, config=options.pop("config", {}), **options) as work:
        (work.path / "tags.txt").write_text(content)
        return work.publish()


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def edit_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest.update(changes)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


# ---- publish, load, find, list


def test_what_was_published_is_loaded_whole(tmp_path: Path) -> None:
    with draft(tmp_path, "vocabulary", config={"min_count": 5}) as work:
        (work.path / "tags.txt").write_text("dog\n")
        (work.path / "inner").mkdir()
        (work.path / "inner" / "more.txt").write_text("cat\n")
        work.statistics["tags"] = 1
        work.notes["source"] = "naïve 犬"
        made = work.publish()
    assert made.path == tmp_path / "vocabulary" / "v1"
    assert made.name == "vocabulary:v1"
    assert load(made.path, "vocabulary", version=1) == made
    assert made.config == {"min_count": 5}
    assert made.statistics == {"tags": 1}
    assert made.manifest["notes"] == {"source": "naïve 犬"}
    assert made.manifest["files"]["tags.txt"]["bytes"] == 4
    assert made.file("inner/more.txt").read_text() == "cat\n"
    assert names_in(made.path) == ["inner", MANIFEST, "tags.txt"]
    assert names_in(tmp_path / "vocabulary") == ["v1"]
    assert read_manifest(made.path) == made.manifest


def test_a_file_it_does_not_have_is_refused_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"v1: has no file tags\.jsonl\. Make it anew: ramkit parse-tags"):
        publish(tmp_path).file("tags.jsonl")


def test_an_artefact_without_a_version_is_named_by_its_folder(tmp_path: Path) -> None:
    made = publish(tmp_path)
    assert load(made.path).name == str(made.path)


def test_the_newest_is_found_unless_another_is_named(tmp_path: Path) -> None:
    first, second = publish(tmp_path, content="dog"), publish(tmp_path, content="cat")
    for number in range(3, 11):
        last = publish(tmp_path, content=str(number))
    assert find(tmp_path, "vocabulary") == last
    assert last.version == 10
    for which in ("v2", "2", "vocabulary:v2", "vocabulary:2"):
        assert find(tmp_path, "vocabulary", which) == second
    assert find(tmp_path, "vocabulary", str(first.path)).id == first.id


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (None, "holds no vocabulary yet. Make one: ramkit parse-tags"),
        ("v7", "has no vocabulary:v7 (there: none). List them: ramkit artifacts"),
        ("nowhere", "nowhere: no artefact here (manifest.json is missing). List them: ramkit artifacts"),
        ("model:v1", "model:v1: no artefact here (manifest.json is missing). List them: ramkit artifacts"),
    ],
)
def test_what_is_not_there_is_not_found(tmp_path: Path, which: str | None, message: str) -> None:
    with pytest.raises(ArtifactError, match=re.escape(message)):
        find(tmp_path, "vocabulary", which)


def test_a_missing_version_lists_those_there(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path)
    with pytest.raises(ArtifactError, match=re.escape("has no vocabulary:v3 (there: v1, v2).")):
        find(tmp_path, "vocabulary", "3")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    made = publish(tmp_path)
    with pytest.raises(ArtifactError, match=r"is of kind vocabulary, needed is model\. Name another folder\."):
        find(tmp_path, "model", str(made.path))


def test_all_are_listed_in_the_order_of_the_pipeline(tmp_path: Path) -> None:
    for kind in ("model", "vocabulary", "vocabulary", "triplets"):
        publish(tmp_path, kind)
    listed = [(kind, number) for kind, number, _ in list_all(tmp_path)]
    assert listed == [("vocabulary", 1), ("vocabulary", 2), ("triplets", 1), ("model", 1)]
    assert list_all(tmp_path / "nowhere") == []


def test_only_folders_named_like_versions_are_versions(tmp_path: Path) -> None:
    home = tmp_path / "vocabulary"
    for name in ("v2", "v10", "v01", "v0", "v", "v1.bak", ".draft-v3", "w4"):
        (home / name).mkdir(parents=True)
    (home / "v11").touch()
    assert versions(tmp_path, "vocabulary") == [2, 10]


def test_the_next_version_follows_the_highest_and_fills_no_gap(tmp_path: Path) -> None:
    for _ in range(3):
        made = publish(tmp_path)
    shutil.rmtree(tmp_path / "vocabulary" / "v1")
    assert made.version == 3
    assert publish(tmp_path).version == 4


# ---- identity


def test_equal_content_has_equal_identity_wherever_whenever_and_from_whatever_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = publish(tmp_path / "here")
    monkeypatch.setattr(artifact, "_tool_versions", lambda: {"python": "4.0"})
    source = publish(tmp_path / "elsewhere", "triplets")
    there = publish(tmp_path / "elsewhere", config={"min_count": 7}, inputs=[source])
    assert there.manifest["tools"] != here.manifest["tools"]
    assert load(there.path).id == here.id


@pytest.mark.parametrize(
    "changes", [{"inputs": {"captions": "1"}}, {"config": {"min_count": 99}}, {"statistics": {"tags": 9}}]
)
def test_a_manifest_edited_by_hand_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = publish(tmp_path)
    edit_manifest(made.path, **changes)
    with pytest.raises(ArtifactError, match=r"manifest\.json was changed after it was written\. Make it anew"):
        load(made.path)


@pytest.mark.parametrize("change", ["content", "name", "kind", "one more file"])
def test_other_content_has_another_identity(tmp_path: Path, change: str) -> None:
    with draft(tmp_path, "triplets" if change == "kind" else "vocabulary", config={}) as work:
        name = "words.txt" if change == "name" else "tags.txt"
        (work.path / name).write_text("cat" if change == "content" else "dog")
        if change == "one more file":
            (work.path / "more.txt").touch()
        other = work.publish()
    assert other.id != publish(tmp_path / "plain").id


def test_the_identity_is_the_hash_that_the_module_promises(tmp_path: Path) -> None:
    dog = hashlib.sha256(b"dog").hexdigest()
    content = f'["ramkit-artifact", 1, "vocabulary", [["tags.txt", "{dog}"]]]'
    assert publish(tmp_path).id == hashlib.sha256(content.encode()).hexdigest()


# ---- refusals of load

MAKE_ANEW = "Make it anew: ramkit parse-tags"


def remove_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def damage_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")


def write_latin1(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b'{"schema": "caf\xe9"}')


def write_a_list(folder: Path) -> None:
    (folder / MANIFEST).write_text("[]")


def change_file(folder: Path) -> None:
    (folder / "tags.txt").write_text("cat")


def remove_file(folder: Path) -> None:
    (folder / "tags.txt").unlink()


def add_file(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "more.txt").touch()


def edited(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_manifest(folder, **changes)


def drop_keys(folder: Path) -> None:
    kept = {"schema": artifact.SCHEMA, "schema_version": artifact.SCHEMA_VERSION, "kind": "vocabulary", "id": "1"}
    (folder / MANIFEST).write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("spoil", "what", "cure"),
    [
        (remove_manifest, "no artefact here (manifest.json is missing).", "List them: ramkit artifacts"),
        (shutil.rmtree, "no artefact here (manifest.json is missing).", "List them: ramkit artifacts"),
        (damage_manifest, "manifest.json: unreadable manifest (", "Make the artefact anew."),
        (write_latin1, "manifest.json: unreadable manifest (", "Make the artefact anew."),
        (write_a_list, "manifest.json: not a ramkit artefact.", "Name a folder that ramkit wrote."),
        (edited(schema="other"), "manifest.json: not a ramkit artefact.", "Name a folder that ramkit wrote."),
        (
            edited(schema_version=99),
            "manifest.json: schema version 99, this ramkit reads 1.",
            "Install a ramkit that reads it, or make the artefact anew.",
        ),
        (
            drop_keys,
            "manifest.json: the manifest lacks config, created, files, inputs, lineage, notes, statistics.",
            "Make it anew.",
        ),
        (edited(files=[], config=None), "manifest.json: files, config in the manifest is damaged.", "Make it anew."),
        (edited(files={"tags.txt": "f00"}), "manifest.json: files in the manifest is damaged.", "Make it anew."),
        (edited(lineage=["model"]), "manifest.json: lineage in the manifest is damaged.", "Make it anew."),
        (
            change_file,
            "tags.txt was changed after it was written.",
            f"{MAKE_ANEW}; to keep an edit, copy it and add --voc",
        ),
        (remove_file, "file missing: tags.txt.", MAKE_ANEW),
        (add_file, "file that is not in the manifest: inner/more.txt.", "Move it away."),
        (edited(id="0" * 64), "manifest.json was changed after it was written.", MAKE_ANEW),
        (edited(kind="triplets"), "manifest.json was changed after it was written.", MAKE_ANEW),
        (edited(kind="?"), "manifest.json was changed after it was written.", "Make it anew: run the stage that wro"),
    ],
)
def test_a_spoilt_artefact_is_refused_with_its_place_and_cure(
    tmp_path: Path, spoil: Callable[[Path], None], what: str, cure: str
) -> None:
    folder = publish(tmp_path).path
    spoil(folder)
    with pytest.raises(ArtifactError) as caught:
        load(folder)
    assert caught.value.what.startswith(str(folder))
    assert what in caught.value.what
    assert caught.value.cure.startswith(cure)
    assert "\n" not in str(caught.value)


def test_a_file_swapped_together_with_its_hash_is_noticed(tmp_path: Path) -> None:
    made, other = publish(tmp_path), publish(tmp_path, content="cat")
    shutil.copy(other.file("tags.txt"), made.path)
    edit_manifest(made.path, files=other.manifest["files"])
    with pytest.raises(ArtifactError, match=r"manifest\.json was changed after it was written"):
        load(made.path)


def test_a_root_that_cannot_be_made_is_refused_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ArtifactError, match=r"vocabulary: cannot be made \(Not a directory\)\. Name .* --artifacts\."),
        draft(tmp_path / "file", "vocabulary", config={}),
    ):
        pytest.fail("opened")


# ---- inputs and lineage


def test_an_artefact_accepts_the_input_it_was_made_from_even_a_copy(tmp_path: Path) -> None:
    vocabulary = publish(tmp_path)
    embeddings = publish(tmp_path, "embeddings", inputs=[vocabulary])
    shutil.copytree(vocabulary.path, tmp_path / "copy")
    embeddings.require_input(vocabulary)
    embeddings.require_input(load(tmp_path / "copy"))


def test_another_input_is_refused_with_both_identities_and_the_command(tmp_path: Path) -> None:
    vocabulary, other = publish(tmp_path), publish(tmp_path, content="cat")
    embeddings = publish(tmp_path, "embeddings", inputs=[vocabulary])
    with pytest.raises(ArtifactError) as caught:
        embeddings.require_input(other)
    assert str(caught.value) == (
        f"embeddings:v1 was made from another vocabulary ({vocabulary.id[:12]}) than vocabulary:v2 ({other.id[:12]}). "
        "Make it for this vocabulary: ramkit embed --vocabulary v2"
    )
    with pytest.raises(ArtifactError, match=r"another model \(none\) than"):
        embeddings.require_input(load(publish(tmp_path, "model").path))


def test_the_lineage_carries_every_ancestor_once_and_nearest_first(tmp_path: Path) -> None:
    vocabulary = publish(tmp_path, config={"min_count": 5})
    triplets = publish(tmp_path, "triplets", inputs=[vocabulary])
    descriptions = publish(tmp_path, "descriptions", inputs=[vocabulary])
    embeddings = publish(tmp_path, "embeddings", inputs=[vocabulary, descriptions])
    model = publish(tmp_path, "model", inputs=[triplets, embeddings])

    assert model.manifest["inputs"] == {"triplets": triplets.id, "embeddings": embeddings.id}
    lineage = load(model.path).manifest["lineage"]
    assert [entry["name"] for entry in lineage] == ["triplets:v1", "vocabulary:v1", "embeddings:v1", "descriptions:v1"]
    assert lineage[1]["id"] == vocabulary.id
    assert lineage[1]["config"] == {"min_count": 5}
    assert [entry["id"] for entry in lineage_of(model)] == [model.id, *(entry["id"] for entry in lineage)]


def test_a_copy_far_from_its_ancestors_still_tells_of_them(tmp_path: Path) -> None:
    model = publish(tmp_path / "a", "model", inputs=[publish(tmp_path / "a")])
    shutil.move(model.path, tmp_path / "far")
    shutil.rmtree(tmp_path / "a")
    assert [entry["kind"] for entry in lineage_of(load(tmp_path / "far"))] == ["model", "vocabulary"]


# ---- drafts


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_plain_draft_leaves_nothing_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    def stage() -> None:
        with draft(tmp_path, "model", config={}) as work:
            (work.path / "weights").touch()
            raise error

    with pytest.raises(error):
        stage()
    assert names_in(tmp_path / "model") == []


def test_a_draft_that_is_not_published_leaves_nothing(tmp_path: Path) -> None:
    with draft(tmp_path, "model", config={}) as work:
        (work.path / "weights").touch()
    assert names_in(tmp_path / "model") == []


def start(root: Path, **options: Any) -> bool:
    """Begin a resumable draft, write a file more, and be interrupted; whether earlier work was found."""
    found: list[bool] = []

    def stage() -> None:
        with draft(root, "descriptions", resumable=True, **options) as work:
            found.append(work.resumed)
            (work.path / f"part-{len(names_in(work.path))}").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage()
    return found[0]


def test_a_resumable_draft_is_found_again_and_published(tmp_path: Path) -> None:
    assert start(tmp_path, config={"a": 1, "b": 2}) is False
    assert start(tmp_path, config={"b": 2, "a": 1}) is True
    with draft(tmp_path, "descriptions", config={"a": 1, "b": 2}, resumable=True) as work:
        assert names_in(work.path) == ["part-0", "part-1"]
        work.publish()
    assert start(tmp_path, config={"a": 1, "b": 2}) is False
    assert versions(tmp_path, "descriptions") == [1]


def test_a_resumable_draft_belongs_to_its_configuration_and_inputs(tmp_path: Path) -> None:
    dog, cat = publish(tmp_path, content="dog"), publish(tmp_path, content="cat")
    assert start(tmp_path, config={"a": 1}, inputs=[dog]) is False
    assert start(tmp_path, config={"a": 2}, inputs=[dog]) is False
    assert start(tmp_path, config={"a": 1}, inputs=[cat]) is False
    assert start(tmp_path, config={"a": 1}, inputs=[dog]) is True


def test_a_resumable_draft_without_work_in_it_is_no_earlier_work(tmp_path: Path) -> None:
    for _ in range(2):
        with draft(tmp_path, "descriptions", config={}, resumable=True) as work:
            assert not work.resumed
    assert versions(tmp_path, "descriptions") == []


def test_two_runs_on_one_resumable_draft_exclude_each_other(tmp_path: Path) -> None:
    with draft(tmp_path, "descriptions", config={}, resumable=True) as work:
        (work.path / "part").touch()
        with (
            pytest.raises(BusyError, match=r"another run is writing this descriptions\. Wait for it, or stop it\."),
            draft(tmp_path, "descriptions", config={}, resumable=True),
        ):
            pytest.fail("opened")
        with draft(tmp_path, "descriptions", config={"other": 1}, resumable=True):
            pass
        assert work.publish().version == 1


def test_two_plain_runs_do_not_disturb_each_other(tmp_path: Path) -> None:
    with draft(tmp_path, "model", config={}) as one, draft(tmp_path, "model", config={}) as two:
        (one.path / "one").touch()
        (two.path / "two").touch()
        assert (two.publish().version, one.publish().version) == (1, 2)
    assert names_in(tmp_path / "model") == ["v1", "v2"]


def test_runs_that_publish_at_once_get_different_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(8)
    plain = artifact.versions

    def seen_at_once(root: Path, kind: str) -> list[int]:
        known = plain(root, kind)
        together.wait(timeout=10)
        return known

    monkeypatch.setattr(artifact, "versions", seen_at_once)
    made: list[Artifact] = []
    threads = [
        threading.Thread(target=lambda number=number: made.append(publish(tmp_path, content=str(number))))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry.version or 0 for entry in made) == list(range(1, 9))
    for entry in made:
        assert load(entry.path, version=entry.version) == entry
    assert len({entry.id for entry in made}) == 8


def test_a_rename_that_fails_for_another_reason_is_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(artifact.os, "rename", refuse)
    with pytest.raises(PermissionError, match="read-only"):
        publish(tmp_path)
    assert names_in(tmp_path / "vocabulary") == []


# ---- kills

WRITE = """
import os, signal, sys
from pathlib import Path
from ramkit import artifact
from ramkit.files import write_rows

root, resumable, stop_before = Path(sys.argv[1]), sys.argv[2] == "resumable", sys.argv[3]
if stop_before != "nothing":
    def stop(*_):
        print("stopped", flush=True)
        signal.pause()
    setattr(artifact.os, stop_before, stop)
number = 0
while True:
    number += 1
    with artifact.draft(root, "vocabulary", config={}, resumable=resumable) as work:
        for name in ("a", "b"):
            write_rows(work.path / f"{name}.jsonl", ({"number": number, "row": row} for row in range(200)))
        work.publish()
    if number == 1:
        print("one published", flush=True)
"""


def assert_only_whole_versions(root: Path) -> None:
    for kind, number, folder in list_all(root):
        assert set(load(folder, kind, version=number).manifest["files"]) == {"a.jsonl", "b.jsonl"}


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.011, 0.023])
def test_a_kill_at_any_moment_leaves_only_whole_versions(
    tmp_path: Path, killed: Callable[..., int], delay: float
) -> None:
    killed(WRITE, tmp_path, "plain", "nothing", after=delay)
    assert versions(tmp_path, "vocabulary")
    assert_only_whole_versions(tmp_path)
    newest = find(tmp_path, "vocabulary").version or 0
    assert publish(tmp_path).version == newest + 1
    left = [name for name in names_in(tmp_path / "vocabulary") if not name.startswith("v")]
    assert all(name.endswith(".lock") for name in left), "the dead run's scratch should be gone"


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_run_killed_while_it_publishes_leaves_no_version_and_its_scratch_is_removed(
    tmp_path: Path, killed: Callable[..., int], moment: str
) -> None:
    killed(WRITE, tmp_path, "plain", moment, after=0.0)
    (scratch,) = (entry for entry in (tmp_path / "vocabulary").iterdir() if entry.is_dir())
    assert (scratch / MANIFEST).exists() == (moment == "rename")
    assert versions(tmp_path, "vocabulary") == []
    assert publish(tmp_path).version == 1
    assert names_in(tmp_path / "vocabulary") == ["v1"]


def test_the_scratch_of_a_living_run_is_left_alone(tmp_path: Path) -> None:
    with draft(tmp_path, "vocabulary", config={}) as work:
        (work.path / "tags.txt").write_text("cat")
        publish(tmp_path)
        assert load(work.publish().path).file("tags.txt").read_text() == "cat"


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_resumable_run_killed_while_it_publishes_is_resumed_without_its_half_written_files(
    tmp_path: Path, killed: Callable[..., int], moment: str
) -> None:
    killed(WRITE, tmp_path, "resumable", moment, after=0.0)
    with draft(tmp_path, "vocabulary", config={}, resumable=True) as work:
        assert work.resumed == (moment == "rename"), "of the first file only a part was there"
        for name in ("a", "b"):
            write_rows(work.path / f"{name}.jsonl", [])
        work.publish()
    assert_only_whole_versions(tmp_path)
    assert versions(tmp_path, "vocabulary") == [1]


def test_a_run_killed_within_the_manifest_leaves_no_part_of_it_in_the_next(
    tmp_path: Path, killed: Callable[..., int]
) -> None:
    killed(WRITE, tmp_path, "resumable", "chmod", after=0.0)
    (folder,) = (entry for entry in (tmp_path / "vocabulary").iterdir() if entry.is_dir())
    assert any(name.startswith(f".{MANIFEST}.") for name in names_in(folder))
    with draft(tmp_path, "vocabulary", config={}, resumable=True) as work:
        assert work.resumed
        work.publish()
    assert_only_whole_versions(tmp_path)
    assert versions(tmp_path, "vocabulary") == [1]


def test_file_names_that_are_no_utf8_can_be_noted(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    made = publish(tmp_path, config={"image": name})
    assert load(made.path).config == {"image": name}
