"""What a run would do: every combo of a board with its key, and why it is to be run or why its record is current."""

from __future__ import annotations

import contextlib
import fnmatch
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.board import BOARD_FILE, Board, Combo
from harness.choices import (
    Choices,
    list_files,
    list_metrics,
    list_watched,
    require_loss,
    require_scored,
    resolve_metrics,
    resolve_rows,
)
from harness.components import SPLITS, TOLD, Data, Metric, Recipe
from harness.data.boxes import Boxes, explain_no_boxes, find_boxes
from harness.data.columns import table_digest
from harness.data.loading import Source, find_source, list_units, load_disjoint, require_units
from harness.data.pools import find_pools
from harness.data.prepare import Prepared, describe_left_out, prepare
from harness.data.pretraining import PretrainingSource
from harness.data.subsets import Subset, draw_subset
from harness.errors import DataError, UnknownNameError, UsageError, WeightsError
from harness.evaluation.evaluate import Protocol
from harness.evaluation.predictive import require_prevalence
from harness.evaluation.subgroups import MEASURED
from harness.execution.controls import shuffle_targets
from harness.execution.events import Listener, Noted, Preparing
from harness.execution.job import Job, reason_to_skip
from harness.metric_names import require_labels, split_name
from harness.registry import Registry
from harness.results.identity import (
    describe_origin,
    explain_missing_origin,
    fingerprint,
    fingerprint_test,
    identify_combo,
    weights_identity,
)
from harness.results.provenance import scrub_paths
from harness.results.record import PretrainingPart, Record
from harness.results.shadow import DECLARED_OTHERWISE, find_shadow, is_told
from harness.results.staleness import why_evaluate_again
from harness.results.store import read_records
from harness.scoring.reader_files import ReaderFiles, read_board_readers
from harness.training import VERSION
from harness.training.declaration import list_seen
from harness.training.engine import DEFAULT_ENGINE_OPTIONS, EngineOptions, set_up_process
from harness.training.published import fetch_origin, require_published

FORCED = "forced"
"""Why a combo is run that has a current record."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where a run finds and leaves things, and which part of a board it does."""

    data_root: Path
    cache: Path
    device: str
    """`cpu`, `cuda` or `cuda:N`; a string, since importing torch takes longer than a plan."""
    only: str | None = None
    """A glob over the names of rows."""
    seeds: tuple[int, ...] | None = None
    """Some of the board's seeds."""
    force: bool = False
    """Run what has a current record, too."""
    dry: bool = False
    """Only plan: decode nothing."""
    engine: EngineOptions = DEFAULT_ENGINE_OPTIONS


@dataclass(frozen=True)
class Planned:
    """A combo, and why it is to be run; no reason means that its record is current."""

    job: Job
    reason: str | None
    before: Record | None = None
    """The record that there is."""
    lacks: str | None = None
    """Why the stored predictions of a current record are to be evaluated again; None where they are not."""


@dataclass(kw_only=True)
class DataBySize:
    """A board's data as its combos ask for it: label files read once, images prepared once a size."""

    source: Source
    settings: Settings
    listener: Listener
    data: Data
    has_maps: bool = False
    """Whether the board has a metric of heat maps, which needs the boxes."""
    sizes: dict[int, SizedData] = field(default_factory=dict)

    def at(self, load_size: int) -> SizedData:
        """The images at a size, and the fingerprint of those in use."""
        if load_size not in self.sizes:

            def progress(done: int, total: int) -> None:
                self.listener(Preparing(self.source.dataset.name, done, total))

            def remark(text: str) -> None:
                self.listener(Noted(text))

            where, decode_now = self.settings.cache, not self.settings.dry
            started = time.perf_counter()
            prepared = Prepared(data=self.data, images=np.empty((0, load_size, load_size), dtype=np.uint8))
            with _told_where_dry(self.settings, self.listener):
                prepared = prepare(self.source, self.data, load_size, where, progress, remark, decode_now=decode_now)
            left_out = describe_left_out(prepared)
            if left_out is not None and not self.sizes:  # the same for all sizes
                remark(left_out)
            _require_splits(self.source, prepared.data)
            seconds = time.perf_counter() - started
            boxes = find_boxes(prepared.data) if self.has_maps else None
            self.sizes[load_size] = SizedData(prepared, fingerprint(prepared.data), seconds, boxes)
        return self.sizes[load_size]


