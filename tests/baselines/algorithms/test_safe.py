"""Safe methods: the backup in closed form, which side the expectile is on, what is cloned, how actions are drawn, and multipliers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import assay
from assay.baselines import CPQ, FISOR, IQL, BCSafe, IQLLag, Job, train
from assay.baselines.algorithms.algorithm import Batch, Setting
from assay.baselines.algorithms.generative.ddpm import diffused_actions, vp_alphas
from assay.baselines.algorithms.safe import fisor
from assay.baselines.algorithms.safe.fisor import asymmetric, backup
from assay.baselines.algorithms.safe.multiplier import multiplier_loss
from assay.baselines.engine.data import ActionScale, TrainingData
from assay.datasets.environments import point_robot
from assay.datasets.errors import ConfigError
from tests.baselines.algorithms.braking import LEARNER, accuracy, learned_values, robot_data, robot_states
from tests.baselines.problems import pendulum_like, population, transitions

TINY = {"hidden": (8,), "batch_size": 32}


def test_the_backup_of_two_states_has_its_closed_form_as_fixed_point() -> None:
    """A state with h = -2 leads to one with h = 1 that stays: V there is 1, here (1 - g)(-2) + g max(-2, 1) = 3 g - 2."""
    h, following, discount = torch.tensor([-2.0, 1.0]), torch.tensor([1, 1]), torch.tensor(0.9)
    values = torch.zeros(2)
    for _ in range(300):
        values = backup(h, values[following], torch.ones(2), discount)
    assert values.tolist() == pytest.approx([3 * 0.9 - 2, 1.0], abs=1e-6)
    ended = backup(h, values[following], torch.zeros(2), discount)
    assert ended.tolist() == h.tolist()


def test_a_violation_to_come_counts_as_much_as_its_height_and_no_more_than_once() -> None:
    """Under discount 1 the value is the largest h on the way, which a sum of costs is not."""
    h = torch.tensor([-3.0, -1.0, 2.0, -5.0])
    values = torch.full((5,), -9.0)
    for _ in range(5):
        values[:4] = backup(h, values[1:], torch.ones(4), torch.tensor(1.0))
    assert values[:4].tolist() == [2.0, 2.0, 2.0, -5.0]


def test_the_value_of_safety_lies_near_the_least_over_actions_and_swapped_near_the_largest() -> None:
    danger, expectile = torch.tensor([[-1.0, 0.0, 1.0]]), torch.tensor([[0.9]])
    grid = torch.linspace(-1.0, 1.0, 2001)[:, None]
    lower = grid[asymmetric(danger - grid, 1.0 - expectile).sum(1).argmin()].item()
    swapped = grid[asymmetric(danger - grid, expectile).sum(1).argmin()].item()
    assert lower == pytest.approx(-8 / 11, abs=2e-3)  # 0.9 (-1 - v) + 0.1 (0 - v) + 0.1 (1 - v) = 0
    assert swapped == pytest.approx(8 / 11, abs=2e-3)


def test_only_episodes_within_the_limit_are_cloned() -> None:
    dataset = assay.load("braking-car/detours", steps=600)
    costs = np.add.reduceat(dataset.column("costs"), dataset.episode_starts)
    middle = float(np.median(costs))
    kept = BCSafe(cost_limit=middle).training_rows(dataset)
    assert 0 < kept < BCSafe(cost_limit=float(costs.max())).training_rows(dataset)
    assert kept <= dataset.episode_lengths[costs <= middle].sum()
    with pytest.raises(ConfigError, match="column 'costs'"):
        BCSafe().training_data(pendulum_like(), None)


@pytest.mark.parametrize("kind", [CPQ, FISOR, IQLLag, BCSafe])
def test_costs_that_are_no_number_for_each_step_are_named(kind: Callable, tmp_path: Path) -> None:
    dataset = assay.load("braking-car/detours", steps=60)
    costs = dataset.column("costs")
    for wrong, said in (
        (np.stack([costs, costs], 1), r"column costs has \[2\] numbers for each step"),
        (np.full(len(costs), "much"), "column costs is <U4; algorithms learn from numbers"),
    ):
        job = Job(kind(), dataset.replace({"costs": wrong}))
        with pytest.raises(ConfigError, match=said):  # before anything is written, but where costs choose the episodes
            kind().training_data(job.dataset, job.action_scale) if kind is BCSafe else train(
                [job], steps=2, evaluation=None, runs=tmp_path
            )
    assert not list(tmp_path.iterdir())
    missing = costs.astype(float)
    missing[3] = np.nan
    with pytest.raises(ConfigError, match=r"column costs|episode 0 holds a cost"):
        kind().training_data(dataset.replace({"costs": missing}), ActionScale.of(-np.ones(1), np.ones(1)))


def test_diffusion_with_the_true_noise_of_a_point_ends_at_the_point() -> None:
    """Where all actions of the data are one point, the noise is known in closed form, and every draw ends at the point."""
    point, alphas = torch.tensor([0.3, -0.6]), torch.tensor(vp_alphas(5)).cumprod(0)

    def network(observations: torch.Tensor, actions: torch.Tensor, time: torch.Tensor, weights: str) -> torch.Tensor:
        kept = alphas[int(time.flatten()[0])]
        return (actions - kept.sqrt() * point) / (1 - kept).sqrt()

    generator = torch.Generator().manual_seed(0)
    found = diffused_actions(network, torch.zeros(1, 50, 3), lambda _: torch.randn(1, 50, 2, generator=generator), 5)
    assert torch.allclose(found, point.expand(1, 50, 2), atol=1e-5)


def test_the_policy_acts_by_its_slowly_following_copy() -> None:
    made = population(FISOR(hidden=(8,), batch_size=32, width=8, blocks=1), [0])
    made.advance(5)
    policy = made.networks["policy"]
    acting = made.actor().tensors(0)["policy"]
    assert torch.equal(acting, policy.target_buffer)
    assert not torch.equal(acting, policy.buffer)
    assert torch.equal(made.actor().tensors(0)["safety_critic"], made.networks["safety_critic"].buffer)


def test_at_a_fixed_price_iql_lag_is_iql_on_penalized_rewards() -> None:
    made, price = transitions(), 3.0
    penalized = replace(made, rewards=(made.rewards - price * made.columns["costs"]) / (1.0 + price))
    scale = ActionScale.of(-np.ones(2), np.ones(2))
    data, own = (TrainingData.of(each, scale, normalize=True, extra=("costs",)) for each in (made, penalized))
    lagrangian = population(IQLLag(**TINY, multiplier_learning_rate=1e-30), [0], data=[data], dtype=torch.float64)
    plain = population(IQL(**TINY), [0], data=[own], dtype=torch.float64)
    lagrangian.networks["multiplier"].buffer.fill_(price)
    for each in (lagrangian, plain):
        each.advance(20)
    for name in ("actor", "critic", "value"):
        assert torch.allclose(lagrangian.networks[name].buffer, plain.networks[name].buffer, atol=1e-9, rtol=0)


def test_the_price_rises_where_costs_are_above_the_limit_and_stays_zero_where_they_are_below() -> None:
    strict, lenient = (population(IQLLag(**TINY, cost_limit=limit), [0]) for limit in (1e-6, 1e6))
    for each in (strict, lenient):
        each.networks["cost_critic"].buffer.abs_()  # so that some cost is expected from the first update on
        each.advance(5)
    assert strict.networks["multiplier"].buffer.item() > 0
    assert lenient.networks["multiplier"].buffer.item() == 0


@pytest.mark.parametrize(
    ("number", "excess", "slope"), [(0.5, 2.0, -2.0), (0.5, -2.0, 2.0), (0.0, -2.0, 0.0), (1.0, 2.0, 0.0)]
)
def test_a_multiplier_follows_the_excess_but_not_beyond_its_ends(number: float, excess: float, slope: float) -> None:
    free = torch.full((1, 1, 1), number, requires_grad=True)
    setting = Setting({"multiplier": SimpleNamespace(state_independent=free)}, {}, None, None)
    multiplier_loss(setting, torch.tensor([excess]), torch.ones(1, 1)).backward()
    assert free.grad is not None
    assert free.grad.item() == slope


def cpq_setting(cost_after: float) -> Setting:
    """One row with reward 1 and cost 0.5, and networks that say numbers: the values after it are 7 and 4, its costs `cost_after` and 0."""

    def critic(first: float, second: float) -> Callable[..., torch.Tensor]:
        return lambda inputs, weights="learned": torch.tensor([first, second]).view(1, 2, 1, 1)

    networks = {
        "actor": lambda observations, weights="learned": torch.zeros(1, 1, 2),
        "critic": critic(7.0, 4.0),
        "cost_critic": critic(cost_after, 0.0),
    }
    rows = {"observations": (1, 1, 3), "next_observations": (1, 1, 3), "actions": (1, 1, 1)}
    columns = {name: torch.zeros(shape) for name, shape in rows.items()}
    columns |= {"rewards": torch.tensor([[1.0]]), "costs": torch.tensor([[0.5]]), "bootstraps": torch.tensor([[1.0]])}
    hyperparameters = SimpleNamespace(cost_limit=torch.tensor([[2.0]]), discount=torch.tensor([[0.5]]))
    draws = SimpleNamespace(normal=lambda purpose, *shape: torch.zeros(1, *shape))
    return Setting(networks, {"batch": Batch(columns)}, hyperparameters, draws)


def test_what_cpq_earns_after_too_much_cost_counts_as_nothing() -> None:
    """The limit of discounted costs is 2 (1 - 0.5^2) / (0.5 2) = 1.5; the larger cost and the smaller value count."""
    algorithm = CPQ(cost_limit=2.0, discount=0.5, episode_length=2)
    for cost, target in ((1.4, 1.0 + 0.5 * 4.0), (1.6, 1.0)):
        loss = algorithm.critic_loss(cpq_setting(cost)).of["critic"].item()
        assert loss == pytest.approx(((7.0 - target) ** 2 + (4.0 - target) ** 2) / 2)
    assert algorithm.actor_loss(cpq_setting(1.4)).of["actor"].item() == pytest.approx(-4.0)
    assert algorithm.actor_loss(cpq_setting(1.6)).of["actor"].item() == 0.0


def test_cpq_presses_up_what_it_expects_unlike_actions_to_cost() -> None:
    """Without costs in the data the critics would say 0; with alpha at its bound the policy's actions cost more than those of the data."""
    made = transitions()
    data = TrainingData.of(
        replace(made, columns={"costs": np.zeros(len(made.rewards))}),
        ActionScale.of(-np.ones(2), np.ones(2)),
        normalize=True,
        extra=("costs",),
    )
    sizes = {
        **TINY,
        "actor_hidden": (8,),
        "autoencoder_hidden": (8,),
        "unlike_limit": 50.0,
        "critic_learning_rate": 1e-2,
    }
    pressed, free = (population(CPQ(**sizes, multiplier_bound=bound), [0], data=[data]) for bound in (1.0, 0.0))
    for each in (pressed, free):
        each.networks["multiplier"].buffer.fill_(1.0)
        each.advance(30)
    assert pressed.metrics()["unlike_cost"][0] > free.metrics()["unlike_cost"][0] + 0.1


