"""Draw the rooms and their imports: docs/images/architecture.svg.

Usage: python docs/make_architecture_drawing.py

The arrows are read from the code: every import statement of every file, except those of an `__init__.py` from the
folders below it, which only pass names on. What is allowed stands in the tables of docs/architecture.md; the script
draws nothing and says which arrow is wrong where the code and the tables disagree. `tests/test_architecture.py` asserts
the same, and that the committed drawing holds the arrows of today's code.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
DRAWING = ROOT / "docs" / "images" / "architecture.svg"
ROOMS = ("datasets", "corruption", "augmentation", "relabeling", "reweighting", "metrics", "baselines", "analysis")
COMMAND_LINE = "assay/cli"

Arrow = tuple[str, str]

# ---------------------------------------------------------------- what the code imports


def place_of(parts: tuple[str, ...]) -> str:
    """Return the room or sub-room of a module's path: the deepest package, but nothing below a sub-room's first level.

    `formats/containers` is the one sub-room of a sub-room.
    """
    packages = []
    for depth in range(1, len(parts) + 1):
        if not (ROOT.joinpath(*parts[:depth]) / "__init__.py").exists():
            break
        packages.append(parts[depth - 1])
    deepest = 3 if packages[:3] == ["datasets", "formats", "containers"] else 2
    return "/".join(packages[:deepest])


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a file imports by statement, relative to `assay`."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.removeprefix("assay.") for name in names if name.startswith("assay."))


def opened(tree: ast.Module) -> Iterator[str]:
    """Yield what a file imports by a name in a string, relative to `assay`; "*" where the name is an expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module":
            name = ast.unparse(node.args[0]).removeprefix("f").strip("'")
            inner = name.removeprefix("assay.")
            yield inner if name.startswith("assay.") and not inner.startswith("{") else "*"


