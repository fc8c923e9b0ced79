"""`harness predict`: a trained row applied to images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.option_values import find_device, split_numbers
from harness.cli.options import (
    DATA,
    MACHINE,
    OUTPUT,
    DataRoot,
    DatasetOptions,
    Device,
    Json,
    Plugins,
)
from harness.cli.verbs.shared import open_registry
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.components import Data
    from harness.registry import Registry
    from harness.serving.images import ImageSource
    from harness.serving.rows import LoadedRow
    from harness.serving.scores import ImageScores

RowArgument = Annotated[
    str,
    typer.Argument(
        metavar="ROW",
        help="This is a trained row as BOARD::ROW, or the weights.safetensors of a finished row, which needs no board.",
    ),
]
ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES...",
        help="These are image files (PNG, JPEG, TIFF, DICOM), folders of them, or the name of one dataset.",
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        metavar="CSV",
        help="Read what the network wants beside each image, such as age, from this table: a column for the image "
        "and one for each of them.",
        rich_help_panel=DATA,
    ),
]
SplitOption = Annotated[
    Literal["train", "val", "test"],
    typer.Option("--split", help="Take this split of the dataset.", rich_help_panel=DATA),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="POLICY",
        help="Decide by these thresholds, such as val-f1, val-youden or 0.5.",
        show_default="those of the board's first decision metric",
    ),
]
MOST_BATCH = 65_536


def predict(
    row: RowArgument,
    images: ImagesArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write the scores to this .csv or .npz file, which `harness score` and `harness submit` read.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            metavar="SEEDS",
            help="Use this seed. Several separated by commas, or all, are an ensemble: their probabilities are "
            "averaged.",
            show_default="the first that has a result",
        ),
    ] = None,
    policy: PolicyOption = None,
    table: TableOption = None,
    split: SplitOption = "test",
    options: DatasetOptions = None,
    data_root: DataRoot = Path("data"),
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            max=MOST_BATCH,
            help="Predict this many images at a time.",
            show_default="256 on a CPU, 512 on a GPU",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    device: Device = "auto",
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Apply a trained row to images: a probability, a calibrated one and a decision for each label.

    An image that cannot be used is named on standard error, and the exit code is then 1; all others are predicted.
    """
    import torch

    from harness.cli.prediction_listing import print_parts, print_plain
    from harness.cli.terminal import warn
    from harness.serving.loading import open_row
    from harness.serving.output import require_ending, write_scores

    if out is not None:
        require_ending(out)
        if as_json:
            raise UsageError("--json prints the scores, and --out writes them to a file; give one of them")
    registry = open_registry(plugin)
    loaded = open_row(row, registry, torch.device(find_device(device)), _read_seeds(seeds))
    loaded.thresholds(policy)
    source, notes = find_images(loaded, images, registry, options, data_root, split)
    source = give_table(loaded, source, table)
    for note in (*loaded.notes, *notes):
        warn(note)
    gaps: list[str] = []
    parts = _tell_gaps(loaded.stream(source, policy=policy, batch=_choose_batch(loaded, source, batch)), gaps)
    if out is not None:
        write_scores(out, parts, loaded.labels, source.data, averaged=len(loaded.members) > 1)
        _tell_written(out, len(source.names) - len(gaps), len(gaps))
    elif as_json:
        print_plain(loaded, policy, parts)
    else:
        print_parts(loaded, policy, parts)
    if gaps:
        raise typer.Exit(1)


def _read_seeds(text: str | None) -> tuple[int, ...] | Literal["all"] | None:
    if text is None or text == "all":
        return "all" if text else None
    numbers = split_numbers(text)
    if not numbers:
        raise UsageError("--seeds is empty: give a seed, several separated by commas, or all")
    return numbers


def find_images(
    row: LoadedRow,
    given: list[str],
    registry: Registry,
    options: list[str] | None,
    data_root: Path,
    split: str,
) -> tuple[ImageSource, tuple[str, ...]]:
    """Files and folders, or the split of a dataset. Raises `UsageError` for a dataset beside other images."""
    from harness.serving.images import take_data, take_files

    datasets = [name for name in given if not Path(name).exists() and name in registry.offers["dataset"]]
    if datasets and len(given) > 1:
        raise UsageError(f"{datasets[0]} is a dataset: give it alone, or files and folders alone")
    if datasets:
        data = _load_data(row, datasets[0], registry, options, data_root)
        return take_data(data, split, row.size, row.scale), ()
    if options:
        raise UsageError(f"--option {options[0]}: options are a dataset's, and {', '.join(given[:3])} is none")
    return take_files(map(Path, given), row.size, row.scale)


def _load_data(row: LoadedRow, name: str, registry: Registry, options: list[str] | None, data_root: Path) -> Data:
    """A dataset with targets for the row's labels, unknown where it has no such label."""
    from harness.data.loading import find_source, load
    from harness.parameters import parse_assignments
    from harness.serving.output import keep_labels

    data = load(find_source(registry.offer("dataset", name), parse_assignments("--option", options or ()), data_root))
    return keep_labels(data, row.labels)


def give_table(row: LoadedRow, source: ImageSource, path: Path | None) -> ImageSource:
    """The images with what the network wants beside each. Raises `UsageError` where that is missing or not wanted."""
    from dataclasses import replace

    from harness.serving.beside import read_beside_table

    wanted = ", ".join(row.columns)
    if path is not None and not wanted:
        raise UsageError(f"--table {path}: this network gets images alone; leave the option out")
    if path is not None:
        return replace(source, table=read_beside_table(path, source.names, row.members[0].codes))
    if wanted and source.data is None:
        raise UsageError(
            f"this network gets {wanted} beside each image: give them by --table CSV, a row for each image"
        )
    return source


def _choose_batch(row: LoadedRow, source: ImageSource, asked: int | None) -> int | None:
    """A dataset is predicted in batches of training, even where it has fewer images: a GPU then gives equal bits."""
    return row.batch if asked is None and source.data is not None else asked


def _tell_gaps(parts: Iterator[ImageScores], gaps: list[str]) -> Iterator[ImageScores]:
    """The parts, while each image that could not be used is named on standard error and noted in `gaps`."""
    from harness.cli.terminal import warn

    for part in parts:
        for image, reason in part.gaps.items():
            gaps.append(image)
            warn(f"{image}: {reason}")
        yield part


def _tell_written(out: Path, done: int, gaps: int) -> None:
    from harness.cli.output import say
    from harness.text import count

    without = f", and {count(gaps, 'gap')} where one could not be used" if gaps else ""
    say(f"{out}: scores of {count(done, 'image')}{without}")
