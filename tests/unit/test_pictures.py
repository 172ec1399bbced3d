"""Charts and the page of a report: thousands of names of any script fit, nothing is fetched, nothing is run."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ramkit.measuring.figures import Sampling, difference, figures, groups_of
from ramkit.measuring.measured import Measured, Name
from ramkit.measuring.surprises import Confusion
from ramkit.pictures import charts
from ramkit.pictures.charts import Shown
from ramkit.pictures.gallery import Exhibit, Told, Why, as_jpeg, gallery
from ramkit.pictures.heat import in_characters, overlay, thumbnail
from ramkit.pictures.page import Table, page
from ramkit.pictures.report import write_pictures
from ramkit.pictures.style import drawing, in_figures, png, written

ODD = ["<script>alert('x')</script>", 'a & b "c"', "$x_1$ 50 %", "猫", "قطة", "a very " * 12 + "long name", "é\tλ"]


def shown(names: list[str], photos: int = 30, *, resamples: int = 20, cosine: bool = False) -> Shown:
    rng = np.random.default_rng(0)
    labels = rng.random((photos, len(names))) < 0.2
    labels[:3] = True
    logits = (rng.normal(-1, 1, labels.shape) + labels).astype(np.float32)
    columns = [Name(name, None if n % 3 == 2 else n, None if cosine else 0.6) for n, name in enumerate(names)]
    found = Measured(
        [f"{n}.jpg" for n in range(photos)], [[] for _ in range(photos)], columns, logits, labels, model="model:v1",
        scale="cosine" if cosine else "logit",
    )  # fmt: skip
    told = figures(found, threshold=None if cosine else 0.6, groups=groups_of(found), sampling=Sampling(resamples))
    return Shown(found, told)


@pytest.fixture(scope="module")
def few() -> Shown:
    return shown([*ODD, "dog", "tree"])


def size(picture: bytes) -> tuple[int, int]:
    image = Image.open(io.BytesIO(picture))
    assert image.format == "PNG"
    return image.size


DRAWN: dict[str, Callable[[list[Shown]], bytes]] = {
    "scores": charts.score_distributions,
    "side by side": charts.side_by_side,
    "precision and recall": charts.precision_recall,
    "per tag": lambda models: charts.per_tag(models[0]),
    "reliability": lambda models: charts.reliability_curve(
        [("score", models[0].measured.scores), ("chance", models[0].measured.scores ** 2)], models[0].measured.labels
    ),
}


@pytest.mark.parametrize("chart", DRAWN)
def test_charts_hold_odd_names_and_other_models(few: Shown, chart: str) -> None:
    other = Shown(replace(few.measured, model="open_clip:ViT-B-16/" + "w" * 60, scale="cosine"), few.figures)
    wide, high = size(DRAWN[chart]([few, other]))
    assert max(wide, high) < 1400


def test_charts_are_the_same_each_time(few: Shown) -> None:
    assert charts.per_tag(few) == charts.per_tag(few)


def test_names_that_are_true_of_no_photo_are_not_drawn_as_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(charts, "png", lambda figure: texts.extend(_texts(figure)) or png(figure))
    given = shown(["dog", "tree", "sea"])
    charts.side_by_side([given, given])
    assert "0.000" not in texts
    assert charts._NONE_TRUE not in texts
    labels = given.measured.labels.copy()
    labels[:, 2] = False  # the only open-set name
    none = replace(given.measured, labels=labels)
    told = Shown(none, figures(none, threshold=0.6, groups=groups_of(none), sampling=Sampling(20)))
    for draw in (charts.side_by_side, charts.precision_recall):
        texts.clear()
        draw([told, told])
        assert texts.count(charts._NONE_TRUE) == 1
        assert "0.000" not in texts


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (3, 60, ["5", "10", "20", "50"]),
        (2, 8, ["2", "5"]),
        (1, 90_000, ["1", "10", "100", "1,000", "10,000"]),
    ],
)
def test_logarithmic_axes_are_written_in_plain_numbers(low: float, high: float, wanted: list[str]) -> None:
    with drawing(3, 3) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [low, high])
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        in_figures(axes.yaxis, lambda value: f"{value:,.0f}")
        png(figure)
        ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
        seen = {tick.label1.get_text(): tick.get_loc() for tick in ticks if low <= tick.get_loc() <= high}
    assert sorted((text for text in seen if text), key=seen.__getitem__) == wanted


def _texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_thousands_of_names_take_no_more_room_than_some() -> None:
    names = [f"{ODD[n % len(ODD)]} {n}" for n in range(4585)]
    many = shown(names, photos=8, resamples=0)
    for chart in DRAWN.values():
        wide, high = size(chart([many]))
        assert max(wide, high) < 1400
    text = page("many", [], [], [], many.figures.per_tag, {})
    assert text.count("<tr>") < 220
    assert "4,585 names" in text
    assert len(text) < 200_000


def test_confusions_are_drawn(few: Shown) -> None:
    del few
    pairs = [Confusion(name, ODD[0], 4, 0.5, 0.1) for name in ODD]
    assert max(size(charts.confusions(pairs))) < 1200
    assert size(charts.confusions(pairs[:1]))[1] < 300


@pytest.mark.parametrize(
    ("text", "most", "wanted"),
    [
        ("dog", 5, "dog"),
        ("  a\tb \n c", 9, "a b c"),
        ("abcdefghijklmnop", 9, "abcde…nop"),
        ("a\x07b", 9, "a□b"),
        ("$x$ é λ", 9, "$x$ é λ"),
    ],
)
def test_texts_are_written_so_that_they_fit_and_can_be_drawn(text: str, most: int, wanted: str) -> None:
    assert written(text, most) == wanted
    assert len(written(text * 9, most)) <= most


def test_a_figure_leaves_no_trace_in_matplotlibs_settings() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with drawing(1, 1) as figure:
        assert size(png(figure)) == (110, 110)
    assert dict(matplotlib.rcParams) == before


# ---- heat maps


def test_heat_is_bright_where_the_value_is_high() -> None:
    photo = Image.new("RGB", (60, 40), (120, 120, 120))
    tokens = np.zeros((2, 2))
    tokens[0, 1] = 1.0
    found = np.asarray(overlay(photo, tokens, [0.25, 0.75], 0.0, 1.0).convert("L"), dtype=int)
    assert found.shape == (40, 60)
    assert found[0, 59] == found.max() > found[39, 0] + 80
    same = np.asarray(overlay(photo, tokens, [0.25, 0.75], 0.0, 0.0))
    assert np.isfinite(same).all(), "a level map"
    lines = in_characters(tokens, [0.25, 0.75], 0.0, 1.0)
    assert (len(lines), {len(line) for line in lines}) == (6, {12})
    assert (lines[0][-1], lines[-1][0]) == ("█", " ")


def test_a_thumbnail_keeps_the_photo() -> None:
    photo = Image.new("RGB", (400, 100))
    assert thumbnail(photo, 80).size == (80, 20)
    assert photo.size == (400, 100)


# ---- the page


class Page(HTMLParser):
    """What a browser would read: elements, attributes, text; every element closed where it was opened."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def made(few: Shown) -> str:
    picture = as_jpeg(Image.new("RGB", (8, 8)))
    told = [Told(name, 0.5, n % 2 == 0, n % 3 == 0) for n, name in enumerate(ODD)]
    exhibit = Exhibit(f"/photos/{ODD[0]}.jpg", picture, told, [Why(ODD[0], [(0.5, ODD[1])], 3.2, {"<i>": picture})])
    chart = ("<b>heading</b>", "a & b", charts.per_tag(few))
    rows = few.figures.per_tag
    return page(
        ODD[0], [ODD[1]], [Table(ODD[0], ("", ODD[1]), [(ODD[0], 0.25), ("n", 7), ("x", ODD[1])])], [chart], rows,
        {"<u>": [exhibit], "no": []},
    )  # fmt: skip