def files() -> Iterator[tuple[str, Path]]:
    """Yield every Python file of the rooms and of the command line, with its room or sub-room."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            yield place_of(file.relative_to(ROOT).parts[:-1]), file
    command_line = [ROOT / "assay" / "cli.py", *(ROOT / "assay" / "cli").rglob("*.py")]
    yield from ((COMMAND_LINE, file) for file in command_line if file.exists())


def arrows_of_code() -> set[Arrow]:
    """Return (importer, imported) for all rooms and sub-rooms; other rooms are imported as wholes."""
    arrows = set()
    for place, file in files():
        for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            room = name.partition(".")[0]
            if room not in ROOMS:
                continue
            inside = room == place.partition("/")[0]
            target = place_of(tuple(name.split("."))) if inside else room
            passes_on = file.name == "__init__.py" and target.startswith(place + "/")
            if target != place and not passes_on:
                arrows.add((place, target))
    return arrows


def opened_by_name() -> set[Arrow]:
    """Return (file, room) for rooms that a file of another room imports by a name in a string; "*" for expressions."""
    found = set()
    for _, file in files():
        relative = file.relative_to(ROOT).as_posix()
        for name in opened(ast.parse(file.read_text(encoding="utf-8"))):
            if name.partition(".")[0] != relative.partition("/")[0]:
                found.add((relative, name.partition(".")[0]))
    return {(file, room) for file, room in found if not file.startswith("assay/")}


# ---------------------------------------------------------------- what the page allows


def allowed_by_page() -> dict[str, set[str]]:
    """Return what each room and sub-room may import, from the tables of docs/architecture.md.

    A row of a table is `| name | what is in it | what it may import |`; names are in backquotes.
    """
    allowed = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            allowed[cells[0].strip("`")] = set(re.findall(r"`([^`]+)`", cells[2]))
    return allowed


def arrows_of_page() -> set[Arrow]:
    """Return the arrows that the page allows; a sub-room may also import what its room may."""
    allowed = allowed_by_page()
    arrows = set()
    for name, targets in allowed.items():
        room = name.partition("/")[0]
        wider = {target for target in allowed.get(room, set()) if not target.startswith(room + "/")}
        arrows |= {(name, target) for target in targets | wider}
    return arrows


def disagreements() -> list[str]:
    """Say where the code and the page disagree: arrows that are not allowed, and rooms without a row."""
    allowed, places = allowed_by_page(), {place for place, _ in files()}
    found = [f"{name} has no row in {PAGE.name}" for name in sorted(places - set(allowed))]
    found += [f"{PAGE.name} has a row for {name}, which does not exist" for name in sorted(set(allowed) - places)]
    wrong = sorted(arrows_of_code() - arrows_of_page())
    return found + [f"{source} imports {target}, which {PAGE.name} does not allow" for source, target in wrong]


def arrows_to_draw() -> set[Arrow]:
    """Return the arrows of the code, with those from a room into another one joined to one arrow between the rooms."""
    return {
        (source, target) if room_of(source) == room_of(target) else (room_of(source), target)
        for source, target in arrows_of_code()
    }


def arrows_of_drawing() -> set[Arrow]:
    """Return the arrows of the committed drawing; each is a group whose id names both ends."""
    ids = re.findall(r'id="arrow ([\w/]+) ([\w/]+)"', DRAWING.read_text(encoding="utf-8"))
    return set(ids)


# ---------------------------------------------------------------- the drawing

INK, MUTED, BOTH_WAYS = "#1b1f24", "#6b7280", "#b4460b"
TRANSFORM, OWN = "#e4dcf4", "#ffffff"
COLORS = {
    COMMAND_LINE: "#f3f4f6",
    "datasets": "#cfe3f7",
    "baselines": "#d8efdc",
    "analysis": "#fbe6c8",
    "metrics": "#fbe6c8",
}
BOXES = {  # left, bottom, width, height of each room
    COMMAND_LINE: (0.2, 10.1, 17.05, 0.6),
    "corruption": (0.2, 4.4, 2.9, 4.9),
    "augmentation": (3.2, 4.4, 2.0, 4.9),
    "reweighting": (5.3, 4.4, 0.45, 4.9),
    "metrics": (5.85, 4.4, 1.05, 4.9),
    "relabeling": (7.0, 4.4, 2.6, 4.9),
    "baselines": (9.7, 4.4, 5.25, 4.9),
    "analysis": (15.05, 4.4, 1.8, 4.9),
    "datasets": (0.2, 0.6, 17.05, 3.1),
}
CENTRES = {  # where what is inside a room stands: its sub-rooms, and under the room's name its own files
    "corruption": (0.98, 8.2),
    "corruption/attacks": (2.4, 8.2),
    "corruption/repair": (2.4, 6.2),
    "corruption/shared": (0.98, 6.2),
    "augmentation": (4.2, 8.2),
    "augmentation/domains": (4.2, 6.2),
    "augmentation/states": (4.2, 5.2),
    "metrics": (6.37, 7.6),
    "metrics/robot": (6.37, 5.6),
    "relabeling": (8.3, 8.4),
    "relabeling/progress": (7.6, 7.6),
    "relabeling/preferences": (8.85, 6.85),
    "relabeling/shared": (7.6, 5.9),
    "relabeling/judges": (8.3, 5.3),
    "relabeling/frames": (9.05, 5.8),
    "baselines/suites": (10.3, 8.3),
    "baselines/training": (12.0, 8.6),
    "baselines/runs": (10.75, 7.1),
    "baselines/evaluation": (13.9, 7.6),
    "baselines/behaviour": (14.15, 4.8),
    "baselines/algorithms": (10.45, 5.6),
    "baselines/engine": (12.9, 5.65),
    "baselines/networks": (11.4, 4.75),
    "baselines/dynamics": (14.2, 6.45),
    "baselines/diffusion": (14.2, 5.65),
    "analysis": (15.95, 6.0),
    "analysis/figures": (16.25, 7.1),
    "analysis/trials": (15.65, 7.9),
    "analysis/values": (16.3, 8.6),
    "analysis/advice": (16.15, 5.1),
    "datasets": (7.0, 2.75),
    "datasets/sampling": (11.9, 2.75),
    "datasets/formats": (2.0, 2.75),
    "datasets/formats/containers": (2.0, 1.1),
    "datasets/tables": (4.5, 1.75),
    "datasets/editing": (9.5, 1.75),
    "datasets/collection": (7.0, 1.1),
    "datasets/environments": (11.9, 1.1),
}
OWN_FILES = {
    "corruption": "transforms",
    "augmentation": "transforms",
    "metrics": "assess",
    "relabeling": "methods",
    "analysis": "runs, tables,\nreport, card",
    "datasets": "dataset, transform, recipe,\nregistry, loading, validation",
}
KEY = (
    "An arrow points from what imports to what is imported. Orange: both import each other. "
    "Dashed: opened by name at run time, never imported."
)


def room_of(place: str) -> str:
    """Return the room of a sub-room; the command line is no room and stands for itself."""
    return place if place == COMMAND_LINE else place.partition("/")[0]


def main() -> None:
    """Write the drawing, or exit with what is wrong."""
    import matplotlib

    arrows = arrows_to_draw()
    ends = {end for source, target in arrows if room_of(source) == room_of(target) for end in (source, target)}
    wrong = disagreements() + [f"{name} has no place in CENTRES" for name in sorted(ends - set(CENTRES))]
    if wrong:
        sys.exit("\n".join(wrong))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "architecture", "font.family": "sans-serif"}):
        draw(arrows).savefig(DRAWING, metadata={"Date": None, "Creator": None})
    print(f"{DRAWING.relative_to(ROOT)}: {len(arrows)} arrows")


def draw(arrows: set[Arrow]) -> Figure:
    """Return the figure: rooms as boxes, sub-rooms inside them, and the arrows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17.45, 11), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 17.45), ylim=(0, 11))
    axes.axis("off")
    for room, (left, bottom, width, height) in BOXES.items():
        box(axes, left, bottom, width, height, COLORS.get(room, TRANSFORM))
        narrow, flat = width < 1, height < 1
        x = left + width / 2 if narrow or flat else left + 0.14
        y = bottom + height / 2 if narrow or flat else bottom + height - 0.27
        style = {"ha": "center" if narrow or flat else "left", "va": "center", "rotation": 90 if narrow else 0}
        axes.text(x, y, room, fontsize=13, fontweight="bold", color=INK, **style)
    patches = {}
    for name, (x, y) in CENTRES.items():
        label = OWN_FILES.get(name, name.partition("/")[2])
        lines = label.split("\n")
        width, height = 0.1 * max(map(len, lines)) + 0.3, 0.22 * len(lines) + 0.24
        patches[name] = box(axes, x - width / 2, y - height / 2, width, height, OWN)
        axes.text(x, y, label, ha="center", va="center", fontsize=11, color=INK, zorder=5)
    top = BOXES["datasets"][1] + BOXES["datasets"][3]
    for source, target in sorted(arrows):
        if room_of(source) == room_of(target):
            both = (target, source) in arrows
            style = {"patchA": patches[source], "patchB": patches[target], "color": BOTH_WAYS if both else INK}
            start, end = CENTRES[source], CENTRES[target]
            arrow(axes, f"arrow {source} {target}", start, end, bend=0.16 if both else 0.0, **style)
            continue
        left, bottom, width, height = BOXES[target if source == COMMAND_LINE else source]
        x = left + width / 2 if (source, target) != (COMMAND_LINE, "datasets") else 15.45
        if source == COMMAND_LINE:
            arrow(axes, f"arrow {source} {target}", (x, BOXES[source][1]), (x, bottom + height))
        elif target != "datasets":  # a room beside it
            to_left = BOXES[target][0] < left
            start = left + 0.45 if to_left else left + width - 0.45
            end = BOXES[target][0] + (BOXES[target][2] if to_left else 0.0)
            arrow(axes, f"arrow {source} {target}", (start, bottom + 0.55), (end, bottom + 0.55))
        else:
            arrow(axes, f"arrow {source} {target}", (x, bottom), (x, top))
    for file, room in sorted(opened_by_name()):
        source = place_of(tuple(file.split("/")[:-1]))
        if room != "*":
            left, bottom, width, height = BOXES[room]
            beyond = CENTRES[source][0] > left + width  # the room lies to the left of what opens it
            end = (left + width if beyond else left, bottom + height - 0.75)
            style = {"patchA": patches[source], "linestyle": "--", "bend": -0.12}
            arrow(axes, f"opens {source} {room}", CENTRES[source], end, **style)
    axes.text(0.2, 0.28, KEY, fontsize=10.5, color=MUTED, va="center")
    return figure


def box(axes: Axes, left: float, bottom: float, width: float, height: float, color: str) -> Patch:
    """Draw a rounded box."""
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.1"
    patch = FancyBboxPatch((left, bottom), width, height, boxstyle=style, facecolor=color, edgecolor=INK, linewidth=0.9)
    axes.add_patch(patch)
    return patch


def arrow(
    axes: Axes, name: str, start: tuple[float, float], end: tuple[float, float], *, bend: float = 0.0, **style: Any
) -> None:
    """Draw an arrow whose group in the SVG file has this name."""
    from matplotlib.patches import FancyArrowPatch

    style = {"arrowstyle": "-|>", "mutation_scale": 13, "linewidth": 1.1, "color": INK, "zorder": 4, **style}
    patch = FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={bend}", shrinkA=0, shrinkB=1, **style)
    patch.set_gid(name)
    axes.add_patch(patch)


if __name__ == "__main__":
    main()
