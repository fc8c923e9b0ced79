"""One system by the predictions of its seeds, wherever they were made. In shapes: k seeds, R resamples, C labels."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.errors import DataError, UsageError
from harness.evaluation.areas import Areas, describe_areas
from harness.evaluation.bootstrap import average_labels, average_seeds, draw_resamples
from harness.evaluation.comparison import add_seeds
from harness.evaluation.evaluate import Protocol, calibrate, describe_metric, describe_subgroups, find_subgroups
from harness.evaluation.measure import Measured, measure, pool_labels
from harness.evaluation.parts import CalibrationPart, MetricPart, PredictivePart, ReadersPart, SubgroupPart
from harness.evaluation.predictions import Predictions
from harness.evaluation.predictive import (
    average_predictive,
    describe_predictive,
    predict_values,
    require_prevalence,
)
from harness.evaluation.reader_summary import describe_readers
from harness.evaluation.readers import measure_readers
from harness.evaluation.subgroups import average_subgroups
from harness.evaluation.thresholds import describe_thresholds, fit_thresholds
from harness.metric_names import needed_policies
from harness.scoring.alignment import (
    align,
    note_overlap,
    require_distinct,
    require_same_targets,
    require_separate,
    share_patients,
)
from harness.scoring.prediction_files import DEFAULT, Table, read_predictions
from harness.scoring.sheets import Reading
from harness.text import count
from harness.units import CALLED, Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.evaluation.bootstrap import Resampling
    from harness.evaluation.panel import Panel
    from harness.evaluation.subgroups import Subgroups

SUFFIXES = (".npz", ".csv", ".tsv", ".csv.gz", ".tsv.gz")
NO_VALIDATION = (
    "without --val nothing is fitted: decisions are at @0.5 and @oracle (fitted on the test itself, optimistic) alone, "
    "and nothing is calibrated"
)


@dataclass(frozen=True, eq=False)
class SeedsMetric:
    """A metric of a system: the mean over its seeds."""

    part: MetricPart
    """The metric as in a record, of the mean over seeds; labels that are undefined for a seed are left out."""
    seeds: tuple[float, ...]
    """(k,) the macro of each seed."""
    interval_seeds: tuple[float, float] | None
    """The macro's interval over patients and seeds; None with fewer than three seeds."""

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None with one."""
        return statistics.stdev(self.seeds) if len(self.seeds) > 1 else None


@dataclass(frozen=True, eq=False, kw_only=True)
class SystemEvaluation:
    """Everything about one system; lists have an entry for each seed."""

    metrics: dict[str, SeedsMetric]
    thresholds: list[dict[str, dict[str, float]]]
    predictive: dict[str, dict[str, PredictivePart]] | None
    """Predictive values as in a record, of the means over seeds."""
    calibration: list[CalibrationPart | None]
    subgroups: dict[str, SubgroupPart] | None
    """Subgroups as in a record, of the means over seeds."""
    areas: list[Areas] | None
    """AUROC by label without resampling; None where it was not asked for."""
    images: int
    patients: int
    patients_known: bool
    unit: Unit
    readers: ReadersPart | None
    notes: list[str]


def tell_unknown_patients(unit: Unit) -> str:
    """What intervals are over where nothing says who the patients are."""
    return (
        f"patients are unknown, so single {CALLED[unit][1]} are resampled: intervals are too narrow where a patient "
        "has several; give a column 'patient', here or in --targets, or --dataset"
    )


def find_files(path: Path) -> list[Path]:
    """A file of predictions, or all of a folder: the seeds of one system. Raises `DataError` where it holds none."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES))
    if not files:
        raise DataError(f"{path} holds no predictions: no {', '.join(SUFFIXES)} lies in it")
    return files


def read_seeds(
    files: Sequence[Path], targets: Path | Table | None, data: Data | None, reading: Reading = DEFAULT
) -> list[Predictions]:
    """The seeds of one system, aligned.

    Raises `DataError` as `read_predictions`, or where they do not fit together, `UsageError` for a file that is given
    twice, or with its copy.
    """
    repeated = [file for number, file in enumerate(files) if file.resolve() in {f.resolve() for f in files[:number]}]
    if repeated:
        raise UsageError(f"{repeated[0]} is given twice; each seed of a system has predictions of its own")
    return align_seeds([read_predictions(file, targets=targets, data=data, reading=reading) for file in files])


def align_seeds(predictions: Sequence[Predictions]) -> list[Predictions]:
    """The seeds of one system on the same images, in one order. Raises `DataError` where they do not fit together."""
    seeds = align(predictions)
    require_same_targets(seeds)
    require_distinct(seeds)
    return share_patients(seeds)


