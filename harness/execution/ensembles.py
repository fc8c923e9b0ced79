"""Ensembles made of stored predictions: nothing is trained, and no data are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.board import ENSEMBLE, Board, Ensemble, OutsideTest
from harness.choices import resolve_metrics
from harness.components import Metric
from harness.errors import ClaimLostError, DataError, UsageError
from harness.evaluation.ensembles import Merit, Selection, average, select
from harness.evaluation.evaluate import Protocol, evaluate
from harness.evaluation.pooling import require_stored_units
from harness.evaluation.predictions import Predictions
from harness.evaluation.resamples import Resamples
from harness.evaluation.subgroups import MEASURED
from harness.execution.claims import Claims
from harness.execution.ensemble_plan import why_made
from harness.execution.outside_parts import MadePart, evaluate_outside, explain, make_part
from harness.execution.rescore import rescore
from harness.execution.stored import load_stored
from harness.lease_files import FileLease
from harness.registry import Registry
from harness.results.artifacts import stage
from harness.results.description import describe_evaluation
from harness.results.ensembles import EnsemblePlan, outside_key, plan_ensembles
from harness.results.layout import outside_file, predictions_file
from harness.results.provenance import describe_run
from harness.results.record import (
    EMBED,
    ComboPart,
    EfficiencyPart,
    EnsemblePart,
    MemberPart,
    OutsidePart,
    PretrainingPart,
    ProvenancePart,
    Record,
)
from harness.results.shadow import gather_pretraining
from harness.results.staleness import why_evaluate_again
from harness.results.store import read_record, read_records, run_folder, write_record
from harness.scoring.alignment import align, require_same_targets, share_patients
from harness.scoring.reader_files import read_board_readers

Hear = Callable[[str], None]


@dataclass(frozen=True)
class _Rules:
    """What all ensembles of a board are made by."""

    metrics: tuple[Metric, ...]
    in_groups: tuple[Metric, ...]
    make_panel: Any

    def protocol(self, board: Board, drawn_by: str) -> Protocol:
        return Protocol.of_board(board, self.metrics, self.in_groups, drawn_by, self.make_panel)


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The members of an ensemble, with how often each counts."""

    records: tuple[Record, ...]
    weights: tuple[int, ...]
    val: Predictions | None
    """The average of their predictions of validation; None where a member has none."""
    selection: Selection | None
    """How they were picked; None where nothing was."""


def make_ensembles(board: Board, registry: Registry, mention: Hear, warn: Hear, again: str | None = None) -> list[str]:
    """Make what a board's ensembles lack, seed by seed, and what is made of other predictions than it would be now.

    The row named `again` is made whatever lies there. `mention` hears the name of each record before its turn, `warn`
    why a seed has no ensemble. Gives a line for each that could have been made and was not.
    """
    if not board.ensembles:
        return []
    records = read_records(board.folder).records
    made = {record.combo.name: record for record in records if record.ensemble is not None}
    plans = plan_ensembles(board, records)
    for line in _tell_lacking(plans):
        warn(line)
    todo = [one for one in plans if not one.lacking and _is_wanted(board, one, made.get(one.name), again)]
    left = _make_all(board, registry, todo, mention, again) if todo else []
    done = {one.name for one in todo}
    changed = [name for name, one in made.items() if name not in done and _lacks_numbers(board, plans, one)]
    if changed:
        left += rescore(board, registry, mention, changed).left
    for line in left:
        warn(line)
    return left


def _is_wanted(board: Board, plan: EnsemblePlan, record: Record | None, again: str | None) -> bool:
    return plan.ensemble.name == again or why_made(board, plan, record) is not None


def _lacks_numbers(board: Board, plans: Iterable[EnsemblePlan], record: Record) -> bool:
    """Whether an ensemble that is made is to be evaluated again."""
    current = any(plan.name == record.combo.name and plan.key == record.key for plan in plans)
    return current and why_evaluate_again(board, record) is not None


def _tell_lacking(plans: Iterable[EnsemblePlan]) -> list[str]:
    """Say which seeds have no ensemble, and why: seeds of one reason share a line."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for one in plans:
        if one.lacking:
            title = one.ensemble.title or one.ensemble.name
            seeds.setdefault((title, one.lacking), []).append(one.seed)
    return [f"seed {', '.join(map(str, numbers))} has no {title}: {why}" for (title, why), numbers in seeds.items()]


def require_pickable(board: Board, registry: Registry, ensemble: Ensemble) -> None:
    """Raise `UsageError` for a greedy ensemble whose average has no value of the board's objective."""
    if ensemble.greedy is not None:
        _find_merit(board, resolve_metrics(board.metrics, registry)).require(ensemble.average)


