"""Measurements on disk: what was saved is read, and a report without scores is told."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ramkit import artifact
from ramkit.errors import ArtifactError
from ramkit.files import read_rows
from ramkit.measuring.measured import Measured, Name, read_measured, save_measured

COLUMNS = [Name("cat [1]", 4, 0.7, "cat", by_alias=True), Name("sled, red", None, 0.5)]


def drawn() -> Measured:
    logits = np.random.default_rng(0).normal(0, 20, (3, 2)).astype(np.float32)
    labels = np.array([[True, False], [False, False], [True, True]])
    true = [["cat [1]", "rare"], [], ["cat [1]", "sled, red"]]
    return Measured(["a.jpg", "s.tar::b.jpg", "ö\n.png"], true, COLUMNS, logits, labels, {"gone.jpg": "no such file."})


def test_a_measurement_is_read_as_it_was_saved(tmp_path: Path) -> None:
    saved = drawn()
    with artifact.draft(tmp_path, "report", config={}) as work:
        save_measured(work.path, saved)
        made = work.publish()
    found = read_measured(artifact.find(tmp_path, "report"))
    assert found.logits.dtype == np.float32
    np.testing.assert_array_equal(found.logits, saved.logits)
    np.testing.assert_array_equal(found.labels, saved.labels)
    assert found.labels.dtype == np.bool_
    assert (found.photos, found.true, found.columns) == (saved.photos, saved.true, saved.columns)
    assert found.unreadable == {"gone.jpg": "no such file."}
    assert list(read_rows(made.file("names.jsonl"))) == [
        {"name": "cat [1]", "in_vocabulary": True, "threshold": 0.7, "tag": 4, "text": "cat", "by_alias": True},
        {
            "name": "sled, red",
            "in_vocabulary": False,
            "threshold": 0.5,
            "tag": None,
            "text": "sled, red",
            "by_alias": False,
        },
    ]


def test_columns_tell_names_thresholds_and_what_is_known() -> None:
    found = drawn()
    assert found.names == ["cat [1]", "sled, red"]
    assert found.known.tolist() == [True, False]
    assert found.thresholds.tolist() == pytest.approx([0.7, 0.5])
    np.testing.assert_allclose(found.scores, torch.from_numpy(found.logits).double().sigmoid(), atol=1e-6)


def test_a_report_without_scores_is_told(tmp_path: Path) -> None:
    with artifact.draft(tmp_path, "report", config={}) as work:
        (work.path / "metrics.json").write_text("{}")
        made = work.publish()
    with pytest.raises(ArtifactError, match=re.escape(f"{made.path}: has no file scores.safetensors. Make it anew")):
        read_measured(made)
