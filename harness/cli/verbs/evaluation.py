"""Verbs about predictions, wherever they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    MOST_TIMES,
    DataRoot,
    DatasetOptions,
    ImageColumn,
    Json,
    PatientColumn,
    Plugins,
    PoolingChoice,
    Readers,
    ScoredUnit,
    StudyColumn,
    TruthOption,
    WantedLabels,
    split_names,
)
from harness.cli.verbs.shared import open_registry
from harness.errors import UsageError
from harness.evaluation import RESAMPLES

if TYPE_CHECKING:
    from harness.components import Data, Metric
    from harness.evaluation.predictions import Predictions
    from harness.registry import Registry
    from harness.scoring.prediction_files import Table
    from harness.scoring.reader_files import ReaderFiles
    from harness.scoring.rows import MeasuredRow
    from harness.scoring.sheets import Reading

Targets = Annotated[
    Path | None,
    typer.Option("--targets", metavar="CSV", help="Targets: image, perhaps patient, and a column for each label."),
]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="Take targets and patients from a dataset instead.")
]
AllowOverlap = Annotated[
    bool, typer.Option("--allow-overlap", help="Accept images or patients that validation and test share.")
]
FEWEST_RESAMPLES = 200
"""Resamples that an interval needs: with fewer, its ends are themselves left to chance."""


def score(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Test predictions, .npz or .csv: the seeds of one system.")
    ],
    val: Annotated[
        list[str] | None,
        typer.Option("--val", metavar="FILE", help="Validation predictions: one for each FILE, or one for all."),
    ] = None,
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
        str, typer.Option(help="Separated by commas; a name may carry a threshold policy, as f1@0.5.")
    ] = "auroc,auprc,f1,brier,ece",
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=SHARE",
            help="Give predictive values of a label where this share of patients has it, such as Edema=0.05.",
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=FEWEST_RESAMPLES, max=MOST_TIMES, help="Of the patients, for intervals.")
    ] = RESAMPLES,
    seed: Annotated[str, typer.Option(help="Of the resamples, any text; a record's is its data's fingerprint.")] = "0",
    allow_overlap: AllowOverlap = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Evaluate predictions made anywhere, as a board evaluates its own."""
    from harness.board import RATES
    from harness.choices import resolve_metrics
    from harness.cli import tables
    from harness.cli.evaluation_listing import describe_evaluation
    from harness.cli.reader_listing import print_readers
    from harness.cli.terminal import warn
    from harness.evaluation.evaluate import Protocol
    from harness.evaluation.subgroups import MEASURED
    from harness.metric_names import full_name
    from harness.parameters import parse_assignments
    from harness.scoring.systems import evaluate_system, find_files, pair_validation, read_seeds
    from harness.units import CALLED, count_units

    registry = open_registry(plugin)
    shares = parse_assignments("--prevalence", split_names(prevalence))
    names, chosen = _resolve_metrics(",".join([metrics, *(RATES if shares else ())]), registry)
    data = _load_data(dataset, options, data_root, registry)
    paths = [path for file in files for path in find_files(file)]
    reading = make_reading(image_column, patient, labels, study, unit, pool)
    panel_files = _read_readers(reader, truth, reading)
    tests = read_seeds(paths, *_choose_targets(panel_files, targets, data, reading, validated=bool(val)), reading)
    vals = _read_validation(val, targets, data, reading)
    paired, notes = pair_validation(tests, vals, allow_overlap=allow_overlap)
    in_groups = resolve_metrics(MEASURED, registry)
    protocol = Protocol(
        metrics=chosen,
        names=names,
        objective=names[0],
        subgroup_metrics=in_groups,
        resamples=resamples,
        seed=seed,
        prevalence=shares,
    )
    panel = None if panel_files is None else panel_files.make_panel(tests[0])
    evaluation = evaluate_system(tests, paired, protocol, panel)
    notes = [*notes, *evaluation.notes, *(panel.notes if panel else ())]
    for note in notes:
        warn(note)
    if as_json:
        described = {"files": [str(path) for path in paths], **describe_evaluation(evaluation), "notes": notes}
        tables.print_json({**described, "resamples": resamples, "seed": seed})
        return
    system = str(files[0]) if len(files) == 1 else f"{len(files)} files"
    people = f" of {evaluation.patients:,} patients" if evaluation.patients_known else ", patients unknown"
    seeds = f"{len(tests)} {'seed' if len(tests) == 1 else 'seeds'}"
    title = f"{system}: {seeds}, {count_units(evaluation.unit, evaluation.images)}{people}"
    asked = [full_name(name, evaluation.metrics) for name in names]
    tables.print_evaluation(
        title, evaluation, [name for name in asked if name in evaluation.metrics] or list(evaluation.metrics)
    )
    if evaluation.readers is not None:
        print_readers(evaluation.readers, CALLED[evaluation.unit][1])


