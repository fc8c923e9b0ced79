"""Parts of a record as data and evaluation give them, whoever made the predictions."""

from __future__ import annotations

from typing import Any

from harness.components import SPLITS, Data
from harness.evaluation.evaluate import Evaluation
from harness.results.record import SplitCounts


def describe_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """The parts of a record that come from predictions alone."""
    return {name: value for name, value in vars(evaluation).items() if name != "resamples"}


def describe_splits(data: Data) -> dict[str, SplitCounts]:
    """How much each split holds."""
    splits = {}
    for split in SPLITS:
        chosen = data.table["split"].to_numpy() == split
        positives = (data.targets[chosen] == 1).sum(axis=0)
        splits[split] = SplitCounts(
            images=int(chosen.sum()),
            patients=int(data.table["patient"][chosen].nunique()),
            positives={label: int(n) for label, n in zip(data.labels, positives, strict=True)},
        )
    return splits
