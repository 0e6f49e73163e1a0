"""Every code block of README.md, CONTRIBUTING.md and docs/*.md does what it says.

Python blocks run page by page, in order, in one namespace. Commands of Assay are compared with their help; targets of make
with the Makefile. A block that cannot run says why in the line above, in a comment that a reader of the page does not see:

    <!-- not run: REASON -->
    <!-- run by PATH OF A TEST FILE -->
"""

from __future__ import annotations

import re
import shlex
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from assay.baselines.algorithms.algorithm import Algorithm
from assay.cli import main
from assay.cli.application import COMMANDS, GROUPS
from assay.datasets import formats

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
QUICK = {"docs/formats.md", "docs/reweighting.md"}  # under five seconds; the others train, measure or start processes
SHELLS = ("", "sh", "bash", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int  # of the fence, from 1
    language: str
    content: str
    mark: str  # text of the comment in the line above, or ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    blocks, lines = [], text.splitlines()
    opened: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = number
            continue
        above = re.fullmatch(r"<!--\s*(.*?)\s*-->", lines[opened - 1]) if opened else None
        content = "".join(f"{row}\n" for row in lines[opened + 1 : number])
        language = lines[opened].removeprefix("```").strip()
        blocks.append(Block(page, opened + 1, language, content, above[1] if above else ""))
        opened = None
    assert opened is None, f"{page}:{opened}: a block is not closed"
    return blocks


def all_blocks() -> Iterator[Block]:
    for page, path in PAGES.items():
        yield from blocks_of(page, path.read_text())


def is_to_run(block: Block) -> bool:
    return block.language == "python" and not block.mark.startswith(("not run:", "run by "))


def run_page(page: str, text: str) -> None:
    """Run the Python blocks of a page in one namespace, as lines of the page, so that an error names its line."""
    module = types.ModuleType(f"page_{Path(page).stem}")
    sys.modules[module.__name__] = module
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DeprecationWarning)
            for block in blocks_of(page, text):
                if is_to_run(block):
                    source = "\n" * block.line + block.content
                    exec(compile(source, str(ROOT / page), "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    former = [str(entry.message) for entry in caught if _is_own(entry, str(ROOT / page))]
    assert not former, f"{page} uses former names: {former}"


def _is_own(entry: warnings.WarningMessage, page: str) -> bool:
    """Whether a warning is one of Assay's, or of the page's, about a name that will go."""
    return issubclass(entry.category, DeprecationWarning) and (entry.filename == page or "assay" in str(entry.message))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, a Minari folder of its own, and registries that forget what a page registers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    formats.known_formats()
    for registry in (formats._REGISTRY, Algorithm.registry):
        registry.all()
        for table in ("_entries", "_origins"):
            monkeypatch.setattr(registry, table, dict(getattr(registry, table)))


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page in QUICK else pytest.mark.slow)
        for page in PAGES
        if any(is_to_run(block) for block in blocks_of(page, PAGES[page].read_text()))
    ],
)
def test_the_python_blocks_of_a_page_run_in_order(page: str) -> None:
    run_page(page, PAGES[page].read_text())


@pytest.mark.parametrize("block", [block for block in all_blocks() if block.mark], ids=lambda block: block.place)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    if block.mark.startswith("run by "):
        test = ROOT / block.mark.removeprefix("run by ")
        assert test.is_file(), f"{block.place}: there is no {test}"
        assert Path(block.page).name in test.read_text(), f"{block.place}: {test} does not read this page"
    else:
        assert re.fullmatch(r"not run: \w+( \S+){2,}", block.mark), f"{block.place}: {block.mark!r} gives no reason"
    if block.language == "python":
        compile(block.content, block.place, "exec")


def test_every_mark_stands_directly_above_a_block() -> None:
    for page, path in PAGES.items():
        text = path.read_text()
        marks = len(re.findall(r"<!--\s*(?:not run|run by)", text))
        assert marks == sum(block.mark.startswith(("not run", "run by")) for block in blocks_of(page, text)), page


def test_every_block_has_a_language_that_is_checked() -> None:
    for block in all_blocks():
        assert block.language in ("python", "yaml", "json", "toml", *SHELLS), block.place


@pytest.mark.parametrize("block", [block for block in all_blocks() if block.language == "yaml"], ids=lambda b: b.place)
def test_yaml_blocks_are_mappings(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.content), dict)


def commands(block: Block) -> list[list[str]]:
    """Return the command lines of a shell block, split into words, without comments and prompts."""
    joined = block.content.replace("\\\n", " ")
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in joined.splitlines() if line.strip()]


COMMAND_LINES = [
    pytest.param(words, id=f"{block.place} {' '.join(words[:3])}")
    for block in all_blocks()
    if block.language in SHELLS
    for words in commands(block)
    if words
]


@pytest.mark.parametrize("words", COMMAND_LINES)
def test_a_command_exists_and_has_the_options_that_it_is_given(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *arguments = words
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= {*targets}
        return
    if program != "assay":
        assert program in ("pip", "ray"), f"{program} is neither Assay's nor a tool that is known here"
        return
    name = tuple(arguments[: 2 if arguments[0] in GROUPS else 1])
    assert name in COMMANDS
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        main([*name, "--help"])
    assert end.value.code == 0
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out)) | {"--import", "--debug"}
    options = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
    assert options <= known, f"assay {' '.join(name)} has no {options - known}"
    for word in arguments:
        if word.startswith("suites/"):
            assert (ROOT / word).is_file()


def test_what_a_page_must_not_do_is_found() -> None:
    with pytest.raises(NameError, match="dataset"):
        run_page("docs/none.md", "# Page\n\n```python\nx = 1\n```\n\n```python\nx + dataset\n```\n")
    with pytest.raises(AssertionError, match="former names"):
        run_page("docs/none.md", "```python\nimport assay.baselines.algorithms.iql\n```\n")
    with pytest.raises(AssertionError, match="not closed"):
        run_page("docs/none.md", "```python\nx = 1\n")
    run_page("docs/none.md", "<!-- not run: needs a machine of another kind -->\n```python\nabsent\n```\n")


def test_an_error_names_the_line_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        run_page("docs/none.md", "# Page\n\n```python\nx = 1\nx / 0\n```\n")
    assert raised.traceback[-1].lineno + 1 == 5
    assert str(raised.traceback[-1].path) == str(ROOT / "docs" / "none.md")


def test_pages_name_only_files_that_are_there() -> None:
    for page, path in PAGES.items():
        prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose):
            assert (path.parent / target).exists(), f"{page} links to {target}"