def compare(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...", help="Each a file of predictions, a folder of them (seeds of one system), or BOARD::ROW."
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
    metrics: Annotated[str, typer.Option(help="Separated by commas.")] = "auroc",
    resamples: Annotated[
        int | None,
        typer.Option(
            min=FEWEST_RESAMPLES,
            max=MOST_TIMES,
            help="Of the patients; rows alone have their records'.",
            show_default="1000",
        ),
    ] = None,
    seed: Annotated[
        str | None, typer.Option(help="Of the resamples, any text; rows alone have their records'.", show_default="0")
    ] = None,
    val: Annotated[
        list[str] | None,
        typer.Option(
            "--val",
            metavar="FILES",
            help="Validation predictions of a system, for thresholds: once for each A B... that is no row, in their "
            "order; a file, a folder, or files separated by commas.",
        ),
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="A difference of no account: say what is not worse by more, or equivalent.")
    ] = None,
    by_label: Annotated[
        bool, typer.Option("--by-label", help="Print the differences label by label; --json always has them.")
    ] = False,
    common: Annotated[bool, typer.Option("--common", help="Compare on the images that all have.")] = False,
    allow_overlap: AllowOverlap = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Compare systems in pairs, on the same resampled patients and against the spread of their seeds."""
    from harness.cli import tables
    from harness.cli.evaluation_listing import describe_comparison
    from harness.cli.reader_listing import print_systems_beside
    from harness.cli.terminal import warn
    from harness.evaluation.comparison import require_margin
    from harness.scoring.alignment import note_spellings, require_distinct
    from harness.scoring.pairing import ComparisonOptions, compare_predictions, compare_rows, resolve_measured
    from harness.scoring.rows import are_scored, find_row, find_scored, have_validation
    from harness.units import CALLED

    _require_several(systems)
    require_margin(margin)
    rows = {name: find_row(name) for name in systems if _is_row(name)}
    unit, pool = (unit, pool) if unit or pool or not rows else find_scored(rows)
    reading = make_reading(image_column, patient, labels, study, unit, pool)
    panel_files = _read_readers(reader, truth, reading)
    if len(rows) == len(systems) and panel_files is None and are_scored(rows, reading.unit, reading.pool):
        comparison = compare_rows(rows, _split_metrics(metrics), margin)
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
    else:
        registry = open_registry(plugin)
        names, chosen = _resolve_metrics(metrics, registry)
        if len(rows) == len(systems) and have_validation(rows):
            val = []
        resolve_measured(chosen, names, validated=val is not None)  # before anything is read
        data = _load_data(dataset, options, data_root, registry)
        known = _choose_targets(panel_files, targets, data, reading, validated=val is not None)
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
        )
        validation, notes = _read_validations(val, read, rows, targets, data, reading, allow_overlap=allow_overlap)
        comparison = compare_predictions(read, wish, validation)
        notes = [
            *notes,
            *dict.fromkeys(note for seeds in read.values() for one in seeds for note in one.notes),
            *note_spellings([seeds[0] for seeds in read.values()]),
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


# --- what is given ---------------------------------------------------------------------------------------------------


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


def _resolve_metrics(given: str, registry: Registry) -> tuple[tuple[str, ...], tuple[Metric, ...]]:
    """Names as they are given and the metrics behind them."""
    from harness.choices import resolve_metrics
    from harness.metric_names import split_name

    names = _split_metrics(given)
    metrics = resolve_metrics(names, registry)
    scored = {metric.name for metric in metrics if metric.on != "decisions"}
    for name in names:
        base, policy = split_name(name)
        if policy is not None and base in scored:
            raise UsageError(f"metric '{name}': {base} is of scores and has no threshold policy; give {base}")
    return names, metrics


def _split_metrics(given: str) -> tuple[str, ...]:
    names = split_names([given])
    if not names:
        raise UsageError("--metrics is empty: give metrics separated by commas, such as auroc,auprc")
    return tuple(dict.fromkeys(names))


def _load_data(name: str | None, options: list[str] | None, data_root: Path, registry: Registry) -> Data | None:
    from harness.data.loading import find_source, load
    from harness.parameters import parse_assignments

    if name is None:
        if options:
            raise UsageError(f"--option {options[0]}: options are a dataset's; give --dataset NAME too")
        return None
    return load(find_source(registry.offer("dataset", name), parse_assignments("--option", options or ()), data_root))


def _read_readers(given: list[str] | None, truth: str, reading: Reading) -> ReaderFiles | None:
    from harness.panels import PanelFiles, find_truth
    from harness.scoring.reader_files import parse_readers, read_readers

    chosen = find_truth(truth)
    if not given:
        if chosen != "targets":
            raise UsageError(f"--truth {truth} is made of readers; give each of them by --reader NAME=FILE")
        return None
    return read_readers(PanelFiles(files=parse_readers(given), truth=chosen), reading)


def _choose_targets(
    readers: ReaderFiles | None, targets: Path | None, data: Data | None, reading: Reading, *, validated: bool
) -> tuple[Path | Table | None, Data | None]:
    """Where the test's targets come from: readers, where their majority is the truth."""
    if readers is None or readers.files.truth == "targets":
        return targets, data
    if (targets is not None or data is not None) and not validated:
        raise UsageError(
            f"--truth {readers.files.truth} takes the test's targets from the readers: leave out "
            f"{'--targets' if targets is not None else '--dataset'}, or hold readers against it by --truth targets"
        )
    return readers.find_majority(reading), None


def _read_validation(
    given: list[str] | None, targets: Path | None, data: Data | None, reading: Reading
) -> list[Predictions]:
    from harness.scoring.prediction_files import read_predictions
    from harness.scoring.systems import find_files

    files = [file for name in split_names(given) for file in find_files(Path(name))]
    return [read_predictions(file, targets=targets, data=data, reading=reading) for file in files]


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
            f"--val is given {len(given)} times for {len(others)} systems ({', '.join(others)}): give it once for "
            "each, in their order; the seeds of a system are a folder, or separated by commas"
        )
    paired, notes = {}, []
    for name, tests in systems.items():
        row = rows.get(name)
        vals = (
            read_row_predictions(name, row, reading, "val")
            if row
            else _read_validation([given[others.index(name)]], targets, data, reading)
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
