"""Time and peak memory of corruption: random against bare NumPy, adversarial against plain autograd, in one run each.

    python benchmarks/corruption.py [--steps 1000000]
    python benchmarks/corruption.py --adversarial [--victim FOLDER] [--device cuda]

Bare NumPy is one float32 copy of the column, one standard deviation, one mask and one addition of noise to the touched
rows: no episodes, no stored next observations, no masks, no check for NaN, no stream per block. `observations` and
`dynamics` also lay out s' (N rows gathered), which bare NumPy is given for free. Goal: a ratio of at most 1.5.
The two take turns; the round of least CPU time counts. Peak memory is what the call allocates beyond its input,
next to the size of the columns it returns.

Adversarial: rows attacked per CPU-second (per second on a GPU) with 10 critics of three layers of 256 and 100 steps of
0.01, next to a plain loop of the published form on the same rows in ten chunks: autograd through the critics with a mean
over chunk and critics, Adam made anew for every step, z clipped. Without `--victim`, a run folder, the critics have
random weights. "GFLOP/s" counts the matrix products that the gradient of the input needs, two passes through every layer
but the last; "of matmul" compares this with one large square product in the same run. The exact gradient takes 4 products
where autograd takes 6, so at full chunks the ratio for equal steps is bounded by 1.5 times what autograd leaves of the
machine. `fast_adversarial` of `assay.corruption.presets` takes fewer and longer steps, and the last column says how far
the mean value of the critics falls in comparison with the published loop. Goal: a ratio of at least 4 at no lesser fall.
"""

from __future__ import annotations

import argparse
import itertools
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from assay.corruption import AdversarialCorruption, RandomCorruption
from assay.corruption.presets import MODES
from assay.datasets import Dataset

RATE = 0.3