def test_the_page_needs_nothing_else_and_runs_nothing(few: Shown) -> None:
    text = made(few)
    found = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    sources = [attributes["src"] for tag, attributes in found.tags if tag == "img"]
    assert len(sources) == 3
    for source in sources:
        kind, _, content = (source or "").partition(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        Image.open(io.BytesIO(base64.b64decode(content))).verify()
    assert "http://" not in text
    assert "https://" not in text
    assert not {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object", "b>heading"}
    assert not any(name.startswith("on") or name == "href" for _, attributes in found.tags for name in attributes)
    policy = [attributes.get("content") for _, attributes in found.tags if attributes.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_names_are_shown_as_they_are(few: Shown) -> None:
    found = Page(made(few))
    for name in (ODD[0], ODD[1], "猫", "قطة", "<b>heading</b>", "<u>"):
        assert name in found.text
    assert not any(tag in ("u", "i") for tag, _ in found.tags)
    assert all(attributes.get("alt") for tag, attributes in found.tags if tag == "img"), "pictures are named"


def test_photos_that_are_gone_are_left_out(few: Shown, tmp_path: Path) -> None:
    assert not any(gallery(few.measured, None).values())
    write_pictures(tmp_path, [few], None, {"labels_from": "captions", "remark": "A <remark>."})
    names = sorted(path.name for path in tmp_path.iterdir())
    wanted = ["per_tag.png", "precision_recall.png", "reliability.png", "report.html", "scores.png", "side_by_side.png"]
    assert [name for name in names if name != "confusions.png"] == wanted
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "captions leave much out" in text
    assert "A <remark>." in text


def test_a_model_of_cosines_claims_no_chances(tmp_path: Path) -> None:
    write_pictures(tmp_path, [shown(["a", "b"], cosine=True)], None, {"labels_from": "people"})
    assert not (tmp_path / "reliability.png").exists()
    assert (tmp_path / "report.html").exists()


def test_the_page_tells_figures_with_intervals_and_models_side_by_side(few: Shown, tmp_path: Path) -> None:
    other = shown([*ODD, "dog", "tree"], cosine=True)
    write_pictures(tmp_path, [few, other], None, {"labels_from": "people"})
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    values = few.figures.values
    low, high = values["intervals"]["mAP"]
    assert f"mAP{values['mAP']:.3f}{low:.3f} … {high:.3f}" in text
    best = values["at"][2]
    assert f"best here, for all{best['threshold']:.3f}{best['precision']:.3f}{best['recall']:.3f}" in text
    change = difference(other.figures, few.figures)
    low, high = change["mAP_interval"]
    assert f"{change['mAP']:+.3f}{low:.3f} … {high:.3f}" in text
    write_pictures(tmp_path, [few], None, {"labels_from": "people"})
    assert "difference in mAP" not in (tmp_path / "report.html").read_text(encoding="utf-8")
