"""What an algorithm is: a frozen configuration, its networks, and one pure loss per network.

Losses are written once for a whole population. Tensors are [P, B, ...] (members, batch, ...), an ensemble of critics
gives [P, K, B], a loss is [P], and every field of type float arrives as a [P, 1] tensor, so that members may differ in
it. All other fields (sizes, switches) are the same for a whole population.

::

    a training     | stage "dynamics" ................. | stage "policy" ........................................ |
                   | update | update | ...              | segment ............ | segment ............ | ...      |
                                                        ^ between()            ^ between()            ^
    an update      rows from every stream -> phase: losses, one optimizer step per network, targets -> phase -> ...

Most algorithms have a single stage, a single stream of rows of their dataset, and nothing between their updates: they say
`networks`, `phases` and their fields, and no more.
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast, get_type_hints

import numpy as np
import torch

from assay.baselines.algorithms.presets import presets_of
from assay.baselines.algorithms.registry import REGISTRY
from assay.baselines.engine.data import ActionScale, RewardScale, TrainingData, rows_of_episodes
from assay.baselines.engine.shapes import CategoryCode, Observations, Shapes
from assay.baselines.engine.streams import BufferLayout, Stream
from assay.baselines.networks.network import FixedNetwork, Network, Specification
from assay.datasets.dataset import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.missing import LABELS
from assay.datasets.registry import Registry

if TYPE_CHECKING:
    from assay.baselines.engine.acting import Acting, EpisodeDraws
    from assay.baselines.engine.learner import Learner, Member
    from assay.baselines.engine.randomness import Draws
    from assay.baselines.engine.tables import Buffer, DatasetTable

__all__ = [
    "Algorithm",
    "Batch",
    "Combined",
    "DatasetWeights",
    "Losses",
    "Memory",
    "Pause",
    "Phase",
    "Setting",
    "Stage",
]

DatasetWeights: TypeAlias = Literal["draws", "losses", "batch_losses"]
"""What weights of a dataset do: rows are drawn by them; or drawn uniformly and their losses multiplied by them, over the mean weight
of the dataset or of the batch."""

FIRST = "batch"
"""Name of the stream that `Setting.batch` is."""


@dataclass(frozen=True)
class Batch:
    """One batch per member.

    Observations are normalized and actions scaled to [-1, 1] as the algorithm asks for; `bootstraps` is 0 where the
    MDP ended and 1 elsewhere, at truncations too. With n-step returns, `rewards` are discounted sums, and
    `next_observations` and `bootstraps` (times the discount of the steps between) those of the last step. A stream of
    windows gives [P, B, T, ...] instead, padded with zeros behind the episode's end, where `valid` is False.

    Parameters
    ----------
    columns : mapping
        Every column by name: [P, B] for one number per row, [P, B, n] for a vector. Rows of a dataset have observations,
        actions, rewards, next_observations, bootstraps and the algorithm's `extra_columns`; those of a buffer have what
        its layout says.
    valid : [P, B, T] bool tensor or None
        Of windows.
    images, next_images : mapping
        Parts of s and s' that are images, [P, B, *shape] uint8.
    """

    columns: Mapping[str, torch.Tensor]
    valid: torch.Tensor | None = None
    images: Mapping[str, torch.Tensor] = field(default_factory=dict)
    next_images: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return a column."""
        if name not in self.columns:
            raise ConfigError(f"the batch has no column {name!r}; it has {', '.join(self.columns)} (see extra_columns)")
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @property
    def observations(self) -> torch.Tensor:
        """[P, B, observation], the vector of each observation."""
        return self["observations"]

    @property
    def actions(self) -> torch.Tensor:
        """[P, B, action]; a discrete action is 1 in its entry and -1 in the others."""
        return self["actions"]

    @property
    def rewards(self) -> torch.Tensor:
        """[P, B]."""
        return self["rewards"]

    @property
    def next_observations(self) -> torch.Tensor:
        """[P, B, observation]."""
        return self["next_observations"]

    @property
    def bootstraps(self) -> torch.Tensor:
        """[P, B], 0 where the MDP ended."""
        return self["bootstraps"]

    def mean(self, values: torch.Tensor, over: tuple[int, ...] = (-1,), *, rows: int = -1) -> torch.Tensor:
        """Return the mean of losses, in which rows count by their loss weights where the batch has some (`Algorithm.dataset_weights`).

        Parameters
        ----------
        values : [P, ...] tensor
        over : tuple of int
            Axes of the mean.
        rows : int
            The axis with a value for each row, one of those.
        """
        weights = self.columns.get("loss_weights")
        if weights is None and (weights := self.columns.get("batch_loss_weights")) is not None:
            weights = weights / weights.mean(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        if weights is not None:
            shape = [len(weights), *[1] * (values.ndim - 1)]
            shape[rows] = weights.shape[1]
            values = values * weights.view(shape)
        return values.mean(over)

    @property
    def seen(self) -> Observations:
        """What an encoder takes of s: the vector, and the images where there are any."""
        return _with_images(self.observations, self.images)

    @property
    def next_seen(self) -> Observations:
        """What an encoder takes of s'."""
        return _with_images(self.next_observations, self.next_images)


def _with_images(vector: torch.Tensor, images: Mapping[str, torch.Tensor]) -> Observations:
    return {"vector": vector, **images} if images else vector


@dataclass(frozen=True)
class Combined:
    """Several losses of one network, whose gradients are combined into the one that it steps down.

    Parameters
    ----------
    losses : tuple of [P] tensors
    combine : callable
        Takes the gradient of each loss, [P, n] with all numbers of a member's networks in a row (zeros between them
        included), and returns the gradient [P, n] of the step. Members must not mix: products of two gradients are sums
        over a row.
    """

    losses: tuple[torch.Tensor, ...]
    combine: Callable[[Sequence[torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Losses:
    """What a phase computes: a loss [P] per network that it trains, and numbers [P] worth logging.

    One tensor may stand under several names: each network takes its own gradient of it. A phase that only lets target
    copies follow has no loss at all.
    """

    of: Mapping[str, torch.Tensor | Combined]
    metrics: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def each(self) -> list[torch.Tensor]:
        """All losses, those to be combined one by one."""
        return [each for loss in self.of.values() for each in (loss.losses if isinstance(loss, Combined) else (loss,))]


@dataclass(frozen=True)
class Setting:
    """What a loss sees: the networks, the batches, the hyperparameters as [P, 1] tensors, and random draws.

    Parameters
    ----------
    networks : mapping
        Of this stage and of all others.
    batches : mapping
        One batch per stream.
    hyperparameters : namespace
        The float fields.
    draws : Draws
        Equal purposes in one update are equal numbers.
    data : DatasetTable, optional
        The members' whole datasets, to look things up in. They are in the host's memory where they do not fit on the device.
    shapes : Shapes, optional
        Of the data: `shapes.place("desired_goal")` are the entries of an observation that are this part.
    """

    networks: Mapping[str, Network]
    batches: Mapping[str, Batch]
    hyperparameters: Any
    draws: Draws
    data: DatasetTable | None = None
    shapes: Shapes | None = None

    @property
    def batch(self) -> Batch:
        """The batch of the first stream."""
        return self.batches[FIRST]


LossFunction: TypeAlias = Callable[[Setting], Losses]


@dataclass(frozen=True)
class Phase:
    """Losses computed together, then one optimizer step for each of their networks, then target updates.

    Parameters
    ----------
    losses : callable
    every : int
        Take part in each `every`-th update only (delayed actors).
    follow : tuple of str, or "trained"
        Networks whose target copies move afterwards, as their specifications say; or all of those that the phase trains and
        that have one.
    """

    losses: LossFunction
    every: int = 1
    follow: tuple[str, ...] | Literal["trained"] = ()


@dataclass(frozen=True)
class Pause:
    """The host's turn between two segments of updates: rollouts, gates, refreshed buffers.

    What it changes must be a function of what is here, so that a training that stops and resumes ends as an undisturbed
    one does. Networks and buffers are saved with every checkpoint; anything else is not.

    Parameters
    ----------
    networks : mapping
    buffers : mapping
        To be filled; see `assay.baselines.engine.tables.Buffer`.
    data : DatasetTable
        The members' datasets.
    hyperparameters : namespace
    draws : Draws
        Of the coming update; purposes of a pause must differ from those of the losses.
    update : int
        Updates done in this stage.
    """

    networks: Mapping[str, Network]
    buffers: Mapping[str, Buffer]
    data: DatasetTable
    hyperparameters: Any
    draws: Draws
    update: int


@dataclass(frozen=True)
class Stage:
    """One training inside a job: its updates, what they compute, and what happens between them.

    Parameters
    ----------
    name : str
        Part of the purpose of every draw, so that two stages draw different numbers.
    phases : tuple of Phase
        Networks that no phase of the stage trains stay as the stages before have left them.
    streams : mapping
        Sources of rows; the first is called `"batch"`.
    updates : int, optional
        Of this stage; those that say None share evenly what the others leave.
    segment : int, optional
        Updates from one pause to the next; the first pause comes before the first update.
    between : callable, optional
        What to do in a pause.
    """

    name: str
    phases: tuple[Phase, ...]
    streams: Mapping[str, Stream]
    updates: int | None = None
    segment: int | None = None
    between: Callable[[Pause], None] | None = None


@dataclass(frozen=True)
class Memory:
    """What a policy knows besides the present observation.

    Parameters
    ----------
    step : int
        Steps of the episodes so far, the same for all of them.
    rewards : [P, n] tensor
        Of the step before; zeros at first.
    state : mapping
        What `begin`, or the last `act`, returned: [P, n, ...] tensors.
    hyperparameters : namespace
        The float fields, [P, 1].
    """

    step: int
    rewards: torch.Tensor
    state: Mapping[str, torch.Tensor]
    hyperparameters: Any


class Algorithm(ABC):
    """Base of all algorithms. Every subclass is a frozen pydantic dataclass with the published defaults.

    A subclass has the fields `batch_size` (int) and `normalize_observations` (bool). It may have `return_steps` (int),
    the n of n-step returns, or `sequence_length` (int), the T of its batches of sequences.
    """

    registry: ClassVar[Registry[type[Algorithm]]] = REGISTRY
    name: ClassVar[str]  # how configurations name it
    label: ClassVar[str]  # how papers write it
    extra_columns: ClassVar[tuple[str, ...]] = ()  # of its batches: columns of the dataset, or derivations
    acting: ClassVar[tuple[str, ...]] = ("actor",)  # the networks that `act` uses
    valued_by: ClassVar[tuple[str, ...]] = ()  # the networks that `values` uses; none where it has no values
    labels: ClassVar[tuple[str, ...]] = LABELS  # that it learns from; a dataset may lack the others
    discrete_actions: ClassVar[bool] = False  # whether it learns them, one entry for each
    continuous_actions: ClassVar[bool] = True
    image_observations: ClassVar[bool] = False  # whether it has an encoder for images
    category_code: ClassVar[CategoryCode] = "one_hot"  # of observations that are one of several
    scaled_as: ClassVar[Mapping[str, str]] = {}  # parts of observations that are normalized as another one is
    looks_back: ClassVar[bool] = False  # whether `act` uses its memory
    later_fields: ClassVar[
        tuple[str, ...]
    ] = ()  # that came after the first runs: at their defaults they are no part of a job's hash

    batch_size: int
    normalize_observations: bool
    return_steps: int = 1
    sequence_length: int = 0
    dataset_weights: DatasetWeights = (
        "draws"  # an algorithm whose losses are means by `Batch.mean` may make a field of it
    )
    reward_scale: RewardScale = "recorded"  # an algorithm that learns from rewards may make a field of it

    # ---------------------------------------------------------------- training

    @abstractmethod
    def networks(self, shapes: Shapes) -> Mapping[str, Specification]:
        """Describe the networks of all stages, for what they see."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """List the parts of one update, in order; of a single stage."""

    def streams(self) -> Mapping[str, Stream]:
        """Name the sources of rows; by default one, of the dataset."""
        return {FIRST: Stream(rows=self.batch_size, return_steps=self.return_steps, window=self.sequence_length)}

    def stages(self) -> tuple[Stage, ...]:
        """List the trainings of a job, in order; by default one."""
        return (Stage("", self.phases(), self.streams()),)

    def buffers(self, shapes: Shapes) -> Mapping[str, BufferLayout]:
        """Describe tables that pauses fill and streams draw from."""
        return {}

    # ---------------------------------------------------------------- acting

    def begin(self, members: Sequence[Acting], episodes: int) -> Mapping[str, torch.Tensor]:
        """Return what `act` is to remember at the start of so many episodes of each member: [P, n, ...] tensors."""
        return {}

    def act(
        self,
        networks: Mapping[str, FixedNetwork],
        observations: Any,
        memory: Memory,
        draws: EpisodeDraws,
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Choose actions in evaluation.

        Parameters
        ----------
        networks : mapping
            Those that `acting` names.
        observations : [P, n, observation] tensor
            Normalized; with images a mapping, as in `Batch.seen`.
        memory : Memory
        draws : EpisodeDraws
            [P, n, ...] numbers that depend on the evaluation's seed, the episode, the step and a purpose.

        Returns
        -------
        [P, n, action] tensor of actions in [-1, 1], of discrete ones the largest entry is taken; and what is to be
        remembered
        """
        return networks["actor"](observations, weights="frozen"), {}

    def values(self, networks: Mapping[str, FixedNetwork], observations: Any, actions: torch.Tensor) -> torch.Tensor:
        """Return the values [P, K, n] of actions [P, n, action] at observations, one per critic of the ensemble.

        By default the network that `valued_by` names, of s and a joined.

        Raises
        ------
        ConfigError
            If the algorithm has no critic.
        """
        if not self.valued_by:
            raise ConfigError(f"{self.label} has no critic")
        network = networks[self.valued_by[0]]
        found: torch.Tensor = network(torch.cat([observations, actions], -1), weights="frozen").squeeze(-1)
        return found if network.spec.ensemble > 1 else found[:, None]

    # ---------------------------------------------------------------- data

    @property
    def batch_columns(self) -> tuple[str, ...]:
        """Columns of the batches beside s, a, r and s'."""
        weights = {"losses": ("loss_weights",), "batch_losses": ("batch_loss_weights",)}
        return (*self.extra_columns, *weights.get(self.dataset_weights, ()))

    def training_data(self, dataset: Dataset, action_scale: ActionScale) -> TrainingData:
        """Lay a dataset out for training."""
        return self.training_data_of(dataset, action_scale)

    def training_data_of(
        self, dataset: Dataset, action_scale: ActionScale, episodes: np.ndarray | None = None
    ) -> TrainingData:
        """Lay some episodes of a dataset out for training; by default all."""
        data = TrainingData.of_dataset(
            dataset,
            action_scale,
            normalize=self.normalize_observations,
            extra=self.batch_columns,
            category_code=self.category_code,
            images=self.image_observations,
            episodes=episodes,
            labels=self.labels,
            reward_scale=self.reward_scale,
            scaled_as=self.scaled_as,
        )
        return data if self.dataset_weights == "draws" else replace(data, weights=None)

    def training_rows(self, dataset: Dataset) -> int:
        """Return how many rows `training_data` lays out."""
        return int(rows_of_episodes(dataset).sum())

    def data_parameters(self) -> dict[str, Any]:
        """Return what `training_data` depends on; jobs that agree in it share the laid out dataset."""
        weights = {} if self.dataset_weights == "draws" else {"dataset_weights": self.dataset_weights}
        rewards = {} if self.reward_scale == "recorded" else {"reward_scale": self.reward_scale}
        scales = {"scaled_as": dict(self.scaled_as)} if self.scaled_as else {}
        return {"normalize_observations": self.normalize_observations, **weights, **rewards, **scales}

    @classmethod
    def learner(cls, members: Sequence[Member], data: Sequence[TrainingData], steps: int, **options: Any) -> Learner:
        """Make what trains members of this algorithm: by default a `Population`, which takes the options."""
        from assay.baselines.engine.population import Population

        return Population(members, data, steps, **options)

    # ---------------------------------------------------------------- configuration

    @classmethod
    def values_for(cls, dataset: Dataset, study: str | None = None) -> dict[str, Any]:
        """Return the fields that the authors, or a study such as `"robomimic"`, chose for a dataset like this one.

        Raises
        ------
        ConfigError
            If there is no table of presets beside the algorithm's file, or it has no such study, or nothing for the dataset.
        """
        return presets_of(cls, study).values_for(dataset)

    def parameters(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        values = {item.name: getattr(self, item.name) for item in fields(cast(Any, self))}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def identifying_parameters(self) -> dict[str, Any]:
        """Return those that tell jobs apart: all but `later_fields` at their defaults, so that former jobs keep their hash."""
        given = {item.name: item.default for item in fields(cast(Any, self)) if item.name in self.later_fields}
        defaults = {name: getattr(default, "default", default) for name, default in given.items()}  # of Field(...)
        return {
            name: value
            for name, value in self.parameters().items()
            if name not in self.later_fields or value != defaults[name]
        }

    @classmethod
    def member_fields(cls) -> tuple[str, ...]:
        """Names of the fields whose type is float: those in which members of a population may differ."""
        return _float_fields(cls)

    def static_parameters(self) -> dict[str, Any]:
        """Return the fields that all members of a population share."""
        return {key: value for key, value in self.parameters().items() if key not in self.member_fields()}


@cache
def _float_fields(cls: type[Algorithm]) -> tuple[str, ...]:
    types = get_type_hints(cls)  # resolves names and drops Annotated
    return tuple(item.name for item in fields(cast(Any, cls)) if types[item.name] is float)


def describe_networks(algorithm: Algorithm, shapes: Shapes) -> dict[str, Specification]:
    """Return the networks of an algorithm; one written for the former `networks(observation_size, action_size)` is warned of."""
    described: Any = algorithm.networks
    if len(inspect.signature(described).parameters) == 2:
        warnings.warn(
            f"{type(algorithm).__name__}.networks takes the shapes of the data now: networks(shapes), with "
            "shapes.observation_size and shapes.action_size",
            DeprecationWarning,
            stacklevel=2,
        )
        return dict(described(shapes.observation_size, shapes.action_size))
    return dict(described(shapes))


def stack_hyperparameters(members: Sequence[Algorithm], like: torch.Tensor) -> Any:
    """Return a namespace of [P, 1] tensors, one per float field, with `like`'s dtype and device."""
    names = members[0].member_fields()
    values = {name: like.new_tensor([[getattr(member, name)] for member in members]) for name in names}
    return SimpleNamespace(**values)