def make_dataset(steps: int, episode_length: int = 1000) -> Dataset:
    generator = np.random.default_rng(0)
    episodes = -(-steps // episode_length)
    lengths = np.full(episodes, episode_length)
    lengths[-1] = steps - episode_length * (episodes - 1)
    truncations = np.zeros(steps, bool)
    truncations[np.cumsum(lengths) - 1] = True
    columns = {
        "observations": generator.standard_normal((steps + episodes, 17), dtype=np.float32),
        "actions": generator.standard_normal((steps, 6), dtype=np.float32),
        "rewards": generator.standard_normal(steps, dtype=np.float32),
        "terminations": np.zeros(steps, bool),
        "truncations": truncations,
    }
    return Dataset(columns, lengths)


def bare_noise(column: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(0)
    result = column.copy()
    touched = np.flatnonzero(generator.random(len(column)) < RATE)
    noise = generator.random((len(touched), *column.shape[1:]), dtype=np.float32)
    noise *= 2
    noise -= 1
    noise *= column.std(0)
    result[touched] += noise
    return result


def bare_rewards(column: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(0)
    result = column.copy()
    touched = np.flatnonzero(generator.random(len(column)) < RATE)
    result[touched] = generator.random(len(touched), dtype=np.float32) * 60 - 30
    return result


def fastest(functions: list[Callable[[], Any]], rounds: int) -> list[float]:
    times = [float("inf")] * len(functions)
    for _ in range(rounds):
        for number, function in enumerate(functions):
            start = time.process_time()
            function()
            times[number] = min(times[number], time.process_time() - start)
    return times


def peak_bytes(function: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -------------------------------------------------------------------- adversarial


class RandomVictim:
    """Ten critics of three layers of 256 with EDAC's initial weights, and a policy of the same size."""

    def __init__(self, observation: int, action: int, device: str) -> None:
        import torch

        torch.manual_seed(0)
        self.dtype = torch.float32
        self.layers = self._layers(10, (observation + action, 256, 256, 256, 1), device)
        self.policy = self._layers(1, (observation, 256, 256, 256, action), device)

    def _layers(self, copies: int, widths: tuple[int, ...], device: str) -> list[Any]:
        import torch

        layers = []
        for inputs, outputs in itertools.pairwise(widths):
            weight = (2 * torch.rand(copies, inputs, outputs) - 1) / inputs**0.5
            layers.append((weight.to(device), torch.full((copies, 1, outputs), 0.1, device=device)))
        return layers

    def q_values(self, observations: Any, actions: Any) -> Any:
        import torch

        return forward(self.layers, torch.cat([observations, actions], -1)).squeeze(-1)

    def act(self, observations: Any) -> Any:
        return forward(self.policy, observations)[0].tanh()

    def critic_layers(self) -> list[Any]:
        return [(weight.double(), bias.double()) for weight, bias in self.layers]


def forward(layers: list[Any], inputs: Any) -> Any:
    hidden = inputs
    for number, (weight, bias) in enumerate(layers):
        hidden = (hidden.relu() if number else hidden) @ weight + bias
    return hidden


def published(victim: Any, element: str, observations: Any, actions: Any, following: Any, chunks: int = 10) -> Any:
    """The published optimizer, from its description; the policy is the deterministic one, as theirs crashes."""
    import torch

    layers = [
        (weight.float().requires_grad_(), bias.float().requires_grad_()) for weight, bias in victim.critic_layers()
    ]
    base = {"actions": actions, "dynamics": following}.get(element, observations)
    std = base.std(0, correction=0)
    found = []
    for rows in torch.arange(len(base), device=base.device).chunk(chunks):
        x, s, a = base[rows], observations[rows], actions[rows]
        z = torch.nn.Parameter(2 * std * (torch.rand_like(x) - 0.5))
        for _ in range(100):
            optimizer = torch.optim.Adam([z], lr=0.01)
            moved = x + z * std
            if element == "dynamics":
                pair = [moved, victim.act(moved)]
            else:
                pair = [s, moved] if element == "actions" else [moved, a]
            loss = forward(layers, torch.cat(pair, -1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            z.data.clamp_(-1.0, 1.0)
        found.append(x + z.detach() * std)
    return torch.cat(found)


def attacked(dataset: Dataset, attack: AdversarialCorruption) -> Any:
    import torch

    variant = attack.apply(dataset)
    name = {"dynamics": "next_observations", "states": "observations"}.get(attack.element, attack.element)
    column = variant.column(name)
    return torch.tensor(column[variant.observation_rows] if name == "observations" else column, device=attack.device)


def adversarial(arguments: argparse.Namespace) -> None:
    import torch

    device, on_gpu = arguments.device, arguments.device != "cpu"
    rows = arguments.rows or (65_536 if on_gpu else 600)  # 600: chunks of 60
    dataset = make_dataset(rows, episode_length=rows)
    if arguments.victim:
        import assay
        from assay.baselines import Run, RunVictim

        history = Run(arguments.victim).description["dataset"]["history"]
        source = next(record["parameters"] for record in history if record["transform"] == "source")
        dataset = assay.load(source["name"], **source.get("options", {}))
        episodes = -(-rows // int(dataset.episode_lengths.mean()))  # from all over: those of replay data grow longer
        dataset = dataset.select(np.linspace(0, dataset.total_episodes - 1, episodes + 2).astype(int)[1:-1])
        rows = dataset.total_steps
        victim: Any = RunVictim(arguments.victim, device)
    else:
        victim = RandomVictim(17, 6, device)

    def tensor(array: np.ndarray) -> Any:
        return torch.tensor(array, dtype=torch.float32, device=device)

    columns = (
        tensor(dataset.observations[dataset.observation_rows]),
        tensor(dataset.actions),
        tensor(dataset.next_observations),
    )

    def timed(function: Callable[[], Any]) -> tuple[float, Any]:
        start = time.perf_counter() if on_gpu else time.process_time()
        result = function()
        if on_gpu:
            torch.cuda.synchronize()
        return (time.perf_counter() if on_gpu else time.process_time()) - start, result

    size = 8192 if on_gpu else 1024
    square = torch.randn(size, size, device=device)
    rate = 2 * size**3 / min(timed(lambda: square @ square)[0] for _ in range(5))
    products = sum(2 * 2 * weight.numel() for weight, _ in victim.critic_layers()[:-1])  # forward and back, per row
    table = Table(title=f"corruption.adversarial, {rows:,} rows, {device}; one product {rate / 1e9:,.0f} GFLOP/s")
    for header in ("element", "form", "rows/s", "ratio", "GFLOP/s", "of matmul", "value falls by", "of published"):
        table.add_column(header, justify="right" if header not in ("element", "form") else "left")
    observations, actions, _ = columns
    elements = dict(zip(("observations", "actions", "dynamics", "states"), (*columns, observations), strict=True))
    for element, clean in elements.items():

        def value(moved: Any, element: str = element) -> float:
            with torch.no_grad():
                if element == "dynamics":
                    return float(victim.q_values(moved, victim.act(moved)).mean())
                pair = (observations, moved) if element == "actions" else (moved, actions)
                return float(victim.q_values(*pair).mean())

        forms: dict[str, Callable[[], Any]] = {"published loop": partial(published, victim, element, *columns)}
        descents = {}
        for mode, initialization in itertools.product(("adversarial", "fast_adversarial"), ("published", "uniform")):
            _, chosen = MODES.get(mode, ("", {}))
            attack = AdversarialCorruption(
                element, victim, rate=1.0, device=device, initialization=initialization, **chosen
            )
            form = f"{attack.steps} steps of {attack.step_size}, {initialization}"
            forms[form], descents[form] = partial(attacked, dataset, attack), attack.steps
        times, results = dict.fromkeys(forms, float("inf")), {}
        for _ in range(arguments.rounds):  # they take turns
            for form, function in forms.items():
                taken, results[form] = timed(function)
                times[form] = min(times[form], taken)
        falls = {form: value(clean) - value(result) for form, result in results.items()}
        for form, taken in times.items():
            done = [""] * 3
            if form in descents:
                operations = descents[form] * products * rows / taken
                done = [
                    f"{times['published loop'] / taken:.1f}",
                    f"{operations / 1e9:,.0f}",
                    f"{operations / rate:.0%}",
                ]
            of_published = f"{falls[form] / falls['published loop']:.2f}"
            table.add_row(element, form, f"{rows / taken:,.0f}", *done, f"{falls[form]:.4g}", of_published)
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--adversarial", action="store_true")
    parser.add_argument("--victim", help="run folder whose critics are attacked, on its own dataset")
    parser.add_argument("--rows", type=int, help="to attack")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.adversarial else 7)
    if arguments.adversarial:
        adversarial(arguments)
        return
    dataset = make_dataset(arguments.steps)
    columns = {
        "observations": dataset.observations,
        "actions": dataset.actions,
        "rewards": dataset.rewards,
        "dynamics": dataset.next_observations,
        "states": dataset.observations,
    }
    table = Table(title=f"corruption.random, {arguments.steps:,} x (17 + 6) float32, rate {RATE}")
    for header in ("element", "Assay, s", "bare NumPy, s", "ratio", "peak MB", "returned MB"):
        table.add_column(header, justify="left" if header == "element" else "right")
    for element, column in columns.items():
        transform = RandomCorruption(element, rate=RATE)
        bare = bare_rewards if element == "rewards" else bare_noise

        def run(transform: RandomCorruption = transform) -> Dataset:
            return transform.apply(dataset)

        def run_bare(column: np.ndarray = column, bare: Any = bare) -> np.ndarray:
            return bare(column)

        own, other = fastest([run, run_bare], arguments.rounds)
        variant = run()
        made = sum(
            variant.column(name).nbytes
            for name in variant.columns
            if name not in dataset.columns or not np.shares_memory(variant.column(name), dataset.column(name))
        )
        del variant
        peak = peak_bytes(run)
        table.add_row(
            element, f"{own:.3f}", f"{other:.3f}", f"{own / other:.2f}", f"{peak / 1e6:.0f}", f"{made / 1e6:.0f}"
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