@dataclass(frozen=True, eq=False)
class SizedData:
    """Images of one size."""

    prepared: Prepared
    fingerprint: str
    seconds: float
    """Seconds that it took to have them."""
    boxes: Boxes | None = None
    """What heat maps are held against, where they are."""


def plan(board: Board, registry: Registry, settings: Settings, listener: Listener) -> tuple[Planned, ...]:
    """Every combo that the settings choose, with the reason to run it where there is one.

    Raises `HarnessError` for anything that the board cannot mean, before any of it is run.
    """
    set_up_process(settings.engine, settings.cache)
    _require_no_folders(board)
    rows = resolve_rows(board, registry)
    metrics, in_groups = (resolve_metrics(names, registry) for names in (list_metrics(board, rows), MEASURED))
    require_scored([board.objective, *list_watched(rows)], registry)
    chosen = _choose(board, settings)
    used = {combo.row.name: rows[combo.row.name] for combo in chosen}
    missing = _find_missing_weights(used, fetch=not settings.dry)
    weights = {name: _identify_weights(choices, missing.get(name)) for name, choices in used.items()}
    made_of = {name: describe_origin(choices) for name, choices in used.items() if name not in missing}
    begun = {name for name, choices in used.items() if choices.row.control != "prevalence"} - missing.keys()
    seen = {name: list_seen(choices) if name in begun else () for name, choices in used.items()}
    records = {(r.combo.row, r.combo.seed): r for r in read_records(board.folder).records}
    source = find_source(registry.offer("dataset", board.dataset), board.options, settings.data_root)
    loaded = load_disjoint(source)
    require_units(source, loaded, board.unit)
    for note in (note for note in TOLD if note in loaded.notes):
        listener(Noted(f"{note.replace('_', ' ')}: {loaded.notes[note]}"))
    on_maps = [metric.name for metric in metrics if metric.on == "maps"]
    _require_boxes(source, loaded, on_maps)
    for choices in used.values():
        require_loss(choices, loaded.labels)
    data = DataBySize(source=source, settings=settings, listener=listener, data=loaded, has_maps=bool(on_maps))
    lacking = {combo.row.name for combo in chosen if (combo.row.name, combo.seed) not in records} - missing.keys()
    wanted = [used[name] for name in used if name in lacking]
    with _told_where_dry(settings, listener):
        _require_weights(wanted)
    offers = [registry.offer("dataset", board.dataset)]
    offers += [registry.offer("metric", split_name(name)[0]) for name in list_metrics(board, rows)]
    readers = read_board_readers(board)
    if readers is not None:
        readers.require_read(list_units(loaded, "test", board.unit), board.unit)
    maker = JobMaker(
        board=board,
        settings=settings,
        source=source,
        metrics=metrics,
        in_groups=in_groups,
        weights=weights,
        made_of=made_of,
        missing=missing,
        registry=registry,
        seen=seen,
        plugins=list_files(offers),
        readers=readers,
    )
    planned = []
    for combo in chosen:
        choices = used[combo.row.name]
        job = maker.make(combo, choices, data.at(choices.recipe.load_size))
        before = records.get((combo.row.name, combo.seed))
        reason = _reason(before, job, settings)
        if job.missing is not None and before is not None and before.status == "done":
            listener(Noted(f"{combo.name} keeps the result that it has: {job.missing}"))
        lacks = _why_again(board, before, job) if before is not None and reason is None else None
        planned.append(Planned(job, reason, before, lacks))
    _refuse_if_all_are_skipped([item.job for item in planned])
    return tuple(planned)


