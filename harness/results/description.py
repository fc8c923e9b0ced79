"""Parts of a record as data and evaluation give them, whoever made the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.components import SPLITS, Data
from harness.data.decoding import describe_values
from harness.data.prepare import Prepared
from harness.evaluation.evaluate import Evaluation
from harness.results.provenance import scrub
from harness.results.record import SplitCounts
from harness.text import agree


def describe_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """The parts of a record that come from predictions alone."""
    return {name: value for name, value in vars(evaluation).items() if name != "resamples"}


def describe_splits(data: Data, left_out: Mapping[str, int]) -> dict[str, SplitCounts]:
    """How much each split holds; `left_out` has how many images of a split are not in use."""
    splits = {}
    for split in SPLITS:
        chosen = data.table["split"].to_numpy() == split
        positives = (data.targets[chosen] == 1).sum(axis=0)
        splits[split] = SplitCounts(
            images=int(chosen.sum()),
            patients=int(data.table["patient"][chosen].nunique()),
            positives={label: int(n) for label, n in zip(data.labels, positives, strict=True)},
            left_out=left_out.get(split, 0),
        )
    return splits


def describe_notes(prepared: Prepared) -> dict[str, str]:
    """Say what is to be known of the data, of images left out and of grey values, without this machine's folders."""
    data = prepared.data
    notes = {name: scrub(text) for name, text in data.notes.items()}
    if prepared.missing:
        total = len(prepared.missing) + len(prepared.unreadable) + len(data.table)
        notes["missing"] = (
            f"{len(prepared.missing):,} of {total:,} images had no file and "
            f"{agree(len(prepared.missing), 'was', 'were')} left out"
        )
    if prepared.unreadable:
        total = len(prepared.unreadable) + len(data.table)
        first = ", ".join(list(prepared.unreadable)[:3])
        notes["unreadable"] = (
            f"{len(prepared.unreadable):,} of {total:,} image files could not be decoded and were left out, first "
            f"{scrub(first)}"
        )
    if (values := describe_values(data, prepared.scale)) is not None:
        notes["grey values"] = values
    return notes