@pytest.mark.slow
def test_what_is_feasible_is_found_and_by_no_stub() -> None:
    """The braking car against its kernel in closed form, discount 0.96, 3,000 updates on 20,000 transitions.

    Measured with seeds 0, 1, 2 (accuracy; share of states called safe that are not): expectile 0.9 .916, .945, .942 and .0027 each;
    the stub 0.5 .849, .880, .866; the swapped expectile 0.1 .776, .791, .781; both stubs call no lost state safe. With discount 0.9
    the false-safe share is .044, with 0.99 2,000 updates do not converge (.655). The discounted sum of costs, thresholded at 0.1, was
    tried as a third stub (discounts 0.9 to 0.99, seed 0): it is worse (.43 to .69) but never called a lost state safe, so it separates nothing
    that accuracy does not.
    """
    learners = [
        LEARNER(expectile=expectile, discount=0.96, violation="infos/past_wall") for expectile in (0.9, 0.5, 0.1)
    ]
    (right, false_safe), (middle, _), (swapped, _) = map(accuracy, learned_values(learners, seed=0, updates=3_000))
    assert right >= 0.88
    assert false_safe <= 0.005
    assert middle < right - 0.04
    assert swapped < right - 0.1


@pytest.mark.slow
def test_costs_alone_tell_less_than_a_signed_distance_and_the_less_the_larger_their_scale() -> None:
    """The braking car as above, h made of costs. Measured with seed 0: scale 1 .887, 5 .692, 25 .576, 100 .492; no state is called safe that is lost."""
    learners = [LEARNER(discount=0.96, cost_scale=scale) for scale in (1.0, 25.0)]
    (small, small_false), (published, published_false) = map(accuracy, learned_values(learners, seed=0, updates=3_000))
    assert small >= 0.84
    assert published <= small - 0.2
    assert max(small_false, published_false) <= 0.005


