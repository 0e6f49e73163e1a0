"""Do the verdicts of `assay.trial` hold what they promise?

Four proofs: `simulate` draws scores whose distribution is known, `stopping` asks how often a growing trial stops as equivalent or gives up
where it must not, `nulls` trains pairs of the same content in another order of
episodes, and `ladder` trains on labels of which a growing share is noise::

    python benchmarks/trials.py simulate
    python benchmarks/trials.py stopping
    python benchmarks/trials.py nulls
    python benchmarks/trials.py ladder

Every share of wrong verdicts stands beside its 95 % interval (Clopper and Pearson). All pairs of `nulls`, and all of `ladder`,
train as one population of behaviour cloning.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import stats

import assay
from assay.analysis.trials import Pair, Rules, judge
from assay.analysis.trials.finished_runs import scores_of
from assay.analysis.trials.multiplicity import holm
from assay.analysis.trials.power import smallest_difference
from assay.analysis.trials.sequential import levels_of_looks
from assay.analysis.trials.sign_flip import sign_flip_test, smallest_p_value
from assay.baselines import BC, Evaluation, Job, train
from assay.datasets import Dataset

ALPHA = 0.05
LOOKS = {6: [6], 8: [6, 8], 16: [8, 10, 12, 14, 16], 64: [32, 48, 64]}
DOSES = (0.0, 0.05, 0.1, 0.2, 0.4)
POLICY = BC(hidden=(16,), batch_size=64, learning_rate=3e-3)


def interval(count: int, trials: int) -> str:
    """Write a share with its Clopper-Pearson interval, in percent."""
    found = stats.binomtest(count, trials).proportion_ci(0.95, "exact")
    return f"{100 * count / trials:5.2f} % ({100 * found.low:.2f} to {100 * found.high:.2f})"


# ---------------------------------------------------------------- simulated scores

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def heavy_tails(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 50 + 10 * generator.standard_t(3, shape)


def collapses(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    well = generator.normal(80, 5, shape)
    return np.where(generator.random(shape) < 0.1, generator.normal(1, 1, shape), well)


def success_rates(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 10.0 * generator.binomial(10, 0.8, shape)


NOISES: dict[str, Noise] = {
    "Student-t(3) noise": heavy_tails,
    "a tenth of the runs near 0": collapses,
    "success rates, 11 values": success_rates,
}


def sides(noise: Noise, generator: np.random.Generator, seeds: int, trials: int) -> Iterator[np.ndarray]:
    """Yield (seeds, trials) scores before and after: exchangeable, with a strong effect of the seed on both."""
    of_seed = generator.normal(0, 15, (seeds, trials))
    for _ in range(2):
        yield noise(generator, (seeds, trials)) + of_seed


def called(differences: np.ndarray, looks: list[int], levels: tuple[float, ...]) -> np.ndarray:
    """Whether each of the (seeds, trials) differences is ever called better or worse."""
    found = np.zeros(differences.shape[1], bool)
    for seeds, level in zip(looks, levels):
        if level > 0:
            found |= sign_flip_test(differences[:seeds]) <= level
    return found


def simulate(trials: int) -> None:
    print(f"Nulls, {trials:,} trials each: share of 'better' or 'worse' at alpha = {ALPHA}")
    for name, noise in NOISES.items():
        for seeds, looks in LOOKS.items():
            before, after = sides(noise, np.random.default_rng((1, seeds)), seeds, trials)
            values = after - before
            fixed = called(values, [seeds], (ALPHA,)).sum()
            growing = called(values, looks, levels_of_looks(looks, ALPHA)).sum()
            print(
                f"  {name:28} {seeds:3} seeds   once {interval(int(fixed), trials)}   looks after {looks} "
                f"{interval(int(growing), trials)}"
            )
    print(f"Power, {trials:,} trials each: normal differences, the smallest difference planted, 80 % promised")
    for seeds in LOOKS:
        planted = smallest_difference(10.0, seeds)[0]
        values = np.random.default_rng((2, seeds)).normal(planted, 10.0, (seeds, trials))
        shown = ((sign_flip_test(values) <= ALPHA) & (values.mean(0) > 0)).sum()
        print(f"  {seeds:3} seeds, {planted / 10:.2f} standard deviations   {interval(int(shown), trials)}")
    stubs(trials)


def inside(differences: np.ndarray, margin: float, level: float) -> np.ndarray:
    """Whether the interval at level 1 - 2 level of each of the (seeds, trials) differences lies inside (-margin, margin)."""
    if level == 0 or smallest_p_value(len(differences)) > 2 * level:
        return np.zeros(differences.shape[1], bool)
    shifted = [sign_flip_test(differences - end) <= 2 * level for end in (-margin, margin)]
    return np.all([np.abs(differences.mean(0)) < margin, *shifted], axis=0)


def stopped(differences: np.ndarray, margin: float, looks: list[int], levels: tuple[float, ...]) -> np.ndarray:
    """Return the look, from 0, at which each trial is first inside the margin; the number of looks where it never is."""
    found = np.full(differences.shape[1], len(looks))
    for number, (seeds, level) in enumerate(zip(looks, levels)):
        found[(found == len(looks)) & inside(differences[:seeds], margin, level)] = number
    return found


def stopping(trials: int) -> None:
    """Print how often a growing trial stops as equivalent, or gives up, where it must not: at the edge itself."""
    print(
        f"Stopping on the other side, {trials:,} trials each: the true difference is the margin, or what is worth finding"
    )
    looks = LOOKS[16]
    for name, noise in NOISES.items():
        before, after = sides(noise, np.random.default_rng((9, 16)), 16, trials)
        edge = 8 * float((after - before).std()) / math.sqrt(16)  # so far from 0 that the other end plays no part
        shares = []
        for rate in (ALPHA, 0.2):
            levels = levels_of_looks(looks, rate)
            used = levels if rate == ALPHA else (*levels[:-1], 0.0)
            wrong = stopped(after - before + edge, edge, looks, used) < len(looks)
            shares.append(interval(int(wrong.sum()), trials))
        print(f"  {name:28} looks after {looks}   called equivalent {shares[0]}   given up {shares[1]}", flush=True)
    rate = 0.2
    before, after = sides(heavy_tails, np.random.default_rng(10), 16, trials)
    differences = after - before
    edge = smallest_difference(float(differences.std()), 16)[0]
    betas = (*levels_of_looks(looks, rate)[:-1], 0.0)
    at_look = stopped(differences, edge, looks, betas)
    used = np.array([*looks, looks[-1]])[at_look].mean()
    early = int((at_look < len(looks)).sum())
    print(
        f"  nothing changed, what 16 seeds can show is worth finding: given up {interval(early, trials)}, {used:.1f} seeds on average"
    )
    every = stopped(differences + edge, edge, looks, (rate,) * (len(looks) - 1) + (0.0,)) < len(looks)
    print(f"  without spending, at the edge: given up {interval(int(every.sum()), trials)}")


def stubs(trials: int) -> None:
    """Print what goes wrong without what the trial does."""
    print("What must fail")
    looks = LOOKS[16]
    before, after = sides(heavy_tails, np.random.default_rng(3), 16, trials)
    early = called(after - before, looks, (ALPHA,) * len(looks)).sum()
    print(f"  stop at the first significant look of {len(looks)}: wrong {interval(int(early), trials)}")
    generator = np.random.default_rng(4)
    differences = generator.normal(0, 5, (8, 1, trials)) + generator.normal(0, 5, (8, 8, trials))
    tasks = (sign_flip_test(differences.mean(1)) <= ALPHA).sum()
    seeds = (sign_flip_test(differences.reshape(64, trials)) <= ALPHA).sum()
    print(f"  8 tasks of 8 seeds: tasks as units wrong {interval(int(tasks), trials)}", end="; ")
    print(f"all 64 pooled wrong {interval(int(seeds), trials)}")
    before, after = (collapses(generator, (16, trials)) for _ in range(2))
    dropped = sum(
        float(sign_flip_test((after - before)[after[:, trial] > 20, trial])) <= ALPHA for trial in range(trials)
    )
    print(f"  drop what collapsed after the change: wrong {interval(dropped, trials)}")
    before, after = (heavy_tails(generator, (16, trials)) for _ in range(2))
    of_seed = generator.normal(0, 30, (16, trials))
    after = after + 14
    paired = (sign_flip_test(after - before) <= ALPHA).sum()
    unpaired = (stats.ttest_ind(after + of_seed, before + of_seed).pvalue <= ALPHA).sum()
    print(f"  a difference of 14: paired shown {interval(int(paired), trials)}", end="; ")
    print(f"unpaired {interval(int(unpaired), trials)}")
    scores = generator.standard_t(3, (trials, 16, 5))
    p_values = np.array([sign_flip_test(item[:, 1:] - item[:, :1]) for item in scores[: trials // 10]])
    each = (p_values <= ALPHA).any(1).sum()
    by_holm = sum((holm(row) <= ALPHA).any() for row in p_values)
    print(f"  4 variants, any wrong: each alone {interval(int(each), len(p_values))}", end="; ")
    print(f"Holm {interval(int(by_holm), len(p_values))}")


# ---------------------------------------------------------------- trained policies


def train_as_one(jobs: list[Job], steps: int, episodes: int, folder: Path) -> None:
    """Train all jobs as one population, from the same start states."""
    started = time.monotonic()
    evaluation = Evaluation(episodes=episodes)
    train(jobs, steps=steps, runs=folder, evaluation=evaluation, population=len(jobs), workers=0)
    print(f"{len(jobs):,} trainings of {steps} updates in {(time.monotonic() - started) / 60:.1f} minutes")


def scores_by_variant(folder: Path) -> dict[str, dict[int, float]]:
    """Return variant -> seed -> score, averaged over start states."""
    from assay.analysis.runs import read_folders

    found: dict[str, dict[int, float]] = {}
    for run in read_folders(folder):
        scores = scores_of([run], run.references)
        found.setdefault(run.variant, {})[scores.seeds[0]] = float(scores.values.mean())
    return found


def nulls(pairs: int, seeds: int, steps: int, episodes: int, data_steps: int, folder: Path) -> None:
    """Train pairs of the same content in another order of episodes; every pair has seeds of its own."""
    before = assay.load("pendulum/medium", steps=data_steps).named("before")
    jobs = []
    for pair in range(pairs):
        order = np.random.default_rng((5, pair)).permutation(before.total_episodes)
        after = before[order].named("after")
        jobs += [Job(POLICY, data, pair * seeds + seed) for seed in range(seeds) for data in (before, after)]
    train_as_one(jobs, steps, episodes, folder)
    scores = scores_by_variant(folder)
    values = np.array([[scores["after"][seed] - scores["before"][seed] for seed in range(pairs * seeds)]])
    judged = [
        judge(
            {
                "": Pair(
                    np.array([scores["before"][seed] for seed in range(pair * seeds, (pair + 1) * seeds)]),
                    np.array([scores["after"][seed] for seed in range(pair * seeds, (pair + 1) * seeds)]),
                )
            },
            Rules(),
        )[""]
        for pair in range(pairs)
    ]
    wrong = sum(item.verdict in ("better", "worse") for item in judged)
    better = sum(item.verdict == "better" for item in judged)
    covered = sum(item.interval[0] <= 0 <= item.interval[1] for item in judged)
    print(
        f"{pairs} pairs of {seeds} seeds, {episodes} start states: before {np.mean([*scores['before'].values()]):.1f}",
        end=", ",
    )
    print(f"differences with standard deviation {values.std(ddof=1):.2f} score points")
    print(
        f"  called better or worse: {interval(wrong, pairs)}, {better} of {wrong} better; the interval holds 0: {covered}"
    )
    largest = ALPHA if seeds > 16 else math.floor(ALPHA * 2 ** (seeds - 1)) / 2 ** (seeds - 1)
    print(f"  {seeds} seeds can be wrong in {100 * largest:.2f} % at most")


def noisy(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Replace this share of the actions by uniform draws from the action space."""
    generator = np.random.default_rng((6, round(1000 * share), seed))
    low, high = dataset.info.action_space.bounds()
    wrong = generator.random(dataset.total_steps) < share
    drawn = generator.uniform(low, high, dataset.actions.shape).astype(dataset.actions.dtype)
    return dataset.replace({"actions": np.where(wrong[:, None], drawn, dataset.actions)})