def _make_all(
    board: Board, registry: Registry, plans: Sequence[EnsemblePlan], mention: Hear, again: str | None
) -> list[str]:
    """Make what nobody else is making; gives a line for each that could not be made."""
    metrics, in_groups = (resolve_metrics(names, registry) for names in (board.metrics, MEASURED))
    readers, claims, left = read_board_readers(board), Claims(board.folder), []
    rules = _Rules(metrics, in_groups, None if readers is None else readers.make_panel)
    for plan in plans:
        mention(plan.name)
        claim = claims.take(plan.name, key=plan.key)
        if claim is None:
            continue  # another process makes it
        try:
            there = read_record(board.folder, plan.ensemble.name, plan.seed)  # which another one may have made by now
            if _is_wanted(board, plan, there, again):
                _make(board, plan, rules, claim)
        except (DataError, UsageError, ClaimLostError) as error:
            left.append(f"{plan.name}: {error}")
        finally:
            claim.release()
    return left


def _make(board: Board, plan: EnsemblePlan, rules: _Rules, claim: FileLease) -> None:
    """Make one record, with its predictions and what lies beside it."""
    import torch

    chosen = _choose(board, plan, rules)
    dataset = chosen.records[0].dataset.model_copy(update={"pixels": None, "table": None})
    test = average(_read(board, chosen.records, "test"), chosen.weights, plan.ensemble.average)
    protocol = rules.protocol(board, dataset.draw)
    evaluation = evaluate(test, chosen.val, protocol)
    claim.require()
    folder = run_folder(board.folder, plan.key)
    splits = {"test": test} | ({} if chosen.val is None else {"val": chosen.val})
    artifacts = {
        predictions_file(name): stage(folder / predictions_file(name), one.write) for name, one in splits.items()
    }
    made_by = describe_run(torch.device("cpu"))
    outside, drawn = _make_outside(board, plan, chosen, protocol, made_by)
    record = Record(
        key=plan.key,
        combo=_describe_combo(board, plan),
        ensemble=_describe_ensemble(board, plan, chosen),
        status="done",
        dataset=dataset,
        pretraining=_unite_pretraining(gather_pretraining(one) for one in chosen.records),
        outside=outside,
        efficiency=add_costs([record.efficiency for record in chosen.records]),
        artifacts=artifacts,
        provenance=made_by,
        **describe_evaluation(evaluation),
    )
    claim.require()
    write_record(board.folder, record, evaluation.resamples, drawn)


def _choose(board: Board, plan: EnsemblePlan, rules: _Rules) -> _Chosen:
    """All candidates once or, where the ensemble is greedy, those that validation picks."""
    candidates, how, steps = plan.candidates, plan.ensemble.average, plan.ensemble.greedy
    if steps is None:
        weights = (1,) * len(candidates)
        without = any(record.is_without_validation for record in candidates)
        val = None if without else average(_read(board, candidates, "val"), weights, how)
        return _Chosen(candidates, weights, val, None)
    vals = _read(board, candidates, "val")
    found = select(vals, how, _find_merit(board, rules.metrics), steps)
    taken = [place for place, weight in enumerate(found.weights) if weight]
    weights = tuple(found.weights[place] for place in taken)
    val = average([vals[place] for place in taken], weights, how)
    return _Chosen(tuple(candidates[place] for place in taken), weights, val, found)


def _find_merit(board: Board, metrics: Sequence[Metric]) -> Merit:
    """What members are picked by: the board's objective."""
    metric = next(one for one in metrics if one.name == board.objective.partition("@")[0])
    return Merit(metric=metric, name=board.objective, unit=board.unit, pool=board.pool)


def _read(board: Board, records: Sequence[Record], split: str) -> list[Predictions]:
    """The stored predictions of a split, aligned. Raises `DataError` where one is not there or they do not fit."""
    file = predictions_file(split)
    return _read_file(board, records, file, [record.artifacts.get(file) for record in records])


def _read_file(board: Board, records: Sequence[Record], file: str, digests: Sequence[str | None]) -> list[Predictions]:
    stored = []
    for record, digest in zip(records, digests, strict=True):
        try:
            one = load_stored(board.folder, record.key, file, digest)
            require_stored_units(one, board.unit)
        except DataError as error:
            raise DataError(f"{record.combo.name}: {error}") from None
        stored.append(one)
    require_same_targets(stored)
    return share_patients(align(stored))


# --- outside tests ---------------------------------------------------------------------------------------------------


