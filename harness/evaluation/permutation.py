"""Groups of patients drawn at random: what a gap between groups is tested against.

Where groups differ by chance alone, their names may be dealt out to the patients again (Fisher 1935, The design of
experiments). Letters in shapes: N images, C labels, G groups, B permutations, b of them at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Metric
from harness.evaluation.bootstrap import BLOCK, average_labels
from harness.evaluation.contract import compute_labels
from harness.machine import count_processors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Block = NDArray[np.uint16]
    Masks = Mapping[int, NDArray[np.uint8]]
    Weigh = Callable[[Masks], NDArray[np.float64]]

PERMUTATIONS = 1000
NO_GROUP = 65_535
"""Stands for the group of an image that is in none."""


@dataclass(frozen=True, eq=False)
class Question:
    """A metric that is asked of groups, over labels of which each has enough."""

    metric: Metric
    given: NDArray[np.float64]
    """(N, C) scores or decisions."""
    targets: NDArray[np.float64]
    """(N, C), NaN where unknown."""
    groups: Sequence[int]
    """(G,) their numbers."""


def permute_groups(
    group: NDArray[np.uint16], patients: NDArray[np.str_], permutations: int, seed: str
) -> Iterator[Block]:
    """Blocks (N, b) of the group of each image, with the patients' names of groups dealt out again.

    `group` (N,) has numbers, or `NO_GROUP`, which stays. Each patient takes over the names of another, image by image
    and from the first again where there are too few: who has one name for all images has one afterwards.
    """
    grouped = np.flatnonzero(group != NO_GROUP)
    _, owner = np.unique(patients[grouped], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    grouped, names, owner = grouped[order], group[grouped][order], owner[order]
    count = np.bincount(owner)  # (P,) images of each patient
    start = np.cumsum(count) - count
    place = np.arange(len(owner)) - start[owner]  # of an image among its patient's
    alike = bool((names == names[start[owner]]).all())
    digest = hashlib.sha256(f"{seed} groups".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    for first in range(0, permutations, BLOCK):
        size = min(BLOCK, permutations - first)
        others = np.stack([generator.permutation(len(count)) for _ in range(size)], axis=1)  # (P, b)
        block = np.full((len(group), size), NO_GROUP, dtype=np.uint16)  # (N, b)
        if alike:
            block[grouped] = names[start[others]][owner]
        else:
            block[grouped] = names[start[others][owner] + place[:, None] % count[others][owner]]
        yield block


def measure_permuted(
    questions: Mapping[str, Question], blocks: Iterator[Block], patients: NDArray[np.str_]
) -> dict[str, NDArray[np.float64]]:
    """Macros (G, B) of each question in the groups of each permutation, NaN where a group lacks a value for a label.

    A group is a weighting of images by 0 and 1: with a metric that offers `batched`, each label is sorted once for all
    permutations.
    """
    prepared = {
        name: [_prepare(question, label, patients) for label in range(question.targets.shape[1])]
        for name, question in questions.items()
    }
    used = {group for question in questions.values() for group in question.groups}
    macros: dict[str, list[NDArray[np.float64]]] = {name: [] for name in questions}
    with ThreadPoolExecutor(count_processors()) as pool:
        for block in blocks if questions else ():
            masks = {group: (block == group).view(np.uint8) for group in used}  # (N, b) each
            for name, labels in prepared.items():
                values = np.stack(list(pool.map(lambda weigh, of=masks: weigh(of), labels)), axis=2)  # (G, b, C)
                all_labels = np.ones(len(labels), dtype=np.bool_)
                macros[name].append(np.stack([average_labels(of_group, all_labels) for of_group in values]))
    return {
        name: np.concatenate(parts, axis=1) if parts else np.empty((len(questions[name].groups), 0))
        for name, parts in macros.items()
    }


def _prepare(question: Question, label: int, patients: NDArray[np.str_]) -> Weigh:
    """What gives values (G, b) of one label for who is in each group in a block of permutations, (N, b) of 0 and 1."""
    metric, rows = question.metric, np.flatnonzero(~np.isnan(question.targets[:, label]))
    score, target, owner = question.given[rows, label, None], question.targets[rows, label, None], patients[rows]
    weighted = metric.batched(score, target, rows) if metric.batched is not None else None

    def weigh(masks: Masks) -> NDArray[np.float64]:
        inside = [masks[group] for group in question.groups]
        if weighted is not None:
            return np.stack([weighted(mask)[:, 0] for mask in inside])  # (G, b)
        return np.array([[repeat(one[rows].astype(np.bool_)) for one in mask.T] for mask in inside])

    def repeat(chosen: NDArray[np.bool_]) -> float:
        return float(compute_labels(metric, score[chosen], target[chosen], owner[chosen])[0])

    return weigh
