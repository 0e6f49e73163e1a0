"""Updates per second of the population engine beside a plain single-file PyTorch loop of the published form.

Usage: taskset -c 0 env OMP_WAIT_POLICY=passive python benchmarks/training.py
       python benchmarks/training.py --device cuda [--compile]

Observations 17, actions 6, batch 256, two layers of 256. Both sides take turns in the same process and the best of each
counts. Rates are summed over members, per CPU-second of the process on a CPU (so that a busy machine matters less) and per
second of wall time on CUDA. "operations" are those that PyTorch dispatches per update of all members, without views: about as many
kernels as an eager run starts, "MFLOP" is the work of matrix products per update of one member, search of neighbours included.
"of products" is the share of the rate of large matrix products at the same precision, so that algorithms of different work compare. On CUDA, "kernels" are those that the profiler sees, and "of memory" is the share of the copying rate, if every operation read and
wrote memory; both limits are measured in the same run. Needs only torch, NumPy and pydantic.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

from assay.baselines import (
    A2PR,
    BC,
    BCQ,
    COCOA,
    CPQ,
    CQL,
    FISOR,
    GCBC,
    GCIQL,
    IQL,
    MOBILE,
    MOPO,
    MOREC,
    ODICE,
    PRDC,
    RAVL,
    TD3BC,
    IQLLag,
    MixtureBC,
    SMORe,
)
from assay.baselines.algorithms.algorithm import Algorithm
from assay.baselines.algorithms.goal_conditioned.goals import GoalConditioned
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.shapes import Part, Shapes
from assay.datasets.transitions import Transitions

OBSERVATION, ACTION, BATCH, STEPS = 17, 6, 256, 200_000
PARTS = (Part("achieved_goal", (3,)), Part("desired_goal", (3,)), Part("observation", (OBSERVATION - 6,)))
GOALS = Shapes(PARTS, ACTION)  # the same rows, as goal-conditioned algorithms see them
Work = Callable[[], int]  # does some updates and says how many


def data() -> Transitions[np.ndarray]:
    rng = np.random.default_rng(0)
    return Transitions(
        rng.standard_normal((STEPS, OBSERVATION), np.float32),
        rng.uniform(-1, 1, (STEPS, ACTION)).astype(np.float32),
        rng.standard_normal(STEPS, np.float32),
        rng.standard_normal((STEPS, OBSERVATION), np.float32),
        rng.random(STEPS) < 0.001,
        np.zeros(STEPS, bool),
        np.arange(STEPS),
        columns={"costs": (rng.random(STEPS) < 0.1).astype(np.float32)},
    )


def mlp(inputs: int, outputs: int, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outputs), *last
    )


class Plain:
    """What a published single-file implementation does: modules, one optimizer each, indices drawn on the host."""

    def __init__(self, transitions: Transitions[np.ndarray], device: str) -> None:
        names = ("observations", "actions", "rewards", "next_observations")
        self.columns = [torch.from_numpy(getattr(transitions, name)).to(device) for name in names]
        self.columns.append(torch.from_numpy(1.0 - transitions.terminations.astype(np.float32)).to(device))
        self.actor = mlp(OBSERVATION, ACTION, nn.Tanh()).to(device)
        self.critics = [mlp(OBSERVATION + ACTION, 1).to(device) for _ in range(2)]
        self.value = mlp(OBSERVATION, 1).to(device)
        self.log_std = nn.Parameter(torch.zeros(ACTION, device=device))
        self.stochastic_actor = mlp(OBSERVATION, 2 * ACTION).to(device)
        self.log_temperature = nn.Parameter(torch.zeros(1, device=device))
        self.target_actor, self.target_critics = copy.deepcopy(self.actor), copy.deepcopy(self.critics)
        critic_parameters = [parameter for critic in self.critics for parameter in critic.parameters()]
        self.actor_optimizer = torch.optim.Adam([*self.actor.parameters(), self.log_std], lr=3e-4)
        self.critic_optimizer = torch.optim.Adam(critic_parameters, lr=3e-4)
        self.value_optimizer = torch.optim.Adam(self.value.parameters(), lr=3e-4)
        self.stochastic_actor_optimizer = torch.optim.Adam(self.stochastic_actor.parameters(), lr=3e-5)
        self.temperature_optimizer = torch.optim.Adam([self.log_temperature], lr=3e-5)
        self.updates = 0

    def batch(self) -> list[torch.Tensor]:
        indices = np.random.randint(0, STEPS, BATCH)  # noqa: NPY002  (as the published code does)
        return [column[indices] for column in self.columns]

    @staticmethod
    def step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @staticmethod
    @torch.no_grad()
    def follow(target: nn.Module, source: nn.Module) -> None:
        for slow, fast in zip(target.parameters(), source.parameters()):
            slow.mul_(0.995).add_(0.005 * fast)

    def bc(self) -> None:
        s, a, *_ = self.batch()
        self.step(self.actor_optimizer, nn.functional.mse_loss(self.actor(s), a))

    def td3_bc(self) -> None:
        self.updates += 1
        s, a, r, s2, mask = self.batch()
        with torch.no_grad():
            noise = (torch.randn_like(a) * 0.2).clamp(-0.5, 0.5)
            a2 = (self.target_actor(s2) + noise).clamp(-1, 1)
            inputs = torch.cat([s2, a2], 1)
            y = r + 0.99 * mask * torch.min(*[critic(inputs).squeeze(1) for critic in self.target_critics])
        inputs = torch.cat([s, a], 1)
        loss = sum(nn.functional.mse_loss(critic(inputs).squeeze(1), y) for critic in self.critics)
        self.step(self.critic_optimizer, loss)
        if self.updates % 2 == 0:
            pi = self.actor(s)
            q = self.critics[0](torch.cat([s, pi], 1))
            self.step(self.actor_optimizer, -2.5 / q.abs().mean().detach() * q.mean() + nn.functional.mse_loss(pi, a))
            self.follow(self.target_actor, self.actor)
            for target, critic in zip(self.target_critics, self.critics):
                self.follow(target, critic)

    def iql(self) -> None:
        s, a, r, s2, mask = self.batch()
        inputs = torch.cat([s, a], 1)
        with torch.no_grad():
            target = torch.min(*[critic(inputs).squeeze(1) for critic in self.target_critics])
            y = r + 0.99 * mask * self.value(s2).squeeze(1)
        advantage = target - self.value(s).squeeze(1)
        self.step(self.value_optimizer, (torch.abs(0.7 - (advantage < 0).float()) * advantage**2).mean())
        loss = sum(nn.functional.mse_loss(critic(inputs).squeeze(1), y) for critic in self.critics) / 2
        self.step(self.critic_optimizer, loss)
        for critic_target, critic in zip(self.target_critics, self.critics):
            self.follow(critic_target, critic)
        policy = torch.distributions.Normal(self.actor(s), self.log_std.clamp(-20, 2).exp())
        weight = torch.exp(3.0 * advantage.detach()).clamp(max=100.0)
        self.step(self.actor_optimizer, -(weight * policy.log_prob(a).sum(1)).mean())

    def tanh_gaussian(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sample an action per state; actions and log probabilities."""
        mean, log_std = self.stochastic_actor(s).chunk(2, -1)
        policy = torch.distributions.Normal(mean, (log_std - 1.0).clamp(-20, 2).exp())
        u = policy.rsample()
        correction = 2.0 * (np.log(2.0) - u - nn.functional.softplus(-2.0 * u))
        return torch.tanh(u), (policy.log_prob(u) - correction).sum(-1)

    def cql(self) -> None:
        s, a, r, s2, mask = self.batch()
        pi, log_pi = self.tanh_gaussian(s)
        temperature_loss = -(self.log_temperature * (log_pi.detach() - ACTION)).mean()
        inputs = torch.cat([s, pi], 1)
        q = torch.min(*[critic(inputs).squeeze(1) for critic in self.critics])
        actor_loss = (self.log_temperature.exp().detach() * log_pi - q).mean()

        with torch.no_grad():
            a2, _ = self.tanh_gaussian(s2)
            inputs = torch.cat([s2, a2], 1)
            y = r + 0.99 * mask * torch.min(*[critic(inputs).squeeze(1) for critic in self.target_critics])
            repeated, repeated2 = (x.unsqueeze(1).repeat(1, 10, 1) for x in (s, s2))  # [B, 10, observation]
            uniform = torch.empty(BATCH, 10, ACTION, device=s.device).uniform_(-1, 1)
            sources = [
                (uniform, torch.tensor(ACTION * np.log(0.5), dtype=s.dtype)),
                self.tanh_gaussian(repeated),
                self.tanh_gaussian(repeated2),
            ]
        loss = torch.zeros((), device=s.device)
        for critic in self.critics:
            q_data = critic(torch.cat([s, a], 1)).squeeze(1)
            values = [critic(torch.cat([repeated, b], 2)).squeeze(2) - log_density for b, log_density in sources]
            gap = (torch.logsumexp(torch.cat(values, 1), 1) - q_data).mean()
            loss = loss + nn.functional.mse_loss(q_data, y) + 10.0 * gap
        self.step(self.temperature_optimizer, temperature_loss)
        self.step(self.stochastic_actor_optimizer, actor_loss)
        self.step(self.critic_optimizer, loss)
        for target, critic in zip(self.target_critics, self.critics):
            self.follow(target, critic)


