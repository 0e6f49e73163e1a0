"""What a CUDA graph asks of the updates it captures, checked without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from assay.baselines import DQN, IQL, QRDQN, REM, TD3BC, Job
from assay.baselines.algorithms.direct import DirectAlgorithm
from assay.baselines.algorithms.registry import algorithms
from assay.baselines.engine.population import Population, pieces
from tests.baselines.engine.test_population import ALGORITHMS, HARD_COPIES, SMALL, by_name, largest_difference
from tests.baselines.engine.test_shapes import pictures
from tests.baselines.problems import population, training_data

WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "is_nonzero",
    "equal",
    "masked_select",
    "unique",
    "lift_fresh",
    "_pin_memory",
)


@given(st.integers(0, 10_000), st.integers(0, 300), st.integers(1, 7), st.integers(0, 5))
def test_pieces_cover_a_stretch_and_are_of_few_kinds(first, updates, period, doublings):
    cut = list(pieces(first, updates, period, longest := period << doublings))
    assert sum(length for _, length in cut) == updates
    for place, length in cut:
        assert place == first % period
        assert length <= longest
        whole_periods = place == 0 and length in [period << power for power in range(doublings + 1)]
        assert whole_periods or place + length <= period
        first += length
    assert len(cut) <= updates // longest + doublings + 2  # no more of them than the binary digits of what is left


class Replayed:
    """What stands for a graph: it does again what was captured, whatever the update that it is replayed at."""

    def __init__(self, made: Population, stage, first: int, updates: int) -> None:
        self.made, self.stage, self.first, self.updates, self.replays = made, stage, first, updates, 0

    def replay(self) -> None:
        self.replays += 1
        self.made._run(self.stage, self.first, self.updates)


def replaying(monkeypatch, made: Population) -> dict[tuple[object, int, int], Replayed]:
    graphs: dict[tuple[object, int, int], Replayed] = {}

    def captured(stage, first: int, updates: int) -> Replayed:
        return graphs.setdefault((stage, first, updates), Replayed(made, stage, first, updates))

    made._use_graph = True
    monkeypatch.setattr(made, "_captured", captured)
    return graphs


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("algorithm", [IQL(**SMALL, return_steps=3), TD3BC(**SMALL), TD3BC(**SMALL, policy_delay=3)])
def test_every_update_is_in_a_graph_whatever_the_interval_and_graphs_equal_eager_updates(
    monkeypatch, algorithm, streaming
):
    replayed, eager = (population(algorithm, [0, 1], streaming=streaming) for _ in range(2))
    graphs = replaying(monkeypatch, replayed)
    for interval in (7, 1, 33, 10, 64):
        replayed.advance(interval)
        for _ in range(interval):
            eager.advance(1)
        assert largest_difference(dict(replayed.state().tensors), dict(eager.state().tensors)) == 0.0
        expected, metrics = eager.metrics(), replayed.metrics()
        assert all(np.array_equal(metrics[name], expected[name]) for name in expected)
    assert sum(graph.replays * graph.updates for graph in graphs.values()) == 115


class Watched(TorchDispatchMode):
    """Notes the operations of an update, and the memory that they find there (not what they make)."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []
        self.found: set[int] = set()
        self._made: dict[int, torch.UntypedStorage] = {}  # kept, so that no address comes twice

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.operations.append(function.overloadpacket.__name__)
        given = {item.untyped_storage().data_ptr() for item in tree_leaves((arguments, keywords)) if is_tensor(item)}
        self.found |= given - self._made.keys()
        results = function(*arguments, **(keywords or {}))
        for item in tree_leaves(results):
            if is_tensor(item) and item.untyped_storage().data_ptr() not in given:
                self._made[item.untyped_storage().data_ptr()] = item.untyped_storage()
        return results


def is_tensor(item: object) -> bool:
    return isinstance(item, torch.Tensor) and item.numel() > 0


def watch(made: Population) -> Watched:
    if made.batches.streaming:
        made.batches.prepare(made.completed, made.period)
    made._tracing = True  # a device is not asked whether all members are alive
    with Watched() as watched:
        made._run(made._now, 0, made.period)
    made._tracing = False
    return watched


def twice(algorithm, **options) -> tuple[Watched, Watched]:
    """Watch a period of updates, and another one after all that happens between them in a training."""
    made = population(algorithm, [0, 1], **options)
    made.enter_stage(made.stages - 1)
    made.advance(made.period)  # makes what the first update makes
    first = watch(made)
    made.restore(made.state())
    for member in range(2):
        made.restore(made.state(member), member)
    made.metrics()
    made.actor()
    assert made.frozen_at == [None, None]
    made.advance(2 * made.unroll)
    return first, watch(made)


@by_name
def test_an_update_finds_everything_in_its_place_and_asks_the_host_nothing(algorithm):
    first, second = twice(algorithm)
    assert first.found == second.found
    assert first.operations == second.operations
    assert not [name for name in first.operations if name.startswith(WAITS)]


@pytest.mark.parametrize(
    "options",
    [
        {"streaming": True},
        {"bf16": True},
        {"storage": torch.float16},
        {"data": [training_data(weights=np.arange(500.0)), training_data(1)]},
    ],
    ids=str,
)
def test_so_it_does_however_its_data_are_kept(options):
    first, second = twice(TD3BC(**SMALL, return_steps=3), **options)
    assert first.found == second.found
    assert not [name for name in first.operations if name.startswith(WAITS)]


@pytest.mark.parametrize("make", [DQN, QRDQN, REM], ids=lambda make: make.name)
def test_so_it_does_without_double_estimates_and_with_returns_of_several_steps(make):
    first, second = twice(make(**HARD_COPIES, double=False, return_steps=3))
    assert first.found == second.found
    assert not [name for name in first.operations if name.startswith(WAITS)]


SEEING = [each for each in ALGORITHMS if each.image_observations]


@pytest.mark.parametrize("algorithm", SEEING, ids=lambda algorithm: algorithm.name)
def test_so_it_does_where_there_are_images(algorithm):
    seeing = type(algorithm)(**{**algorithm.parameters(), "filters": ((2, 3, 1),)})
    job = Job(seeing, pictures(60))
    first, second = twice(seeing, data=[seeing.training_data(job.dataset, job.action_scale)])
    assert "convolution" in first.operations
    assert first.found == second.found
    assert first.operations == second.operations
    assert not [name for name in first.operations if name.startswith(WAITS)]


def test_no_algorithm_that_learns_by_gradients_is_left_out_of_these():
    learning = {
        name
        for name, made in algorithms().items()
        if made.__module__.startswith("assay.") and not issubclass(made, DirectAlgorithm)
    }
    assert learning <= {algorithm.name for algorithm in ALGORITHMS}


def test_the_watch_sees_what_a_graph_could_not_hold():
    made = population(ALGORITHMS[0], [0])
    made.advance(1)
    with Watched() as watched:
        made._run(made._now, 0, 1)  # a CPU looks whether all members are alive
    assert [name for name in watched.operations if name.startswith(WAITS)]
