"""Self-contained HTML pages: figures inline as SVG, tables that scroll, one style for light and dark, nothing fetched."""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from assay.analysis.figures import GRID, INK, MUTED, SERIES
from assay.datasets.atomic import atomic_write
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NARROW", "WIDE", "escape", "figure_block", "svg", "table_block", "value_text", "writable", "write_page"]

WIDE, NARROW = 720, 354  # pixels: the text column on a desk, and on a phone 390 pixels wide
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    color: f"--series-{index}" for index, color in enumerate(SERIES)
}


def escape(value: object) -> str:
    """Write a value as HTML text."""
    return html.escape(str(value), quote=True)


def svg(figure: Figure, name: str) -> str:
    """Return a figure as inline SVG: text stays text, colours are the page's variables, ids begin with `name`."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "savefig.bbox": "standard"}):
        # the resolution is that of rasterized parts, such as clouds of points
        figure.savefig(buffer, format="svg", dpi=200, transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # the XML prolog and doctype have no place inside HTML
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    # ids repeat between drawings, and a page must not refer into one that is hidden at this width
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    width, height = figure.get_size_inches() * 100
    return re.sub(r'width="[^"]*pt" height="[^"]*pt"', f'width="{width:.0f}" height="{height:.0f}"', text, count=1)


def figure_block(name: str, wide: Figure | None, narrow: Figure | None, description: str) -> str:
    """Return a figure in two drawings, for a desk and for a phone, of which the page shows one."""
    if wide is None or narrow is None:
        return ""
    return (
        f'<figure role="img" aria-label="{escape(description)}">\n'
        f'<div class="wide">{svg(wide, f"{name}-wide")}</div>\n'
        f'<div class="narrow">{svg(narrow, f"{name}-narrow")}</div>\n</figure>'
    )


def table_block(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str, text: Sequence[int] = ()) -> str:
    """Return a table that scrolls inside its frame; cells are HTML already, `text` are the columns set to the left."""
    head = "".join(
        f'<th scope="col"{" class=text" if index in text else ""}>{name}</th>' for index, name in enumerate(header)
    )
    lines = []
    for row in rows:
        cells = [
            cell if cell.startswith("<td") else f"<td{' class=text' if index in text else ''}>{cell}</td>"
            for index, cell in enumerate(row)
            if index
        ]
        unscored = " class=unscored" if any(cell.startswith("<td data-status") for cell in cells) else ""
        lines.append(f'<tr{unscored}><th scope="row">{row[0]}</th>{"".join(cells)}</tr>')
    name = re.sub("<[^>]*>", "", caption)  # escaped already, as the cells are
    return (
        f'<p class="caption">{caption}</p>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">\n<table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table>\n</div>"
    )


def value_text(value: float) -> str:
    """Write a number with four significant digits, whole numbers in full."""
    if value != value or value in (float("inf"), float("-inf")):
        return "–"
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def writable(output: str | os.PathLike[str], example: str, *, overwrite: bool) -> Path:
    """Return the file to write, or raise ConfigError where it must not be written."""
    target = Path(output)
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; name the file to write, such as {target / example}")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} exists already; choose another path or pass overwrite=True (--overwrite)")
    return target


def write_page(target: Path, title: str, body: str) -> None:
    """Write a page, whole or not at all; the body is HTML already, the title is not."""
    from assay import __version__

    template = Template((files("assay.analysis") / "templates" / "page.html").read_text(encoding="utf-8"))
    atomic_write(target, template.substitute(title=escape(title), version=escape(__version__), body=body))
