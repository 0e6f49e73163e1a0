"""TD3+BC, IQL and CQL as a JAX program of the published form: one compiled scan of updates, agents side by side by vmap.

Written from the equations, for `training.py --peers`. Everything of an update, the choice of rows included, is inside the
scan. Same networks, batch, and settings as the other loops there. Needs only `jax`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

WIDTH, BATCH, DISCOUNT, FOLLOW, UPDATES = 256, 256, 0.99, 0.005, 16
Tree = Any


def mlp(key: jax.Array, inputs: int, outputs: int) -> Tree:
    """Weights and biases of three layers, uniform in +-1 / sqrt(inputs)."""
    sizes = [(inputs, WIDTH), (WIDTH, WIDTH), (WIDTH, outputs)]
    layers = []
    for number, (rows, columns) in enumerate(sizes):
        first, second = jax.random.split(jax.random.fold_in(key, number))
        bound = rows**-0.5
        weight = jax.random.uniform(first, (rows, columns), minval=-bound, maxval=bound)
        layers.append((weight, jax.random.uniform(second, (columns,), minval=-bound, maxval=bound)))
    return layers


def apply(layers: Tree, x: jax.Array) -> jax.Array:
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def values(critics: Tree, s: jax.Array, a: jax.Array) -> jax.Array:
    """[2, ...] values of both critics."""
    inputs = jnp.concatenate([s, a], -1)
    return jax.vmap(lambda critic: apply(critic, inputs)[..., 0])(critics)


def adam_state(tree: Tree) -> Tree:
    zeros = jax.tree.map(jnp.zeros_like, tree)
    return zeros, zeros, jnp.zeros(())


def adam(tree: Tree, gradient: Tree, state: Tree, rate: float) -> tuple[Tree, Tree]:
    first, second, count = state
    count = count + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
    a, b = 1 - 0.9**count, 1 - 0.999**count
    tree = jax.tree.map(lambda w, m, v: w - rate * (m / a) / (jnp.sqrt(v / b) + 1e-8), tree, first, second)
    return tree, (first, second, count)


def follow(target: Tree, learned: Tree) -> Tree:
    return jax.tree.map(lambda slow, fast: slow + FOLLOW * (fast - slow), target, learned)


def two(key: jax.Array, inputs: int) -> Tree:
    return jax.vmap(lambda each: mlp(each, inputs, 1))(jax.random.split(key))


class Loop:
    """Agents of one algorithm, trained by `run`.

    Parameters
    ----------
    name : "td3_bc", "iql" or "cql"
    transitions : columns of a dataset
    members : int
        Agents trained side by side.
    """

    def __init__(self, name: str, transitions: Any, members: int = 1) -> None:
        columns = ("observations", "actions", "rewards", "next_observations")
        self.data = tuple(jnp.asarray(getattr(transitions, column)) for column in columns)
        self.data += (jnp.asarray(1.0 - transitions.terminations.astype(np.float32)),)
        observation, action = self.data[0].shape[1], self.data[1].shape[1]
        init, update = LOOPS[name]
        keys = jax.random.split(jax.random.PRNGKey(0), members)
        self.members, self.key = members, jax.random.PRNGKey(1)
        self.state = jax.vmap(lambda key: init(key, observation, action))(keys)

        def many(state: Tree, key: jax.Array, data: Tree) -> Tree:
            def one(state: Tree, number: jax.Array) -> tuple[Tree, None]:
                own = jax.random.fold_in(key, number)
                rows = jax.random.randint(jax.random.fold_in(own, 0), (BATCH,), 0, len(data[0]))
                batch = tuple(column[rows] for column in data)
                return update(state, batch, jax.random.fold_in(own, 1), number), None

            return jax.lax.scan(one, state, jnp.arange(UPDATES))[0]

        self.state = jax.tree.map(
            lambda item: jnp.array(item, copy=True), self.state
        )  # each its own memory, to be donated
        if members == 1:
            self.state = jax.tree.map(lambda item: item[0], self.state)
            self._many = jax.jit(many, donate_argnums=0)
        else:
            self._many = jax.jit(jax.vmap(many, in_axes=(0, 0, None)), donate_argnums=0)

    def run(self) -> int:
        """Train by 16 updates of each agent and wait for them; return the updates of all."""
        self.key, own = jax.random.split(self.key)
        keys = own if self.members == 1 else jax.random.split(own, self.members)
        self.state = jax.block_until_ready(self._many(self.state, keys, self.data))
        return UPDATES * self.members


def _td3_bc(key: jax.Array, observation: int, action: int) -> Tree:
    first, second = jax.random.split(key)
    actor, critics = mlp(first, observation, action), two(second, observation + action)
    return actor, critics, actor, critics, adam_state(actor), adam_state(critics)


def td3_bc(state: Tree, batch: Tree, key: jax.Array, number: jax.Array) -> Tree:
    """Critics by clipped double Q-learning; every second update the actor and the targets."""
    actor, critics, target_actor, target_critics, actor_optimizer, critic_optimizer = state
    s, a, r, s2, mask = batch
    noise = jnp.clip(0.2 * jax.random.normal(key, a.shape), -0.5, 0.5)
    a2 = jnp.clip(jnp.tanh(apply(target_actor, s2)) + noise, -1, 1)
    y = r + DISCOUNT * mask * values(target_critics, s2, a2).min(0)
    gradient = jax.grad(lambda w: ((values(w, s, a) - y) ** 2).mean(-1).sum())(critics)
    critics, critic_optimizer = adam(critics, gradient, critic_optimizer, 3e-4)

    def loss(weights: Tree) -> jax.Array:
        pi = jnp.tanh(apply(weights, s))
        q = apply(jax.tree.map(lambda w: w[0], critics), jnp.concatenate([s, pi], -1))[..., 0]
        scale = 2.5 / jax.lax.stop_gradient(jnp.abs(q).mean())
        return -scale * q.mean() + ((pi - a) ** 2).mean()

    def delayed(_: None) -> Tree:
        new, optimizer = adam(actor, jax.grad(loss)(actor), actor_optimizer, 3e-4)
        return new, optimizer, follow(target_actor, new), follow(target_critics, critics)

    actor, actor_optimizer, target_actor, target_critics = jax.lax.cond(
        number % 2 == 1, delayed, lambda _: (actor, actor_optimizer, target_actor, target_critics), None
    )
    return actor, critics, target_actor, target_critics, actor_optimizer, critic_optimizer


def _iql(key: jax.Array, observation: int, action: int) -> Tree:
    first, second, third = jax.random.split(key, 3)
    actor = (mlp(first, observation, action), jnp.zeros(action))
    critics, value = two(second, observation + action), mlp(third, observation, 1)
    return actor, critics, value, critics, adam_state(actor), adam_state(critics), adam_state(value)


def iql(state: Tree, batch: Tree, key: jax.Array, number: jax.Array) -> Tree:
    """Value by expectile regression, critics on it, actor by weighted likelihood."""
    actor, critics, value, target_critics, actor_optimizer, critic_optimizer, value_optimizer = state
    s, a, r, s2, mask = batch
    q = values(target_critics, s, a).min(0)
    y = r + DISCOUNT * mask * apply(value, s2)[..., 0]

    def value_loss(weights: Tree) -> tuple[jax.Array, jax.Array]:
        advantage = q - apply(weights, s)[..., 0]
        return (jnp.abs(0.7 - (advantage < 0)) * advantage**2).mean(), advantage

    gradient, advantage = jax.grad(value_loss, has_aux=True)(value)
    value, value_optimizer = adam(value, gradient, value_optimizer, 3e-4)
    gradient = jax.grad(lambda w: ((values(w, s, a) - y) ** 2).mean())(critics)
    critics, critic_optimizer = adam(critics, gradient, critic_optimizer, 3e-4)
    weight = jnp.minimum(jnp.exp(3.0 * advantage), 100.0)

    def actor_loss(weights: Tree) -> jax.Array:
        layers, log_std = weights
        log_std = jnp.clip(log_std, -20, 2)
        z = (a - jnp.tanh(apply(layers, s))) * jnp.exp(-log_std)
        return -(weight * (-0.5 * z**2 - log_std - 0.9189385332).sum(-1)).mean()

    actor, actor_optimizer = adam(actor, jax.grad(actor_loss)(actor), actor_optimizer, 3e-4)
    target_critics = follow(target_critics, critics)
    return actor, critics, value, target_critics, actor_optimizer, critic_optimizer, value_optimizer


def _cql(key: jax.Array, observation: int, action: int) -> Tree:
    first, second = jax.random.split(key)
    actor, critics, temperature = mlp(first, observation, 2 * action), two(second, observation + action), jnp.zeros(())
    return actor, critics, temperature, critics, adam_state(actor), adam_state(critics), adam_state(temperature)


def tanh_gaussian(layers: Tree, s: jax.Array, key: jax.Array, samples: int) -> tuple[jax.Array, jax.Array]:
    """[n, B, action] actions and [n, B] log probabilities; the network is applied once per state."""
    mean, log_std = jnp.split(apply(layers, s), 2, -1)
    log_std = jnp.clip(log_std - 1.0, -20, 2)
    noise = jax.random.normal(key, (samples, *mean.shape))
    u = mean + jnp.exp(log_std) * noise
    log_density = -0.5 * noise**2 - log_std - 0.9189385332
    return jnp.tanh(u), (log_density - 2.0 * (np.log(2.0) - u - jax.nn.softplus(-2.0 * u))).sum(-1)


def cql(state: Tree, batch: Tree, key: jax.Array, number: jax.Array) -> Tree:
    """Soft actor-critic whose critics are pressed down on 3 x 10 actions per state."""
    actor, critics, temperature, target_critics, actor_optimizer, critic_optimizer, temperature_optimizer = state
    s, a, r, s2, mask = batch
    keys = jax.random.split(key, 5)
    samples = 10

    def actor_loss(weights: Tree) -> tuple[jax.Array, jax.Array]:
        pi, log_pi = tanh_gaussian(weights, s, keys[0], 1)
        return (jnp.exp(temperature) * log_pi[0] - values(critics, s, pi[0]).min(0)).mean(), log_pi[0]

    actor_gradient, log_pi = jax.grad(actor_loss, has_aux=True)(actor)
    a2, _ = tanh_gaussian(actor, s2, keys[1], 1)
    y = r + DISCOUNT * mask * values(target_critics, s2, a2[0]).min(0)
    uniform = jax.random.uniform(keys[2], (samples, *a.shape), minval=-1.0, maxval=1.0)
    here, here_density = tanh_gaussian(actor, s, keys[3], samples)
    there, there_density = tanh_gaussian(actor, s2, keys[4], samples)
    pool = jnp.concatenate([uniform, here, there])
    constant = jnp.full(here_density.shape, a.shape[-1] * np.log(0.5))
    densities = jnp.concatenate([constant, here_density, there_density])
    repeated = jnp.broadcast_to(s, (3 * samples, *s.shape))

    def critic_loss(weights: Tree) -> jax.Array:
        data = values(weights, s, a)
        largest = jax.nn.logsumexp(values(weights, repeated, pool) - densities, 1)
        return (((data - y) ** 2).mean(-1) + 10.0 * (largest - data).mean(-1)).sum()

    critic_gradient = jax.grad(critic_loss)(critics)
    temperature, temperature_optimizer = adam(temperature, -(log_pi - a.shape[-1]).mean(), temperature_optimizer, 3e-5)
    actor, actor_optimizer = adam(actor, actor_gradient, actor_optimizer, 3e-5)
    critics, critic_optimizer = adam(critics, critic_gradient, critic_optimizer, 3e-4)
    target_critics = follow(target_critics, critics)
    return actor, critics, temperature, target_critics, actor_optimizer, critic_optimizer, temperature_optimizer


LOOPS: dict[str, tuple[Callable[..., Tree], Callable[..., Tree]]] = {  # how an agent begins, and its update
    "td3_bc": (_td3_bc, td3_bc),
    "iql": (_iql, iql),
    "cql": (_cql, cql),
}
