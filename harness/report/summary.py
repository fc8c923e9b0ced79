"""From a board's folder, or its records, to the rows of a leaderboard."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.board import Board, Ensemble, Row
from harness.components import LEAK
from harness.evaluation.common_labels import average, covers, find_common
from harness.evaluation.parts import MetricPart
from harness.evaluation.predictions import ONLY_RANKED
from harness.metric_names import DEFAULT_POLICY, full_name
from harness.report.beside import find_rows, set_beside
from harness.report.kinds import ZERO_SHOT, find_kind, find_share, gather_embeddings, sum_embeddings
from harness.report.leaderboard import Leaderboard, RowStatus, RowSummary, Spread
from harness.report.published import Published, read_published
from harness.report.significance import (
    add_intervals,
    add_seed_intervals,
    compare,
    find_leaders,
    gather,
)
from harness.report.titles import title_rows
from harness.results.ensembles import find_outdated
from harness.results.provenance import scrub_paths
from harness.results.record import EMBED, EfficiencyPart, PretrainingPart, Record
from harness.results.shadow import gather_pretraining
from harness.results.staleness import (
    AGAIN,
    LEFTOVER,
    current_fingerprint,
    is_leftover,
    why_evaluate_again,
    why_uncounted,
)
from harness.results.store import AllResamples, read_records
from harness.text import shorten_name

if TYPE_CHECKING:
    from harness.evaluation.resamples import Resamples

NOT_MADE = "not made yet; harness run makes it of rows that have a result, without training"
"""Why an ensemble has no record."""
MOST_COMPARED = 200
"""Best rows that are compared with each other: the number of pairs grows with its square."""


@dataclass(frozen=True, eq=False)
class BoardResults:
    """A board's records, summarized, with what lies beside them."""

    summary: Leaderboard
    resamples: Mapping[str, Resamples] = field(default_factory=dict)
    """Resamples by `ROW--sSEED`, read from their files when they are asked for."""
    problems: tuple[str, ...] = ()
    """A line for each file among the records that could not be read."""
    published: Published = field(default_factory=Published)
    """What `published.toml` says."""


def read_results(board: Board) -> BoardResults:
    """Read a board's records, resamples and published numbers and summarize them, once for all that shows them.

    Raises `UsageError` where `published.toml` is wrong.
    """
    published, stored = read_published(board.folder), read_records(board.folder)
    resamples = AllResamples(board.folder, stored.records)
    summary = summarize(board, stored.records, resamples)
    summary = replace(summary, beside=set_beside(published, summary))
    return BoardResults(summary, resamples, stored.problems, published)


def check_published(board: Board) -> None:
    """Read `published.toml` and look for the rows that it names. Raises `UsageError` for what is wrong."""
    published = read_published(board.folder)
    if any(row.row for row in published.rows):
        find_rows(published, summarize(board, read_records(board.folder).records))


def summarize(board: Board, records: Sequence[Record], resamples: Mapping[str, Resamples] | None = None) -> Leaderboard:
    """Average a board's records over seeds, rank its rows by the objective and say which of them differ.

    A record counts when it is done and belongs to what `board.toml` says now (dataset, options, row, seed) and to the
    data that most such records were made on. Others are stale: shown, not ranked. `resamples` has what lies beside the
    records, by `ROW--sSEED`.
    """
    on_board = {row.name: row for row in board.rows} | {one.name: one.as_row() for one in board.ensembles}
    fingerprint = current_fingerprint(board, [r for r in records if r.combo.row in on_board or r.external is not None])
    by_row: dict[str, list[Record]] = {name: [] for name in on_board}
    for record in sorted(records, key=lambda r: (r.combo.row, r.combo.seed)):
        by_row.setdefault(record.combo.row, []).append(record)
    outdated = find_outdated(board, records)
    stale = {id(r): why_uncounted(board, r, fingerprint) or outdated.get(r.combo.name) for r in records}
    counted = tuple(r for of_row in by_row.values() for r in of_row if r.status == "done" and stale[id(r)] is None)
    directions = _directions(board, counted)
    objective = full_name(board.objective, directions)
    rows = [
        _summarize_row(
            board, on_board.get(name) or _row_of(of_row[0]), name, [(r, stale[id(r)]) for r in of_row], directions
        )
        for name, of_row in by_row.items()
    ]
    higher = directions.get(objective, True)
    current = next((r for r in records if r.dataset.fingerprint == fingerprint and stale[id(r)] is None), None)
    systems = [row for row in rows if row.control is None] or rows
    labels = _share_labels([row for row in rows if _is_ranked(row, objective)] or systems, directions)
    rows = [_restrict(row, labels) for row in rows]
    ordered: list[RowSummary] = []
    drawn: dict[str, tuple[Resamples, ...]] = {}
    leaks = current is not None and LEAK in current.dataset.notes
    for row in _rank(rows, "" if leaks else objective, higher=higher):
        by_seed = gather(row, resamples or {})
        ordered.append(add_intervals(row, by_seed, objective, labels))
        drawn[row.name] = tuple(one.of(objective, labels=len(ordered) <= MOST_COMPARED) for one in by_seed)
    ranked = [row for row in ordered if row.rank is not None]
    best = ranked[:MOST_COMPARED]
    pairs, groups, obstacle = compare(best, drawn, objective, labels, higher=higher)
    over_seeds = {} if obstacle else add_seed_intervals(ranked)
    titles = title_rows(rows)
    return Leaderboard(
        board=board,
        objective=objective,
        directions=directions,
        rows=tuple(
            replace(over_seeds.get(row.name, row), group=groups.get(row.name), title=titles[row.name])
            for row in ordered
        ),
        data=current.dataset if current else None,
        counted=counted,
        pairs=pairs,
        obstacle=obstacle,
        leaders={} if obstacle else find_leaders(best, drawn, objective, higher=higher),
        labels=labels,
    )


