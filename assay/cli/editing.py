"""Commands that act on what checks found: datasets trim, drop, cut, resample, split, merge and rename. All are transforms, and recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from assay.cli.application import Misuse, command
from assay.cli.loading import check_free
from assay.cli.options import Checks, Name, Output, Settings, settings
from assay.cli.transforms import Destination, apply_transforms
from assay.datasets.errors import ConfigError

__all__: list[str] = []


@command("datasets", "trim")
def trim(
    name: Name,
    *,
    output: Output,
    head: bool = True,
    tail: bool = True,
    keep_seconds: float = 0.0,
    idle_speed: float = 0.01,
    state: str | None = None,
    overwrite: bool = False,
) -> None:
    """Cut off the rest before the first motion of each episode and after its last.

    Example: assay datasets trim recordings -o trimmed --keep-seconds 0.5

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder to write.
        head: Cut at the beginning.
        tail: Cut at the end.
        keep_seconds: Rest to leave at each end.
        idle_speed: Share of the dataset's 95th percentile of the speed, up to which a step rests.
        state: Column of the observations whose motion counts.
        overwrite: Replace what is there.
    """
    from assay.datasets.editing.trim import TrimEpisodes

    change = TrimEpisodes(head=head, tail=tail, keep_seconds=keep_seconds, idle_speed=idle_speed, state=state)
    apply_transforms(name, [change], Destination(output, "assay", overwrite))


@command("datasets", "drop")
def drop(
    name: Name,
    *,
    output: Output,
    episode: Annotated[UseAppendAction[list[int]], arg(aliases=["-e"])] = [],  # noqa: B006
    tag: str | None = None,
    shortest: int | None = None,
    longest: int | None = None,
    failed: Annotated[UseAppendAction[list[str]], arg(metavar="METRIC")] = [],  # noqa: B006
    check: Checks = [],  # noqa: B006
    overwrite: bool = False,
) -> None:
    """Leave out episodes: by number, tag or length, or those beyond the limit of a robot check.

    Whether a policy gets better without them is another question, which only training answers.

    Example: assay datasets drop recordings -o fewer --episode 3 --episode 7

    Example: assay datasets drop recordings -o fewer --failed jumps --failed steps_back

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder to write.
        episode: Number of an episode, from 0; several times.
        tag: Episodes with this tag.
        shortest: Episodes of fewer steps.
        longest: Episodes of more steps.
        failed: Episodes that this metric of `assay validate --profile robot` flags; several times. Their numbers are recorded.
        check: A setting of the robot checks, as for `validate`; several times.
        overwrite: Replace what is there.
    """
    from assay.datasets.dataset import Dataset
    from assay.datasets.editing.drop import DropEpisodes
    from assay.datasets.transform import Transform
    from assay.metrics.robot.profile import failed_episodes

    if not (episode or failed or tag or shortest or longest):
        raise Misuse("which episodes are to be left out?", "assay datasets drop NAME -o FOLDER --episode NUMBER ...")
    changed = settings(check, "--check")

    def make(dataset: Dataset) -> list[Transform]:
        numbers = {*episode, *(failed_episodes(dataset, failed, changed) if failed else [])}
        return [DropEpisodes(episodes=tuple(sorted(numbers)), tag=tag, shortest=shortest, longest=longest)]

    apply_transforms(name, make, Destination(output, "assay", overwrite))


@command("datasets", "cut")
def cut(name: Name, *, output: Output, back: bool = True, gap: float | None = None, overwrite: bool = False) -> None:
    """Cut episodes in two where the time goes back, as where two takes were stored as one, or where it leaps.

    Example: assay datasets cut recordings -o takes --gap 10

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder to write.
        back: Cut where the time goes back.
        gap: Cut where more than this many median steps of time pass.
        overwrite: Replace what is there.
    """
    from assay.datasets.editing.split import CutEpisodes

    apply_transforms(name, [CutEpisodes(back=back, gap=gap)], Destination(output, "assay", overwrite))


@command("datasets", "resample")
def resample(
    name: Name,
    *,
    output: Output,
    rate: float | None = None,
    how: Literal["previous", "linear", "nearest"] = "previous",
    column: UseAppendAction[dict[str, Literal["previous", "linear", "nearest"]]] = {},  # noqa: B006
    tolerance: float | None = None,
    overwrite: bool = False,
) -> None:
    """Put the steps of every episode on one even clock.

    Example: assay datasets resample recordings -o even --rate 20

    Example: assay datasets resample recordings -o even --rate 20 --how linear --column observations/camera nearest

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder to write.
        rate: Ticks a second.
        how: What observations and infos are at a tick: the last value before it, one between the two around it, or the nearest.
        column: A column and how it is resampled instead; several times.
        tolerance: Seconds; values further from the tick are not taken. Default: for nearest half a tick, else none.
        overwrite: Replace what is there.
    """
    from assay.datasets.resampling import Resample

    if rate is None:
        raise Misuse("at which rate?", "assay datasets resample NAME -o FOLDER --rate HERTZ")
    chosen = {"observations": how, "infos": how, "infos/missing": "previous", **column} if column else how
    apply_transforms(
        name, [Resample(rate=rate, how=chosen, tolerance=tolerance)], Destination(output, "assay", overwrite)
    )


@command("datasets", "split")
def split(
    name: Name,
    *,
    output: Annotated[UseAppendAction[list[Path]], arg(aliases=["-o"])] = [],  # noqa: B006
    fraction: UseAppendAction[list[float]] = [],  # noqa: B006
    by: Literal["episode", "return"] = "episode",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Split a dataset into parts by whole episodes, such as for training and validation.

    Example: assay datasets split recordings -o training --fraction 0.9 -o validation --fraction 0.1

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder of each part.
        fraction: Share of the episodes of each part; together 1.
        by: At random, or from the lowest returns to the highest.
        seed: Of the random order.
        overwrite: Replace what is there.
    """
    from assay.datasets.editing.split import SplitPart

    if not output or len(output) != len(fraction):
        raise Misuse(
            f"{len(output)} outputs for {len(fraction)} fractions; give one --output for each --fraction",
            "assay datasets split NAME -o FOLDER --fraction SHARE ...",
        )
    if len(set(output)) < len(output):
        raise ConfigError("two parts would be written to one folder; give each --output once")
    for path in output:
        check_free(path, overwrite)
    for part, path in enumerate(output):
        change = SplitPart(fractions=tuple(fraction), part=part, seed=seed, by=by)
        apply_transforms(name, [change], Destination(path, "assay", overwrite))


