"""model + report → model: thresholds of its tags, and the chances that its scores stand for.

The report tells the model's scores of photos whose labels are known, people's or captions'. Thresholds and chances go
into a new version of the model, all else is shared with the old one, which stays as it is. Words that are no tags have
no labels; they get what suits the report's names when these are asked as typed words, by the template alone, all with
one line. What is told of quality is cross-validated: each photo judged by a fit on others.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ramkit import artifact
from ramkit.artifact import Artifact
from ramkit.config import CalibrateConfig, as_dict
from ramkit.errors import ArtifactError, InputError
from ramkit.features import FEATURES
from ramkit.files import write_whole
from ramkit.measuring.calibration import Floats, Labels, Lines, all_alike, fit_lines
from ramkit.measuring.measured import SCORES, Measured, read_measured
from ramkit.measuring.metrics import precision_recall_f1
from ramkit.measuring.reliability import reliability
from ramkit.measuring.scorers import TaggerScorer
from ramkit.measuring.scoring import score_photos
from ramkit.measuring.thresholds import (
    NEVER,
    common_cut_for_f,
    common_cut_for_tags,
    own_cuts_for_f,
    own_cuts_for_precision,
    scores_at,
)
from ramkit.progress import Track, silent
from ramkit.tagger import Line, Tagger, find_model, save_calibrated

CALIBRATION = "calibration.json"
_CURE = "Measure the model on labelled photos first: ramkit evaluate LABELS"


@dataclass(frozen=True)
class _Data:
    """Logits and labels [N, C] of C tags of the vocabulary, in ascending order of their numbers."""

    numbers: list[int]
    logits: npt.NDArray[np.float32]
    labels: Labels
    thresholds: Floats  # [C], the model's own until now


@dataclass(frozen=True)
class _Fit:
    """Lines and thresholds of C tags, and those of a tag without data."""

    lines: Lines
    thresholds: Floats
    cut: float  # least chance of a tag without data

    @property
    def common_threshold(self) -> float:
        return float(scores_at(self.cut, *self.lines.common))


def calibrate(
    *,
    artifacts: Path,
    config: CalibrateConfig,
    model: str | None = None,
    report: str | None = None,
    track: Track = silent,
) -> Artifact:
    """Fit thresholds and chances on the model's newest report, or the one named, and publish a new version of it.

    Raises:
        ArtifactError: no report of this model.
        InputError: settings or labels that thresholds cannot be fitted to.
    """
    _check(config)
    tagger = Tagger(find_model(artifacts, model))
    found = _report(artifacts, tagger.source, report)
    measured = read_measured(found)
    data = _data(measured, tagger)
    typed = _typed_line(artifacts, tagger, measured, config, track)
    fit = _fit(data.logits, data.labels, config)
    told: dict[str, Any] = {"open_set": asdict(typed)}
    if not config.only_open_set:
        told |= _quality(data, config, track) | _told_of_tags(tagger, data, fit)
    settings = {**tagger.source.config, "calibrate": as_dict(config)}
    with artifact.draft(artifacts, "model", inputs=[tagger.source, found], config=settings) as work:
        save_calibrated(
            work.path,
            tagger.source,
            threshold=tagger.threshold if config.only_open_set else fit.common_threshold,
            calibration=tagger.calibration if config.only_open_set else fit.lines.common,
            open_set_threshold=typed.threshold,
            open_set_calibration=(typed.slope, typed.offset),
            rows=tagger.rows if config.only_open_set else _rows(tagger, data, fit),
        )
        write_whole(work.path / CALIBRATION, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        work.statistics = {**tagger.source.statistics, "calibrated_on_photos": len(measured.photos)}
        return work.publish()


def read_calibration(model: Artifact) -> dict[str, Any]:
    """What `calibrate` tells of a model that it made."""
    told: dict[str, Any] = json.loads(model.file(CALIBRATION).read_text(encoding="utf-8"))
    return told


def _check(config: CalibrateConfig) -> None:
    if not 0 < config.precision < 1:
        raise InputError(f"precision = {config.precision}.", cure="Give a share between 0 and 1.")
    for name in ("beta", "tags", "open_set_photos"):
        if not getattr(config, name) > 0:
            raise InputError(f"{name} = {getattr(config, name)}.", cure="Give a number above 0.")
    if config.folds < 2:
        raise InputError(f"folds = {config.folds}.", cure="Give 2 or more.")


def _report(artifacts: Path, model: Artifact, which: str | None) -> Artifact:
    if which is not None:
        found = artifact.find(artifacts, "report", which)
        found.require_input(model)
        return found
    for version in reversed(artifact.versions(artifacts, "report")):
        manifest = artifact.read_manifest(artifacts / "report" / f"v{version}")
        if manifest["inputs"].get("model") == model.id and SCORES in manifest["files"]:
            return artifact.find(artifacts, "report", str(version))
    raise ArtifactError(f"{artifacts}: holds no report of {model.name} with its scores.", cure=_CURE)


def _data(measured: Measured, tagger: Tagger) -> _Data:
    """The report's columns that are tags; where several names are one tag, it is true where any of them is."""
    numbers = sorted({column.tag for column in measured.columns if column.tag is not None})
    if not numbers:
        raise InputError("The report asks for none of the model's tags.", cure=_CURE)
    of_tag = [[i for i, column in enumerate(measured.columns) if column.tag == number] for number in numbers]
    labels = np.stack([measured.labels[:, columns].any(axis=1) for columns in of_tag], axis=1)
    if all_alike(labels):
        raise InputError("The report's labels are all alike.", cure=_CURE)
    logits = measured.logits[:, [columns[0] for columns in of_tag]]
    return _Data(numbers, logits, labels, np.array([tagger.thresholds[number] for number in numbers]))


