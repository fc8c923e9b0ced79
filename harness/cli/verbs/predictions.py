"""What `score` and `compare` read alike: files of predictions, targets, readers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.option_values import split_names
from harness.cli.options import DATA, READING, complete_names
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.components import Data, Metric
    from harness.evaluation.predictions import Predictions
    from harness.registry import Registry
    from harness.scoring.prediction_files import Table
    from harness.scoring.reader_files import ReaderFiles
    from harness.scoring.sheets import Reading

Targets = Annotated[
    Path | None,
    typer.Option(
        "--targets",
        metavar="CSV",
        help="Read targets from this table: image, perhaps patient, and a column for each label.",
        rich_help_panel=READING,
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Take targets and patients from this dataset instead of a table.",
        autocompletion=complete_names("dataset"),
        rich_help_panel=DATA,
    ),
]
AllowOverlap = Annotated[
    bool,
    typer.Option(
        "--allow-overlap",
        help="Accept images or patients that validation and test share.",
        rich_help_panel=READING,
    ),
]
FEWEST_RESAMPLES = 200
"""Resamples that an interval needs: with fewer, its ends are themselves left to chance."""


def make_reading(
    image_column: str | None,
    patient: str | None = None,
    labels: str | None = None,
    study: str | None = None,
    unit: str | None = None,
    pool: str | None = None,
) -> Reading:
    """Make of options how tables are read.

    Raises `UnknownNameError` for what no unit and no way to pool is called, `UsageError` for one where nothing is
    pooled.
    """
    from harness.scoring.sheets import Reading
    from harness.units import find_pooling, find_unit

    how, scored = find_pooling(pool or "mean"), find_unit(unit or "image")
    if pool is not None and scored == "image":
        raise UsageError(
            f"--pool {pool} means nothing where images are scored: give --unit study or --unit patient too"
        )
    wanted = tuple(split_names([labels] if labels else None))
    return Reading(
        image_column=image_column,
        patient=patient,
        labels=wanted,
        study=study,
        unit=scored,
        pool=how,
    )


def choose_metrics(given: str, registry: Registry) -> tuple[tuple[str, ...], tuple[Metric, ...]]:
    """Names as they are given and the metrics behind them."""
    from harness.choices import resolve_metrics
    from harness.metric_names import split_name

    names = split_metrics(given)
    metrics = resolve_metrics(names, registry)
    on_maps = [metric.name for metric in metrics if metric.on == "maps"]
    if on_maps:
        raise UsageError(
            f"metric '{on_maps[0]}' is of heat maps, which a file of predictions does not have; name it under metrics "
            "in board.toml, and `harness run` measures it of the networks that it trains"
        )
    scored = {metric.name for metric in metrics if metric.on != "decisions"}
    for name in names:
        base, policy = split_name(name)
        if policy is not None and base in scored:
            raise UsageError(f"metric '{name}': {base} is of scores and has no threshold policy; give {base}")
    return names, metrics


def split_metrics(given: str) -> tuple[str, ...]:
    """Names of metrics, each once. Raises `UsageError` where there is none."""
    names = split_names([given])
    if not names:
        raise UsageError("--metrics is empty: give metrics separated by commas, such as auroc,auprc")
    return tuple(dict.fromkeys(names))


def load_dataset(name: str | None, options: list[str] | None, data_root: Path, registry: Registry) -> Data | None:
    """Load the dataset that gives targets and patients; None where none is asked for.

    Raises `UsageError` for options without a dataset.
    """
    from harness.data.loading import find_source, load
    from harness.parameters import parse_assignments

    if name is None:
        if options:
            raise UsageError(f"--option {options[0]}: options are a dataset's; give --dataset NAME too")
        return None
    return load(find_source(registry.offer("dataset", name), parse_assignments("--option", options or ()), data_root))


def open_readers(given: list[str] | None, truth: str, reading: Reading) -> ReaderFiles | None:
    """Read the files of the readers that are given; None without any.

    Raises `UsageError` for a truth that is made of readers where there are none.
    """
    from harness.panels import PanelFiles, find_truth
    from harness.scoring.reader_files import parse_readers, read_readers

    chosen = find_truth(truth)
    if not given:
        if chosen != "targets":
            raise UsageError(f"--truth {truth} is made of readers; give each of them by --reader NAME=FILE")
        return None
    return read_readers(PanelFiles(files=parse_readers(given), truth=chosen), reading)


def choose_targets(
    readers: ReaderFiles | None, targets: Path | None, data: Data | None, reading: Reading, *, validated: bool
) -> tuple[Path | Table | None, Data | None]:
    """Where the test's targets come from: readers, where their majority is the truth.

    Raises `UsageError` where targets are given too, and no validation needs them.
    """
    if readers is None or readers.files.truth == "targets":
        return targets, data
    if (targets is not None or data is not None) and not validated:
        raise UsageError(
            f"--truth {readers.files.truth} takes the test's targets from the readers: leave out "
            f"{'--targets' if targets is not None else '--dataset'}, or hold readers against it by --truth targets"
        )
    return readers.find_majority(reading), None


def read_validation(
    given: list[str] | None, targets: Path | None, data: Data | None, reading: Reading
) -> list[Predictions]:
    """Read predictions of validation, each a file, a folder, or several separated by commas."""
    from harness.scoring.prediction_files import read_predictions
    from harness.scoring.systems import find_files

    files = [file for name in split_names(given) for file in find_files(Path(name))]
    return [read_predictions(file, targets=targets, data=data, reading=reading) for file in files]