# --- rows ------------------------------------------------------------------------------------------------------------


def _published(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without folders of the machine that the board was written on."""
    return {name: scrub_paths(value) if isinstance(value, str) else value for name, value in values.items()}


def _row_of(record: Record) -> Row:
    """The row of a record that the board does not name."""
    combo = record.combo
    return Row(model=combo.model, loss=combo.loss, recipe=combo.recipe, params=combo.params, control=combo.control)


def _directions(board: Board, records: Iterable[Record]) -> dict[str, bool]:
    """Every measured metric with its direction, in the order in which they are shown."""
    directions = {name: part.higher_is_better for record in records for name, part in record.metrics.items()}
    bases = [name.partition("@")[0] for name in board.metrics]

    def place(name: str) -> tuple[bool, int, bool, str]:
        base, _, policy = name.partition("@")
        return policy == "oracle", bases.index(base) if base in bases else len(bases), policy != DEFAULT_POLICY, name

    return {name: directions[name] for name in sorted(directions, key=place)}


def _summarize_row(
    board: Board, row: Row, name: str, judged: Sequence[tuple[Record, str | None]], metrics: Iterable[str]
) -> RowSummary:
    """`judged`: the row's records, each with why it is stale."""
    current = [record for record, stale in judged if stale is None]
    done = [record for record in current if record.status == "done"]
    spreads = {metric: _spread(done, metric) for metric in metrics}
    described = done or [record for record, _ in judged]
    return RowSummary(
        name=name,
        model=shorten_name(row.model),
        loss=row.loss,
        recipe=row.recipe,
        params={section: _published(values) for section, values in row.params.items()},
        status=_status(board, current, [record for record, _ in judged]),
        reasons=_reasons(board, name, judged),
        rank=None,
        seeds=tuple(record.combo.seed for record in done),
        metrics={metric: spread for metric, spread in spreads.items() if spread is not None},
        per_label={metric: _per_label(done, metric) for metric in spreads},
        efficiency=_efficiency(done),
        records=tuple(record for record, _ in judged),
        counted=tuple(done),
        kind=find_kind(described),
        share=find_share(described),
        embeddings=gather_embeddings(done),
        control=row.control,
        tuned=row.tuned,
        own_title=row.title,
        about=row.about,
        external=next((record.external for record, _ in judged if record.external is not None), None),
        submission=next((record.submission for record, _ in judged if record.submission is not None), None),
        pretraining=_gather_pretraining(done),
        ensemble=_find_ensemble(board, name, [record for record, _ in judged]),
        only_ranked=ONLY_RANKED if any(_is_only_ranked(record) for record in done) else "",
    )


def _find_ensemble(board: Board, name: str, records: Iterable[Record]) -> Ensemble | None:
    """What an ensemble is made of, as board.toml says or, where it does not any more, as its records do."""
    asked = (one for one in board.ensembles if one.name == name)
    made = (record.ensemble.definition for record in records if record.ensemble is not None)
    return next(itertools.chain(asked, made), None)


def _gather_pretraining(done: Iterable[Record]) -> tuple[PretrainingPart, ...]:
    """What a row's networks had seen before, each once; seeds that were run elsewhere may have counted it or not."""
    parts = (part for record in done for part in gather_pretraining(record))
    return tuple({part.model_dump_json(): part for part in parts}.values())


def _is_only_ranked(record: Record) -> bool:
    return any(part.why_left_out == ONLY_RANKED for part in record.metrics.values())


def _share_labels(rows: Sequence[RowSummary], metrics: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Metric -> the labels that are defined in every record of all these rows."""
    return find_common({metric: [part for row in rows for part in _parts(row, metric)] for metric in metrics})


def _restrict(row: RowSummary, labels: Mapping[str, Sequence[str]]) -> RowSummary:
    """The row with means over these labels; a metric that lacks one of them in a seed, as a control may, stays."""
    metrics = dict(row.metrics)
    for metric, shared in labels.items():
        if metric in metrics and all(covers(part, shared) for part in _parts(row, metric)):
            spread = _spread(row.counted, metric, shared)
            if spread is not None:
                metrics[metric] = spread
            elif row.control is None and not row.is_shadowed:
                del metrics[metric]
    return replace(row, metrics=metrics)


def _parts(row: RowSummary, metric: str) -> list[MetricPart]:
    """A metric in each record that counts and has a value of it."""
    parts = (record.metrics.get(metric) for record in row.counted)
    return [part for part in parts if part is not None and part.macro is not None]


def _status(board: Board, current: Sequence[Record], all_records: Sequence[Record]) -> RowStatus:
    statuses = [record.status for record in current]
    if "done" in statuses:
        if all(record.external is not None for record in current):
            return "done"
        return "done" if statuses.count("done") == len(board.seeds) else "partial"
    if statuses:
        return "failed" if "failed" in statuses else "skipped"
    return "stale" if all_records else "missing"


def _reasons(board: Board, name: str, judged: Sequence[tuple[Record, str | None]]) -> tuple[str, ...]:
    """Why a row is not simply done; seeds with one reason share a line."""
    seeds: dict[str, list[int]] = {}
    for record, stale in judged:
        if stale is not None:
            way_out = f"; {LEFTOVER}" if is_leftover(board, record) else ""
            seeds.setdefault(f"out of date: {stale}{way_out}", []).append(record.combo.seed)
        elif record.failure is not None:
            kind = f"failed ({record.failure.kind})" if record.status == "failed" else record.status
            text = f"{kind}: {record.failure.message} [{record.failure.where}]"
            seeds.setdefault(text, []).append(record.combo.seed)
        elif (lacks := why_evaluate_again(board, record)) is not None:
            seeds.setdefault(f"not evaluated as asked: {lacks}; {AGAIN}", []).append(record.combo.seed)
    present = {record.combo.seed for record, _ in judged}
    if name in board.row_names and (absent := [seed for seed in board.seeds if seed not in present]):
        seeds["not run yet" if name in board.trained_names else NOT_MADE] = absent
    return tuple(f"seed {', '.join(map(str, numbers))}: {reason}" for reason, numbers in seeds.items())


def _spread(done: Sequence[Record], metric: str, labels: Sequence[str] | None = None) -> Spread | None:
    """Average a metric over these labels, all of them defined, or over those that each record has."""
    parts = [(r.combo.seed, r.metrics[metric]) for r in done if metric in r.metrics]
    averaged = [
        (seed, part.macro, part.labels_used) if labels is None else (seed, average(part, labels), len(labels))
        for seed, part in parts
        if part.macro is not None
    ]
    defined = [(seed, value, used) for seed, value, used in averaged if value is not None]
    if not defined:
        return None
    seeds, values, used = zip(*defined, strict=True)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(mean=statistics.fmean(values), deviation=deviation, values=values, seeds=seeds, labels_used=min(used))


def _per_label(done: Iterable[Record], metric: str) -> dict[str, float]:
    by_label: dict[str, list[float]] = {}
    for record in done:
        for label, part in record.metrics[metric].per_label.items() if metric in record.metrics else ():
            if part.value is not None:
                by_label.setdefault(label, []).append(part.value)
    return {label: statistics.fmean(values) for label, values in by_label.items()}


PARTS = ("seconds", "embeddings")
"""What of the cost is no number."""


def _efficiency(done: Iterable[Record]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for record in done:
        cost = record.efficiency
        numbers = {name: getattr(cost, name) for name in EfficiencyPart.model_fields if name not in PARTS}
        own = [seconds for phase, seconds in cost.seconds.items() if phase != EMBED]
        numbers["device_hours"] = sum(own) / 3600 if own else None
        trains = "train" in cost.seconds and find_kind([record]) != ZERO_SHOT
        numbers["train_minutes"] = cost.seconds["train"] / 60 if trains else None
        numbers["embedding_seconds"] = sum_embeddings(cost)
        for name, number in numbers.items():
            if number is not None:
                values.setdefault(name, []).append(float(number))
    return {name: statistics.fmean(numbers) for name, numbers in values.items()}


def _is_ranked(row: RowSummary, objective: str) -> bool:
    """Whether a row is a system that the test was new to, with a value of the objective."""
    return objective in row.metrics and row.control is None and not row.is_shadowed


def _rank(rows: Sequence[RowSummary], objective: str, *, higher: bool) -> tuple[RowSummary, ...]:
    """Rows with a value of the objective first, best first, controls last; equal means share a rank."""
    sign = -1 if higher else 1
    means = {row.name: sign * row.metrics[objective].mean for row in rows if _is_ranked(row, objective)}
    ranked = sorted((row for row in rows if row.name in means), key=lambda row: (means[row.name], row.name))
    places = [1 + sum(other < means[row.name] for other in means.values()) for row in ranked]
    first = (replace(row, rank=place) for row, place in zip(ranked, places, strict=True))
    others = sorted((row for row in rows if row.name not in means), key=lambda row: row.control is not None)
    return (*first, *others)