class Counter(TorchDispatchMode):
    """Counts the operations that are dispatched (each is about one kernel), and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        results = function(*arguments, **(keywords or {}))
        if not function.is_view and not str(function).startswith(("aten.empty", "aten.detach", "profiler")):
            self.operations += 1
            tensors, _ = tree_flatten((arguments, results))
            self.bytes += sum(item.nbytes for item in tensors if isinstance(item, torch.Tensor))
        return results


def count(population: Population) -> tuple[float, float, float]:
    """Return operations, bytes and floating-point operations of matrix products per update of all members, run eagerly."""
    population._run(population._now, 0, population.unroll)  # makes what lasts
    with Counter() as counter, FlopCounterMode(display=False) as flops:
        population._run(population._now, 0, updates := population.unroll)
    return counter.operations / updates, counter.bytes / updates, flops.get_total_flops() / updates


def kernels(population: Population, listed: int) -> tuple[float, str]:
    """Return the CUDA kernels per update of all members that the profiler sees, and a table of those that take longest."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        population.advance(updates := population.unroll)  # few: a profiler takes long over many
        torch.cuda.synchronize()
    found = sorted(profile.key_averages(), key=lambda item: -item.self_device_time_total)
    total = sum(item.self_device_time_total for item in found)
    lines = [
        f"  {item.self_device_time_total / total:7.1%}{item.count / updates:8.2f}  {item.key[:110]}"
        for item in found[:listed]
    ]
    return sum(item.count for item in found) / updates, "\n".join(lines)


