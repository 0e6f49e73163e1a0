"""Kernels, bytes and floating-point operations per update, and the rates that they allow, counted without a GPU.

Usage: python benchmarks/kernels.py [--algorithms td3_bc iql ...] [--compile td3_bc ...] [--members 16] [--write]

Observations 17, actions 6, published defaults (BC, TD3+BC and IQL: batch 256, two layers of 256). The members are made on PyTorch's
meta device, whose tensors have shapes and no numbers, so that an update takes every branch that it takes on CUDA and computes
nothing. Two ways to run it are counted:

- **captured**: the operations that PyTorch dispatches, without views, about a kernel each, of updates unrolled as in a CUDA graph. Bytes
  are those of the tensors that each operation reads and writes.
- **compiled** (takes minutes each): the kernels that are left of one traced period of updates when Inductor has fused it, by Inductor's own
  list of nodes before it writes code. It plans for a CPU here; loops that only its CPU backend joins are counted apart. A GPU's plan differs
  by a few kernels. Bytes after fusion are not counted: for a product that reads a layer, Inductor reports the bytes of the whole
  rows of weights in which the layer lies.

FLOPs are those of matrix products (`torch.utils.flop_counter`). The table of data has as many rows as the members draw, so that a gather
counts what it reads. Kernels are those of one update of all members, whatever their number; bytes and FLOPs are of one member.

The last columns are upper limits of the updates per second, summed over members, on one H100 SXM by its published peaks: 2 microseconds for
each kernel of a captured graph, with 256 members; 3.35 TB/s of memory for the bytes as captured; products at 67 TFLOP/s in float32
without tensor cores, which is `precision="highest"`, or at 495 TFLOP/s in TF32, which is `"high"`. Caches, which save bytes, are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch._inductor.codegen.cpp import OuterLoopFusedSchedulerNode
from torch._inductor.scheduler import (
    BaseSchedulerNode,
    NopKernelSchedulerNode,
    Scheduler,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from assay.baselines import (
    AWAC,
    BC,
    CQL,
    EDAC,
    FQL,
    IFQL,
    IQL,
    RIQL,
    SACN,
    TD3BC,
    DecisionTransformer,
    PercentBC,
    ReBRAC,
)
from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.datasets.transitions import Transitions

OBSERVATION, ACTION = 17, 6
MEMORY, FLOAT32, TF32, KERNEL = 3.35e12, 67e12, 495e12, 2e-6  # bytes/s, FLOP/s, FLOP/s, s: an H100 SXM
RATED = 256  # members, for what the number of kernels allows
HEADER = """| | kernels, captured | compiled | MB | GFLOP | kernels allow | memory | `highest` | `high` |
|---|---|---|---|---|---|---|---|---|"""
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ALGORITHMS: dict[str, Algorithm] = {
    made.name: made
    for made in (
        BC(),
        PercentBC(),
        TD3BC(),
        IQL(),
        AWAC(),
        RIQL(),
        CQL(orthogonal=False),  # initial weights need numbers
        ReBRAC(),
        SACN(),
        EDAC(),
        FQL(),
        IFQL(),
        DecisionTransformer(),
    )
}


@dataclass(frozen=True)
class Cost:
    """Of one update: kernels of all members, bytes and FLOPs of one member."""

    kernels: float
    bytes: float
    flops: float

    def rates(self, members: int) -> dict[str, float]:
        """Return the most updates per second, summed over members, that each part of the device allows."""
        return {
            "kernels": members / (KERNEL * self.kernels),
            "memory": MEMORY / self.bytes,
            "highest": FLOAT32 / self.flops,
            "high": TF32 / self.flops,
        }


class _Answered(TorchDispatchMode):
    """While a population is made, answers 0 to what the host asks of numbers that are not there."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            return 0
        return function(*arguments, **(keywords or {}))


