"""What a notebook or a script calls: a board run, predictions scored, a row loaded, as the command line does it."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pandas as pd

from harness.errors import UsageError
from harness.evaluation import RESAMPLES

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from harness.definition import Definition
    from harness.evaluation.predictions import Predictions
    from harness.execution.local import MakeRunner
    from harness.execution.planning import Settings
    from harness.registry import Registry
    from harness.scoring.systems import SystemEvaluation
    from harness.serving.rows import LoadedRow

METRICS = ("auroc", "auprc", "f1", "brier", "ece")
"""What predictions are scored by unless metrics are given."""
Given: TypeAlias = "str | Path | ArrayLike | pd.DataFrame"
"""One seed's scores: a file as `harness score` reads it, an array (N, C) or a DataFrame."""


@dataclass(frozen=True, eq=False)
class SystemScore:
    """What one system's predictions are worth."""

    metrics: pd.DataFrame
    """A row for each metric: `value` (mean over labels and seeds), `low` and `high` (95 % over patients), `deviation`
    (over seeds), `labels` (how many are averaged). What is undefined is NaN."""
    labels: pd.DataFrame
    """A row for each label: `positives`, `negatives`, and for each metric its value, `METRIC_low` and `METRIC_high`."""
    notes: tuple[str, ...]
    """What has to be known of these numbers, in sentences."""
    details: Mapping[str, Any] = field(repr=False)
    """Everything, as `harness score --json` prints it."""


