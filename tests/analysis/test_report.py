from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assay.analysis import comparison_table, load_returns, load_runs, write_report
from assay.analysis.page import is_page, table_block, tables_script
from assay.analysis.trials import compare_runs
from assay.cli import main
from assay.datasets.errors import AssayError, ConfigError

Make = Callable[..., Path]
VOID = {"meta", "br", "hr", "img", "input", "link", "use", "path", "rect", "circle"}


class Page(HTMLParser):
    """Collect tags, ids, tables as text, and check that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if {"td", "th"} & set(self.open[-2:]):
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page(folder: Path) -> Page:
    output = folder.parent / "out" / "report.html"
    return Page(write_report(folder, output).read_text(encoding="utf-8"))


def shared_page(folder: Path) -> Page:
    return Page((folder.parent / "report.html").read_text(encoding="utf-8"))


def test_the_report_is_one_file_that_fetches_nothing(shared_example: Path) -> None:
    text = (shared_example.parent / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|\bsrc=|url\((?!#)", text)
    tags = Page(text).tags
    assert not tags & {"link", "img", "iframe", "object", "base", "form"}
    assert re.findall(r"<script.*?</script>", text, re.DOTALL) == [f"<script>{tables_script()}</script>"]
    assert {"svg", "table", "details", "style"} <= tags
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_ids_are_unique_and_every_reference_resolves(shared_example: Path) -> None:
    text = (shared_example.parent / "report.html").read_text(encoding="utf-8")
    ids = Page(text).ids
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(ids)


def test_figures_follow_the_colours_of_the_page(shared_example: Path) -> None:
    text = (shared_example.parent / "report.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 12  # four figures, each for a desk, a tablet and a phone
    for drawing in drawings:
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) <= {"#000000", "#ffffff"}
        assert "var(--ink)" in drawing


def test_every_number_of_the_score_table_is_that_of_the_episodes(shared_example: Path) -> None:
    header, *rows = shared_page(shared_example).tables[0]
    assert header == ["Variant", "BC", "TD3+BC", "Data"]
    episodes = load_returns(shared_example).filter(final=True)
    for row in rows:
        for label, cell in zip(header[1:3], row[1:3], strict=True):
            mine = episodes.filter(variant=row[0], label=label)
            seeds = [float(np.mean((run["return"].to_numpy() + 20.0) / 32.0)) for run in mine.partition_by("run")]
            assert cell == f"{np.mean(seeds):.1f} [{min(seeds):.1f}, {max(seeds):.1f}]"  # three seeds: their range
        assert row[3] == "30.0"


def test_every_number_of_the_run_table_is_that_of_the_episodes(shared_example: Path) -> None:
    header, *rows = shared_page(shared_example).tables[-2]
    episodes = load_returns(shared_example).filter(final=True)
    assert len(rows) == 12
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        mine = episodes.filter(run=cells["Folder"])["return"].to_numpy()
        assert cells["Final return"] == f"{mine.mean():.1f}"
        assert cells["Final score"] == f"{(mine.mean() + 20) / 32:.1f}"
        assert cells["Episodes"] == "2"


def test_the_summary_is_worded_by_what_the_intervals_carry(shared_example: Path) -> None:
    text = shared_page(shared_example).text
    assert "All 12 runs finished." in text
    assert "On clean, TD3+BC has the highest mean score, 62.0 [60.0, 64.0]; its interval lies above" in text
    assert "TD3+BC loses most on random-rewards (22.0 against 62.0)." in text
    assert "BC is on no variant below clean." in text


def test_overlapping_intervals_are_no_clear_difference(folder: Path, run: Make) -> None:
    for seed, (mine, other) in enumerate([(40, 39), (50, 49), (60, 59)]):
        run(folder, "bc", seed=seed, returns=(32.0 * mine - 20,))
        run(folder, "iql", seed=seed, returns=(32.0 * other - 20,))
        run(folder, "bc", "random-rewards", seed=seed, returns=(32.0 * other - 20,))
    text = page(folder).text
    assert "BC has the highest mean score, 50.0 [40.0, 60.0]; no clear difference from IQL" in text
    assert "BC shows no clear loss on random-rewards, its lowest (49.0 against 50.0)" in text


def test_few_seeds_are_said_to_be_few(folder: Path, run: Make) -> None:
    run(folder, "bc", returns=(1580.0,))
    run(folder, "iql", returns=(300.0,))
    run(folder, "bc", "random-rewards", returns=(300.0,))
    text = page(folder).text
    assert "too few seeds to tell whether it is better than IQL" in text
    assert "with too few seeds to be sure" in text
    assert "one run says nothing about the next" in text


def test_unfinished_failed_and_missing_runs_are_in_plain_sight(folder: Path, run: Make, suite: Any) -> None:
    suite(folder, algorithms=["bc"], seeds=[0, 1, 2])
    run(folder, seed=0)
    run(folder, seed=1, returns=(), status="failed", error="MemoryError: 3 GiB <asked>")
    run(folder, "bc", "random-rewards", 0, returns=(), status="unfinished")
    run(folder, "bc", "random-rewards", 1, returns=(-20.0,), status="diverged")
    found = page(folder)
    assert "1 of 6 runs finished; 1 diverged, 1 failed, 1 unfinished and 2 not started." in found.text
    assert "3 runs did not finish" in found.text
    cells = [cell for row in found.tables[-2] for cell in row]
    assert cells.count("not started") == 2
    assert "MemoryError: 3 GiB <asked>" in cells
    assert "1 of 2 seeds" in found.tables[0][1][1]


def test_names_from_files_cannot_become_markup(folder: Path, run: Make, suite: Any, quality: Any) -> None:
    evil = "<script>alert('1')</script>&\"$body $x_{$"
    suite(folder, title=evil, question=evil, name=evil, budget=evil, variants=["clean"], algorithms=["bc"], source=evil)
    made = run(
        folder, label=evil, status="diverged", error=evil, references={"random": 0.0, "expert": 1.0, "source": evil}
    )
    other = run(folder, variant="x", history=[{"transform": evil, "parameters": {evil: evil}}], fingerprint=evil)
    for path in (made, other):
        file = path / "run.json"
        file.write_text(file.read_text().replace('"2.9.0"', '"<b>2</b>"').replace('"x"', '"<i>x</i>"'))
    quality(
        folder,
        [(evil, evil, 1.0), ("clean", "tq", 0.1), (evil, "tq", 0.2), ("clean", "saco", 1.0), (evil, "saco", 1.0)],
    )
    output = write_report(folder, folder.parent / "report.html")
    text = output.read_text(encoding="utf-8")
    found = Page(text)
    assert not found.tags & {"b", "i"}
    assert re.findall("<script", text) == ["<script"]  # that of the page itself
    assert found.text.count("alert('1')") > 10
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("references", [None, {"random": -20.0, "expert": 3180.0, "source": "x"}])
def test_one_run_is_enough(folder: Path, run: Make, references: Any) -> None:
    made = run(folder, references=references)
    for path in (folder, made):
        found = page(path)
        assert "The only run finished." in found.text
        assert ("mean return of 1580" if references is None else "score of 50.0") in found.text
        assert found.tables[0][1][1] == ("1580 1 seed" if references is None else "50.0 1 seed")


def test_runs_without_any_evaluation_or_log_still_make_a_report(folder: Path, run: Make) -> None:
    run(folder, returns=(), losses=(), behaviour=None)
    assert "No policy has been evaluated yet." in page(folder).text


def test_a_suite_that_has_not_begun_makes_a_report(folder: Path, suite: Any) -> None:
    suite(folder)
    assert "0 of 12 runs finished; 12 not started." in page(folder).text


def test_the_report_needs_no_quality(example: Path) -> None:
    (example / "quality.parquet").unlink()
    found = page(example)
    assert "The data itself" in found.text
    assert "Trajectory quality" not in found.text


def test_several_datasets_and_settings_keep_apart(folder: Path, run: Make) -> None:
    for number, dataset in enumerate(("hopper/medium", "walker2d/medium")):
        made = run(folder, returns=(1580.0 + 320 * number,), suffix=f"{number}123abcd")
        file = made / "run.json"
        file.write_text(file.read_text().replace("hopper/medium-replay", dataset))
    run(folder, "iql", parameters={"expectile": 0.7}, suffix="2123abcd")
    run(folder, "iql", parameters={"expectile": 0.9}, suffix="3123abcd")
    found = page(folder)
    assert "hopper/medium: clean" in found.text
    assert "walker2d/medium: clean" in found.text
    assert "IQL (expectile=0.9)" in found.tables[0][0]


def test_datasets_that_changed_under_a_name_are_warned_of(folder: Path, run: Make) -> None:
    run(folder, seed=0, fingerprint="a" * 32)
    run(folder, seed=1, fingerprint="b" * 32)
    assert "trained on 2 different datasets" in page(folder).text


def test_how_it_was_made_names_budget_versions_hardware_and_fingerprints(shared_example: Path) -> None:
    text = shared_page(shared_example).text
    for part in (
        "budget small",
        "torch 2.9.0",
        "AMD EPYC",
        "D4RL hopper references",
        "f1000000",
        "3,000 gradient updates",
    ):
        assert part in text
    assert "compare within this report, not with papers" in text


@pytest.mark.parametrize(("episodes", "said"), [(3, True), (6, False)])
def test_goals_that_were_not_tried_are_told(folder: Path, run: Make, episodes: int, said: bool) -> None:
    made = run(folder, returns=[1.0, 0.0, 1.0, 0.0, 1.0, 0.0][:episodes])
    table = pl.read_parquet(made / "returns.parquet")
    table.with_columns(goal=pl.Series([episode % 3 for episode in range(episodes)])).write_parquet(
        made / "returns.parquet"
    )
    assert ("those that are not listed were not tried" in page(folder).text) == said


def test_a_report_is_replaced_only_if_that_is_allowed(example: Path) -> None:
    output = example.parent / "report.html"
    write_report(example, output)
    before = output.read_bytes()
    assert write_report(example, output).read_bytes() == before  # the same runs make the same file
    with pytest.raises(ConfigError, match="overwrite"):
        write_report(example, output, overwrite=False)
    with pytest.raises(ConfigError, match="is a folder"):
        write_report(example, example)


def test_the_command_replaces_reports_and_nothing_else_unless_told_so(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("assay.analysis.report.report_body", lambda path: ("title", "<p>body</p>"))
    output = tmp_path / "page.html"
    for _ in range(2):
        main(["report", str(example), "-o", str(output)])
    card = re.sub('content="report"', 'content="card"', output.read_text(encoding="utf-8"))
    for other in ("my thesis", card):
        output.write_text(other, encoding="utf-8")
        with pytest.raises(SystemExit):
            main(["report", str(example), "-o", str(output)])
        assert "page.html exists already" in "".join(capsys.readouterr().err.splitlines())
        assert output.read_text(encoding="utf-8") == other
    main(["report", str(example), "-o", str(output), "--overwrite"])
    assert is_page(output, "report")


def test_another_process_makes_the_same_bytes(shared_example: Path, tmp_path: Path) -> None:
    program = "import sys; from assay.analysis import write_report; write_report(*sys.argv[1:])"
    command = [sys.executable, "-c", program, str(shared_example), str(tmp_path / "report.html")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})  # hashes decide the order of sets
    assert (tmp_path / "report.html").read_bytes() == (shared_example.parent / "report.html").read_bytes()


def test_a_table_says_that_it_goes_on_only_where_a_phone_does_not_hold_it() -> None:
    narrow = table_block(["Variant", "BC"], [["clean", "40.0 <small>[39.0, 41.0]</small>"]], "Scores")
    assert "sideways" not in narrow
    names = [f"Algorithm {number}" for number in range(6)]
    wide = table_block(["Variant", *names], [["clean"] + ["40.0 <small>[39.0, 41.0]</small>"] * 6], "Scores")
    assert "Scroll sideways for more columns" in Page(f"<main>{wide}</main>").text


def test_a_damaged_folder_leaves_the_old_report(example: Path) -> None:
    output = example.parent / "report.html"
    write_report(example, output)
    before = output.read_bytes()
    victim = next(path for path in example.iterdir() if path.is_dir())
    (victim / "run.json").write_text("{")
    with pytest.raises(AssayError, match=r"run\.json"):
        write_report(example, output)
    assert output.read_bytes() == before
    shutil.rmtree(victim)
    assert "1 not started" in Page(write_report(example, output).read_text()).text


# ---------------------------------------------------------------- what is compared


def tables_by_caption(text: str) -> dict[str, list[list[str]]]:
    captions = re.findall(r'<p class="caption">(.*?)</p>', text, re.DOTALL)
    return dict(zip(captions, Page(text).tables, strict=True))


def of_caption(text: str, words: str) -> list[list[str]]:
    (found,) = [table for caption, table in tables_by_caption(text).items() if words in caption]
    return found


def many_seeds(folder: Path, run: Make, seeds: int = 8) -> Path:
    """Two algorithms and three variants; noise harms one of them surely, and the other variant does nothing sure."""
    generator = np.random.default_rng(0)
    for algorithm, base in (("bc", 40.0), ("td3_bc", 60.0)):
        for seed in range(seeds):
            for variant, loss in (
                ("clean", 0.0),
                ("random-rewards", 15.0 * (algorithm == "bc")),
                ("random-actions", 0.0),
            ):
                score = base - loss + float(generator.normal(0, 2))
                earlier = {1000: (32.0 * score / 3 - 20.0,), 2000: (32.0 * score / 2 - 20.0,)}
                run(folder, algorithm, variant, seed, (32.0 * score - 20.0,), earlier=earlier)
    return folder


def test_verdicts_on_variants_are_those_of_trials(folder: Path, run: Make) -> None:
    text = write_report(many_seeds(folder, run), folder.parent / "report.html").read_text()
    expected = compare_runs(folder, "clean").table
    header, *rows = of_caption(text, "Every variant against clean")
    assert header[:4] == ["Variant", "Algorithm", "Verdict", "Difference"]
    assert len(rows) == expected.height == 6
    for row, known in zip(rows, expected.iter_rows(named=True), strict=True):
        called = {"bc": "BC", "td3_bc": "TD3+BC"}.get(known["algorithm"], known["algorithm"])
        assert row[:3] == [known["after"], called, known["verdict"]]
        assert row[3] == f"{known['difference']:+.3g} [{known['low']:+.3g}, {known['high']:+.3g}]"
        assert row[4] == f"{known['probability_of_improvement']:.2f}"
    assert ("random-rewards", "BC", "worse") in {tuple(row[:3]) for row in rows}
    assert "at most 5 % of such trials say better or worse" in Page(text).text
    assert 'aria-label="Differences of every variant' in text


def test_few_seeds_give_no_verdict_and_the_report_says_so(shared_example: Path) -> None:
    text = (shared_example.parent / "report.html").read_text(encoding="utf-8")
    assert "3 seeds cannot show anything over 3 comparisons, whatever the scores are" in text
    assert {row[2] for row in of_caption(text, "Every variant against clean")[1:]} == {"undecided"}
    assert 'aria-label="Differences of every variant' not in text


def test_algorithms_in_pairs_profiles_and_sample_efficiency_are_those_of_the_functions(folder: Path, run: Make) -> None:
    text = write_report(many_seeds(folder, run), folder.parent / "report.html").read_text()
    (row,) = of_caption(text, "First minus second")[1:]
    known = comparison_table(load_runs(folder), progress=None).row(0, named=True)
    assert row[:2] == [known["first"], known["second"]] == ["BC", "TD3+BC"]
    assert row[2] == f"{known['difference']:+.3g} [{known['low']:+.3g}, {known['high']:+.3g}]"
    assert row[3].startswith(f"{known['probability']:.2f} [")
    for label in ("Share of runs above each score", "Interquartile mean of the scores over gradient updates"):
        assert f'aria-label="{label}' in text


def test_what_cannot_be_compared_is_named_and_the_rest_stands(folder: Path, run: Make) -> None:
    many_seeds(folder, run, seeds=6)
    run(folder, "bc", "clean", 6, returns=(1580.0,))
    found = page(folder)
    assert "Verdicts on the variants are left out" in found.text
    assert "seeds 6 have a run on one side only" in found.text
    assert "Algorithms in pairs are left out" in found.text
    assert found.tables[0][0] == ["Variant", "BC", "TD3+BC", "Data"]


@pytest.mark.slow
def test_a_browser_orders_and_filters_tables_by_keys_in_the_dark_and_on_a_phone(folder: Path, run: Make) -> None:
    selenium = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.common.keys import Keys

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("needs Debian's chromium and chromium-driver")
    output = write_report(many_seeds(folder, run), folder.parent / "report.html")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    try:
        window.get(output.as_uri())
        table = window.find_elements("css selector", "table.sortable")[-1]  # of the runs
        window.execute_script("document.querySelector('details').open = true")

        def column(number: int) -> list[str]:
            return window.execute_script(
                "return [...arguments[0].tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[arguments[1]].textContent)",
                table,
                number,
            )

        heads = [head.text.strip() for head in table.find_elements("css selector", "thead th")]
        at = heads.index("Final score")
        button = table.find_elements("css selector", "thead button")[at]
        button.click()
        ascending = [float(value) for value in column(at)]
        assert ascending == sorted(ascending)
        assert ascending != sorted(ascending, reverse=True)
        window.switch_to.active_element.send_keys(Keys.ENTER)  # the same button, by the keyboard
        assert [float(value) for value in column(at)] == sorted(ascending, reverse=True)
        assert table.find_elements("css selector", "thead th")[at].get_attribute("aria-sort") == "descending"
        field = window.find_elements("css selector", ".filter input")[-1]
        field.send_keys("TD3 random-rewards")
        assert set(zip(column(0), column(1))) == {("TD3+BC", "random-rewards")}
        assert window.find_elements("css selector", ".filter output")[-1].text == "8 of 48"
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(Keys.DELETE)
        assert len(column(0)) == 48
        window.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        )
        assert window.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        assert window.execute_script(
            "return getComputedStyle(document.querySelector('.filter input')).backgroundColor"
        ) == ("rgb(20, 23, 27)")
        window.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        )
        assert window.execute_script("return document.documentElement.scrollWidth") <= 400
        assert window.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert window.get_log("browser") == []
    finally:
        window.quit()
