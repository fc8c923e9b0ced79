"""Parts of a record as data and evaluation give them, whoever made the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.components import SPLITS, Data
from harness.evaluation.evaluate import Evaluation
from harness.results.record import SplitCounts


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