def run(
    board: str | Path,
    *,
    into: str | Path | None = None,
    only: str | None = None,
    seeds: Sequence[int] = (),
    params: Mapping[str, Mapping[str, Any]] | None = None,
    options: Mapping[str, Any] | None = None,
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    device: str | None = None,
    on: str = "local",
    on_options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    plugins: Sequence[str | Path] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train and measure what a board lacks, its outside tests too, in this process, render its page, and return its
    table.

    `board` is a folder, or the name of a bundled board, which is then made in `into` (by default `NAME-board`). `only`
    is a glob of rows, `params` are such as `{"recipe": {"epochs": 2}}`, `options` are the dataset's. Returns what
    `harness.read_board` returns: a row that failed says why under `reasons`. With `progress`, what goes on is shown on
    standard error. What has to be known is a Python warning. `data_root`, `cache`, `device` ("cpu", "cuda:1") and
    `plugins` (files) are those of the environment's HARNESS_DATA_ROOT, HARNESS_CACHE_DIR, HARNESS_DEVICE and
    HARNESS_PLUGIN unless given. `on` names an executor, such as "slurm": its machines then train, at most `jobs` of
    them at once, and `on_options` are its options.

    Raises `HarnessError` for whatever cannot be run, and `KeyboardInterrupt` after Ctrl-C; what is finished is kept,
    and the next call goes on from there.
    """
    from harness.cli.option_values import find_cache, find_device
    from harness.cli.verbs.elsewhere import find_elsewhere, find_own_device
    from harness.definition import BoardRequest, define
    from harness.execution.elsewhere import run_by
    from harness.execution.planning import Settings
    from harness.report.frame import read_frame
    from harness.results.whereabouts import recall_data

    registry = _open_registry(plugins)
    request = BoardRequest(
        board=str(board),
        folder=None if into is None else Path(into),
        seeds=tuple(seeds),
        params={section: dict(values) for section, values in (params or {}).items()},
        options=dict(options or {}),
    )
    definition = define(request, registry)
    folder = definition.board.folder
    own_cache, named = _find_folder(cache, "HARNESS_CACHE_DIR"), device or os.environ.get("HARNESS_DEVICE") or "auto"
    settings = Settings(
        data_root=_find_folder(data_root, "HARNESS_DATA_ROOT") or recall_data(folder) or Path("data"),
        cache=find_cache(own_cache),
        device=find_device(named) if on == "local" else find_own_device(named),
        only=only,
        seeds=tuple(seeds) or None,
        dry=on != "local",
    )
    elsewhere = find_elsewhere(
        registry, settings, on=on, options=on_options or {}, jobs=jobs, device=named, plugins=_list_plugins(plugins),
        cache=own_cache,
    )  # fmt: skip
    _run_definition(definition, registry, settings, None if elsewhere is None else run_by(elsewhere), progress=progress)
    return read_frame(folder)


def _run_definition(
    definition: Definition, registry: Registry, settings: Settings, at_work: MakeRunner | None, *, progress: bool
) -> None:
    """Plan, run in this process or elsewhere, and render."""
    from harness.cli.terminal import Display
    from harness.execution import planning
    from harness.execution.board_run import Told, carry_out
    from harness.execution.interruption import Interrupted
    from harness.execution.observers import Audience, choose_observers
    from harness.execution.outside_plan import plan_outside
    from harness.report.page import render
    from harness.report.summary import check_published

    board = definition.board
    for remark in definition.remarks:
        _warn(remark)
    check_published(board)
    with Display() if progress else nullcontext() as display:
        listener = display or _hear_nothing
        planned = planning.plan(board, registry, settings, listener)
        outside = plan_outside(board, registry, settings, planned, listener)
        audience = Audience(listener, choose_observers(registry, ()), board.folder, _warn)
        mention = display.mention if display else _hear_nothing
        told = Told(listener=audience, mention=mention, warn=_warn)
        try:
            carry_out(definition, registry, planned, settings, told, at_work, outside=outside)
        except Interrupted:
            render(board)
            raise
    render(board)


def score(
    scores: Given | Sequence[Given],
    targets: Given | None = None,
    *,
    val: Sequence[Any] | str | Path | None = None,
    labels: Sequence[str] = (),
    patients: Iterable[object] | str | None = None,
    metrics: Sequence[str] = METRICS,
    resamples: int = RESAMPLES,
    seed: str = "0",
    plugins: Sequence[str | Path] | None = None,
) -> SystemScore:
    """Evaluate predictions made anywhere, as a board evaluates its own.

    `scores` are those of one system on its test images: an array (N, C), a DataFrame (images in its index, labels in
    its columns) or the path of a file as `harness score` reads it; a list of these is one for each seed. `targets` are
    1, 0 or NaN for unknown, in the same form; an .npz may hold its own. `patients` are (N,) ids, or for files the name
    of their column; without them intervals are over images, as a note says. `val` is what thresholds and calibration
    are fitted on: `(scores, targets)` or `(scores, targets, patients)` of validation, or the path of an .npz; without
    it decisions are at 0.5, as a note says. `labels` name the columns of arrays, or choose those of files. A metric may
    carry a threshold policy, as `f1@0.5`.

    Raises `UsageError`, `DataError` or `UnknownNameError` for what cannot mean one thing.
    """
    from harness.choices import resolve_metrics
    from harness.cli.evaluation_listing import describe_evaluation
    from harness.cli.verbs.predictions import FEWEST_RESAMPLES, choose_metrics
    from harness.evaluation.evaluate import Protocol
    from harness.evaluation.subgroups import MEASURED
    from harness.scoring.systems import evaluate_system, pair_validation

    if resamples < FEWEST_RESAMPLES:
        raise UsageError(f"resamples = {resamples}: intervals need at least {FEWEST_RESAMPLES}")
    registry = _open_registry(plugins)
    names, chosen = choose_metrics(",".join(metrics), registry)
    tests = _read(scores, targets, patients, "scores", labels)
    vals = [] if val is None else _read(*_split_validation(val, patients), "val", labels)
    paired, notes = pair_validation(tests, vals, allow_overlap=False)
    protocol = Protocol(
        metrics=chosen,
        names=names,
        objective=names[0],
        subgroup_metrics=resolve_metrics(MEASURED, registry),
        resamples=resamples,
        seed=seed,
    )
    evaluation = evaluate_system(tests, paired, protocol)
    said = (*notes, *evaluation.notes)
    return SystemScore(
        metrics=_list_metrics(evaluation),
        labels=_list_labels(evaluation),
        notes=said,
        details={**describe_evaluation(evaluation), "notes": list(said), "resamples": resamples, "seed": seed},
    )


def load_row(
    board: str | Path,
    row: str | None = None,
    *,
    seed: int | Literal["all"] | None = None,
    device: str | None = None,
    plugins: Sequence[str | Path] | None = None,
) -> LoadedRow:
    """A trained row, ready to be applied to images, as `harness predict` does it.

    `board` is a board's folder and `row` the name of a row, or `board` is a `weights.safetensors` alone. `seed` is one
    of the row's, by default the first that has a result; with "all", all of them are an ensemble whose probabilities
    are averaged. `device` ("cpu", "cuda:1") and `plugins` (files) are those of the environment's HARNESS_DEVICE and
    HARNESS_PLUGIN unless given. What has to be known of its scores is a Python warning, and stands in `notes`.

    Raises `UsageError`, `UnknownNameError`, `DataError` or `WeightsError` where there is no such row, or no weights of
    it.
    """
    import torch

    from harness.cli.option_values import find_device
    from harness.scoring.rows import SEPARATOR
    from harness.serving.loading import open_row

    name = str(board) if row is None else f"{board}{SEPARATOR}{row}"
    chosen = torch.device(find_device(device or os.environ.get("HARNESS_DEVICE") or "auto"))
    loaded = open_row(name, _open_registry(plugins), chosen, (seed,) if isinstance(seed, int) else seed)
    for note in loaded.notes:
        _warn(note)
    return loaded


def _split_validation(val: Any, patients: Any) -> tuple[Any, Any, Any]:
    """Scores, targets and patients of validation. Of files, patients are named by the same column as the test's."""
    parts = [val] if isinstance(val, str | Path) else list(val)
    if not 1 <= len(parts) <= 3:
        raise UsageError(f"val has {len(parts)} parts; give (scores, targets), (scores, targets, patients) or a file")
    scores, targets, own = (*parts, None, None)[:3]
    return scores, targets, patients if own is None and isinstance(patients, str) else own


def _read(
    scores: Any, targets: Any, patients: Iterable[object] | str | None, source: str, labels: Sequence[str]
) -> list[Predictions]:
    """The seeds of one system, aligned, from files or from memory."""
    from harness.scoring.arrays import make_predictions
    from harness.scoring.sheets import Reading
    from harness.scoring.systems import align_seeds, find_files, read_seeds

    seeds = scores if isinstance(scores, list | tuple) and not _is_matrix(scores) else [scores]
    if all(isinstance(one, str | Path) for one in seeds):
        if patients is not None and not isinstance(patients, str):
            raise UsageError(f"{source}: patients of files are named by a column; give patients='COLUMN'")
        if targets is not None and not isinstance(targets, str | Path):
            raise UsageError(f"{source}: targets of files come from a file; give its path")
        files = [file for one in seeds for file in find_files(Path(one))]
        reading = Reading(patient=patients, labels=tuple(labels))
        return read_seeds(files, None if targets is None else Path(targets), None, reading)
    if any(isinstance(one, str | Path) for one in seeds) or isinstance(targets, str | Path):
        raise UsageError(f"{source}: give files for both scores and targets, or arrays for both")
    if targets is None:
        raise UsageError(f"{source}: give targets too, (images, labels) with 1, 0 or NaN")
    if isinstance(patients, str):
        raise UsageError(
            f"{source}: patients='{patients}' names a column of a file; of arrays, give an id for each image"
        )
    called = [source] if len(seeds) == 1 else [f"{source}, seed {number}" for number in range(len(seeds))]
    return align_seeds(
        [
            make_predictions(one, targets, labels=labels, patients=patients, source=name, called=source)
            for one, name in zip(seeds, called, strict=True)
        ]
    )


def _is_matrix(given: Any) -> bool:
    """Whether nested lists are one system's scores, and no list of arrays or files."""
    return bool(given) and all(isinstance(row, list | tuple) for row in given)


def _list_metrics(evaluation: SystemEvaluation) -> pd.DataFrame:
    rows = {}
    for name, metric in evaluation.metrics.items():
        low, high = metric.part.interval or (None, None)
        rows[name] = (metric.part.macro, low, high, metric.spread, metric.part.labels_used)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "deviation", "labels"])
    return table.astype(dict.fromkeys(("value", "low", "high", "deviation"), float)).rename_axis("metric")