def ladder(trials: int, seeds: int, steps: int, episodes: int, data_steps: int, folder: Path) -> None:
    """Train on labels of which a growing share is noise, drawn anew for every seed."""
    before = assay.load("pendulum/medium", steps=data_steps).named("before")
    total = trials * seeds
    jobs = [Job(POLICY, before, seed) for seed in range(total)]
    for share in DOSES:
        for seed in range(total):
            data = noisy(before, share, seed) if share else before[_order(before, seed)]
            jobs.append(Job(POLICY, data.named(f"{share:.2f}"), seed))
    train_as_one(jobs, steps, episodes, folder)
    scores = scores_by_variant(folder)
    control = np.array([scores["before"][seed] for seed in range(total)])
    print(f"{trials} trials of {seeds} seeds at each dose, {episodes} start states: before {control.mean():.1f}")
    print("  noise   mean difference     called worse                   better   predicted (t)  predicted (resampled)")
    for share in DOSES:
        after = np.array([scores[f"{share:.2f}"][seed] for seed in range(total)])
        values = (after - control).reshape(trials, seeds).T
        p_values = sign_flip_test(values)
        worse = int(((p_values <= ALPHA) & (values.mean(0) < 0)).sum())
        better = int(((p_values <= ALPHA) & (values.mean(0) > 0)).sum())
        mean, deviation = float(values.mean()), float(values.std(ddof=1))
        error = 1.96 * deviation / math.sqrt(total)
        by_t, resampled = predictions(values.ravel(), mean, deviation, seeds)
        print(
            f"  {share:4.0%}    {mean:+7.2f} +- {error:.2f}    {interval(worse, trials):28} {better:4}     {by_t}    {resampled}"
        )


