"""Networks and their optimizer beside PyTorch's own modules, one member at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import MLP, Network, Scalars
from assay.baselines.networks.optimizer import Adam

MEMBERS, COPIES, BATCH = 3, 2, 7


def draws(seeds=range(MEMBERS)) -> Draws:
    return Draws(list(seeds), torch.zeros(1, dtype=torch.int64), torch.float64)


def made(**options) -> Network:
    return Network("critic", MLP(4, 2, (8, 8), learning_rate="rate", ensemble=COPIES, **options), draws())


def module(network: Network, row: int) -> torch.nn.Sequential:
    """The same network as PyTorch modules."""
    spec, tensors, layers = network.spec, iter(network._views(network.buffer)), []
    for index, (inputs, outputs) in enumerate(spec.layers):
        linear = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
        linear.weight.data, linear.bias.data = next(tensors)[row].T.clone(), next(tensors)[row, 0].clone()
        layers.append(linear)
        if index < len(spec.layers) - 1:
            layers.append(torch.nn.ReLU())
            if spec.layer_norm:
                norm = torch.nn.LayerNorm(outputs, dtype=torch.float64)
                norm.weight.data, norm.bias.data = next(tensors)[row, 0].clone(), next(tensors)[row, 0].clone()
                layers.append(norm)
    return torch.nn.Sequential(*layers, *([torch.nn.Tanh()] if spec.output == "tanh" else []))


@pytest.mark.parametrize("options", [{}, {"layer_norm": True}, {"output": "tanh"}], ids=str)
def test_a_population_of_ensembles_is_that_many_modules(options):
    network = made(**options)
    network.buffer += 0.1 * torch.randn(network.buffer.shape, dtype=torch.float64)
    inputs = torch.randn(MEMBERS, BATCH, 4, dtype=torch.float64)
    outputs, first = network(inputs), network(inputs, first=True)
    assert outputs.shape == (MEMBERS, COPIES, BATCH, 2)
    for member in range(MEMBERS):
        for copy in range(COPIES):
            expected = module(network, member * COPIES + copy)(inputs[member])
            assert torch.allclose(outputs[member, copy], expected, atol=1e-12)
        assert torch.equal(first[member], outputs[member, 0])


def test_initial_weights_are_within_their_bounds_and_those_of_the_member_alone():
    network = made(bias=0.1, output_bound=3e-3)
    for index, (weight, bias) in enumerate(zip(network.parameters[::2], network.parameters[1::2])):
        if index < 2:
            assert weight.abs().max() <= 1 / np.sqrt(weight.shape[1])
            assert weight.std().item() == pytest.approx(1 / np.sqrt(3 * weight.shape[1]), rel=0.2)
            assert (bias == 0.1).all()
        else:
            assert weight.abs().max() <= 3e-3
            assert 0 < bias.abs().max() <= 3e-3
    alone = Network("critic", network.spec, draws([1]))
    assert torch.equal(alone.buffer, network.buffer[COPIES : 2 * COPIES])
    assert not torch.equal(network.buffer[0], network.buffer[1])


def test_orthogonal_initial_weights_are_orthogonal():
    network = made(orthogonal=1.5)
    for index, (weight, bias) in enumerate(zip(network.parameters[::2], network.parameters[1::2])):
        gain = 1e-2 if index == 2 else 1.5
        for matrix in weight.detach():
            small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
            assert torch.allclose(small @ small.T, gain**2 * torch.eye(len(small), dtype=torch.float64), atol=1e-9)
        assert not bias.any()


def test_scalars_are_numbers_per_member_that_learn():
    scalars = Network("temperature", Scalars(count=2, value=0.5, learning_rate="rate"), draws())
    assert scalars.state_independent.shape == (MEMBERS, 1, 2)
    scalars.descend(scalars.state_independent.sum(), torch.tensor([[0.1], [0.2], [0.0]], dtype=torch.float64))
    assert torch.allclose(scalars.state_independent[:, 0, 0], torch.tensor([0.4, 0.3, 0.5], dtype=torch.float64))


# -------------------------------------------------------------------- the optimizer


@pytest.mark.parametrize("fused", [True, False])
def test_rows_follow_pytorchs_adam_at_their_own_rates(fused):
    buffer = torch.randn(2, 50, dtype=torch.float64)
    own, rates = buffer.clone(), torch.tensor([[1e-2], [3e-3]], dtype=torch.float64)
    optimizer = Adam(own, fused=fused)
    references = [torch.nn.Parameter(row.clone()) for row in buffer]
    theirs = [torch.optim.Adam([row], lr=float(rate)) for row, rate in zip(references, rates)]
    for _ in range(20):
        gradient = torch.randn_like(buffer) * 10.0 ** torch.randint(-6, 3, buffer.shape)
        optimizer.step(gradient, rates)
        for row, (reference, other) in enumerate(zip(references, theirs)):
            reference.grad = gradient[row].clone()
            other.step()
    assert optimizer.steps == 20
    for row, reference in zip(own, references):
        assert torch.allclose(row, reference.detach(), atol=1e-7 if fused else 1e-12)


def test_decoupled_weight_decay_is_adamw_and_clipping_is_per_member():
    network = made()
    decay, clip = torch.tensor([[0.1], [0.0], [0.5]]).double(), torch.tensor([[0.25], [1e9], [0.01]]).double()
    rates = torch.tensor([[1e-2], [1e-2], [3e-3]]).double()
    references = [torch.nn.Parameter(rows.clone()) for rows in network.buffer.view(MEMBERS, COPIES, -1)]
    theirs = [
        torch.optim.AdamW([rows], lr=float(rate), weight_decay=float(strength))
        for rows, rate, strength in zip(references, rates, decay)
    ]
    inputs = torch.randn(MEMBERS, BATCH, 4, dtype=torch.float64)
    for _ in range(5):
        loss = network(inputs).square().sum((1, 2, 3))
        gradients = torch.autograd.grad(loss.sum(), network.parameters, retain_graph=True)
        flat = torch.cat([gradient.flatten(1) for gradient in gradients], 1).view(MEMBERS, COPIES, -1)
        for reference, other, gradient, limit in zip(references, theirs, flat, clip):
            reference.grad = gradient.clone()
            torch.nn.utils.clip_grad_norm_([reference], float(limit))
            other.step()
        network.descend(loss.sum(), rates, weight_decay=decay, gradient_clip=clip)
    for rows, reference in zip(network.buffer.view(MEMBERS, COPIES, -1), references):
        assert torch.allclose(rows, reference.detach(), atol=1e-7)


def test_a_member_that_is_not_alive_keeps_its_weights():
    network = made()
    before = network.buffer.clone()
    alive = torch.tensor([[True], [False], [True]])
    inputs = torch.full((MEMBERS, BATCH, 4), torch.nan, dtype=torch.float64)
    inputs[[0, 2]] = 1.0
    rates = torch.full((MEMBERS, 1), 0.1, dtype=torch.float64)
    network.descend(network(inputs).sum(), rates, weight_decay=rates, alive=alive)
    rows = network.buffer.view(MEMBERS, COPIES, -1)
    assert torch.equal(rows[1], before.view(MEMBERS, COPIES, -1)[1])
    assert (rows[[0, 2]] != before.view(MEMBERS, COPIES, -1)[[0, 2]]).any(dim=(1, 2)).all()
    assert torch.isfinite(network.buffer).all()


def test_a_selu_network_begins_normalized_and_is_that_of_torch():
    spec = MLP(64, 3, (256, 256), learning_rate="learning_rate", activation="selu")
    network = Network("values", spec, Draws([0], torch.zeros(1, dtype=torch.int64)))
    weights, biases = network.parameters[0::2], network.parameters[1::2]
    for (inputs, _), weight, bias in zip(spec.layers, weights, biases):
        assert weight.std().item() == pytest.approx(inputs**-0.5, rel=0.1)
        assert not bias.any()
    inputs = torch.randn(1, 100, 64, generator=torch.Generator().manual_seed(0))
    hidden = inputs
    for weight, bias in zip(weights[:-1], biases[:-1]):
        hidden = torch.selu(hidden @ weight + bias)
        assert hidden.std().item() == pytest.approx(1.0, abs=0.1)  # what SELU is for
    torch.testing.assert_close(network(inputs), hidden @ weights[-1] + biases[-1])
