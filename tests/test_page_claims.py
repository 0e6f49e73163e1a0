"""What pages say of their own tables: verdicts follow from intervals, and numbers in the text are those of the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md"))
Row = dict[str, str]

NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
VERDICT = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\], (better|worse|not shown)")


def text(page: str) -> str:
    """The page in single spaces, so that a sentence is found however its lines are broken."""
    return " ".join((DOCS / page).read_text(encoding="utf-8").split())


def tables(page: str) -> list[list[Row]]:
    """Every table of a page, a mapping per row; columns without a name are called by their place."""
    found, lines = [], (DOCS / page).read_text(encoding="utf-8").split("\n")
    for place, line in enumerate(lines):
        if not re.fullmatch(r"\|[-| ]+\|", line):
            continue
        names = [name or str(column) for column, name in enumerate(cells(lines[place - 1]))]
        rows = []
        for row in lines[place + 1 :]:
            if not row.startswith("|"):
                break
            rows.append(dict(zip(names, cells(row))))
        found.append(rows)
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def table(page: str, *columns: str) -> list[Row]:
    """The one table that has these columns."""
    (found,) = [rows for rows in tables(page) if rows and set(columns) <= rows[0].keys()]
    return found


def numbers(cell: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(NUMBER, cell)]


def said(page: str, pattern: str) -> list[float]:
    """The numbers of a sentence of the page, given with N in their places."""
    sentence = re.escape(pattern).replace("N", f"({NUMBER})")
    found = re.findall(sentence, text(page))
    assert len(found) == 1, f"docs/{page} says {len(found)} times: {pattern}"
    given = found[0] if isinstance(found[0], tuple) else (found[0],)
    return [float(number.replace(",", "")) for number in given]


def span(values: list[float], digits: int = 0) -> list[float]:
    return [round(min(values), digits), round(max(values), digits)]


# -------------------------------------------------------------------- verdicts


@pytest.mark.parametrize("page", PAGES)
def test_a_verdict_is_what_its_interval_shows(page):
    for value, low, high, word in VERDICT.findall((DOCS / page).read_text(encoding="utf-8")):
        shown = "better" if float(low) > 0 else "worse" if float(high) < 0 else "not shown"
        if 0.0 not in (float(low), float(high)):  # one that ends at a rounded 0 may be on either side
            assert word == shown, f"{value} [{low}, {high}]"


def test_an_algorithm_learns_where_its_whole_interval_is_above_the_data():
    seen = []
    for rows in tables("learning.md"):
        for row in rows:
            if "95 % interval" in row:
                (low, high), data = (float(end) for end in row["95 % interval"].split(" to ")), float(row["data"])
            else:
                (_, low, high), data = numbers(row["mean of both minus the data"]), 0.0
            shown = "above the data" if low > data else "**below the data**" if high < data else "not shown"
            assert row["4"] == shown, row
            seen.append(shown)
    assert {"above the data", "not shown"} <= set(seen)


def test_an_attack_costs_more_than_noise_where_their_intervals_are_apart():
    rows, shown = table("corruption.md", "random", "adversarial", "the attack"), {}
    for row in rows:
        _, noise_low, noise_high = numbers(row["random"])
        _, low, high = numbers(row["adversarial"])
        word = "costs more" if high < noise_low else "costs less" if low > noise_high else "not shown"
        assert row["the attack"] == word, row
        shown.setdefault(word, set()).add((row["data"].partition("/")[0], row["element"]))
    assert shown["costs more"] == {("pendulum", "actions"), ("pendulum-sparse", "dynamics")}  # as the text says
    hopper = {row["element"]: row for row in rows if row["data"].startswith("hopper")}
    clean_low, clean_high = numbers(hopper["actions"]["clean"])[1:]
    assert all(numbers(row["adversarial"])[2] >= clean_low for row in hopper.values())
    above = {element for element, row in hopper.items() if numbers(row["adversarial"])[1] > clean_high}
    assert above == {"observations", "rewards"}
    better_victim = {row["element"]: row for row in rows if row["data"].startswith("pendulum-sparse")}
    (actions,) = said("corruption.md", "left IQL N with attacked actions, which is above the interval")
    (dynamics,) = said("corruption.md", "With attacked dynamics it left N, which is inside")
    assert actions > numbers(better_victim["actions"]["adversarial"])[2]
    low, high = numbers(better_victim["dynamics"]["adversarial"])[1:]
    assert low <= dynamics <= high


def test_published_attacks_have_the_pattern_that_the_text_says():
    rows = {row["element"]: row for row in table("corruption.md", "HalfCheetah", "Hopper", "Walker2d")}
    leaves_less = {
        body: {name for name, row in rows.items() if (pair := numbers(row[body].replace("/", " ")))[1] < pair[0]}
        for body in ("HalfCheetah", "Hopper", "Walker2d")
    }
    assert leaves_less["HalfCheetah"] == leaves_less["Walker2d"] == {"actions", "dynamics"}
    assert leaves_less["Hopper"] == {"observations", "actions", "rewards"}


# -------------------------------------------------------------------- numbers


def test_how_much_more_a_fast_attack_lowers_values():
    fast, published, boxed = "25 steps of 0.08", "100 of 0.01, published start", "100 steps of 0.01"
    rows = table("corruption.md", fast, published)
    for other, sentence in (
        (published, "by N to N % more than in 100 steps from the published start"),
        (boxed, "by N to N % more than in 100 from a start in the box"),
    ):
        assert said("corruption.md", sentence) == span([100 * (float(r[fast]) / float(r[other]) - 1) for r in rows])


def test_what_labels_from_one_half_miss():
    rows = [
        row for row in table("relabeling.md", "covered, of 90 %") if row["entry"] == "all" and row["returns"] != "all"
    ]
    model = {row["returns"]: row for row in rows if "proxy" in row["labels"]}
    nearest = {row["returns"]: row for row in rows if "nearest" in row["labels"]}
    best, others = model["75-100%"], [row for returns, row in model.items() if returns != "75-100%"]
    error = "mean absolute error"
    ratios = [float(best[error]) / float(row[error]) for row in others]
    assert said("relabeling.md", "errors of the model are N to N times as large") == span(ratios, 1)
    covered, low, high = said("relabeling.md", "intervals cover N % of the true actions, against N to N %")
    assert covered == round(100 * float(best["covered, of 90 %"]))
    assert [low, high] == span([100 * float(row["covered, of 90 %"]) for row in others])
    ratios = [float(nearest[returns][error]) / float(row[error]) for returns, row in model.items()]
    assert said("relabeling.md", "its errors are N to N times the model's in every quarter") == span(ratios, 1)


def test_what_learned_rewards_are_worth():
    iql, share = "IQL", "IQL, share of true rewards"
    rows = {row["data"]: row for row in table("rewards.md", share)}
    learned = {name: row for name, row in rows.items() if " states " in name or " frames " in name}

    def shares(*words: str) -> list[float]:
        return [numbers(row[share])[0] for name, row in learned.items() if all(word in name for word in words)]

    assert said("rewards.md", "worth more than the true one, N to N times its score") == span(shares("cartpole"), 1)
    assert said("rewards.md", "learned rewards stay at N to N.") == span(shares("pendulum"), 2)
    assert said("rewards.md", "From frames it is N to N;") == span(shares("hopper", "frames"), 2)
    for mistakes, sentence in (
        (0, "reach N (N to N), zeros"),
        (20, "it is N (N to N); with"),
        (30, "with 30 % it is N (N to N)"),
    ):
        assert said("rewards.md", sentence) == numbers(rows[f"hopper states {mistakes}%"][share])
    for mistakes in (20, 30):  # "both intervals lie above that of zeros"
        assert numbers(rows[f"hopper states {mistakes}%"][iql])[1] > numbers(rows["hopper zero"][iql])[2]
    for name, sentence in (
        ("true rewards", "lead to any score (N, N to N)"),
        ("zero", "zeros lead to N (N to N)"),
        ("the teacher's measure", "measure leads to N (N to N)"),
        ("states 0%", "follow with N (N to N)"),
    ):
        assert said("rewards.md", sentence) == numbers(rows[f"pointmaze {name}"][iql])


def test_what_weighting_is_worth():
    rows = {row["minus uniform"]: row for row in table("reweighting.md", "minus uniform")}
    verdicts = {(name, algorithm): VERDICT.match(cell) for name, row in rows.items() for algorithm, cell in row.items()}
    gains = {key: float(found[1]) for key, found in verdicts.items() if found}
    better = {key for key, found in verdicts.items() if found and found[4] == "better"}
    pendulum, hopper = "pendulum expert 5%, AW", "hopper medium 5%, AW"
    assert said("reweighting.md", "they gain N and N points") == [
        round(gains[pendulum, algorithm]) for algorithm in ("CQL", "TD3+BC")
    ]
    three = [gains[hopper, algorithm] for algorithm in ("CQL", "IQL", "TD3+BC")]
    assert said("reweighting.md", "all three gain N to N.") == span(three)
    half = [-gains["pendulum expert 50%, top 10%", algorithm] for algorithm in ("CQL", "IQL", "TD3+BC")]
    assert said("reweighting.md", "Where half is good it loses N to N points") == span(half)
    behind = gains["pendulum expert 10%, AW", "TD3+BC"] - gains["pendulum expert 10%, top 10%", "TD3+BC"]
    assert said("reweighting.md", "and N points less for TD3+BC") == [round(behind)]
    ratio = {key for key in better if key[0].endswith(", DW")}
    assert [sum(algorithm == name for _, algorithm in ratio) for name in ("CQL", "TD3+BC", "IQL")] == [5, 1, 0]
    assert all(
        gains[name, "CQL"] < gains[name.replace("DW", "AW"), "CQL"] for name, algorithm in ratio if algorithm == "CQL"
    )
    assert {
        key for key in better if key[0].startswith("pendulum") and key[0].endswith(", AW") and key[1] == "IQL"
    } == set()


def test_what_guided_augmentation_is_worth():
    lines = re.findall(r"^- (\w+) ([\w-]+) minus ([\w-]+): (.*)$", (DOCS / "augmentation.md").read_text(), re.MULTILINE)
    words = {(way, other): [] for _, way, other, _ in lines}
    for _, way, other, line in lines:
        words[way, other] += [found[3] for found in VERDICT.findall(line)]
    guided = [word for (way, _), found in words.items() if way == "guided" for word in found]
    assert set(guided) == {"better"}
    models = words["model-based", "none"] + words["generative", "none"]
    (comparisons,) = said(
        "augmentation.md", "in one of N comparisons it is better than no augmentation, in ten it is worse"
    )
    assert (len(models), models.count("better"), models.count("worse")) == (comparisons, 1, 10)


def test_how_far_generated_steps_are_from_the_dynamics():
    rows = {
        (row["0"], row["1"]): numbers(row["dynamics"])[0] for row in table("augmentation.md", "dynamics", "marginals")
    }
    ratios = [rows[name, "Gaussian"] / rows[name, "generated"] for name, kind in rows if kind == "generated"]
    assert said("augmentation.md", "breaks them N to N times as far.") == span(ratios)


def test_a_night_on_two_cores_is_long_enough_for_both():
    both = 0.0
    rows = [row for row in table("suites.md", "CPU-hours") if row["algorithm"] != "all"]
    for suite in ("learning", "robustness"):
        hours = 0.0
        for row in (row for row in rows if row["suite"] == suite):
            (each, jobs, updates) = (numbers(row[name])[0] for name in ("CPU-ms per update", "jobs", "updates"))
            assert numbers(row["CPU-hours"])[0] == pytest.approx(each * jobs * updates / 3.6e6, abs=0.06)
            hours += each * jobs * updates / 3.6e6
        (total,) = [
            row for row in table("suites.md", "CPU-hours") if (row["suite"], row["algorithm"]) == (suite, "all")
        ]
        assert numbers(total["CPU-hours"])[0] == pytest.approx(hours, abs=0.1)
        both += hours
    assert both < 10  # CPU-hours, where two cores have 24 in a night


def test_who_survives_corrupted_data():
    rows = {row["data"]: row for row in table("corruption.md", "RIQL minus IQL", "BC minus clean")}
    corrupted = [name for name in rows if not name.endswith("clean")]
    words = [VERDICT.search(rows[name]["RIQL minus IQL"])[4] for name in corrupted]
    assert (len(words), words.count("worse"), words.count("not shown")) == (10, 4, 5)
    assert [name for name, word in zip(corrupted, words) if word == "better"] == ["hopper random observations"]
    wrong = rows["hopper random rewards"]
    assert all("worse" in wrong[f"{label} minus clean"] for label in ("TD3+BC", "IQL", "RIQL"))
    assert "better" in rows["hopper adversarial observations"]["IQL minus clean"]
    assert "better" in rows["hopper random observations"]["TD3+BC minus clean"]
    (lengths,) = [
        found
        for found in tables("corruption.md")
        if found and "steps" in found[0].get("RIQL", "") and "each" in found[0]["RIQL"]
    ]
    steps = {row["data"]: row for row in lengths}
    longest = [("hopper adversarial observations", "IQL"), ("hopper random observations", "TD3+BC")]
    found = [numbers(steps[data][label])[0] for data, label in longest]
    assert said("corruption.md", "their episodes last N and N of at most 1,000 steps") == found


def test_who_survives_corrupted_data_after_longer_training():
    rows = {row["mean over hopper and halfcheetah"]: row["difference"] for row in table("corruption.md", "difference")}
    words = {name: VERDICT.search(cell)[4] for name, cell in rows.items()}
    losses = {name.partition(",")[0]: word for name, word in words.items() if "corrupted minus clean" in name}
    assert {name for name, word in losses.items() if word == "worse"} == {"IQL", "RIQL", "CQL", "ReBRAC"}
    gains = [numbers(rows[f"RIQL minus IQL, {data}"])[0] for data in ("clean", "random simultaneous")]
    assert said("corruption.md", "earns N more than IQL on clean data and N more on corrupted data") == gains
    assert -numbers(rows["DT, corrupted minus clean"])[0] == said("corruption.md", "loss of N points is not shown")[0]
    assert words["RIQL minus IQL, corrupted minus clean"] == "not shown"
    assert words["RIQL minus IQL, clean"] == words["RIQL minus IQL, random simultaneous"] == "better"
    (scores,) = [found for found in tables("corruption.md") if found and "ReBRAC" in found[0]]
    mean = {(row["data"], label): numbers(row[label])[0] for row in scores for label in row if label != "data"}
    left = {
        (body, label): mean[f"{body} random simultaneous", label] / mean[f"{body} clean", label]
        for body in ("hopper", "halfcheetah")
        for label in scores[0]
        if label != "data"
    }
    assert 3.5 < left["hopper", "TD3+BC"] < 4.5
    assert left["halfcheetah", "TD3+BC"] < 1 / 3
    assert all(left["halfcheetah", label] < 0.5 for label in ("IQL", "RIQL", "CQL", "ReBRAC"))
    assert all(left["hopper", label] < 0.5 for label in ("IQL", "RIQL", "CQL"))
    assert all(mean[f"{body} clean", "BC"] < mean[f"{body} clean", label] for body, label in left if label != "BC")
