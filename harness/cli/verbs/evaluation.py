"""`harness score`: predictions made anywhere, evaluated as a board evaluates its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.option_values import split_names
from harness.cli.options import MOST_TIMES, READING, STATISTICS, DataRoot, DatasetOptions, Json, Plugins, complete_names
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
)
from harness.cli.verbs.shared import open_registry
from harness.evaluation import RESAMPLES


def score(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="These are the test predictions of one system, a .npz or .csv file for each seed."
        ),
    ],
    val: Annotated[
        list[str] | None,
        typer.Option(
            "--val",
            metavar="FILE",
            help="Fit thresholds on these validation predictions: one for each FILE, or one for all.",
            rich_help_panel=READING,
        ),
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
        str,
        typer.Option(
            metavar="NAMES",
            help="Report these metrics, separated by commas. A name may end in a threshold policy, such as f1@0.5.",
            autocompletion=complete_names("metric"),
            rich_help_panel=STATISTICS,
        ),
    ] = "auroc,auprc,f1,brier,ece",
    prevalence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=SHARE",
            help="Report predictive values of a label at this prevalence, such as Edema=0.05. Repeat it for several.",
            rich_help_panel=STATISTICS,
        ),
    ] = None,
    resamples: Annotated[
        int,
        typer.Option(
            min=FEWEST_RESAMPLES,
            max=MOST_TIMES,
            metavar="N",
            help="Resample the patients this many times for intervals.",
            rich_help_panel=STATISTICS,
        ),
    ] = RESAMPLES,
    seed: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Draw the resamples from this seed, which may be any text. A record uses its data's fingerprint.",
            rich_help_panel=STATISTICS,
        ),
    ] = "0",
    allow_overlap: AllowOverlap = False,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Evaluate predictions that were made anywhere, as a board evaluates its own."""
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
    from harness.text import count
    from harness.units import CALLED, count_units

    registry = open_registry(plugin)
    shares = parse_assignments("--prevalence", split_names(prevalence))
    names, chosen = choose_metrics(",".join([metrics, *(RATES if shares else ())]), registry)
    data = load_dataset(dataset, options, data_root, registry)
    paths = [path for file in files for path in find_files(file)]
    reading = make_reading(image_column, patient, labels, study, unit, pool)
    panel_files = open_readers(reader, truth, reading)
    tests = read_seeds(paths, *choose_targets(panel_files, targets, data, reading, validated=bool(val)), reading)
    vals = read_validation(val, targets, data, reading)
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
    system = str(files[0]) if len(files) == 1 else count(len(files), "file")
    people = f" of {count(evaluation.patients, 'patient')}" if evaluation.patients_known else ", patients unknown"
    seeds = count(len(tests), "seed")
    title = f"{system}: {seeds}, {count_units(evaluation.unit, evaluation.images)}{people}"
    asked = [full_name(name, evaluation.metrics) for name in names]
    tables.print_evaluation(
        title, evaluation, [name for name in asked if name in evaluation.metrics] or list(evaluation.metrics)
    )
    if evaluation.readers is not None:
        print_readers(evaluation.readers, CALLED[evaluation.unit][1])