def _make_outside(
    board: Board, plan: EnsemblePlan, chosen: _Chosen, protocol: Protocol, made_by: ProvenancePart
) -> tuple[dict[str, OutsidePart], dict[str, Resamples]]:
    """Parts of the outside tests of which every member has stored predictions, and what lies beside them."""
    parts, drawn = {}, {}
    for test in board.tests:
        key = outside_key(chosen.records, test.key)
        if key is None or chosen.val is None:
            continue
        try:
            made = _measure_outside(board, plan, chosen, test, protocol)
        except DataError as error:
            parts[test.key] = make_part(test, made_by, "failed", explain("data", str(error)), key=key)
            continue
        parts[test.key] = made.part.model_copy(update={"key": key, "provenance": made_by})
        if made.resamples is not None:
            drawn[test.key] = made.resamples
    return parts, drawn


def _measure_outside(
    board: Board, plan: EnsemblePlan, chosen: _Chosen, test: OutsideTest, protocol: Protocol
) -> MadePart:
    """Measure the average of the members' stored predictions of an outside test, and stage it."""
    assert chosen.val is not None
    file, theirs = outside_file(test.key), [record.outside[test.key] for record in chosen.records]
    stored = _read_file(board, chosen.records, file, [part.artifacts.get(file) for part in theirs])
    predictions = average(stored, chosen.weights, plan.ensemble.average)
    seen = _unite_pretraining(part.pretraining for part in theirs)
    made = evaluate_outside(theirs[0].model_copy(update={"pretraining": seen}), predictions, chosen.val, protocol)
    digest = stage(run_folder(board.folder, plan.key) / file, predictions.write)
    return replace(made, part=made.part.model_copy(update={"artifacts": {file: digest}}))


# --- what its record says --------------------------------------------------------------------------------------------


def _describe_combo(board: Board, plan: EnsemblePlan) -> ComboPart:
    return ComboPart(
        dataset=board.dataset,
        options=dict(board.options),
        model=ENSEMBLE,
        loss="",
        recipe="",
        params={},
        seed=plan.seed,
        row=plan.ensemble.name,
        resolved={},
    )


def _describe_ensemble(board: Board, plan: EnsemblePlan, chosen: _Chosen) -> EnsemblePart:
    members = zip(chosen.records, chosen.weights, strict=True)
    return EnsemblePart(
        rows=list(plan.ensemble.rows),
        average=plan.ensemble.average,
        greedy=plan.ensemble.greedy,
        metric=None if chosen.selection is None else board.objective,
        values=[] if chosen.selection is None else list(chosen.selection.values),
        candidates=[record.combo.row for record in plan.candidates],
        members=[MemberPart(row=record.combo.row, key=record.key, weight=weight) for record, weight in members],
    )


def _unite_pretraining(parts: Iterable[Sequence[PretrainingPart]]) -> list[PretrainingPart]:
    """What any member had seen before, each once."""
    return list({part.model_dump_json(): part for of_member in parts for part in of_member}.values())


def add_costs(members: Sequence[EfficiencyPart]) -> EfficiencyPart:
    """What the members cost together, each once; what one of them does not tell, nobody knows of all.

    Images a second are those of one member after the other, memory is that of the largest. What members share is
    counted once: the same embeddings, and the network that made them. The time of embeddings stands beside the phases,
    as it is no matter which member's turn it was to make them.
    """
    networks = list({_identify_network(number, one): one for number, one in enumerate(members)}.values())

    def gather(name: str, parts: Sequence[EfficiencyPart] = members) -> list[Any] | None:
        values = [getattr(one, name) for one in parts]
        return None if any(value is None for value in values) else values

    speeds = gather("inference_images_per_second", networks)
    sums = {name: gather(name, networks) for name in ("parameters", "flops_per_image")} | {"joules": gather("joules")}
    peaks = gather("peak_device_bytes")
    phases = dict.fromkeys(phase for one in members for phase in one.seconds)
    known = all(one.seconds for one in members)
    return EfficiencyPart(
        inference_images_per_second=1 / sum(1 / speed for speed in speeds) if speeds and all(speeds) else None,
        peak_device_bytes=max(peaks) if peaks else None,
        seconds={phase: sum(one.seconds.get(phase, 0.0) for one in members) for phase in phases if phase != EMBED}
        if known
        else {},
        embeddings=list({part.digest: part for one in members for part in one.embeddings}.values()) if known else [],
        **{name: sum(values) if values else None for name, values in sums.items()},
    )


def _identify_network(number: int, member: EfficiencyPart) -> tuple[object, ...]:
    """What is the same of two members whose scores come from one pass of one frozen network."""
    return tuple(part.digest for part in member.embeddings) or (number,)