@command("datasets", "merge")
def merge(
    names: Annotated[Positional[list[str]], arg(metavar="NAME")], *, output: Output, overwrite: bool = False
) -> None:
    """Join datasets of the same columns, names, rate and spaces.

    Example: assay datasets merge monday tuesday -o week

    Args:
        names: Two or more catalog names or paths, in order.
        output: Folder to write.
        overwrite: Replace what is there.
    """
    from assay.datasets.editing.merge import MergeDatasets

    if len(names) < 2:
        raise Misuse("which datasets are to be joined?", "assay datasets merge NAME NAME [NAME ...] -o FOLDER")
    apply_transforms(names[0], [MergeDatasets(others=tuple(names[1:]))], Destination(output, "assay", overwrite))


@command("datasets", "rename")
def rename(
    name: Name,
    *,
    output: Output,
    column: Annotated[UseAppendAction[list[str]], arg(metavar="OLD=NEW")] = [],  # noqa: B006
    names: Settings = [],  # noqa: B006
    units: Settings = [],  # noqa: B006
    variant: str | None = None,
    overwrite: bool = False,
) -> None:
    """Rename columns, name dimensions and their units, or name the dataset.

    Example: assay datasets rename recordings -o named --names observations='[hip, knee]' --units observations='[rad, rad]'

    Example: assay datasets rename recordings -o named --column observations/state=observations/joints --variant monday

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder to write.
        column: Old and new name of a column; several times.
        names: Column and the names of its dimensions; a column with a slash as a mapping, {"observations/arm": [...]}.
        units: Column and the units of its dimensions.
        variant: Name of the dataset in tables and figures.
        overwrite: Replace what is there.
    """
    from assay.datasets.editing.rename import Rename
    from assay.datasets.naming import Named
    from assay.datasets.transform import Transform

    pairs = dict(text.partition("=")[::2] for text in column)
    if wrong := [old for old, new in pairs.items() if not new]:
        raise ConfigError(f"--column {wrong[0]}: expected OLD=NEW")
    given_names, given_units = settings(names, "--names"), settings(units, "--units")
    changes: list[Transform] = []
    if pairs or given_names or given_units:
        changes.append(Rename(columns=pairs, names=given_names, units=given_units))
    changes += [] if variant is None else [Named(variant=variant)]
    if not changes:
        raise Misuse("what is to be renamed?", "assay datasets rename NAME -o FOLDER --column OLD=NEW ...")
    apply_transforms(name, changes, Destination(output, "assay", overwrite))
