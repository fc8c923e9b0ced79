"""What a finished row is worth on an outside test, as a part of its record; nothing is read or written here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import LEAK
from harness.data.outside import OutsideData
from harness.data.overlap import Overlap
from harness.data.prepare import Prepared
from harness.errors import DataError
from harness.evaluation.evaluate import Protocol, evaluate
from harness.evaluation.predictions import Predictions
from harness.evaluation.resamples import Resamples
from harness.evaluation.subgroups import find_groups
from harness.metric_names import is_of
from harness.results.description import describe_evaluation, describe_notes, describe_splits
from harness.results.identity import fingerprint
from harness.results.layout import RESAMPLES, WEIGHTS
from harness.results.provenance import scrub
from harness.results.record import (
    DatasetPart,
    FailureKind,
    FailurePart,
    OutsideLabel,
    OutsidePart,
    ProvenancePart,
    Record,
    Status,
)
from harness.units import Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.board import OutsideTest
    from harness.data.terms import LabelMatches

NO_OVERLAP = Overlap()
VERSION = 1
"""Version of how outside tests are made, raised when their numbers change."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedTest:
    """An outside test with its images at one size."""

    found: OutsideData
    prepared: Prepared
    overlap: Overlap = NO_OVERLAP
    """What of it the networks have learned from."""
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> FailurePart | None:
        """Why nothing may be measured on it: networks have learned from it, and nobody accepted that."""
        if not self.overlap or self.found.source.allow_leaks:
            return None
        return explain(
            "data",
            f"{self.overlap.describe()}, so results would be too good; take these out, or accept them with "
            "allow_leaks = true in the [[test]] table, which marks the test and ranks nothing by it",
        )

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of its images in use, with the targets of the labels that are met."""
        return fingerprint(self.prepared.data)

    @cached_property
    def description(self) -> DatasetPart:
        """Its images, labels and notes, as a record has them."""
        data, dataset = self.prepared.data, self.found.source.dataset
        notes = describe_notes(self.prepared)
        if self.overlap:
            notes[LEAK] = scrub(f"{self.overlap.describe()}, on purpose: results are too good")
        return DatasetPart(
            name=dataset.name,
            about=dataset.about,
            fingerprint=self.fingerprint,
            labels=list(data.labels),
            splits={"test": describe_splits(data, self.prepared.left_out)["test"]},
            notes=notes,
            pixels=self.prepared.digest or None,
        )

    def make_predictions(self, logits: NDArray[np.float32]) -> Predictions:
        """Predictions of logits (N, C) for the labels that are met."""
        data = self.prepared.data
        return Predictions(
            labels=data.labels,
            image=data.table["image"].to_numpy(dtype=str),
            patient=data.table["patient"].to_numpy(dtype=str),
            logits=logits,
            targets=data.targets,
            patients_known=data.patients_known,
            study=data.studies,
            columns=find_groups(data),
        )

    def why_skipped(self, unit: Unit) -> FailurePart | None:
        """Why its images cannot be scored over a board's unit."""
        data = self.prepared.data
        if unit == "image" or (data.patients_known if unit == "patient" else data.studies is not None):
            return None
        reason = f"the board scores each {unit}, and nothing of '{self.found.source.dataset.name}' says which images "
        return explain("data", f"{reason}belong to one {unit}")


@dataclass(frozen=True, eq=False, kw_only=True)
class MadePart:
    """A part, with what lies beside it."""

    part: OutsidePart
    resamples: Resamples | None = None
    predictions: Predictions | None = None


def explain(kind: FailureKind, message: str) -> FailurePart:
    """Why there is no number on an outside test, without this machine's folders."""
    way_out = "; in a [[test]] table, what follows --option is a key of its own" if "--option " in message else ""
    return FailurePart(kind=kind, message=scrub(message) + way_out, where="outside test")


def identify_part(found: OutsideData, data_fingerprint: str, record: Record) -> str:
    """16 hex digits of what a part is made of: the other dataset, its images and targets, and the network."""
    source = found.source
    identity = {
        "version": VERSION,
        "dataset": [source.dataset.name, source.dataset.version, source.code, source.options, source.pixel_options],
        "splits": sorted(found.splits),
        "labels": [[match.label, match.others] for match in found.matches.matches],
        "fingerprint": data_fingerprint,
        "leaks": source.allow_leaks,
        "network": [record.key, record.artifacts.get(WEIGHTS)],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def make_part(
    test: OutsideTest,
    provenance: ProvenancePart,
    status: Status,
    failure: FailurePart | None = None,
    of: PreparedTest | None = None,
    key: str = "",
    **parts: Any,
) -> OutsidePart:
    """A part, as far as there is something to say of its data."""
    return OutsidePart(
        dataset=test.dataset,
        options=dict(test.options),
        splits=list(test.splits),
        key=key,
        status=status,
        failure=failure,
        data=None if of is None else of.description,
        labels={} if of is None else describe_labels(of.found.matches, of.prepared.data.targets),
        unused=[] if of is None else list(of.found.matches.unused),
        provenance=provenance,
        **{"notes": [] if of is None else list(of.notes)} | parts,
    )


def describe_labels(matches: LabelMatches, targets: NDArray[np.float32]) -> dict[str, OutsideLabel]:
    """What stands for each label, and how many images have a known target; `targets` (N, C) are those of labels met."""
    counts = iter(zip((~np.isnan(targets)).sum(axis=0), (targets == 1).sum(axis=0), strict=True))
    labels = {}
    for match in matches.matches:
        known, positives = map(int, next(counts)) if match.others else (0, 0)
        labels[match.label] = OutsideLabel(
            others=list(match.others),
            known=known,
            left_out=len(targets) - known if match.others else 0,
            positives=positives,
            caution=match.caution,
            reason=match.reason,
        )
    return labels


def adapt_protocol(protocol: Protocol, labels: Sequence[str], drawn_by: str) -> Protocol:
    """A board's rules for a test of some of its labels, without readers: they read the board's own test."""
    return replace(
        protocol,
        names=tuple(name for name in protocol.names if is_of(name, labels)),
        seed=drawn_by,
        prevalence={label: share for label, share in protocol.prevalence.items() if label in labels},
        make_panel=None,
    )


def evaluate_outside(part: OutsidePart, test: Predictions, val: Predictions, protocol: Protocol) -> MadePart:
    """The part with numbers of these predictions, by thresholds and calibration of the network's own validation.

    Raises what `evaluate` raises, and `DataError` where validation lacks a label of the test.
    """
    absent = [label for label in test.labels if label not in val.labels]
    if absent:
        raise DataError(f"its validation has no label '{absent[0]}', which the outside test has")
    if part.data is None:
        raise DataError("its part of the outside test says nothing of the data")
    own = val.take_labels([val.labels.index(label) for label in test.labels])
    evaluation = evaluate(test, own, adapt_protocol(protocol, test.labels, part.data.draw))
    described = describe_evaluation(evaluation)
    del described["readers"]
    kept = {name: digest for name, digest in part.artifacts.items() if name != RESAMPLES}
    made = OutsidePart(**(dict(part) | described | {"artifacts": kept}))
    return MadePart(part=made, resamples=evaluation.resamples, predictions=test)
