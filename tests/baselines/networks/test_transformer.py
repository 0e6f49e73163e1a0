"""The transformer beside PyTorch's own attention, and the Decision Transformer's loss beside its definition."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from assay.baselines import DecisionTransformer
from assay.baselines.algorithms.algorithm import Setting
from assay.baselines.algorithms.sequence import decision_transformer
from assay.baselines.engine.randomness import Draws
from assay.baselines.networks import Network
from assay.baselines.networks.transformer import SequenceTransformer
from tests.baselines.problems import population

MEMBERS, BATCH, LENGTH, WIDTH, HEADS = 2, 3, 5, 8, 2
SPEC = SequenceTransformer(3, 2, WIDTH, 2, HEADS, 30, learning_rate="rate")


def network() -> Network:
    made = Network("actor", SPEC, Draws([4, 5], torch.zeros(1, dtype=torch.int64), torch.float64))
    made.buffer += 0.2 * torch.randn(made.buffer.shape, dtype=torch.float64)
    return made


def inputs() -> tuple[torch.Tensor, ...]:
    timesteps = torch.randint(0, 25, (MEMBERS, BATCH, 1)) + torch.arange(LENGTH)
    shapes = [(), (3,), (2,)]
    returns, observations, actions = (
        torch.randn(MEMBERS, BATCH, LENGTH, *shape, dtype=torch.float64) for shape in shapes
    )
    return returns, observations, actions, timesteps


def one_by_one(made: Network, member: int, returns, observations, actions, timesteps) -> torch.Tensor:
    """The same network for one member, from PyTorch's modules."""
    names = [parameter.name for parameter in SPEC.parameters()]
    weights = {name: view[member] for name, view in zip(names, made._views(made.buffer))}

    def linear(name, hidden):
        return nn.functional.linear(hidden, weights[f"{name}/weight"].T, weights[f"{name}/bias"][0])

    def norm(name, hidden):
        scale, shift = weights[f"{name}/norm/scale"][0], weights[f"{name}/norm/shift"][0]
        return nn.functional.layer_norm(hidden, (WIDTH,), scale, shift)

    time = weights["time"][timesteps]
    tokens = {"return": returns[..., None], "observation": observations, "action": actions}
    embedded = [linear(name, item) + time for name, item in tokens.items()]
    hidden = torch.empty(BATCH, 3 * LENGTH, WIDTH, dtype=torch.float64)
    for place, item in enumerate(embedded):
        hidden[:, place::3] = item
    hidden = norm("tokens", hidden)
    for block in range(SPEC.blocks):
        attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
        attention.in_proj_weight.data = weights[f"{block}/projections/weight"].T
        attention.in_proj_bias.data = weights[f"{block}/projections/bias"][0]
        attention.out_proj.weight.data = weights[f"{block}/attended/weight"].T
        attention.out_proj.bias.data = weights[f"{block}/attended/bias"][0]
        normed = norm(f"{block}/attention", hidden)
        mask = nn.Transformer.generate_square_subsequent_mask(3 * LENGTH, dtype=torch.float64)
        hidden = hidden + attention(normed, normed, normed, attn_mask=mask, is_causal=True)[0]
        wide = linear(f"{block}/wide", norm(f"{block}/mlp", hidden))
        hidden = hidden + linear(f"{block}/narrow", nn.functional.gelu(wide))
    return torch.tanh(linear("predicted", norm("output", hidden)[:, 1::3]))


def test_the_population_is_that_many_transformers():
    made, given = network(), inputs()
    outputs = made(*given)
    assert outputs.shape == (MEMBERS, BATCH, LENGTH, 2)
    for member in range(MEMBERS):
        expected = one_by_one(made, member, *(item[member] for item in given))
        assert torch.allclose(outputs[member], expected, atol=1e-10)


def test_an_action_is_predicted_from_what_came_before_it_only():
    made, (returns, observations, actions, timesteps) = network(), inputs()
    outputs = made(returns, observations, actions, timesteps)
    actions[:, :, 2] += 1.0  # a_2 itself and all that follows must not matter for the prediction of a_0 ... a_2
    returns[:, :, 3:] -= 1.0
    observations[:, :, 3:] *= 2.0
    changed = made(returns, observations, actions, timesteps)
    assert torch.allclose(changed[:, :, :3], outputs[:, :, :3], atol=1e-12)
    assert not torch.allclose(changed[:, :, 3:], outputs[:, :, 3:], atol=1e-3)


def test_the_loss_is_the_mean_squared_error_of_the_steps_that_exist():
    tiny = {"batch_size": 16, "sequence_length": LENGTH, "width": WIDTH, "heads": HEADS, "blocks": 1}
    made = population(DecisionTransformer(**tiny, dropout=0.0), [0, 1], dtype=torch.float64)
    batches = made.batches.batches()
    batch = batches["batch"]
    loss = decision_transformer.actor_loss(Setting(made.networks, batches, made.hyperparameters, made.draws)).of[
        "actor"
    ]
    returns, timesteps = batch["returns_to_go"] * 1e-3, batch["timesteps"]
    predicted = made.networks["actor"](returns, batch.observations, batch.actions, timesteps)
    for member in range(2):
        total = 0.0
        for sequence in range(16):
            for step in range(LENGTH):
                if batch.valid[member, sequence, step]:
                    error = predicted[member, sequence, step] - batch.actions[member, sequence, step]
                    total += error.square().mean().item()
        assert np.isclose(loss[member].item(), total / (16 * LENGTH))


def test_dropout_keeps_the_expected_activations_and_nothing_else():
    made = population(DecisionTransformer(dropout=0.25), [0, 1])
    seen = []

    class Spy:
        def __call__(self, *inputs, dropout):
            ones = torch.ones(2, 64, 60, 128)
            seen.append(dropout(ones, "tokens"))
            return torch.zeros(2, 64, 20, 2)

    batches = made.batches.batches()
    decision_transformer.actor_loss(Setting({"actor": Spy()}, batches, made.hyperparameters, made.draws))
    assert torch.allclose(seen[0].unique(), torch.tensor([0.0, 1 / 0.75]))
    assert abs(seen[0].mean().item() - 1.0) < 2e-3
    assert not torch.equal(seen[0][0], seen[0][1])
