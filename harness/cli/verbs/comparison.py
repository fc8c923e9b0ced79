"""`harness compare`: systems in pairs, from files of predictions and rows of boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    MOST_TIMES,
    OUTPUT,
    READING,
    STATISTICS,
    DataRoot,
    DatasetOptions,
    Json,
    Plugins,
    complete_names,
)
from harness.cli.reading_options import (
    ImageColumn,
    PatientColumn,
    PoolingChoice,
    Readers,
    ScoredUnit,
    StudyColumn,
    TruthOption,
    WantedLabels,
)
from harness.cli.verbs.predictions import (
    FEWEST_RESAMPLES,
    AllowOverlap,
    DatasetOption,
    Targets,
    choose_metrics,
    choose_targets,
    load_dataset,
    make_reading,
    open_readers,
    read_validation,
    split_metrics,
)
from harness.cli.verbs.shared import open_registry
from harness.errors import UsageError
from harness.evaluation import RESAMPLES
from harness.text import count

if TYPE_CHECKING:
    from harness.components import Data
    from harness.evaluation.predictions import Predictions
    from harness.scoring.prediction_files import Table
    from harness.scoring.rows import MeasuredRow
    from harness.scoring.sheets import Reading


def compare(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="These are two or more systems. Each is a file of predictions, a folder of files for its seeds, or "
            "BOARD::ROW.",
        ),
    ],
    targets: Targets = None,
    dataset: DatasetOption = None,
    options: DatasetOptions = None,
    data_root: DataRoot = Path("data"),
    image_column: ImageColumn = None,
    patient: PatientColumn = None,
    study: StudyColumn = None,
    unit: ScoredUnit = None,
    pool: PoolingChoice = None,
    labels: WantedLabels = None,
    reader: Readers = None,
    truth: TruthOption = "targets",
    metrics: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Compare these metrics, separated by commas.",
            autocompletion=complete_names("metric"),
            rich_help_panel=STATISTICS,
        ),
    ] = "auroc",
    resamples: Annotated[
        int | None,
        typer.Option(
            min=FEWEST_RESAMPLES,
            max=MOST_TIMES,
            metavar="N",
            help="Resample the patients this many times. Rows compared on their own use their records' resamples.",
            rich_help_panel=STATISTICS,
            show_default="1000",
        ),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Draw the resamples from this seed, which may be any text. Rows compared on their own use their "
            "records' seed.",
            show_default="0",
            rich_help_panel=STATISTICS,
        ),
    ] = None,
    val: Annotated[
        list[str] | None,
        typer.Option(
            "--val",
            metavar="FILES",
            help="Fit a system's thresholds on these validation predictions: a file, a folder, or files separated by "
            "commas. Repeat it, in the order of the systems, for each that is not a BOARD::ROW.",
            rich_help_panel=READING,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Compare rows on this outside test of their boards, by its name or key.",
            rich_help_panel=READING,
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="DIFFERENCE",
            help="Also say which systems are not worse by more than this difference, or equivalent within it.",
            rich_help_panel=STATISTICS,
        ),
    ] = None,
    by_label: Annotated[
        bool,
        typer.Option(
            "--by-label", help="Print the differences for each label. --json always has them.", rich_help_panel=OUTPUT
        ),
    ] = False,
    common: Annotated[
        bool,
        typer.Option("--common", help="Compare on the images that all systems share.", rich_help_panel=READING),
    ] = False,
    allow_overlap: AllowOverlap = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Compare systems in pairs, with intervals and p-values over the same resampled patients and their seeds."""
    from harness.cli import tables
    from harness.cli.evaluation_listing import describe_comparison
    from harness.cli.reader_listing import print_systems_beside
    from harness.cli.terminal import warn
    from harness.evaluation.comparison import require_margin
    from harness.scoring.alignment import note_spellings, require_distinct
    from harness.scoring.pairing import ComparisonOptions, compare_predictions, compare_rows, resolve_measured
    from harness.scoring.rows import are_scored, find_row, find_scored, have_validation, tell_members
    from harness.units import CALLED

    _require_several(systems)
    require_margin(margin)
    rows = {name: find_row(name, test or "") for name in systems if _is_row(name)}
    unit, pool = (unit, pool) if unit or pool or not rows else find_scored(rows)
    reading = make_reading(image_column, patient, labels, study, unit, pool)
    panel_files = open_readers(reader, truth, reading)
    if len(rows) == len(systems) and panel_files is None and are_scored(rows, reading.unit, reading.pool):
        comparison = compare_rows(rows, split_metrics(metrics), margin)
        notes = _note_unused(
            comparison.resamples,
            resamples,
            targets=targets,
            dataset=dataset,
            val=val,
            seed=seed,
            labels=labels,
            study=study,
        )
    elif test:
        raise UsageError(
            "--test compares rows by what their records hold of an outside test: give BOARD::ROW alone, and neither "
            "readers nor another unit"
        )
    else:
        registry = open_registry(plugin)
        names, chosen = choose_metrics(metrics, registry)
        if len(rows) == len(systems) and have_validation(rows):
            val = []
        resolve_measured(chosen, names, validated=val is not None)  # before anything is read
        data = load_dataset(dataset, options, data_root, registry)
        known = choose_targets(panel_files, targets, data, reading, validated=val is not None)
        read = {name: _read_system(name, rows.get(name), *known, reading) for name in systems}
        require_distinct([one for name, seeds in read.items() if name not in rows for one in seeds])
        wish = ComparisonOptions(
            metrics=chosen,
            names=names,
            resamples=resamples or RESAMPLES,
            seed=seed or "0",
            common=common,
            margin=margin,
            readers=panel_files,
            ensembles=[name for name, row in rows.items() if row.is_ensemble],
        )
        validation, notes = _read_validations(val, read, rows, targets, data, reading, allow_overlap=allow_overlap)
        comparison = compare_predictions(read, wish, validation)
        notes = [
            *notes,
            *dict.fromkeys(note for seeds in read.values() for one in seeds for note in one.notes),
            *note_spellings([seeds[0] for seeds in read.values()]),
            *tell_members(rows),
        ]
    partial = {name: ", ".join(map(str, row.absent)) for name, row in rows.items() if row.absent}
    notes = [
        *notes,
        *comparison.notes,
        *(f"{name} has no current result of seed {seeds}" for name, seeds in partial.items()),
    ]
    for note in notes:
        warn(note)
    if as_json:
        tables.print_json({**describe_comparison(comparison), "notes": notes})
    else:
        tables.print_comparison(comparison, by_label=by_label)
        if comparison.readers:
            print_systems_beside(comparison.readers, CALLED[comparison.unit][1])


