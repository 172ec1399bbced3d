"""The table of an ablation: what each cell says, in Markdown and in LaTeX."""

from typing import Any

from ramkit.measuring.comparison import to_latex, to_markdown


def row(model: str, mean: float, change: float, *flags: bool | None, **more: Any) -> dict[str, Any]:
    names = ("text", "tag", "described_in_training", "described_at_inference", "reweighting")
    return {
        "model": model,
        "settings": dict(zip(names, flags or (None,) * 5, strict=True)),
        "mAP": mean,
        "mAP_published": mean - 0.01,
        "mAP_in_vocabulary": mean + 0.1,
        "mAP_open_set": None,
        "intervals": {"mAP": [mean - 0.02, mean + 0.02]},
        "difference": {"mAP": change, "mAP_interval": [change - 0.005, change + 0.005]},
        **more,
    }


MODELS = [
    row("text_only & more", 0.774, 0.0, True, False, False, False, False),
    row("open_clip:ViT-B-16/openai", 0.7, -0.074),
    row("a|b", 0.866, 0.092, True, True, True, True, True),
]


def test_markdown_has_a_row_a_model() -> None:
    lines = [[cell.strip() for cell in line.split(" | ")] for line in to_markdown(MODELS).splitlines()]
    assert len(lines) == 5
    assert {len(line) for line in lines} == {13}
    assert lines[2][1:] == [
        "text_only & more", "✓", "✗", "✗", "✗", "✗", "77.4", "75.4 … 79.4", "87.4", "", "", "|"
    ]  # fmt: skip
    assert lines[3][0] == "| (b)"
    assert lines[3][2:7] == [""] * 5
    assert lines[3][11:] == ["-7.4", "-7.9 … -6.9 |"]
    assert lines[4][1] == "a\\|b"
    assert lines[4][11:] == ["+9.2", "+8.7 … +9.7 |"]


def test_latex_is_a_tabular_with_everything_escaped() -> None:
    text = to_latex(MODELS)
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{llcccccrrrrrr}"
    assert lines[-1] == r"\end{tabular}"
    body = [line for line in lines if line.endswith(r"\\")]
    assert [line.replace(r"\&", "").count("&") for line in body] == [12] * 4
    assert body[1].startswith(r"(a) & text\_only \& more & \checkmark & $\times$ & $\times$ & ")
    assert r" & 77.4 & 75.4 -- 79.4 & " in body[1]
    assert body[2].endswith(r" & $-$7.4 & $-$7.9 -- $-$6.9 \\")
    assert "open_clip:ViT-B-16/openai".replace("_", r"\_") in body[2]
    assert body[0].count(r"95 \%") == 2


def test_the_published_metric_has_no_interval() -> None:
    (line,) = [line for line in to_markdown(MODELS, "mAP_published").splitlines() if "(c)" in line]
    assert [cell.strip() for cell in line.split(" | ")][7:] == ["85.6", "", "96.6", "", "", "|"]


def test_rows_beyond_the_alphabet_are_numbered() -> None:
    text = to_markdown([row("m", 0.5, 0.0)] * 28)
    assert "| (z) |" in text
    assert "| (27) |" in text


def test_without_intervals_their_cells_are_empty() -> None:
    bare = row("m", 0.5, 0.0, difference={"mAP": 0.0, "mAP_interval": None})
    bare.pop("intervals")
    assert "…" not in to_markdown([bare, bare])
