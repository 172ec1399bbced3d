"""examples/ablation: every row is a configuration that reads, and the script trains, measures and prints them."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_home import SHOWN, Home

from ramkit import artifact
from ramkit.config import TrainConfig, as_dict, read_config

FOLDER = Path(__file__).parents[2] / "examples" / "ablation"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("ablation", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_differ_from_the_whole_model_in_what_they_leave_out() -> None:
    rows = {name: as_dict(read_config(FOLDER / f"{name}.toml", TrainConfig)) for name in (*"abcdef", "itc", "itm")}
    whole = rows["f"]
    changed = {name: {key: row[key] for key in row if row[key] != whole[key]} for name, row in rows.items()}
    assert changed == {
        "a": {"tag_loss": 0.0, "queries": "template"},
        "b": {"text_loss": 0.0, "queries": "template"},
        "c": {"queries": "template"},
        "d": {"queries": "template", "queries_at_inference": "descriptions", "reweighting": False},
        "e": {"reweighting": False},
        "f": {},
        "itc": {"alignment": "itc"},
        "itm": {"alignment": "itm"},
    }
    assert whole["reweighting"]
    assert (whole["alignment"], whole["queries"], whole["queries_at_inference"]) == ("itta", "descriptions", "same")
    assert (whole["tag_loss"], whole["text_loss"], whole["teacher_loss"]) == (1.0, 1.0, 0.0)


def test_the_script_trains_measures_and_prints_each_row_once(
    ready: Home, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = script()
    (tmp_path / "rows").mkdir()
    base = 'image_encoder = "test_efficientnet"\nimage_weights = ""\nimage_size = 64\nquery_width = 16\nheads = 2\n'
    base += 'hidden = 32\nepochs = 1\nbatch = 4\nwarmup_steps = 2\nhold_out = ["coffee"]\n'
    (tmp_path / "rows" / "base.toml").write_text(base)
    for row in ("c", "itc"):
        (tmp_path / "rows" / f"{row}.toml").write_text((FOLDER / f"{row}.toml").read_text())
    labels = tmp_path / "labels.jsonl"
    shown = [{"image": photo, "labels": SHOWN[Path(photo).name.partition("-")[0]][0]} for photo in photos]
    labels.write_text("\n".join(map(json.dumps, shown)))
    monkeypatch.setattr(made, "HERE", tmp_path / "rows")
    given = ["run.py", str(labels), "--rows", "c", "itc", "--seeds", "0", "1", "--artifacts", str(ready.root)]
    monkeypatch.setattr("sys.argv", given)
    made.main()
    first = capsys.readouterr().out
    assert first.splitlines()[:2] == ["| row | all | seen | never seen |", "|---|---|---|---|"]
    assert [line[:6] for line in first.splitlines()[2:]] == ["| c | ", "| itc "]
    assert first.count(" ± ") == 6
    assert artifact.versions(ready.root, "model") == [1, 2, 3, 4]
    assert {artifact.find(ready.root, "model", str(n)).config["seed"] for n in (1, 2)} == {0}
    made.main()
    assert capsys.readouterr().out == first
    assert artifact.versions(ready.root, "model") == [1, 2, 3, 4]


def test_the_table_is_mean_and_standard_deviation_in_points() -> None:
    runs = [{"all": value, "seen": value, "never seen": value} for value in (0.5, 0.6)]
    table = script().table({"a": runs, "b": runs[:1]})
    assert table.splitlines()[2:] == ["| a | 55.0 ± 7.1 | 55.0 ± 7.1 | 55.0 ± 7.1 |", "| b | 50.0 | 50.0 | 50.0 |"]
