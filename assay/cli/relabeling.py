"""Commands that fill in missing labels. Each kind of label is a file of its own; this one is about actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from rich.table import Table
from tyro.conf import Positional, arg

from assay.cli.application import command
from assay.cli.console import number, out
from assay.cli.options import Drop, Name, Output, settings
from assay.cli.transforms import Destination, apply_transforms
from assay.datasets.errors import ConfigError
from assay.datasets.registry import check_seed

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset
    from assay.datasets.transform import Transform

__all__: list[str] = []

METHODS = {
    "inverse_dynamics": "relabeling.inverse_dynamics",
    "one_step": "relabeling.one_step_actions",
    "nearest_neighbour": "relabeling.nearest_neighbour_actions",
    "latent": "relabeling.latent_actions",
}


@command("relabel", "actions")
def actions(
    name: Name,
    fields: Annotated[Positional[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    *,
    output: Output,
    method: Literal["inverse_dynamics", "one_step", "nearest_neighbour", "latent"] = "inverse_dynamics",
    hide: float | None = None,
    quantiles: tuple[float, float] = (0.0, 0.5),
    seed: int = 0,
    device: str | None = None,
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
    variant: str | None = None,
) -> None:
    """Fill in the actions that a dataset lacks, by a model of those that it has.

    Example: assay relabel actions play-data steps=2000 ensemble=3 -o play-data-filled

    Example: assay relabel actions hopper/medium-expert --hide 0.1 --method nearest_neighbour -o hopper-neighbours

    Args:
        name: Catalog name, minari:<id> or path.
        fields: Parameters of the method, such as past_states=2 or uncertain=drop; values are YAML.
        output: Folder to write.
        method: The published multi-transition model, or one of the baselines.
        hide: Hide the actions first, but for this share of the episodes, to see what filling them in is worth.
        quantiles: Range of the returns that the episodes with actions are drawn from, with --hide.
        seed: Of the hidden episodes, of what is held out, and of the models.
        device: That trains the model: cpu, cuda, ...
        format: "assay" keeps the uncertainty and the hidden truth.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it, such as uncertainty; several times.
        variant: What the result is called in tables and figures; default its source and its last transforms.
    """
    from assay.datasets.transform import make_transform

    check_seed(seed)
    given = settings(fields, "")
    if device is not None:
        if method == "nearest_neighbour":
            raise ConfigError("--device is for models that are trained; nearest_neighbour is not")
        given["device"] = device
    transforms: list[Transform] = []
    if hide is not None:
        hidden = {"fraction": hide, "quantiles": list(quantiles), "seed": seed}
        transforms.append(make_transform("relabeling.hide_actions", hidden))
    transforms.append(make_transform(METHODS[method], {"seed": seed, **given}))
    print_report(apply_transforms(name, transforms, Destination(output, format, overwrite, drop, variant)))


def print_report(dataset: Dataset) -> None:
    """Print what the model of the actions was worth on what was held out, and on the truth where it is known."""
    from assay.relabeling import label_error
    from assay.relabeling.shared.labelling import REPORT

    report = dataset.info.extra.get(REPORT)
    if report is None:
        out.print("no action was missing; nothing was filled in")
        return
    out.print(
        f"fitted to {report['labelled_steps'] - report['held_out_steps']:,} labelled steps, measured on "
        f"{report['held_out_steps']:,} held out: error {', '.join(map(number, report['error']))}",
        highlight=False,
    )
    if "explained" in report:
        out.print(f"share of the variance explained: {', '.join(map(number, report['explained']))}", highlight=False)
    calibration = Table("nominal coverage", "expected of fresh steps", title="Calibration")
    for row in report["calibration"]:
        calibration.add_row(f"{row['nominal']:.3f}", f"{row['expected']:.3f}")
    out.print(calibration)
    uncertainty = "uncertainty/actions"
    if "truth/actions" not in dataset.columns or not (dataset.column(uncertainty) > 0).any():
        return
    errors = Table(
        "returns", "entry", "steps", "mean absolute", "explained", "covered", title="Against the hidden actions"
    )
    for row in label_error(dataset).iter_rows(named=True):
        entry = "all" if row["entry"] is None else str(row["entry"])
        explained = "" if row["explained"] is None else number(row["explained"])
        numbers = number(row["mean_absolute"]), explained, number(row["covered"])
        errors.add_row(row["returns"], entry, f"{row['steps']:,}", *numbers)
    out.print(errors)
