"""The pictures of a report: PNGs beside one page that holds them all, made from a measurement in seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ramkit.files import write_whole
from ramkit.measuring.calibration import sigmoid
from ramkit.measuring.figures import POINTS, difference
from ramkit.measuring.measured import Measured
from ramkit.measuring.surprises import confusions
from ramkit.pictures import charts
from ramkit.pictures.charts import Shown
from ramkit.pictures.gallery import gallery
from ramkit.pictures.page import Table, page
from ramkit.progress import Track, silent
from ramkit.tagger import Tagger

PAGE = "report.html"
_AT = ("precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1")
_SIDE = ("mAP", "mAP_in_vocabulary", "mAP_open_set", "best_f1")
_CAPTIONS = "Labels are what captions mention, and captions leave much out: many a name told 'wrongly' here is right."


def write_pictures(
    folder: Path, models: Sequence[Shown], tagger: Tagger | None, about: dict[str, Any], track: Track = silent
) -> None:
    """Write the PNGs and the page into a report's folder.

    Args:
        models: the one that the report is of, then those beside it, all measured on the same photos and names.
        tagger: the first, to explain what it told; None where it cannot.
        about: what the report tells of its data: `labels_from`, `remark`.
    """
    own = models[0]
    drawn = _charts(models, tagger)
    for name, _, _, picture in drawn:
        write_whole(folder / f"{name}.png", picture)
    remarks = [
        f"{len(own.measured.photos):,} photos, {len(own.measured.names):,} names; labels from {about['labels_from']}.",
        *([_CAPTIONS] if str(about["labels_from"]).startswith("captions") else []),
        *([str(about["remark"])] if about.get("remark") else []),
    ]
    text = page(
        f"ramkit report: {own.name}",
        remarks,
        _tables(models),
        [(heading, remark, picture) for _, heading, remark, picture in drawn],
        own.figures.per_tag,
        gallery(own.measured, tagger, track),
    )
    write_whole(folder / PAGE, text)


def _tables(models: Sequence[Shown]) -> list[Table]:
    """The figures of the first model with their intervals, and those of all side by side."""
    values = models[0].figures.values
    intervals = values.get("intervals") or {}
    names = [name for name in values if name.startswith(("mAP", "top_")) and values[name] is not None]
    measures = [[name.replace("_", " "), values[name], _interval(intervals.get(name))] for name in names]
    measures.append(["F1 at the given threshold", values["f1"], _interval(intervals.get("f1"))])
    at = [
        [POINTS[row["thresholds"]], *(row[key] for key in ("threshold", *_AT))] for row in values["at"]
    ]  # fmt: skip
    found = [
        Table("Figures", ("", "value", "95 %"), measures),
        Table("At thresholds", ("", "threshold", *(key.replace("_", " ").replace("f1", "F1") for key in _AT)), at),
    ]
    if len(models) > 1:
        columns = ("model", "mAP", "in vocabulary", "open-set", "best F1", "difference in mAP", "95 %")
        found.append(Table("Models on the same photos", columns, [_side(model, models[0]) for model in models]))
    return found


def _side(model: Shown, first: Shown) -> list[Any]:
    row = [model.measured.model, *(model.figures.values[key] for key in _SIDE)]
    if model is first:
        return [*row, None, None]
    change = difference(model.figures, first.figures)
    return [*row, None if change["mAP"] is None else f"{change['mAP']:+.3f}", _interval(change["mAP_interval"])]


def _interval(ends: Sequence[float] | None) -> str | None:
    return None if ends is None else f"{ends[0]:.3f} … {ends[1]:.3f}"


def _charts(models: Sequence[Shown], tagger: Tagger | None) -> list[tuple[str, str, str, bytes]]:
    """(file, heading, remark, PNG) of each."""
    own = models[0]
    found = [
        (
            "scores",
            "Scores of true and of wrong pairs",
            "The less the two overlap, the better a threshold can part them.",
            charts.score_distributions(models),
        ),
        (
            "side_by_side",
            "Known and unknown names" if len(models) == 1 else "Side by side",
            "Mean average precision of names of the vocabulary and of open-set ones.",
            charts.side_by_side(models),
        ),
        (
            "precision_recall",
            "Precision and recall",
            "All pairs of photo and name under one threshold, from the highest to the lowest.",
            charts.precision_recall(models),
        ),
        ("per_tag", "Average precision of each name", "Names without a true photo are left out.", charts.per_tag(own)),
    ]
    if claims := _claims(own.measured, tagger):
        remark = "On the dotted line a score is the chance that the name is true. Elsewhere it still orders photos."
        found.append(("reliability", "Reliability", remark, charts.reliability_curve(claims, own.measured.labels)))
    if pairs := confusions(own.measured):
        remark = (
            "Where the first name is true, the second is told, though it is not true, more often than elsewhere; "
            "the surest such pairs first."
        )
        found.append(("confusions", "Names taken for others", remark, charts.confusions(pairs)))
    return found


def _claims(measured: Measured, tagger: Tagger | None) -> list[tuple[str, np.ndarray]]:
    """Scores and, of a calibrated model, chances; a cosine claims nothing."""
    if measured.scale == "cosine":
        return []
    claims: list[tuple[str, np.ndarray]] = [("score", measured.scores)]
    if tagger is not None and tagger.calibrations is not None and tagger.open_set_calibration is not None:
        own, typed = tagger.calibrations, tagger.open_set_calibration
        lines = np.array([typed if column.tag is None else own[column.tag] for column in measured.columns])
        claims.append(("chance", sigmoid(measured.logits.astype(np.float64) * lines[:, 0] + lines[:, 1])))
    return claims
