"""Commands that fill in rewards: from preferences, from progress, from a success classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from assay.cli.application import command
from assay.cli.console import number, out
from assay.cli.loading import load
from assay.cli.options import Drop, Name, OptionalOutput, Output, Settings, settings
from assay.cli.transforms import Destination, apply_transforms
from assay.datasets.errors import ConfigError
from assay.datasets.registry import check_seed

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset
    from assay.datasets.transform import Transform

__all__: list[str] = []

Fields = Annotated[Positional[list[str]], arg(metavar="FIELD=VALUE")]


@command("relabel", "preferences")
def preferences(
    name: Name,
    fields: Fields = [],  # noqa: B006
    *,
    output: Output,
    judge: str = "scripted",
    judge_set: Settings = [],  # noqa: B006
    goal: str = "",
    pairs: int = 2_000,
    frames: bool = False,
    measure: bool = False,
    seed: int = 0,
    device: str = "cpu",
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
    variant: str | None = None,
) -> None:
    """Learn rewards from comparisons of pairs of frames, and label every step with them.

    Example: assay relabel preferences cartpole/medium-replay --measure --frames --goal "the pole is upright" -o cartpole-rated

    Example: assay relabel preferences pendulum/medium --judge-set mistake=0.1 stop=validation scale=standardize -o pendulum-rated

    Args:
        name: Catalog name, minari:<id> or path.
        fields: Parameters of relabeling.preferences, such as passes=20 or sampling=disagreement; values are YAML.
        output: Folder to write.
        judge: Who compares; scripted does by known rewards.
        judge_set: A parameter of the judge, such as mistake=0.1; may be given several times.
        goal: What the judge is told.
        pairs: How many it is asked about.
        frames: Let the reward model see frames, rendered where the dataset holds none, instead of states.
        measure: Let a scripted teacher judge by how near a step is to the goal of its task, as known from the environment.
        seed: Of the pairs, of what is held out, and of the model.
        device: That trains the model: cpu, cuda, ...
        format: "assay" keeps the uncertainty and the old rewards.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it, such as uncertainty; several times.
        variant: What the result is called in tables and figures; default its source and its last transforms.
    """
    from assay.datasets.transform import make_transform
    from assay.relabeling.preferences.labels import REPORT
    from assay.relabeling.task_measure import MEASURE

    check_seed(seed)
    chosen: dict[str, Any] = {"judge": {judge: settings(judge_set, "--judge-set")}, "goal": goal, "pairs": pairs}
    chosen |= {"seed": seed, "device": device, "inputs": "frames" if frames else "states"}
    transforms: list[Transform] = []
    if measure:
        transforms.append(make_transform("relabeling.task_measure", {}))
        chosen["judged_by"] = MEASURE
    transforms.append(make_transform("relabeling.preferences", {**chosen, **settings(fields, "")}))
    result = apply_transforms(name, transforms, Destination(output, format, overwrite, drop, variant))
    report = result.info.extra[REPORT]
    out.print(f"{report['decided']:,} of {report['pairs']:,} pairs were decided", highlight=False)
    print_agreement(report)


@command("relabel", "progress")
def progress(
    name: Name,
    *,
    output: OptionalOutput = None,
    source: str | None = None,
    column: str | None = None,
    judge: str | None = None,
    judge_set: Settings = [],  # noqa: B006
    goal: str = "",
    every: int = 1,
    export: Path | None = None,
    use: Literal["reward", "advantage", "weights"] = "reward",
    head: Literal["sparse", "dense"] = "dense",
    reward: Literal["gain", "level"] = "gain",
    horizon: int = 50,
    kappa: float = 0.01,
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
    variant: str | None = None,
) -> None:
    """Make rewards, advantages or weights of progress, or write progress as a sidecar file for others.

    Example: assay relabel progress my-robot --source sarm_progress.parquet --use weights -o my-robot-weighted

    Example: assay relabel progress my-robot --column infos/progress --export mine_progress.parquet

    Example: assay relabel progress my-robot --judge encoder --judge-set model=models/clip --goal "the drawer is open" --every 10 -o my-robot-rated

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder to write.
        source: Sidecar file of the dataset (*_progress.parquet).
        column: Or a column of it with progress in [0, 1].
        judge: Or who says it, looking at frames: encoder, vision_language, progress_server, endpoint.
        judge_set: A parameter of the judge, such as model=models/clip; may be given several times.
        goal: What the judge is told.
        every: The judge is asked about every so many steps, and about both ends of an episode.
        export: Write the column as a sidecar file instead; its name ends in _progress.parquet.
        use: As rewards, as the column infos/progress_advantage, or as weights (RA-BC).
        head: Which progress of the file, or of the one to write.
        reward: What a step gains, or the progress that it reaches.
        horizon: Steps that an advantage looks ahead.
        kappa: Gain over the horizon above which a step counts fully.
        format: "assay" keeps the old rewards.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it; several times.
        variant: What the result is called in tables and figures; default its source and its last transforms.
    """
    from assay.datasets.transform import make_transform
    from assay.relabeling import write_progress
    from assay.relabeling.judged_progress import PROGRESS, REPORT

    if export is not None:
        if column is None or output is not None or source is not None:
            raise ConfigError(
                "--export writes the --column of the dataset, and nothing else: leave --output and --source out"
            )
        dataset = load(name)
        values: Any = {head: dataset.column(column)}
        write_progress(export, dataset, overwrite=overwrite, **values)
        out.print(f"progress of {dataset.total_steps:,} steps; written to {export}", soft_wrap=True)
        return
    if output is None:
        raise ConfigError("say where to write: --output, or --export for a sidecar file")
    transforms: list[Transform] = []
    if judge is not None:
        if column is not None:
            raise ConfigError("--judge makes the column of progress; leave --column out")
        asked: dict[str, Any] = {"judge": {judge: settings(judge_set, "--judge-set")}, "goal": goal, "every": every}
        transforms.append(make_transform("relabeling.judged_progress", asked))
        column = PROGRESS
    given: dict[str, Any] = {"path": source, "column": column, "use": use, "head": head}
    given |= {"reward": reward, "horizon": horizon, "kappa": kappa}
    transforms.append(make_transform("relabeling.progress", given))
    result = apply_transforms(name, transforms, Destination(output, format, overwrite, drop, variant))
    if judge is not None:
        report = result.info.extra[REPORT]
        out.print(f"{report['answered']:,} of {report['asked']:,} questions were answered", highlight=False)
    if use == "weights" and result.weights is not None:
        out.print(f"{(result.weights > 0).mean():.1%} of the steps have a positive weight", highlight=False)


@command("relabel", "success")
def success(
    name: Name,
    fields: Fields = [],  # noqa: B006
    *,
    output: Output,
    tag: str | None = None,
    least_return: float | None = None,
    judge: str | None = None,
    judge_set: Settings = [],  # noqa: B006
    goal: str = "",
    last_steps: int = 10,
    frames: bool = False,
    seed: int = 0,
    device: str = "cpu",
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
    variant: str | None = None,
) -> None:
    """Learn what success looks like from the ends of successful episodes, and reward it with 1.

    Example: assay relabel success my-robot --tag success --frames -o my-robot-sparse

    Args:
        name: Catalog name, minari:<id> or path.
        fields: Parameters of relabeling.success, such as updates=500 or threshold=0.8; values are YAML.
        output: Folder to write.
        tag: Episodes with this tag succeed.
        least_return: Or those whose return is at least this.
        judge: Or those that it says reach the goal, looking at their last frame: encoder, vision_language, endpoint, ...
        judge_set: A parameter of the judge, such as model=models/clip; may be given several times.
        goal: What the judge is told.
        last_steps: Of a successful episode, that show success.
        frames: Let the classifier see frames instead of states.
        seed: Of what is held out, and of the model.
        device: That trains the model: cpu, cuda, ...
        format: "assay" keeps the uncertainty and the old rewards.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it, such as uncertainty; several times.
        variant: What the result is called in tables and figures; default its source and its last transforms.
    """
    from assay.datasets.transform import make_transform
    from assay.relabeling.success import REPORT

    check_seed(seed)
    chosen: dict[str, Any] = {"tag": tag, "least_return": least_return, "last_steps": last_steps}
    chosen |= {"seed": seed, "device": device, "inputs": "frames" if frames else "states", "goal": goal}
    chosen["judge"] = None if judge is None else {judge: settings(judge_set, "--judge-set")}
    transform = make_transform("relabeling.success", {**chosen, **settings(fields, "")})
    result = apply_transforms(name, [transform], Destination(output, format, overwrite, drop, variant))
    print_rewarded(result)
    print_agreement(result.info.extra[REPORT])


def print_rewarded(dataset: Dataset) -> None:
    """Print in how many steps success was seen."""
    out.print(f"{int((dataset.rewards > 0).sum()):,} of {dataset.total_steps:,} steps are rewarded", highlight=False)


def print_agreement(report: Mapping[str, Any]) -> None:
    """Print how well a model agrees with what it was not trained on."""
    found = report["held_out"]
    if found["accuracy"] is None:
        out.print("nothing was held out to measure the model on")
        return
    out.print(
        f"accuracy on {found['pairs']:,} held out: {found['accuracy']:.3f} (95% interval {found['low']:.3f} to "
        f"{found['high']:.3f}); log loss {number(found['log_loss'])}, calibration error {number(found['calibration_error'])}",
        highlight=False,
    )