def _is_row(name: str) -> bool:
    from harness.scoring.rows import SEPARATOR

    return SEPARATOR in name and not Path(name).exists()


def _require_several(systems: Sequence[str]) -> None:
    if len(systems) < 2:
        raise UsageError(f"'{systems[0]}' alone cannot be compared: give two or more of FILE, FOLDER and BOARD::ROW")
    places = [name if _is_row(name) else str(Path(name).resolve()) for name in systems]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UsageError(f"'{systems[number]}' is given twice; compare it with something else")


def _read_system(
    name: str, row: MeasuredRow | None, targets: Path | Table | None, data: Data | None, reading: Reading
) -> list[Predictions]:
    from harness.scoring.prediction_files import Table
    from harness.scoring.rows import read_row_predictions
    from harness.scoring.systems import find_files, read_seeds

    if row and isinstance(targets, Table):
        raise UsageError(
            f"{name} has its board's targets, and {targets.source} would be others; hold its readers against the "
            "targets, or give files of predictions"
        )
    if row:
        return read_row_predictions(name, row, reading)
    return read_seeds(find_files(Path(name)), targets, data, reading)


def _read_validations(
    given: list[str] | None,
    systems: Mapping[str, Sequence[Predictions]],
    rows: Mapping[str, MeasuredRow],
    targets: Path | None,
    data: Data | None,
    reading: Reading,
    *,
    allow_overlap: bool,
) -> tuple[dict[str, list[Predictions | None]] | None, list[str]]:
    """The validation of each seed of each system, rows' from their runs, and what has to be said about it."""
    from harness.scoring.rows import read_row_predictions
    from harness.scoring.systems import pair_validation

    if given is None:
        return None, []
    others = [name for name in systems if name not in rows]
    if len(given) != len(others):
        raise UsageError(
            f"--val is given {count(len(given), 'time')} for {count(len(others), 'system')} "
            f"({', '.join(others)}): give it once for "
            "each, in their order; the seeds of a system are a folder, or separated by commas"
        )
    paired, notes = {}, []
    for name, tests in systems.items():
        row = rows.get(name)
        vals = (
            read_row_predictions(name, row, reading, "val")
            if row
            else read_validation([given[others.index(name)]], targets, data, reading)
        )
        paired[name], told = pair_validation(tests, vals, allow_overlap=allow_overlap)
        notes += told
    return paired, notes


def _note_unused(held: int, asked: int | None, **sources: object) -> list[str]:
    """What was given and has no meaning where rows are compared by their records."""
    unused = [f"--{name}" for name, value in sources.items() if value is not None]
    notes = [f"rows are compared by their records: {' and '.join(unused)} not used"] if unused else []
    if asked not in (None, held):
        notes.append(f"rows are compared by their records, which hold {held:,} resamples, not {asked:,}")
    return notes
