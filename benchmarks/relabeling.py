"""Labels per CPU-second of a trained inverse dynamics model, next to a plain PyTorch loop and to bare matrix products.

    python benchmarks/relabeling.py [--steps 1000000] [--device cuda]

A made-up dataset of HalfCheetah's shape (17 states, 6 actions, episodes of 1,000), of which 1 % has actions. The model is
fitted briefly and then fills in all others; only the filling in is timed. The plain loop does what a user's own does, with
the same weights: a window of each batch is stacked from the array, normalized, given to the two `torch.nn.Sequential` of each
member one after the other, and the mean of tanh(mu) and the published spread are taken; no quadrature, no calibration.
"of products" is the time of the matrix products of the networks alone, in batches of the same size, over the time of the
filling in: a network of two layers of 1,024 needs 13 million multiplications and additions per step and three members, so no
CPU gives 200,000 of them a second; for that a network of at most two layers of 128 serves. Goal: at least as fast as the
plain loop, and 200,000 steps per CPU-second with the small network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from assay.datasets import Dataset
from assay.relabeling import HideActions, InverseDynamicsLabels
from assay.relabeling.shared.inverse_model import bounded
from assay.relabeling.shared.windows import Windows

NETWORKS = {"1 x 64": (1, (64,)), "3 x 64": (3, (64,)), "3 x 128": (3, (128,)), "1 x 128, 128": (1, (128, 128))}
NETWORKS |= {"3 x 128, 128": (3, (128, 128)), "1 x 1024, 1024": (1, (1024, 1024))}
BATCH = 8192


def make_dataset(steps: int, episode_length: int = 1000) -> Dataset:
    generator = np.random.default_rng(0)
    episodes = steps // episode_length
    actions = generator.uniform(-0.95, 0.95, (episodes, episode_length, 6)).astype(np.float32)
    mixing = generator.standard_normal((6, 17)).astype(np.float32) / 3
    states = np.zeros((episodes, episode_length + 1, 17), np.float32)
    for step in range(episode_length):
        states[:, step + 1] = 0.95 * states[:, step] + np.tanh(actions[:, step] @ mixing)
    truncations = np.zeros((episodes, episode_length), bool)
    truncations[:, -1] = True
    columns = {
        "observations": states.reshape(-1, 17),
        "actions": actions.reshape(-1, 6),
        "rewards": generator.standard_normal(episodes * episode_length, dtype=np.float32),
        "terminations": np.zeros(episodes * episode_length, bool),
        "truncations": truncations.ravel(),
    }
    return Dataset(columns, np.full(episodes, episode_length))


def plain_modules(network: Any) -> list[torch.nn.Sequential]:
    """Return one `torch.nn.Sequential` per member with the weights of a network of the population engine."""
    modules = []
    for member in range(network.members):
        tensors = iter(network.weights["frozen"])
        layers: list[torch.nn.Module] = []
        for weight, bias in zip(tensors, tensors):
            linear = torch.nn.Linear(weight.shape[1], weight.shape[2])
            linear.weight.data, linear.bias.data = weight[member].T.contiguous(), bias[member, 0].clone()
            layers += [linear, torch.nn.ReLU()]
        modules.append(torch.nn.Sequential(*layers[:-1]).to(network.buffer.device))
    return modules


def plain_loop(dataset: Dataset, steps: np.ndarray, model: Any, device: str) -> Callable[[], object]:
    """Return a function that labels the steps as a user's own loop would."""
    networks, scale = model.predictor.parts[0].networks, Windows(dataset).scale
    means, log_stds = plain_modules(networks["mean"]), plain_modules(networks["log_std"])
    observations, rows = dataset.observations, dataset.observation_rows
    mean, deviation = scale.mean.astype(np.float32), scale.deviation.astype(np.float32)
    change_mean, change_deviation = scale.change_mean.astype(np.float32), scale.change_deviation.astype(np.float32)

    @torch.no_grad()
    def run() -> object:
        actions, spreads = [], []
        for start in range(0, len(steps), BATCH):
            now = rows[steps[start : start + BATCH]]
            state, following = observations[now], observations[now + 1]
            inputs = [(state - mean) / deviation, (following - state - change_mean) / change_deviation]
            batch = torch.from_numpy(np.concatenate(inputs, axis=1)).to(device)
            found = torch.stack([torch.tanh(module(batch)) for module in means])
            stds = torch.stack([bounded(module(batch)).exp() for module in log_stds])
            middle = found.mean(0)
            variance = stds.square().mean(0) + found.square().mean(0) - middle.square()
            actions.append(middle.cpu().numpy())
            spreads.append(variance.mean(-1).cpu().numpy())
        return np.concatenate(actions), np.concatenate(spreads)

    return run


def bare_products(model: Any, count: int, device: str) -> Callable[[], object]:
    """Return a function that does only the matrix products of the networks, for so many steps."""
    matrices = [
        tensor[member]
        for network in model.predictor.parts[0].networks.values()
        for member in range(network.members)
        for tensor in network.weights["frozen"]
        if tensor.shape[1] > 1
    ]
    batches = {matrix.shape[0]: torch.randn(BATCH, matrix.shape[0], device=device) for matrix in matrices}

    @torch.no_grad()
    def run() -> object:
        for _ in range(0, count, BATCH):
            for matrix in matrices:
                found = batches[matrix.shape[0]] @ matrix
        return found

    return run


def seconds(functions: list[Callable[[], object]], rounds: int, device: str) -> list[float]:
    """Return the least time of each; they take turns. CPU time, or time on the clock where a GPU computes."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for number, function in enumerate(functions):
            started = clock()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            best[number] = min(best[number], clock() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    hidden = HideActions(fraction=0.01, quantiles=(0.0, 1.0))(make_dataset(arguments.steps))
    steps = np.flatnonzero(hidden.missing["actions"])
    table = Table(title=f"{len(steps):,} labels on {arguments.device}, steps per second")
    for column in ("members x layers", "assay", "plain loop", "ratio", "of products"):
        table.add_column(column, justify="right")
    settings = InverseDynamicsLabels(
        past_states=0, steps=20, batch_size=256, dropout=0.0, learning_rate=1e-3, device=arguments.device
    )
    for name, (members, layers) in NETWORKS.items():
        model = replace(settings, ensemble=members, hidden=layers).fit(hidden, progress=None)
        windows = Windows(hidden, model.state_scale)
        count = len(steps) if max(layers) <= 128 else len(steps) // 20  # the large one would take minutes
        some = steps[:count]
        ours, plain, products = seconds(
            [
                lambda model=model, windows=windows, some=some: model.predict_windows(windows, some),
                plain_loop(hidden, some, model, arguments.device),
                bare_products(model, count, arguments.device),
            ],
            arguments.rounds,
            arguments.device,
        )
        numbers = f"{count / ours:,.0f}", f"{count / plain:,.0f}", f"{plain / ours:.2f}", f"{products / ours:.2f}"
        table.add_row(name, *numbers)
    Console().print(table)


if __name__ == "__main__":
    main()
