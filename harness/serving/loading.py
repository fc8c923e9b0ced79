"""From `BOARD::ROW`, or a weight file alone, to a row that is ready for use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.errors import DataError, UnknownNameError, UsageError
from harness.evaluation.calibration import Calibration, fit_platt
from harness.evaluation.predictions import Predictions
from harness.evaluation.thresholds import fit_on_validation
from harness.registry import Registry
from harness.results.artifacts import read_artifact
from harness.results.layout import WEIGHTS, run_path
from harness.results.record import Record
from harness.scoring.rows import SEPARATOR, MeasuredRow, find_row, read_row_predictions
from harness.scoring.sheets import Reading
from harness.serving.rows import LoadedRow, describe_calibration, describe_doubts, fit_single
from harness.serving.scores import Fitted
from harness.text import count, name_seeds
from harness.training.restore import Restored, restore

if TYPE_CHECKING:
    import torch

Seeds = Sequence[int] | Literal["all"] | None
"""Seeds of a row, all that have a result, or the first of them."""


def open_row(name: str, registry: Registry, device: torch.device, seeds: Seeds = None) -> LoadedRow:
    """The row that `BOARD::ROW` names, or that a weight file holds, on a device.

    Several seeds are an ensemble. Raises `UsageError` for a name of neither kind and for seeds of a weight file,
    `UnknownNameError` for a board, row, seed or model that there is not, `DataError` where the weights are missing or
    the row has none, `WeightsError` for weights that cannot be restored.
    """
    if SEPARATOR in name:
        return _open_measured(name, find_row(name), registry, device, seeds)
    if not name.endswith(".safetensors"):
        raise UsageError(f"{name} is no row: give BOARD::ROW, or the {WEIGHTS} of a finished row")
    if seeds is not None:
        raise UsageError(f"{name} is one seed: leave out --seeds, or give BOARD::ROW")
    member = restore(Path(name), registry, device)
    return LoadedRow(
        name=name,
        members=(member,),
        records=(),
        weights=(Path(name),),
        fitted=(fitted := fit_single(member)),
        notes=(*describe_doubts([member], registry), *describe_calibration(fitted, member.labels)),
    )


def open_each_seed(name: str, registry: Registry, device: torch.device) -> tuple[LoadedRow, ...]:
    """A row by each of its seeds whose weights are there, and last by their mean where they are several.

    What each says is what `open_row` says with its seeds. A weight file is one row. Raises as `open_row` does, also
    where no seed's weights are there.
    """
    if SEPARATOR not in name:
        return (open_row(name, registry, device),)
    row = find_row(name)
    there = tuple(record for record in row.records if (run_path(row.folder, record.key) / WEIGHTS).is_file())
    chosen = there or row.records[:1]  # where there are none, the first says why
    members = tuple(_restore_one(name, row, record, registry, device) for record in chosen)
    gone = [str(record.combo.seed) for record in row.records if record not in chosen]
    notes = [f"the weights of {name_seeds(gone)} are not here; make them: {row.command}"] if gone else []
    opened = [
        _load(name, row, (record,), (member,), registry, notes) for record, member in zip(chosen, members, strict=True)
    ]
    if len(chosen) > 1:
        opened.append(_load(name, row, chosen, members, registry, notes))
    return tuple(opened)


def _open_measured(name: str, row: MeasuredRow, registry: Registry, device: torch.device, seeds: Seeds) -> LoadedRow:
    chosen = _choose_records(name, row, seeds)
    members = tuple(_restore_one(name, row, record, registry, device) for record in chosen)
    return _load(name, row, chosen, members, registry, [])


def _load(
    name: str,
    row: MeasuredRow,
    chosen: tuple[Record, ...],
    members: tuple[Restored, ...],
    registry: Registry,
    said: Sequence[str],
) -> LoadedRow:
    """The row by the networks of some seeds, with what is `said` of it before all else."""
    notes = [*said, *describe_doubts(members, registry)]
    if len(chosen) == 1:
        fitted = fit_single(members[0])
    else:
        fitted, doubts = _fit_ensemble(name, replace(row, records=chosen), members)
        notes += doubts
    return LoadedRow(
        name=name,
        members=members,
        records=chosen,
        weights=tuple(run_path(row.folder, record.key) / WEIGHTS for record in chosen),
        fitted=fitted,
        measured=tuple(record.combo.seed for record in row.records),
        notes=(*notes, *describe_calibration(fitted, members[0].labels)),
    )


def _choose_records(name: str, row: MeasuredRow, seeds: Seeds) -> tuple[Record, ...]:
    """The records of the seeds that are asked for. Raises `UnknownNameError` for a seed without a current one."""
    records = {record.combo.seed: record for record in row.records}
    if seeds is None:
        return row.records[:1]
    if seeds == "all":
        return row.records
    for seed in seeds:
        if seed not in records:
            raise UnknownNameError(f"seed of {name} with a current result:", str(seed), map(str, records))
    return tuple(records[seed] for seed in dict.fromkeys(seeds))


def _restore_one(name: str, row: MeasuredRow, record: Record, registry: Registry, device: torch.device) -> Restored:
    """The network of one seed. Raises `DataError` where its weights are not there."""
    if record.external is not None:
        raise DataError(
            f"{name} was submitted: its predictions were made elsewhere, and there are no weights of it here"
        )
    if record.ensemble is not None:
        members = ", ".join(member.row for member in record.ensemble.members)
        raise DataError(f"{name} is an ensemble, which has no network of its own: name one of its members, {members}")
    if WEIGHTS not in record.artifacts:
        reason = "it is a control that trains no network" if record.combo.control else "its run has kept none"
        raise DataError(f"{name} has no weights: {reason}")
    path = run_path(row.folder, record.key) / WEIGHTS
    found = read_artifact(path, record.artifacts[WEIGHTS], lambda place: restore(place, registry, device))
    if found is None:
        raise DataError(
            f"{name}, seed {record.combo.seed}: its weights are not in {path} (they are not committed with a board); "
            f"make them: {row.command}"
        )
    return found


def _fit_ensemble(name: str, row: MeasuredRow, members: Sequence[Restored]) -> tuple[Fitted, list[str]]:
    """Thresholds and calibration of the mean of the seeds' probabilities, by their stored predictions of validation."""
    first = members[0]
    said = [f"the probabilities of {count(len(members), 'seed')} are averaged as an ensemble"]
    empty = np.full(len(first.labels), np.nan)
    try:
        seeds = read_row_predictions(name, row, Reading(unit=first.unit, pool=first.pool), "val")
    except DataError as error:
        thresholds = {
            policy: np.full(len(first.labels), 0.5) if policy == "0.5" else empty for policy in first.thresholds
        }
        said.append(f"the ensemble has no thresholds of validation and no calibration: {error}")
        return Fitted(thresholds=thresholds, calibration=Calibration(empty, empty), policy=first.policy), said
    averaged = _average(seeds, first.labels)
    thresholds = {policy: fit_on_validation(policy, averaged) for policy in first.thresholds}
    calibration = fit_platt(averaged.logits, averaged.targets)
    return Fitted(thresholds=thresholds, calibration=calibration, policy=first.policy), said


def _average(seeds: Sequence[Predictions], labels: tuple[str, ...]) -> Predictions:
    """The mean of the seeds' probabilities of validation, whose images are the same in all of them."""
    first = seeds[0].arrange(labels, "its weight file")
    scores = [one.arrange(labels, "its weight file").scores for one in seeds]
    return Predictions.from_scores(labels, first.image, first.patient, np.mean(scores, axis=0), first.targets)