def limits(device: str) -> tuple[float, float]:
    """Measure the device's rate of matrix products (FLOP/s, at the precision in force) and of copies (bytes/s)."""
    cuda = device.startswith("cuda")
    size = 8192 if cuda else 256  # what a device needs to be busy; what lies in a core's cache
    large = torch.randn(size, size, device=device)
    block, other = (torch.empty(1 << (28 if cuda else 24), dtype=torch.float32, device=device) for _ in range(2))

    def product() -> int:
        torch.mm(large, large)
        return 1

    def copy_block() -> int:
        other.copy_(block)
        return 1

    return 2 * size**3 * rate(product, device, 0.3), 2 * block.nbytes * rate(copy_block, device, 0.3)


def rate(work: Work, device: str, seconds: float) -> float:
    """Return updates per CPU-second (CPU) or per second (CUDA), after a warm-up."""
    cuda = device.startswith("cuda")

    def clock() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if cuda else time.process_time()

    work()
    done, start = 0, clock()
    while clock() - start < seconds:
        done += work()
    return done / (clock() - start)


def loops(name: str, transitions: Transitions[np.ndarray], members: int, device: str, peers: bool) -> dict[str, Work]:
    """Return the loops that the engine takes turns with: one agent in PyTorch and in JAX, and JAX's own population."""
    once = getattr(Plain(transitions, device), name, None)
    if once is None:
        return {}

    def plain() -> int:
        for _ in range(4):
            once()
        return 4

    found: dict[str, Work] = {"plain": plain}
    if peers and name != "bc":
        from jax_loops import Loop

        found["jax"] = Loop(name, transitions).run
        if members > 1 and device != "cpu":  # a CPU's batched products make it slower than one after the other
            found["jax vmap"] = Loop(name, transitions, members).run
    return found


def algorithms() -> dict[str, Algorithm]:
    """Return what can be timed, at the published sizes but for CQL's two layers."""
    # the updates of the policy: one of the dynamics before them, and one refill of the rollouts
    model = {"model_updates": 1, "rollout_batch": 1_000, "rollout_interval": 10**9, "terminations": "none"}
    items = (BC(), TD3BC(), IQL(), CQL(hidden=(256, 256)), PRDC(), A2PR(), ODICE(), SMORe(), GCBC(), GCIQL())
    items = (*items, BCQ(), MixtureBC(), FISOR(), CPQ(), IQLLag())
    anchors = {"anchor_updates": 1, "reverse_rollouts": 1_000}
    game = {"reward_updates": 1, "discriminators": 1, "rollout_length": 5}
    on_models = MOPO(**model), MOBILE(**model), RAVL(**model), COCOA(**model, **anchors), MOREC(**model, **game)
    return {item.name: item for item in (*items, *on_models)}


