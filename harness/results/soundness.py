"""What a record's schema cannot say: that its numbers can be reckoned with, and that its parts belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from harness.evaluation.parts import ReadersPart
from harness.results.outside import view_outside
from harness.results.record import Record

TEST = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""Keys of outside tests, by which files are called: such a key can be no path."""
DEEPEST = 32
"""Levels of a record's document at most; its own parts have half a dozen."""
LARGEST_WHOLE = 2**63 - 1
LARGEST_NUMBER = 1e100
"""A number whose square is one, too, and the sum of many such."""


def require_plain(document: Any, place: tuple[object, ...] = ()) -> None:
    """Raise `ValueError` for a document with a number too large to reckon with, or nested without end."""
    if isinstance(document, int | float):
        if abs(document) > (LARGEST_NUMBER if isinstance(document, float) else LARGEST_WHOLE):
            raise ValueError(f"{'.'.join(map(str, place))}: the number is too large")
    elif isinstance(document, dict | list):
        if len(place) > DEEPEST:
            raise ValueError(f"{'.'.join(map(str, place[:5]))}: it is nested more than {DEEPEST} levels deep")
        for name, value in document.items() if isinstance(document, dict) else enumerate(document):
            require_plain(value, (*place, name))


def require_consistent(record: Record) -> None:
    """Raise `ValueError` for a record that contradicts itself: its labels are those of its dataset, each once."""
    for contradiction in _find_contradictions(record):
        raise ValueError(contradiction)
    for test in record.outside:
        view = view_outside(record, test)
        if view is not None:
            for contradiction in _find_contradictions(view):
                raise ValueError(f"outside.{test}: {contradiction}")
    for test, part in record.outside.items():
        if not TEST.fullmatch(test):
            raise ValueError(f"outside: '{test[:40]}' is no name of a test")
        if (part.status == "done") != (part.failure is None) or (part.status == "done" and part.data is None):
            raise ValueError(f"outside.{test}: it is {part.status}, and what it holds says otherwise")


def _find_contradictions(record: Record) -> Iterator[str]:
    dataset = record.dataset
    labels = set(dataset.labels)
    if not labels or len(labels) < len(dataset.labels) or not all(label.strip() for label in labels):
        yield "dataset.labels: each has a name, and a name of its own"
    if "test" not in dataset.splits:
        yield "dataset.splits: there is no test split"
    for name, split in dataset.splits.items():
        if set(split.positives) != labels:
            yield f"dataset.splits.{name}.positives: they are not those of the dataset's labels"
        if not all(0 <= count <= split.images for count in (split.patients, *split.positives.values())):
            yield f"dataset.splits.{name}: its numbers of images, patients and positives do not fit together"
    for place, names in _name_labels(record):
        if not labels.issuperset(names):
            yield f"{place}: its labels are not those of the dataset"
    for column, part in (record.subgroups or {}).items():
        for group in part.groups:
            scored = {metric: set(values) for metric, values in group.per_label.items()}
            if not set(group.macro) == set(scored) == set(part.gaps) or any(one != labels for one in scored.values()):
                yield f"subgroups.{column}: not every group has every metric and label"
    if record.readers is not None:
        yield from _find_reader_contradictions(record.readers)
    if (record.status == "done") != (record.failure is None):
        yield f"failure: the record is {record.status}, and {'has one' if record.failure else 'has none'}"


def _find_reader_contradictions(part: ReadersPart) -> Iterator[str]:
    """What of readers does not belong together: all are measured and held against in the same, and averages too."""
    measures = set(next((set(reader.against) for reader in part.readers.values()), set()))
    if not part.readers or not {"sensitivity"} <= measures <= {"sensitivity", "f1"}:
        yield "readers: there is none, or nothing that the network is held against them in"
    for name, reader in part.readers.items():
        of_labels = [set(one.against) for one in reader.per_label.values()]
        if set(reader.against) != measures or any(one != measures for one in of_labels):
            yield f"readers.{name}: the network is held against the readers in different measures"
        if set(reader.mean) != {"sensitivity", "specificity", "f1"}:
            yield f"readers.{name}: its means are not those of sensitivity, specificity and f1"
    if part.average and set(part.average) != measures:
        yield "readers.average: it is not in the measures of the readers"
    if part.kappa is not None and not {name for a, b, _ in part.kappa.pairs for name in (a, b)} <= set(part.readers):
        yield "readers.kappa: a pair is of somebody who is no reader"


def _name_labels(record: Record) -> Iterator[tuple[str, Iterable[str]]]:
    """Each place of a record that speaks of labels, with these."""
    for name, metric in record.metrics.items():
        yield f"metrics.{name}", (*metric.per_label, *metric.left_out)
    for policy, thresholds in record.thresholds.items():
        yield f"thresholds.{policy}", thresholds
    for policy, counts in record.confusion.items():
        yield f"confusion.{policy}", counts
    for policy, values in (record.predictive or {}).items():
        yield f"predictive.{policy}", values
    if record.calibration is not None:
        for name in ("before", "temperature", "platt"):
            yield f"calibration.{name}", getattr(record.calibration, name).per_label
    if record.readers is not None:
        yield "readers", (*record.readers.labels_used, *record.readers.left_out)
        for name, reader in record.readers.readers.items():
            yield f"readers.{name}", reader.per_label
        yield "readers.kappa", record.readers.kappa.per_label if record.readers.kappa else ()
    for column, part in (record.subgroups or {}).items():
        for group in part.groups:
            scored = (label for values in group.per_label.values() for label in values)
            yield f"subgroups.{column}", (*group.positives, *group.negatives, *scored)