class Counter(TorchDispatchMode):
    """Counts dispatched operations that are no views, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.bytes = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        results = function(*arguments, **(keywords or {}))
        if not function.is_view and not str(function).startswith(("aten.empty", "aten.detach", "profiler")):
            self.kernels += 1
            read = [item for key, item in (keywords or {}).items() if key != "out"]
            self.bytes += sum(map(_bytes, tree_leaves((arguments, read, results))))
        return results


def _bytes(item: Any) -> int:
    """Return what a tensor takes in memory; entries that are one and the same number count once."""
    if not isinstance(item, torch.Tensor):
        return 0
    entries = 1
    for size, stride in zip(item.shape, item.stride()):
        entries *= size if stride else min(size, 1)
    return entries * item.element_size()


def transitions(rows: int) -> Transitions[np.ndarray]:
    """Return rows of numbers that nobody reads."""
    zeros = partial(np.zeros, dtype=np.float32)
    flags = np.zeros(rows, bool)
    states, actions = zeros((rows, OBSERVATION)), zeros((rows, ACTION))
    return Transitions(states, actions, zeros(rows), states, flags, flags, np.arange(rows))


def population(algorithm: Algorithm, members: int, compile: str | None = None) -> Population:
    """Make members of one algorithm that have shapes and no numbers."""
    rows = members * algorithm.batch_size * max(1, algorithm.sequence_length)
    scale = ActionScale.of(-np.ones(ACTION), np.ones(ACTION))
    data = TrainingData.of(transitions(rows), scale, normalize=True, extra=algorithm.batch_columns)
    joined = [Member(algorithm, seed, 0) for seed in range(members)]
    with _Answered():
        return Population(joined, [data], 1_000_000, device="meta", graph=False, compile=compile)


def captured(algorithm: Algorithm, members: int) -> Cost:
    """Count updates as they are dispatched, unrolled as in a graph."""
    made = population(algorithm, members)
    run: Callable[[], None] = partial(made._run, made._now, 0, made.unroll)
    run()  # makes what lasts
    with Counter() as counter, FlopCounterMode(display=False) as flops:
        run()
    each = made.unroll * members
    return Cost(counter.kernels / made.unroll, counter.bytes / each, flops.get_total_flops() / each)


def compiled(algorithm: Algorithm, members: int) -> float:
    """Return the kernels of one update when Inductor has fused a period of them."""
    made = population(algorithm, members, compile="inductor")
    return fused(made.trace()) / made.period


class _Planned(Exception):
    """Ends a compilation when the kernels are known."""


def fused(program: torch.fx.GraphModule) -> int:
    """Return how many kernels Inductor makes of a traced program."""
    found: list[int] = []

    def stop(scheduler: Scheduler) -> None:
        loops = [inner for node in scheduler.nodes for inner in _loops(node)]
        found.append(sum(not isinstance(node, NopKernelSchedulerNode) for node in loops))
        raise _Planned

    torch._dynamo.reset()
    with (
        mock.patch.object(Scheduler, "codegen", stop),
        torch._inductor.config.patch(force_disable_caches=True),
        contextlib.suppress(torch._inductor.exc.InductorError),  # what `_Planned` becomes
        torch.no_grad(),
    ):
        torch.compile(on_cpu(program), backend="inductor", fullgraph=True)()
    if len(found) != 1:
        raise RuntimeError(f"Inductor planned {len(found)} programs instead of one")
    return found[0]


def _loops(node: BaseSchedulerNode) -> Sequence[BaseSchedulerNode]:
    """Take apart what only Inductor's CPU backend puts into one kernel: loops that share their outer part alone."""
    return node.get_outer_nodes() if isinstance(node, OuterLoopFusedSchedulerNode) else [node]


def on_cpu(program: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Give a program that was traced on the meta device numbers to compute with; tensors that share memory still do."""
    memory: dict[int, torch.UntypedStorage] = {}
    for name in {node.target for node in program.graph.nodes if node.op == "get_attr"}:
        shape = getattr(program, name)
        there = shape.untyped_storage()
        if there._cdata not in memory:
            memory[there._cdata] = torch.zeros(there.nbytes(), dtype=torch.uint8).untyped_storage()
        place = (shape.storage_offset(), shape.shape, shape.stride())
        setattr(program, name, torch.empty(0, dtype=shape.dtype).set_(memory[there._cdata], *place))
    for node in program.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": torch.device("cpu")}
    program.recompile()
    return program


def row_of(name: str, members: int, compile: bool) -> str:
    """Count one algorithm, and return its row of the table."""
    algorithm = ALGORITHMS[name]
    cost = captured(algorithm, members)
    kernels = f"{compiled(algorithm, members):.1f}" if compile else ""
    rates = " | ".join(f"{float(f'{rate:.3g}'):,.0f}" for rate in cost.rates(RATED).values())
    numbers = f"{cost.kernels:.1f} | {kernels} | {cost.bytes / 1e6:.1f} | {cost.flops / 1e9:.3f}"
    return f"| {algorithm.label} | {numbers} | {rates} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS), metavar="NAME")
    parser.add_argument("--compile", nargs="*", choices=ALGORITHMS, default=["bc", "td3_bc", "iql"], metavar="NAME")
    parser.add_argument("--members", type=int, default=16, help="that are counted; per member little depends on it")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    lines = [HEADER]
    print(HEADER, flush=True)
    for name in options.algorithms:
        lines.append(row_of(name, options.members, name in options.compile))
        print(lines[-1], flush=True)
    if options.write:
        sys.path.insert(0, str(PAGE.parent))
        from page_parts import replace_part

        replace_part(PAGE, "kernels", "\n".join(lines))


if __name__ == "__main__":
    main()