def predictions(values: np.ndarray, mean: float, deviation: float, seeds: int) -> tuple[str, str]:
    """Return the predicted share of "worse", by Student's t and by resampling, for the ends of the mean's interval."""
    error = 1.96 * deviation / math.sqrt(len(values))
    drawn = np.random.default_rng(8).choice(values - values.mean(), (seeds, 4000))
    shares = []
    for end in (mean + error, mean - error):
        by_t = stats.nct.cdf(stats.t.ppf(ALPHA / 2, seeds - 1), seeds - 1, end / deviation * math.sqrt(seeds))
        moved = drawn + end
        shares.append((by_t, ((sign_flip_test(moved) <= ALPHA) & (moved.mean(0) < 0)).mean()))
    by_t, resampled = (f"{100 * low:5.1f} to {100 * high:5.1f} %" for low, high in zip(*shares))
    return by_t, resampled


def _order(dataset: Dataset, seed: int) -> np.ndarray:
    return np.random.default_rng((7, seed)).permutation(dataset.total_episodes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("proof", choices=("simulate", "stopping", "nulls", "ladder"))
    parser.add_argument("--trials", type=int, help="default 10,000 simulated, 200 pairs, 40 per dose")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--data-steps", type=int, default=2_000)
    parser.add_argument("--runs", type=Path, help="folder of the runs; default a temporary one")
    given = parser.parse_args()
    if given.proof in ("simulate", "stopping"):
        {"simulate": simulate, "stopping": stopping}[given.proof](given.trials or 10_000)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.runs or Path(temporary)
        run, default = (nulls, 200) if given.proof == "nulls" else (ladder, 40)
        run(given.trials or default, given.seeds, given.steps, given.episodes, given.data_steps, folder)


if __name__ == "__main__":
    main()