def _fit(logits: npt.NDArray[np.float32], labels: Labels, config: CalibrateConfig) -> _Fit:
    lines = fit_lines(logits, labels)
    cuts = _cuts(lines.chances(logits), labels, config)
    thresholds = scores_at(cuts, lines.slopes, lines.offsets)
    return _Fit(lines, thresholds, float(np.median(cuts)))


def _cuts(chances: Floats, labels: Labels, config: CalibrateConfig) -> Floats:
    """[C], least chance at which each tag is shown, for the aim."""
    if config.aim == "tag-f":
        return own_cuts_for_f(chances, config.beta)
    if config.aim == "precision":
        return own_cuts_for_precision(chances, config.precision)
    if config.aim == "tags":
        return np.full(chances.shape[1], common_cut_for_tags(chances, config.tags))
    return np.full(chances.shape[1], common_cut_for_f(chances, labels, config.beta))


# ---- words that are no tags


@dataclass(frozen=True)
class _Typed:
    """What holds for every word that is typed, and what it was learnt from."""

    slope: float
    offset: float
    threshold: float
    names: int
    photos: int
    f1_before: float  # micro F1 of the names asked as typed words, at the model's threshold until now
    f1: float  # and at the new one, on photos it was not fitted on


def _typed_line(artifacts: Path, tagger: Tagger, measured: Measured, config: CalibrateConfig, track: Track) -> _Typed:
    """One line for all of the report's names, asked as if they were typed.

    Raises:
        InputError: none of the report's photos can be read, or a half of them has no true label.
    """
    logits, labels = _as_typed(artifacts, tagger, measured, config.open_set_photos, track)
    line, threshold = _one_line(logits, labels, config)
    f1 = []
    for training, test in _folds(len(logits), 2, config.seed):
        _require_both(labels[training])
        _, other = _one_line(logits[training], labels[training], config)
        f1.append(precision_recall_f1(_sigmoid(logits[test]), labels[test], other).f1)
    before = precision_recall_f1(_sigmoid(logits), labels, tagger.open_set_threshold).f1
    return _Typed(*line, threshold, labels.shape[1], len(labels), before, float(np.mean(f1)))


def _one_line(logits: npt.NDArray[np.float32], labels: Labels, config: CalibrateConfig) -> tuple[Line, float]:
    """The line and the threshold of all columns as one."""
    line = fit_lines(logits.reshape(-1, 1), labels.reshape(-1, 1))
    chances = line.chances(logits.reshape(-1, 1))
    slope, offset = float(line.slopes[0]), float(line.offsets[0])
    if config.aim == "tags":  # how many words will be typed nobody knows: the cut that is best on these
        config = CalibrateConfig(beta=config.beta)
    cut = float(_cuts(chances, labels.reshape(-1, 1), config)[0])
    return (slope, offset), float(scores_at(cut, slope, offset))


def _as_typed(
    artifacts: Path, tagger: Tagger, measured: Measured, most: int, track: Track
) -> tuple[npt.NDArray[np.float32], Labels]:
    """Logits and labels [N, C] of the report's names asked by the template, on photos spread over the report."""
    spread = np.linspace(0, len(measured.photos) - 1, min(most, len(measured.photos))).round().astype(int)
    references = [measured.photos[position] for position in spread]
    asked = {column.name: column.asked for column in measured.columns}
    scorer = TaggerScorer(tagger, measured.names, asked, queries="template")
    (logits,), failed = score_photos(artifacts / FEATURES, references, [scorer], track=track)
    read = [position for position in range(len(references)) if position not in failed]
    labels = measured.labels[spread[read]]
    if all_alike(labels):
        raise InputError("Too few of the report's photos can be read.", cure="Put them back where the report says.")
    return logits[read], labels