@dataclass(frozen=True, eq=False, kw_only=True)
class JobMaker:
    """Makes the jobs of a plan of what all of them have in common."""

    board: Board
    settings: Settings
    source: Source
    metrics: tuple[Metric, ...]
    in_groups: tuple[Metric, ...]
    """Metrics of subgroups."""
    weights: Mapping[str, str]
    """Row -> the identity of its initial weights."""
    made_of: Mapping[str, Mapping[str, Any] | None]
    """Row -> what its network is made of beside code; those that lack it are absent."""
    missing: Mapping[str, str]
    """Row -> why its initial weights are not there; those that have theirs are absent."""
    registry: Registry
    seen: Mapping[str, tuple[PretrainingSource, ...]]
    """Row -> what its network has seen before."""
    plugins: tuple[str, ...]
    """Plugin files that the dataset and the metrics come from."""
    readers: ReaderFiles | None
    """Who stands beside the networks."""
    subsets: dict[tuple[Any, ...], Subset | None] = field(default_factory=dict)
    """The training patients in use, by all that they are drawn from: rows that use the same share what is made."""
    shadows: dict[tuple[tuple[str, ...], str], list[PretrainingPart]] = field(default_factory=dict)
    """What was found for each list of sources and fingerprint of data: label files are read once."""

    def make(self, combo: Combo, choices: Choices, sized: SizedData) -> Job:
        """Make the job of a combo, with images of the size that it loads.

        Raises `UnknownNameError` or `UsageError` for a prevalence, a policy or a share of the draw that no
        label of the data can have.
        """
        board, settings, data = self.board, self.settings, sized.prepared.data
        shuffled = combo.row.control == "shuffled"
        prepared = shuffle_targets(sized.prepared, combo.seed) if shuffled else sized.prepared
        subset = self._draw(prepared, choices.recipe, sized.fingerprint, combo.seed)
        used = (prepared if subset is None else subset.prepared).data
        require_prevalence(board.prevalence, data.labels)
        require_labels(board.metrics, data.labels)
        find_pools(used.targets[(used.table["split"] == "train").to_numpy()], used.labels, choices.recipe.oversample)
        objective = next(metric for metric in self.metrics if metric.name == board.objective.partition("@")[0])
        identity = identify_combo(
            self.source,
            sized.fingerprint,
            choices,
            combo.seed,
            objective=objective.name,
            weights=self.weights[combo.row.name],
            engine=VERSION,
            table=table_digest(data, columns) if (columns := choices.model.inputs.table) else None,
            made_of=self.made_of.get(combo.row.name),
        )
        return Job(
            board=board,
            combo=combo,
            choices=choices,
            key=identity.key,
            parts=identity.digests,
            made_of=self.made_of.get(combo.row.name),
            source=self.source,
            prepared=prepared,
            subset=subset,
            fingerprint=sized.fingerprint,
            protocol=Protocol.of_board(
                board,
                self.metrics,
                self.in_groups,
                fingerprint_test(data) or sized.fingerprint,
                None if self.readers is None else self.readers.make_panel,
            ),
            objective=objective,
            device_name=settings.device,
            engine=settings.engine,
            prepare_seconds=sized.seconds,
            boxes=sized.boxes,
            resume=not settings.force,
            plugins=tuple(dict.fromkeys((*choices.plugins, *self.plugins))),
            missing=self.missing.get(combo.row.name),
            seen=self.seen[combo.row.name],
            pretraining=self._find_shadow(self.seen[combo.row.name], sized),
        )

    def _draw(self, prepared: Prepared, recipe: Recipe, fingerprint: str, seed: int) -> Subset | None:
        """The training patients in use, where they are not all."""
        drawn = id(prepared.data.table), recipe.load_size, fingerprint, seed, recipe.train_share, recipe.train_positives
        if drawn not in self.subsets:
            self.subsets[drawn] = draw_subset(prepared, recipe, fingerprint, seed)
        return self.subsets[drawn]

    def _find_shadow(self, seen: tuple[PretrainingSource, ...], sized: SizedData) -> list[PretrainingPart]:
        """Hold the test images in use against what a network has seen."""
        found = tuple(one.model_dump_json() for one in seen), sized.fingerprint
        if found not in self.shadows:
            root = self.settings.data_root
            self.shadows[found] = find_shadow(seen, self.source, sized.prepared.data, root, self.registry)
        return self.shadows[found]


# --- what is refused --------------------------------------------------------------------------------------------------


def _choose(board: Board, settings: Settings) -> tuple[Combo, ...]:
    """The combos that `only` and `seeds` leave."""
    for seed in settings.seeds or ():
        if seed not in board.seeds:
            seeds = ", ".join(map(str, board.seeds))
            raise UsageError(
                f"--seeds {seed}: the board has the seeds {seeds}; add it to seeds in {board.folder / BOARD_FILE}"
            )
    if not board.rows:
        raise UsageError(
            f"the board in {board.folder} has no [[rows]], so there is nothing to train; name models, losses and "
            f"recipes in {board.folder / BOARD_FILE}, or with --dataset, --models, --losses, --recipes and --board"
        )
    combos = tuple(
        combo
        for combo in board.combos()
        if (settings.seeds is None or combo.seed in settings.seeds)
        and (settings.only is None or fnmatch.fnmatchcase(combo.row.name, settings.only))
    )
    if not combos:
        raise UnknownNameError("row", settings.only or "", {row.name for row in board.rows})
    return combos