@pytest.mark.slow
def test_what_a_fast_robot_can_avoid_is_found_better_than_by_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The robot at full speed against `avoidable`: intersection over union of the feasible states, and of the lost ones.

    4,000 updates, discount 0.96, 40,000 transitions. Measured with seed 0: expectile 0.9 .929 and .721; the hazards themselves (h <= 0) .928 and .644;
    the stub 0.5 .809 and .503, the swapped 0.1 .631 and .347; after 6,000 updates .935 and .739, and the stub of discounted costs below 0.1 .735
    and .433. It calls 1.0 % of the states safe that are not, FISOR's region 2.3 %: what it does worse is to give up states. The two regions differ little as sets of safe states here, since the hazards cover a ninth of the arena;
    so the lost states are asserted too.
    """
    states = robot_states(9, 20_000)
    states[:, 2] = point_robot.FASTEST
    true = point_robot.avoidable(states)
    learners = [LEARNER(expectile=expectile, discount=0.96, violation="infos/violation") for expectile in (0.9, 0.5)]
    right, stub = learned_values(learners, 0, 4_000, robot_data(), point_robot.observed(states)) <= 0
    hazards = point_robot.violation(states) <= 0
    assert overlap(right, true) >= 0.88
    assert overlap(~right, ~true) >= overlap(~hazards, ~true) + 0.03
    assert overlap(stub, true) <= overlap(right, true) - 0.08
    assert overlap(~stub, ~true) <= overlap(~right, ~true) - 0.12
    monkeypatch.setattr(
        fisor, "backup", lambda h, following, bootstraps, discount: h + discount * bootstraps * following
    )
    summed = [LEARNER(discount=0.96, violation="costs")]
    (costs,) = learned_values(summed, 0, 4_000, robot_data(), point_robot.observed(states))
    assert overlap(costs <= 0.1, true) <= overlap(right, true) - 0.1


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())