# ---- what is told


def _quality(data: _Data, config: CalibrateConfig, track: Track) -> dict[str, Any]:
    """Before: the model as it was. After: each photo with lines and thresholds fitted on the other folds."""
    chances = np.zeros(data.logits.shape)
    thresholds = np.zeros(data.logits.shape)
    folds = _folds(len(data.logits), config.folds, config.seed)
    for training, test in track(folds, total=len(folds), what="cross-validation"):
        _require_both(data.labels[training])
        fit = _fit(data.logits[training], data.labels[training], config)
        chances[test], thresholds[test] = fit.lines.chances(data.logits[test]), fit.thresholds
    scores = _sigmoid(data.logits)
    return {
        "before": _told(scores, scores, data.thresholds, data.labels),
        "after": _told(chances, scores, thresholds, data.labels),
    }


def _require_both(labels: Labels) -> None:
    """Refuse a part of the photos on which nothing can be fitted."""
    if all_alike(labels):
        raise InputError(
            "Too few labels: what is true in one part of the photos cannot be judged by the others.",
            cure="Label more photos.",
        )


def _told(chances: Floats, scores: Floats, thresholds: Floats, labels: Labels) -> dict[str, Any]:
    shown = (scores >= thresholds) & (thresholds < NEVER)
    counts = precision_recall_f1(shown.astype(float), labels, 0.5)
    hits, positives = (shown & labels).sum(axis=0), labels.sum(axis=0)
    f1 = 2 * hits / np.maximum(shown.sum(axis=0) + positives, 1)
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "f1_mean_over_tags": float(f1[positives > 0].mean()),
        "tags_a_photo": float(shown.sum() / len(shown)),
        "tags_never_shown": int((~shown.any(axis=0)).sum()),
        **asdict(reliability(chances, labels)),
    }


def _told_of_tags(tagger: Tagger, data: _Data, fit: _Fit) -> dict[str, Any]:
    scores = _sigmoid(data.logits)
    shown = ((scores >= fit.thresholds) & (fit.thresholds < NEVER)).sum(axis=0)
    names = [tagger.tags[number] for number in data.numbers]
    columns = (data.labels.sum(axis=0), shown, fit.lines.slopes, fit.lines.offsets, fit.lines.shrinkage, fit.thresholds)
    keys = ("positives", "shown", "slope", "offset", "shrinkage", "threshold")
    rows = zip(names, *(column.tolist() for column in columns), strict=True)
    return {
        "common": {"slope": fit.lines.common[0], "offset": fit.lines.common[1], "threshold": fit.common_threshold},
        "spread": {"log_slope": fit.lines.spread[0], "offset": fit.lines.spread[1]},
        "tags_without_data": len(tagger.tags) - len(names),
        "can_never_fire": [tag for tag, at in zip(names, fit.thresholds, strict=True) if at >= NEVER],
        "never_shown_here": [tag for tag, count in zip(names, shown, strict=True) if count == 0],
        "per_tag": [{"tag": tag, **dict(zip(keys, values, strict=True))} for tag, *values in rows],
    }


def _rows(tagger: Tagger, data: _Data, fit: _Fit) -> list[dict[str, Any]]:
    """The vocabulary's rows with thresholds and lines; a tag without data has those of the model."""
    old = ("threshold", "calibration")
    rows = [{key: value for key, value in row.items() if key not in old} for row in tagger.rows]
    for place, number in enumerate(data.numbers):
        rows[number]["threshold"] = float(fit.thresholds[place])
        rows[number]["calibration"] = [float(fit.lines.slopes[place]), float(fit.lines.offsets[place])]
    return rows


def _folds(photos: int, folds: int, seed: int) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(training, test) positions; every photo is tested once."""
    order = np.random.default_rng(seed).permutation(photos)
    parts: Sequence[npt.NDArray[np.int64]] = [part for part in np.array_split(order, folds) if len(part)]
    return [(np.setdiff1d(order, part), part) for part in parts]


def _sigmoid(logits: npt.NDArray[np.float32]) -> Floats:
    return torch.from_numpy(logits).sigmoid().numpy().astype(np.float64)
