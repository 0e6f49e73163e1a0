"""Commands that change a dataset: corrupt and apply."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from tyro.conf import Positional, UseAppendAction, arg

from assay.cli.application import command
from assay.cli.console import out, progress_bar, training_display
from assay.cli.loading import check_free, load
from assay.cli.options import Drop, Name, Output, Settings, settings
from assay.datasets.errors import ConfigError
from assay.datasets.registry import check_seed
from assay.datasets.wording import count_of

if TYPE_CHECKING:
    from assay.corruption.repair import Detection
    from assay.datasets.dataset import Dataset
    from assay.datasets.transform import Transform

__all__: list[str] = []

Element = Literal["observations", "actions", "rewards", "dynamics", "states"]
SIMULTANEOUS: tuple[Element, ...] = ("observations", "actions", "rewards", "dynamics")  # the published order


class Destination(NamedTuple):
    """Where a changed dataset is written, and what it is called there."""

    path: Path
    format: str
    overwrite: bool
    drop: Sequence[str] = ()
    variant: str | None = None


@command("corrupt")
def corrupt(
    name: Name,
    *,
    output: Output,
    element: Annotated[UseAppendAction[list[Element]], arg(aliases=["-e"])] = [],  # noqa: B006
    simultaneous: bool = False,
    mode: Literal["random", "adversarial", "fast_adversarial"] = "random",
    rate: float = 0.3,
    scale: float = 1.0,
    seed: int = 0,
    granularity: Literal["transition", "window", "trajectory"] | None = None,
    window: int | None = None,
    count: Literal["random", "exact"] | None = None,
    tag: str | None = None,
    mask: str | None = None,
    shared: str | None = None,
    clip: bool = False,
    distribution: Literal["uniform", "gaussian", "student_t", "salt_and_pepper", "replacement"] | None = None,
    unit: Literal["standard_deviation", "absolute"] | None = None,
    rewards: Literal["replaced", "added"] | None = None,
    victim: str = "edac",
    victim_steps: int | None = None,
    victim_set: Settings = [],  # noqa: B006
    steps: int | None = None,
    step_size: float | None = None,
    aggregate: Literal["mean", "min"] | None = None,
    initialization: Literal["uniform", "published"] | None = None,
    device: str = "cpu",
    transform: str | None = None,
    parameters: Settings = [],  # noqa: B006
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
    variant: str | None = None,
) -> None:
    """Corrupt a dataset, with the ground truth of what was touched.

    Example: assay corrupt hopper/medium-replay --element rewards --rate 0.3 -o hopper-noisy-rewards

    Example: assay corrupt hopper/medium-replay -e observations -e actions --granularity trajectory -o hopper-noisy

    Example: assay corrupt hopper/medium-replay --mode adversarial --victim edac -e observations -o hopper-attacked

    Example: assay corrupt hopper/medium-replay --transform corruption.random --parameters element=states -o noisy

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder to write.
        element: What to corrupt; may be given several times, each with steps of its own (--shared: the same steps).
        simultaneous: Corrupt observations, actions, rewards and dynamics, in this order, as published for the mixed attack.
        mode: How; adversarial takes the published 100 steps of 0.01, fast_adversarial 25 of 0.08, which lower the
            victim's value at least as far in a quarter of the time.
        rate: Share of the steps to corrupt, 0 to 1.
        scale: Size of the noise, or half the width of the attack's box, in standard deviations of each dimension
            (random rewards: times 30, absolute; adversarial rewards: the factor of their reversal).
        seed: Of masks, noise and starts.
        granularity: Corrupt single steps (the default), windows or whole episodes.
        window: Steps of a window; default 10.
        count: Whether the number of corrupted steps is random, as by default, or exactly the share.
        tag: Only episodes with this tag.
        mask: Exactly the steps that this boolean column holds.
        shared: Any word; elements of one such word are corrupted in the same steps.
        clip: Keep corrupted actions inside the action space.
        distribution: Of random noise; default uniform, as published.
        unit: Of the scale of random noise; default standard deviations.
        rewards: Replace rewards at random, as published and by default, or add noise to them.
        victim: Of an attack: an algorithm (edac, iql, td3_bc, ...), which is trained on this dataset and kept, or a
            run folder.
        victim_steps: Updates of a victim's training; default 20,000, published 3 million.
        victim_set: A field of the victim's algorithm, such as hidden='[64, 64]'; may be given several times.
        steps: Gradient steps of an attack; default as the mode says.
        step_size: Of an attack's step, times the scale; default as the mode says.
        aggregate: Which value of the victim's critics an attack lowers; default their mean.
        initialization: Where an attack starts in its box, uniform by default; published has the published code's double
            scaling.
        device: That trains the victim and attacks: cpu, cuda, ...
        transform: Any other transform by name, as `assay apply` does; of the other options only --parameters count then.
        parameters: Of --transform; may be given several times, or once as a mapping.
        format: "assay" keeps the masks.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it, such as corrupted; several times.
        variant: What the result is called in tables and figures; default its source and its last transforms.
    """
    from assay.corruption.presets import MODES
    from assay.datasets.transform import make_transform

    check_seed(seed)
    destination = Destination(output, format, overwrite, drop, variant)
    if transform is not None:
        if element or simultaneous:
            raise ConfigError("--transform says all there is to do: put the element into --parameters")
        apply_transforms(name, [make_transform(transform, settings(parameters, "--parameters"))], destination)
        return
    if parameters:
        raise ConfigError("--parameters are those of --transform, which is not given")
    elements = [item for item in SIMULTANEOUS if simultaneous or item in element]
    elements += [item for item in element if item not in elements]
    if not elements:
        raise ConfigError("say what to corrupt: --element observations, actions, rewards, dynamics or states")
    if clip and "actions" not in elements:
        raise ConfigError("--clip keeps actions in their space, and none are corrupted")
    given: dict[str, Any] = {
        "granularity": granularity,
        "window": window,
        "count": count,
        "tag": tag,
        "mask": mask,
        "shared": shared,
        "distribution": distribution,
        "unit": unit,
        "rewards": rewards,
        "steps": steps,
        "step_size": step_size,
        "aggregate": aggregate,
        "initialization": initialization,
    }
    kind, fixed = MODES.get(mode, (f"corruption.{mode}", {}))
    chosen = {**fixed, **{key: value for key, value in given.items() if value is not None}}
    chosen |= {"rate": rate, "scale": scale, "seed": seed}

    def make(item: str, **more: Any) -> Transform:
        clipped = {"clip": True} if clip and item == "actions" else {}
        return make_transform(kind, {"element": item, **chosen, **clipped, **more})

    # Each is made before anything is trained or written, so that a misspelt parameter costs nothing.
    transforms = [make(item) for item in elements]
    attacked = [item for item in elements if item != "rewards"] if kind == "corruption.adversarial" else []

    def with_victim(dataset: Dataset) -> list[Transform]:
        folder = victim_folder(victim, dataset, victim_steps, victim_set, device)
        return [make(item, victim=folder, device=device) if item in attacked else make(item) for item in elements]

    apply_transforms(name, with_victim if attacked else transforms, destination)


def victim_folder(victim: str, dataset: Dataset, steps: int | None, victim_settings: Sequence[str], device: str) -> str:
    """Return the folder of a victim: the one that was named, or that of an algorithm which is trained if need be."""
    from assay.baselines import algorithm_named, algorithms, train_victim
    from assay.baselines.training.run_victim import VICTIM_STEPS

    if victim not in algorithms() and Path(victim).is_dir():
        if steps is not None or victim_settings:
            raise ConfigError(f"{victim} is trained already; leave --victim-steps and --victim-set out")
        return victim
    algorithm = algorithm_named(victim, settings(victim_settings, "--victim-set"))
    with training_display() as (_, report_training):
        run = train_victim(algorithm, dataset, steps=steps or VICTIM_STEPS, device=device, progress=report_training)
    out.print(f"victim: {run.folder}", soft_wrap=True)
    return os.fspath(run)


@command("apply")
def apply(
    name: Name,
    transform: Annotated[Positional[str], arg(metavar="TRANSFORM")],
    fields: Annotated[Positional[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    *,
    output: Output,
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
    variant: str | None = None,
) -> None:
    """Apply one transform to a dataset, by its name in recipes.

    Example: assay apply hopper/medium corruption.freeze rate=0.1 window=50 -o hopper-frozen

    Example: assay apply hopper-noisy corruption.repair.dynamics action=flag element=observations -o hopper-flagged

    Args:
        name: Catalog name, minari:<id> or path.
        transform: Such as corruption.truncate_episodes; a wrong name lists those that are near.
        fields: Its parameters; values are YAML.
        output: Folder to write.
        format: "assay" keeps masks and flags.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it, such as corrupted; several times.
        variant: What the result is called in tables and figures; default its source and its last transforms.
    """
    from assay.datasets.transform import make_transform

    destination = Destination(output, format, overwrite, drop, variant)
    apply_transforms(name, [make_transform(transform, settings(fields, ""))], destination)


def apply_transforms(
    name: str, transforms: Sequence[Transform] | Callable[[Dataset], Sequence[Transform]], destination: Destination
) -> Dataset:
    """Load a dataset, apply transforms in order, save the result and print what changed.

    Parameters
    ----------
    name : str
    transforms : sequence of Transform, or callable
        A callable makes them for the loaded dataset, such as an attack whose victim is trained on it.
    destination : Destination

    Returns
    -------
    Dataset
        The result.
    """
    from assay.datasets.loading import save

    check_free(destination.path, destination.overwrite)
    before = result = load(name)
    for transform in transforms(before) if callable(transforms) else transforms:
        result = applied(transform, result)
    if destination.variant is not None:
        result = result.named(destination.variant)
    save(result, destination.path, format=destination.format, overwrite=destination.overwrite, drop=destination.drop)
    out.print(
        f"{count_of(before.total_steps, 'step')} in {count_of(before.total_episodes, 'episode')} became {result.total_steps:,} in "
        f"{result.total_episodes:,}; written to {destination.path}",
        soft_wrap=True,
    )
    print_detections(result)
    return result


def applied(transform: Transform, dataset: Dataset) -> Dataset:
    """Apply a transform, with progress where it takes minutes."""
    element = getattr(transform, "element", None)
    with progress_bar(transform.name if element is None else f"{transform.name} of {element}") as report:
        return transform(dataset, progress=report)


def print_detections(dataset: Dataset) -> None:
    """Print the masks of a dataset, and how well flags agree with them."""
    from assay.corruption import detection

    masks, flags = dataset.masks, [name.partition("/")[2] for name in dataset.columns if name.startswith("flagged/")]
    for element, mask in masks.items():
        out.print(f"{mask.sum():,} of {len(mask):,} {element} corrupted ({mask.mean():.1%})", highlight=False)
        if element in flags:
            print_detection(detection(dataset, element), "flagged")
    for name in flags:
        if masks and name not in masks:
            print_detection(detection(dataset, name, truth="any"), f"flagged by {name}, against all that is corrupted:")


def print_detection(found: Detection, what: str) -> None:
    """Print how well flags agree with the truth."""
    ranked = "" if math.isnan(found.auroc) else f", AUROC {found.auroc:.3f}"
    out.print(
        f"{what} {found.flagged:,}: precision {found.precision:.3f}, recall {found.recall:.3f}, "
        f"average precision {found.average_precision:.3f}{ranked}",
        highlight=False,
    )
