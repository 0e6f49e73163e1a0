"""Problems of the theory of offline RL, whose models are known, and FrozenLake.

The simulators are `finite.FiniteEnvironment` and `american_put.AmericanPut`, and `edge_of_reach.EdgeOfReach`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from assay.datasets.environments.record import EnvironmentFamily, EnvironmentRecord, Expert, Registration

if TYPE_CHECKING:
    from assay.datasets.environments.edge_of_reach import BumpSeeker, Wanderer
    from assay.datasets.environments.finite import GreedyPolicy

__all__ = [
    "FAMILY",
    "bump_seeker",
    "frozen_lake_planner",
    "greedy_on_features",
    "greedy_on_rewards",
    "put_seller",
    "wanderer",
]

_FINITE = "assay.datasets.environments.finite:FiniteEnvironment"


def greedy_on_rewards(problem: str, sign: float = 1.0) -> GreedyPolicy:
    """Make the policy of the largest expected reward of a problem, which is the best in all of these; of the least with sign -1."""
    from assay.datasets.environments.finite import GreedyPolicy, problem_named

    return GreedyPolicy(sign * problem_named(problem).rewards[0])


def greedy_on_features(problem: str, **parameters: float) -> GreedyPolicy:
    """Make the policy of the feature that leads to the good state most often, which is the best."""
    import numpy as np

    from assay.datasets.environments.finite import GreedyPolicy, problem_named

    process = problem_named(problem, **parameters)
    assert process.features is not None
    states, actions, size = process.features.shape
    good = process.transitions[0][..., -1].ravel()  # the good state is the last one
    return GreedyPolicy(np.linalg.lstsq(process.features.reshape(states * actions, size), good, rcond=None)[0])


def frozen_lake_planner() -> GreedyPolicy:
    """Make the optimal policy of the slippery lake of 4 x 4, by value iteration with discount 0.99."""
    import gymnasium
    import numpy as np

    from assay.datasets.environments.finite import GreedyPolicy

    model = gymnasium.make("FrozenLake-v1").unwrapped.P  # type: ignore[attr-defined]
    values = np.zeros((16, 4))
    for _ in range(2_000):
        best = values.max(1)
        for state, action in np.ndindex(16, 4):
            values[state, action] = sum(
                chance * (reward + 0.99 * best[after] * (not over))
                for chance, after, reward, over in model[state][action]
            )
    return GreedyPolicy(np.round(values, 6))


def put_seller(least: float | None) -> GreedyPolicy:
    """Make the policy that sells an option as soon as that earns `least`; None never sells."""
    import numpy as np

    from assay.datasets.environments.american_put import STRIKE, TENTS
    from assay.datasets.environments.finite import GreedyPolicy

    return GreedyPolicy(np.append(np.full(TENTS, (least or 0.0) / STRIKE), -1.0 if least is None else 1.0))


def bump_seeker() -> BumpSeeker:
    """Make the best policy of the edge of reach."""
    from assay.datasets.environments.edge_of_reach import BumpSeeker

    return BumpSeeker()


def wanderer() -> Wanderer:
    """Make the policy that stays where the edge of reach starts."""
    from assay.datasets.environments.edge_of_reach import Wanderer

    return Wanderer()


def _record(
    name: str, identifier: str, expert: Expert, detour: Expert | None = None, problem: str = "", **parameters: float
) -> EnvironmentRecord:
    registration = Registration(_FINITE, {"problem": problem or name, **parameters})
    return EnvironmentRecord(name, f"assay/{identifier}-v0", expert=expert, detour=detour, registration=registration)


def _by_rewards(name: str, identifier: str) -> EnvironmentRecord:
    return _record(
        name,
        identifier,
        Expert(functools.partial(greedy_on_rewards, name), "The best action of every state", discrete=True),
    )


def _by_features(name: str, identifier: str) -> EnvironmentRecord:
    return _record(
        name,
        identifier,
        Expert(functools.partial(greedy_on_features, name), "The best action by the true features", discrete=True),
    )


FAMILY = EnvironmentFamily(
    environments=(
        _by_rewards("bandit", "Bandit"),
        _by_rewards("contextual-bandit", "ContextualBandit"),
        _by_rewards("graded-bandit", "GradedBandit"),
        _by_rewards("ladder", "Ladder"),
        _by_rewards("graded-table", "GradedTable"),
        _by_features("graded-linear", "GradedLinear"),
        _by_features("linear-mdp", "LinearMDP"),
        _record(
            "linear-mdp-steep",
            "LinearMDPSteep",
            Expert(
                functools.partial(greedy_on_features, "linear-mdp", xi=0.3),
                "The best action by the true features",
                discrete=True,
            ),
            problem="linear-mdp",
            xi=0.3,
        ),
        EnvironmentRecord(
            "american-put",
            "assay/AmericanPut-v0",
            expert=Expert(functools.partial(put_seller, 6.0), "Selling at 94 or less", discrete=True),
            detour=Expert(functools.partial(put_seller, None), "Waiting to the end", share=1.0, discrete=True),
            registration=Registration("assay.datasets.environments.american_put:AmericanPut"),
        ),
        EnvironmentRecord(
            "edge-of-reach",
            "assay/EdgeOfReach-v0",
            expert=Expert(bump_seeker, "Straight to the bump"),
            detour=Expert(wanderer, "Wandering inside the square of the starts", share=1.0),
            registration=Registration("assay.datasets.environments.edge_of_reach:EdgeOfReach"),
        ),
        _record(
            "lucky-bandit",
            "LuckyBandit",
            Expert(functools.partial(greedy_on_rewards, "lucky-bandit"), "The better arm", discrete=True),
            Expert(
                functools.partial(greedy_on_rewards, "lucky-bandit", -1.0), "The worse arm", share=0.9, discrete=True
            ),
        ),
        EnvironmentRecord(
            "frozenlake",
            "FrozenLake-v1",
            expert=Expert(frozen_lake_planner, "The optimal policy of the model", discrete=True),
        ),
    )
)