def _list_labels(evaluation: SystemEvaluation) -> pd.DataFrame:
    first = next(iter(evaluation.metrics.values())).part
    columns: dict[str, dict[str, float | int | None]] = {"positives": {}, "negatives": {}}
    for label, counted in first.per_label.items():
        columns["positives"][label], columns["negatives"][label] = counted.positives, counted.negatives
    for name, metric in evaluation.metrics.items():
        for label, one in metric.part.per_label.items():
            low, high = one.interval or (None, None)
            for column, value in ((name, one.value), (f"{name}_low", low), (f"{name}_high", high)):
                columns.setdefault(column, {})[label] = value
    table = pd.DataFrame(columns).rename_axis("label")
    return table.astype({name: float for name in table.columns if name not in ("positives", "negatives")})


def _find_folder(given: str | Path | None, variable: str) -> Path | None:
    """The folder that is given, or that a variable of the environment names."""
    found = given if given is not None else os.environ.get(variable)
    return Path(found).expanduser() if found else None


def _open_registry(plugins: Sequence[str | Path] | None) -> Registry:
    """Load all plugins, warning of those that are broken."""
    from harness.registry import load_registry

    registry = load_registry(_list_plugins(plugins))
    for problem in registry.problems:
        _warn(f"plugin {problem.plugin} {problem.message}")
    return registry


def _list_plugins(plugins: Sequence[str | Path] | None) -> list[Path]:
    """The plugin files that are given, or that the environment names."""
    named = os.environ.get("HARNESS_PLUGIN", "").split(os.pathsep) if plugins is None else plugins
    return [Path(file) for file in named if file]


def _warn(text: str) -> None:
    """Tell the caller of a function of this module, at the line of the call, something that has to be known."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "harness":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=max(1, level))


def _hear_nothing(_: object) -> None:
    pass
