"""Another dataset as an outside test: some of its splits, with targets for the labels of the network's own dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import LEAK, WITHHELD, Data
from harness.data.loading import Source, find_source, load, require_single
from harness.data.terms import LabelMatches, match_labels
from harness.errors import DataError, UsageError
from harness.registry import Offer

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class OutsideData:
    """What an outside test is made of."""

    source: Source
    splits: tuple[str, ...]
    matches: LabelMatches
    """Each label of the network's own dataset, and what stands for it."""
    data: Data
    """The images of these splits, all of them `test`, with the labels that are met and their targets."""


def find_outside(offer: Offer, options: Mapping[str, Any], data_root: Path) -> Source:
    """Find another dataset to test on, whose uncertain labels follow its policy for tests in every split.

    Raises what `find_source` raises, and `UsageError` for options that are for training.
    """
    source = find_source(offer, options, data_root)
    trained = [name for name in ("uncertain", "image_level") if name in options]
    if trained:
        raise UsageError(
            f"{trained[0]} of an outside test in '{offer.component.name}' is for training, and an outside test trains "
            f"nothing; leave it out{' or give uncertain_test' if 'uncertain_test' in source.options else ''}"
        )
    if {"uncertain", "uncertain_test"} <= source.options.keys():
        policy = source.options["uncertain_test"]
        return replace(source, options=source.options | {"uncertain": "ignore" if policy is None else policy})
    return source


def load_outside(source: Source, splits: Sequence[str], dataset: str, labels: Sequence[str]) -> OutsideData:
    """Read another dataset's label files and give its images targets for the labels of `dataset`; opens no image.

    Raises `DataError` where there is no image in these splits, and `UsageError` where it has none of the labels.
    """
    whole = load(source)
    require_single(source, whole)
    matches = match_labels(dataset, source.dataset.name, labels, whole.labels)
    if not matches.met:
        reasons = "; ".join(f"{match.label}: {match.reason}" for match in matches.matches[:3])
        raise UsageError(
            f"'{source.dataset.name}' has no label that stands for one of '{dataset}', so nothing can be tested on it "
            f"({reasons}); take the [[test]] out, or choose other labels by its options"
        )
    if WITHHELD in splits:
        raise UsageError(f"images of '{source.dataset.name}' that are withheld belong to no test")
    chosen = whole.select(whole.table["split"].isin(list(splits)).to_numpy())
    if not len(chosen.table):
        there = sorted(set(whole.table["split"]) - {WITHHELD})
        raise DataError(
            f"dataset '{source.dataset.name}' has no images in {' and '.join(splits)}, only in {' and '.join(there)}; "
            "name its splits in the [[test]] table"
        )
    places = [[whole.labels.index(other) for other in match.others] for match in matches.met]
    data = replace(
        chosen,
        labels=tuple(match.label for match in matches.met),
        targets=unite(chosen.targets, places),
        table=chosen.table.assign(split="test"),
        boxes=None,
        notes={name: text for name, text in chosen.notes.items() if name != LEAK},  # between splits of its own
    )
    return OutsideData(source=source, splits=tuple(splits), matches=matches, data=data)


def unite(targets: NDArray[np.float32], groups: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """Targets (N, G) of labels each of which is the union of some columns of `targets` (N, C).

    Present where any of them is, absent where all of them are, and unknown otherwise.
    """
    united = np.full((len(targets), len(groups)), np.nan, dtype=np.float32)
    for column, members in enumerate(groups):
        part = targets[:, list(members)]
        united[(part == 0).all(axis=1), column] = 0
        united[(part == 1).any(axis=1), column] = 1
    return united
