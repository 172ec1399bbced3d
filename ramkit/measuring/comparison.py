"""Models side by side, in the form of RAM++'s ablation (Table 3), as Markdown and as LaTeX (booktabs, amssymb).

Columns: what supervised the training (image–text, image–tag), whether tags were told by descriptions in training and at
inference, whether these were re-weighted; mAP in percent with its 95 % interval, apart for names of the vocabulary and
open-set names; and the difference to the first row, over the same resampled photos.
"""

import re
import string
from collections.abc import Sequence
from typing import Any

_SETTINGS = ("text", "tag", "described_in_training", "described_at_inference", "reweighting")
_HEAD = (
    "", "model", "text", "tag", "descriptions in training", "descriptions at inference", "re-weighting", "mAP", "95 %",
    "in vocabulary", "open-set", "difference", "95 %",
)  # fmt: skip
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "…": "--"}


def to_markdown(models: Sequence[dict[str, Any]], mean: str = "mAP") -> str:
    """A table of `metrics.json`'s models; `mean` is the mAP shown, `mAP` or `mAP_published`."""
    lines = [[_in_markdown(cell) for cell in row] for row in (_HEAD, *_rows(models, mean, yes="✓", no="✗"))]
    rule = ["---" if number < 2 else ":-:" if number < 7 else "--:" for number in range(len(_HEAD))]
    return "".join(f"| {' | '.join(line)} |\n" for line in (lines[0], rule, *lines[1:]))


def to_latex(models: Sequence[dict[str, Any]], mean: str = "mAP") -> str:
    """The same as a LaTeX tabular."""
    rows = _rows(models, mean, yes="✓", no="✗")
    marks = {"✓": r"\checkmark", "✗": r"$\times$"}
    body = [" & ".join(marks.get(cell) or _in_latex(cell) for cell in row) + r" \\" for row in (_HEAD, *rows)]
    columns = "ll" + "c" * 5 + "r" * 6
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def _rows(models: Sequence[dict[str, Any]], mean: str, *, yes: str, no: str) -> list[list[str]]:
    rows = []
    for number, model in enumerate(models):
        settings = [model["settings"][name] for name in _SETTINGS]
        intervals = model.get("intervals", {})
        change = model["difference"]
        figures = [_percent(model[mean]), _between(intervals.get("mAP") if mean == "mAP" else None)]
        figures += [_percent(model[name]) for name in ("mAP_in_vocabulary", "mAP_open_set")]
        if number and mean == "mAP":
            figures += [_percent(change["mAP"], sign=True), _between(change["mAP_interval"], sign=True)]
        marks = ["" if flag is None else yes if flag else no for flag in settings]
        rows.append([_letter(number), model["model"], *marks, *figures, *[""] * (6 - len(figures))])
    return rows


def _letter(number: int) -> str:
    """(a) … (z), then (27) …"""
    return f"({string.ascii_lowercase[number] if number < 26 else number + 1})"


def _percent(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return ""
    return f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"


def _between(ends: Sequence[float] | None, *, sign: bool = False) -> str:
    return " … ".join(_percent(end, sign=sign) for end in ends) if ends else ""


def _in_markdown(text: str) -> str:
    return text.replace("|", "\\|")


def _in_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(mark) or (f"\\{mark}" if mark in "&%$#_{}" else mark) for mark in text)
    return re.sub(r"(?<!\S)-(?=\d)", "$-$", escaped)  # a minus, not a hyphen
