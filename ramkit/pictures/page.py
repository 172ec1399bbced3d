"""One HTML page that needs nothing else: pictures inside as data URIs, no script, no network.

What comes from people (names, paths, descriptions) is escaped; a content security policy forbids all but the page's own
styles and inline pictures, should anything slip through.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ramkit.pictures.gallery import Exhibit, Told, Why, data_uri

_ROWS = 200  # of a table of names
_STYLE = Path(__file__).with_name("page.css")
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")


@dataclass(frozen=True)
class Table:
    """Figures beneath a heading: the first column names, the others hold numbers."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def page(
    title: str,
    about: Sequence[str],
    tables: Sequence[Table],
    charts: Sequence[tuple[str, str, bytes]],
    per_tag: Sequence[Mapping[str, Any]],
    exhibits: Mapping[str, Sequence[Exhibit]],
) -> str:
    """The whole page.

    Args:
        about: paragraphs at its head.
        tables: those that come before the charts.
        charts: (heading, remark, PNG) each.
        per_tag: rows of `Figures.per_tag`.
        exhibits: photos by their heading.
    """
    parts = [*(f'<p class="muted">{escape(line)}</p>' for line in about), *map(_table, tables)]
    for heading, remark, picture in charts:
        source = data_uri(picture, "image/png")
        parts.append(f"<h2>{escape(heading)}</h2><p>{escape(remark)}</p>")
        parts.append(f'<div class="wide"><img src="{source}" alt="{escape(heading)}"></div>')
    parts.append(_names_table(per_tag))
    if any(exhibits.values()):
        parts.append("<h2>Photos</h2>")
        parts.append(
            "<p>✓ told and true, ✗ told and not true, ○ true and not told, · neither. Before a description stands its "
            "weight. Maps go from dark (least) to yellow (most), each on a scale of its own. Attention tells where the "
            "decoder looked, not why. What is like a name are places where the direct similarity, asked of each alone, "
            "is highest.</p>"
        )
    for heading, photos in exhibits.items():
        if photos:
            parts.append(f'<h3>{escape(heading)}</h3><div class="photos">{"".join(map(_exhibit, photos))}</div>')
    return _PAGE.substitute(title=escape(title), style=_STYLE.read_text(encoding="utf-8"), body="\n".join(parts))


def _table(table: Table) -> str:
    head = _row("th", map(escape, table.columns)) if any(table.columns) else ""
    body = "".join(_row("td", map(_cell, row)) for row in table.rows)
    inner = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
    return f'<h2>{escape(table.heading)}</h2><div class="wide">{inner}</div>'


def _names_table(per_tag: Sequence[Mapping[str, Any]]) -> str:
    """All names or, of many, those with the most photos."""
    kept = sorted(per_tag, key=lambda row: (-row["positives"], str(row["tag"])))[:_ROWS]
    columns = ("tag", "positives", "ap", "precision", "recall", "f1", "threshold")
    titles = ("name", "photos", "AP", "precision", "recall", "F1", "threshold")
    head = _row("th", titles)
    body = "".join(_row("td", (_cell(row[key]) for key in columns)) for row in kept)
    more = f"the {len(kept)} with the most photos; " if len(kept) < len(per_tag) else ""
    return (
        f"<h2>Names</h2><details><summary>{len(per_tag):,} names ({more}all in per_tag.csv)</summary>"
        f'<div class="wide"><table><thead>{head}</thead><tbody>{body}</tbody></table></div></details>'
    )


def _exhibit(photo: Exhibit) -> str:
    told = "".join(f"<tr><td>{_mark(entry)} {_name(entry.name)}</td>{_score(entry)}</tr>" for entry in photo.told)
    return (
        f'<figure><img src="{photo.picture}" alt="{escape(Path(photo.image).name)}">'
        f'<figcaption class="muted">{escape(photo.image.rpartition("/")[2])}</figcaption>'
        f"<table>{told}</table>{''.join(map(_why, photo.why))}</figure>"
    )


def _why(entry: Why) -> str:
    pictures = "".join(
        f'<div><img src="{picture}" alt="{escape(title)}">{escape(title)}</div>'
        for title, picture in entry.maps.items()
    )
    texts = "".join(f"<li>{weight:.2f} {escape(text)}</li>" for weight, text in entry.chosen)
    chosen = f"<ul>{texts}</ul>" if texts else ""
    used = f"{entry.in_use:.1f} descriptions in use"
    return f'<div class="why"><b>{_name(entry.name)}</b>: {used}{chosen}<div class="maps">{pictures}</div></div>'


def _mark(entry: Told) -> str:
    marks = {(True, True): "✓", (True, False): "✗", (False, True): "○", (False, False): "·"}
    return marks[entry.shown, entry.true]


def _name(name: str) -> str:
    return f'<span class="name" dir="auto">{escape(name)}</span>'


def _score(entry: Told) -> str:
    return f'<td class="number">{entry.score:.3f}</td>'


def _row(tag: str, cells: Iterable[str]) -> str:
    """A row of a table, its cells as HTML: a name, then numbers."""
    kinds = (("number" if number else "name", cell) for number, cell in enumerate(cells))
    return "<tr>" + "".join(f'<{tag} class="{kind}">{cell}</{tag}>' for kind, cell in kinds) + "</tr>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