def pair_validation(
    tests: Sequence[Predictions], vals: Sequence[Predictions], *, allow_overlap: bool
) -> tuple[list[Predictions | None], list[str]]:
    """The validation of each seed, and what has to be said about it.

    One is that of all seeds. Raises `UsageError` where they are neither none, one nor as many as the seeds, `DataError`
    where a validation shares images or patients with the test and that is not allowed.
    """
    if len(vals) not in (0, 1, len(tests)):
        raise UsageError(
            f"--val has {count(len(vals), 'file')} for {len(tests)} of the test: give one for each, in their "
            f"order, or one for "
            "all"
        )
    arranged = [val.arrange(tests[0].labels, tests[0].source) for val in vals]
    notes = []
    for number, val in enumerate(arranged):
        try:
            require_separate(val, tests[number])
        except DataError as error:
            if not allow_overlap:
                raise DataError(f"{error}, or accept it with --allow-overlap") from None
            notes.append(str(error))
        notes += note_overlap(val, tests[number])
    if not arranged:
        return [None] * len(tests), []
    return list(arranged * len(tests) if len(arranged) == 1 else arranged), notes


def evaluate_system(
    tests: Sequence[Predictions],
    vals: Sequence[Predictions | None],
    protocol: Protocol,
    panel: Panel | None = None,
) -> SystemEvaluation:
    """Evaluate each seed as a record of it is, on the same resamples, and average them; beside readers, if there are.

    `tests` are aligned. Raises what `evaluate` raises.
    """
    labels, prevalence = tests[0].labels, protocol.prevalence
    require_prevalence(prevalence, labels)
    resampling = draw_resamples(tests[0].patient, protocol.resamples, seed=protocol.seed)
    policies = needed_policies(protocol.names)
    thresholds = [fit_thresholds(val, test, policies) for test, val in zip(tests, vals, strict=True)]
    measured = [
        measure(test, protocol.metrics, fitted, resampling) for test, fitted in zip(tests, thresholds, strict=True)
    ]
    first = tests[0]
    notes = list(dict.fromkeys(note for each in (*tests, *vals) if each is not None for note in each.notes))
    notes += [] if first.patients_known else [tell_unknown_patients(first.unit)]
    return SystemEvaluation(
        metrics=_average_metrics(tests, thresholds, protocol, measured),
        thresholds=[describe_thresholds(first, fitted) for fitted in thresholds],
        predictive=describe_predictive(
            average_predictive([predict_values(seed_metrics, labels, prevalence) for seed_metrics in measured]),
            prevalence,
        ),
        calibration=[
            None if val is None or test.is_rank_only or val.is_rank_only else calibrate(test, val)
            for test, val in zip(tests, vals, strict=True)
        ],
        subgroups=describe_subgroups(labels, _average_subgroups(tests, thresholds, protocol, resampling)),
        areas=[describe_areas(test) for test in tests] if "auroc" in measured[0] else None,
        images=len(first.image),
        patients=len(resampling.patients),
        patients_known=first.patients_known,
        unit=first.unit,
        readers=None
        if panel is None
        else describe_readers(
            [measure_readers(test, panel, fitted, resampling) for test, fitted in zip(tests, thresholds, strict=True)],
            panel,
            first.patient,
            resampling,
        ),
        notes=notes if vals[0] is not None or first.is_rank_only else [*notes, NO_VALIDATION],
    )


def _average_subgroups(
    tests: Sequence[Predictions],
    thresholds: Sequence[dict[str, NDArray[np.float64]]],
    protocol: Protocol,
    resampling: Resampling,
) -> dict[str, Subgroups]:
    """Average subgroups over seeds, by the columns that the first seed's file has."""
    columns = tests[0].columns
    seeds = [
        find_subgroups(replace(test, columns=columns), protocol, fitted, resampling)
        for test, fitted in zip(tests, thresholds, strict=True)
    ]
    return {column: average_subgroups([seed[column] for seed in seeds]) for column in seeds[0]}


def _average_metrics(
    tests: Sequence[Predictions],
    thresholds: Sequence[dict[str, NDArray[np.float64]]],
    protocol: Protocol,
    seeds: Sequence[Mapping[str, Measured]],
) -> dict[str, SeedsMetric]:
    """The mean over seeds of each metric, all of its means over the labels that every seed uses."""
    averaged = {name: _average([seed_metrics[name] for seed_metrics in seeds]) for name in seeds[0]}
    used = {name: one.used for name, one in averaged.items()}
    micro = [pool_labels(test, protocol.metrics, fitted, used) for test, fitted in zip(tests, thresholds, strict=True)]
    described = {}
    for name, one in averaged.items():
        part = describe_metric(tests[0], one, statistics.fmean(pooled[name] for pooled in micro))
        values = average_labels(np.stack([seed_metrics[name].values for seed_metrics in seeds]), one.used)  # (k,)
        (over_both,) = add_seeds([values], [part.interval], one.metric.interval)
        described[name] = SeedsMetric(part, tuple(values.tolist()), over_both)
    return described


def _average(seeds: Sequence[Measured]) -> Measured:
    """One metric's mean over seeds, over the labels that all of them use."""
    return Measured(
        metric=seeds[0].metric,
        values=average_seeds(np.stack([seed.values for seed in seeds])),
        resamples=average_seeds(np.stack([seed.resamples for seed in seeds])),
        used=np.logical_and.reduce([seed.used for seed in seeds]),
    )
