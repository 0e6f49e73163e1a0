"""The command that adds data to a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table
from tyro.conf import Positional, arg

from assay.cli.application import command
from assay.cli.console import out
from assay.cli.options import Drop, Name, Output, settings
from assay.cli.transforms import Destination, apply_transforms
from assay.datasets.registry import check_seed

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__: list[str] = []


@command("augment")
def augment(
    name: Name,
    fields: Annotated[Positional[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    *,
    output: Output,
    method: str = "guided",
    ratio: float | None = None,
    seed: int = 0,
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
    variant: str | None = None,
) -> None:
    """Add transitions to a dataset, and say how many proposals were rejected.

    Example: assay augment pointmaze-umaze-goal/detours --ratio 10 check=sample -o detours-guided

    Example: assay augment my-maze domain='{point_maze: {map: medium}}' length=5 --method random -o my-maze-moved

    Example: assay augment pendulum/medium observation_signs='[1, -1, -1]' action_signs='[-1]' --method symmetry -o mirrored

    Args:
        name: Catalog name, minari:<id> or path.
        fields: Parameters of the method, such as length=5, check=sample or domain='{soccer: {}}'; values are YAML.
        output: Folder to write.
        method: What stands behind "augmentation." in recipes: guided, random, model_based, generative, symmetry, gaussian_noise, mix_up, ...; a wrong one
            lists those that are near.
        ratio: New steps for each original one; default 1.
        seed: Of everything that is drawn.
        format: "assay" keeps which steps are new.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it; several times.
        variant: What the result is called in tables and figures; default its source and its last transforms.
    """
    from assay.datasets.transform import make_transform

    check_seed(seed)
    given = {"seed": seed, **({} if ratio is None else {"ratio": ratio}), **settings(fields, "")}
    transform = make_transform(f"augmentation.{method}", given)
    print_report(apply_transforms(name, [transform], Destination(output, format, overwrite, drop, variant)))


def print_report(dataset: Dataset) -> None:
    """Print what became of the proposals of the last augmentation, where it counted them."""
    from assay.augmentation.extension import REPORT

    reports: list[dict[str, Any]] = dataset.info.extra.get(REPORT, [])
    if reports and "held_out_errors" in reports[-1]:
        errors = ", ".join(f"{error:.3g}" for error in reports[-1]["held_out_errors"])
        out.print(f"held-out errors of the networks, in squared standard deviations: {errors}", highlight=False)
        out.print(
            f"mean penalty {reports[-1]['mean_penalty']:.3g}; terminations: {reports[-1]['termination']}",
            highlight=False,
        )
    if not reports or "proposed" not in reports[-1]:
        return
    report = reports[-1]
    table = Table("proposals", "number", "share")
    table.add_row("all", f"{report['proposed']:,}", "")
    for who, count in report["rejected"].items():
        table.add_row(f"rejected by the {who}", f"{count:,}", f"{count / report['proposed']:.1%}")
    out.print(table)
    if report["largest_deviation"] is not None:
        out.print(f"largest difference to the simulator's own step: {report['largest_deviation']:.2g}", highlight=False)
    if report["left_out"]:
        out.print(
            f"left out, since nothing says what they are for new steps: {', '.join(report['left_out'])}", soft_wrap=True
        )
