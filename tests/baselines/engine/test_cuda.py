"""What must hold on a GPU; nothing here needs more than torch, NumPy, pydantic and pytest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines import IQL, TD3BC
from assay.baselines.engine.randomness import Draws
from tests.baselines.engine.test_population import SMALL, by_name, largest_difference, weights
from tests.baselines.problems import population, training_data

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def states_differ_by(first, second) -> float:
    return largest_difference(dict(first.state().tensors), dict(second.state().tensors))


def test_draws_are_those_of_a_cpu():
    found = {}
    for device in ("cpu", "cuda"):
        draws = Draws([0, 1, 2**40], torch.tensor([12], device=device))
        limits, rate = torch.tensor([3, 1000, 2**31 - 1], device=device), torch.full((3, 1), 0.3, device=device)
        found[device] = [
            draws.bits("a", 7, 5),
            draws.uniform("b", 100),
            draws.fractions("c", 100),
            draws.integers("d", limits, 100),
            draws.events("e", rate, 101),
        ]
        found[device] = [item.cpu() for item in found[device]]
        found[f"normal on {device}"] = draws.normal("f", 1000).cpu()
    assert all(torch.equal(a, b) for a, b in zip(found["cpu"], found["cuda"]))
    assert torch.allclose(found["normal on cpu"], found["normal on cuda"], atol=1e-5)


@by_name
def test_a_graph_equals_eager_execution_and_a_cpu(algorithm):
    graph, eager, cpu = (
        population(algorithm, [0, 1], dtype=torch.float64, **options)
        for options in ({"device": "cuda"}, {"device": "cuda", "graph": False}, {"device": "cpu"})
    )
    for made in (graph, eager, cpu):
        made.advance(35)
    assert states_differ_by(graph, eager) < 1e-12
    on_cpu = {name: tensor.cpu() for name, tensor in weights(graph, 0).items()}
    assert largest_difference(on_cpu, weights(cpu, 0)) < 1e-4  # normals are float32 on both
    expected = eager.metrics()
    found = graph.metrics()
    assert all(np.allclose(found[name], value) for name, value in expected.items())


@by_name
def test_a_member_of_a_graph_equals_itself_alone(algorithm):
    company = population(algorithm, [5, 3, 8], device="cuda", dtype=torch.float64)
    alone = population(algorithm, [3], device="cuda", dtype=torch.float64)
    company.advance(20)
    alone.advance(20)
    assert largest_difference(weights(company, 1), weights(alone, 0)) < 1e-9


@by_name
def test_stop_and_resume_equals_an_undisturbed_training_bit_for_bit(algorithm):
    undisturbed, stopped = (population(algorithm, [0, 1], device="cuda") for _ in range(2))
    undisturbed.advance(40)
    stopped.advance(13)
    resumed = population(algorithm, [0, 1], device="cuda")
    resumed.restore(stopped.state())
    resumed.advance(27)
    assert states_differ_by(undisturbed, resumed) == 0.0


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
def test_a_graph_equals_eager_execution_however_its_data_are_kept(options):
    graph = population(IQL(**SMALL), [0, 1], device="cuda", **options)
    eager = population(IQL(**SMALL), [0, 1], device="cuda", graph=False, **options)
    graph.advance(35)
    eager.advance(35)
    assert states_differ_by(graph, eager) == 0.0


@pytest.mark.slow  # a minute each
@by_name
def test_compiled_updates_in_a_graph_equal_eager_ones(algorithm):
    compiled = population(algorithm, [0, 1], device="cuda", dtype=torch.float64, compile="inductor")
    eager = population(algorithm, [0, 1], device="cuda", dtype=torch.float64, graph=False)
    compiled.advance(9)
    eager.advance(9)
    assert states_differ_by(compiled, eager) < 1e-6


def test_memory_does_not_grow_with_the_number_of_updates():
    made = population(TD3BC(**SMALL), [0, 1], device="cuda")
    made.advance(100)
    made.metrics()
    before = torch.cuda.memory_allocated()
    for _ in range(5):
        made.advance(64)
        made.metrics()
        made.actor()
    assert torch.cuda.memory_allocated() <= before