def _why_again(board: Board, record: Record, job: Job) -> str | None:
    """Why a current record is to be evaluated again, or None."""
    lacks = why_evaluate_again(board, record)
    if (
        lacks is None
        and record.status == "done"
        and job.missing is None
        and not is_told(job.pretraining, record.pretraining)
    ):
        return DECLARED_OTHERWISE
    return lacks


def _reason(record: Record | None, job: Job, settings: Settings) -> str | None:
    if record is None:
        return "no record"
    if record.status == "done" and job.missing is not None:
        return None  # another machine had the weights
    if record.key != job.key:
        return "out of date: data, choices or versions have changed"
    if settings.force:
        return FORCED
    return f"failed before: {record.failure.kind}" if record.status == "failed" and record.failure else None


def _find_missing_weights(used: Mapping[str, Choices], *, fetch: bool) -> dict[str, str]:
    """Row -> why its initial weights, or what its model is made of, are not there: it is skipped, and the others run.

    Raises `WeightsError` where no row has them, before anything is read.
    """
    found = {name: explain_missing_origin(choices) for name, choices in used.items()}
    for name in (name for name, why in found.items() if why is not None and fetch):
        found[name] = fetch_origin(used[name].model) or explain_missing_origin(used[name])
    missing = {name: why for name, why in found.items() if why is not None}
    if len(missing) == len(used):
        raise WeightsError(next(iter(missing.values())))
    return missing


def _identify_weights(choices: Choices, missing: str | None) -> str:
    """The identity of a row's initial weights; of a file that is not there, one that changes when it comes."""
    return "missing" if missing is not None else weights_identity(choices.model, choices.recipe.weights)


@contextlib.contextmanager
def _told_where_dry(settings: Settings, listener: Listener) -> Iterator[None]:
    """Where nothing is run, tell why a run would stop here, and go on with the plan by the label files alone."""
    try:
        yield
    except (DataError, WeightsError) as error:
        if not settings.dry:
            raise
        listener(Noted(f"a run here would stop: {error}"))


def _require_weights(lacking: list[Choices]) -> None:
    """Refuse to prepare images for combos none of which could get its weights."""
    published = ("imagenet", "pretrained")
    if not lacking or any(c.recipe.weights not in published or c.model.origin is not None for c in lacking):
        return
    errors = []
    for choices in {(c.model.name, c.recipe.size): c for c in lacking}.values():
        try:
            require_published(choices.model, choices.recipe.size, choices.model_params)
        except WeightsError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def _require_no_folders(board: Board) -> None:
    """Refuse to publish with every record where something lies on this machine."""
    options = [*board.options.items(), *(item for test in board.tests for item in test.options.items())]
    for name, value in options:
        if isinstance(value, str) and scrub_paths(value) != value:
            raise UsageError(
                f"{name} = {value!r} of the dataset is a path of this machine, which records would publish; put it "
                "under --data-root, which they do not, and name it from there"
            )


def _require_splits(source: Source, data: Data) -> None:
    """Refuse a dataset with an empty split: there would be nothing to train on, to decide on or to measure."""
    there = set(data.table["split"])
    empty = [split for split in SPLITS if split not in there]
    if empty:
        raise DataError(
            f"dataset '{source.dataset.name}' has no images in {' and '.join(empty)}; choose another split or more data"
        )


def _require_boxes(source: Source, data: Data, metrics: Sequence[str]) -> None:
    """Refuse metrics of heat maps on a dataset whose test has no boxes to hold them against."""
    why = explain_no_boxes(data) if metrics else None
    if why is not None:
        raise UsageError(
            f"{', '.join(metrics)} of heat maps cannot be measured on '{source.dataset.name}': {why}; take "
            f"{'it' if len(metrics) == 1 else 'them'} out of metrics in board.toml"
        )


def _refuse_if_all_are_skipped(jobs: list[Job]) -> None:
    reasons = [reason_to_skip(job) for job in jobs]
    if reasons and all(reasons):
        raise UsageError(f"nothing can be run: {reasons[0]}")