def main() -> None:
    known = algorithms()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--algorithms", nargs="+", choices=known, default=["bc", "td3_bc", "iql", "cql"], metavar="NAME"
    )
    parser.add_argument("--populations", type=int, nargs="+", help="default 1 4 12, on CUDA 1 4 16 64 256 1024")
    parser.add_argument("--precisions", nargs="+", help="default highest medium, on CUDA highest high bf16")
    parser.add_argument("--compile", action="store_true", help="compile the updates")
    parser.add_argument("--peers", action="store_true", help="the JAX loop beside the plain one; needs jax")
    parser.add_argument(
        "--profile", type=int, default=0, help="list so many kernels with their share of the time (CUDA)"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each side")
    parser.add_argument("--rounds", type=int, default=3, help="in which the sides take turns; the best of each counts")
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    if options.peers:
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        if options.threads == 1:
            os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        if not cuda:
            os.environ["JAX_PLATFORMS"] = "cpu"
    torch.set_num_threads(options.threads)
    transitions = data()
    scale = ActionScale.of(-np.ones(ACTION), np.ones(ACTION))
    laid_out = TrainingData.of(transitions, scale, normalize=True)
    with_goals = replace(laid_out, shapes=GOALS)
    with_costs = TrainingData.of(transitions, scale, normalize=True, extra=("costs",))
    names = ["plain", *(["jax"] if options.peers else []), *(["jax vmap"] if options.peers and cuda else [])]
    unit = "updates/s" if cuda else "updates/CPU-s"
    columns = f"{'algorithm':10}{'precision':11}{'members':>8}{unit:>16}" + "".join(f"{name:>11}" for name in names)
    columns += f"{'of plain':>10}{'of jax':>8}{'operations':>12}{'MFLOP':>8}{'of products':>12}"
    print(columns + (f"{'of memory':>11}{'kernels':>9}{'ready, s':>9}" if cuda else ""), flush=True)
    for name, precision, members in itertools.product(
        options.algorithms,
        options.precisions or (["highest", "high", "bf16"] if cuda else ["highest", "medium"]),
        options.populations or ([1, 4, 16, 64, 256, 1024] if cuda else [1, 4, 12]),
    ):
        algorithm = known[name]
        goals, costs = isinstance(algorithm, GoalConditioned), "costs" in algorithm.extra_columns
        rows = with_goals if goals else with_costs if costs else laid_out

        def made(
            compile: str | None, algorithm=algorithm, precision=precision, members=members, rows=rows
        ) -> Population:
            return Population(
                [Member(algorithm, seed, 0) for seed in range(members)],
                [rows],
                1_000_000,
                device=options.device,
                bf16=precision == "bf16",
                compile=compile,
            )

        others = loops(name, transitions, members, options.device, options.peers)
        own_precision = "highest" if precision == "bf16" else precision
        torch.set_float32_matmul_precision(own_precision)
        begin = time.perf_counter()
        population = made("inductor" if options.compile else None)
        updates = population.unroll * (max(1, 256 // members) if cuda else max(1, 2 // members))

        def engine(population: Population = population, updates: int = updates, members: int = members) -> int:
            population.advance(updates)
            return updates * members

        engine()
        ready = time.perf_counter() - begin
        best = dict.fromkeys(["engine", *others], 0.0)
        for _ in range(options.rounds):
            for side, work in others.items():
                torch.set_float32_matmul_precision("highest")
                best[side] = max(best[side], rate(work, options.device, options.seconds / options.rounds))
            torch.set_float32_matmul_precision(own_precision)
            best["engine"] = max(best["engine"], rate(engine, options.device, options.seconds / options.rounds))

        eager = made(None)
        eager.pauses = False
        eager.enter_stage(eager.stages - 1)
        operations, moved, flops = count(eager)
        products, memory = limits(options.device)
        own = best["engine"]
        line = f"{algorithm.label:10}{precision:11}{members:8}{own:16,.1f}"
        line += "".join(f"{best[each]:11,.1f}" if each in best else f"{'-':>11}" for each in names)
        line += f"{own / best['plain']:10.2f}" if "plain" in best else f"{'-':>10}"
        line += f"{own / best['jax']:8.2f}" if "jax" in best else f"{'-':>8}"
        line += f"{operations:12.0f}{flops / members / 1e6:8.0f}{own / members * flops / products:12.1%}"
        if cuda:
            started, table = kernels(population, options.profile)
            line += f"{own / members * moved / memory:11.1%}{started:9.0f}{ready:9.1f}"
            line += f"\n{table}" if table else ""
        print(line, flush=True)


if __name__ == "__main__":
    main()
