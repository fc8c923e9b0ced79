"""Groups of patients drawn at random: what a gap between groups is tested against.

Where groups differ by chance alone, their names may be dealt out to the patients anew (Fisher 1935, The design of
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
from harness.evaluation.bootstrap import BLOCK, average_labels, count_processors
from harness.evaluation.contract import compute_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Block = NDArray[np.uint16]
    Weigh = Callable[[Block], NDArray[np.float64]]

PERMUTATIONS = 1000
NO_GROUP = 65_535
"""In place of a group's number."""


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
    """Blocks (N, b) of the group of each image, with the patients' names of groups dealt out anew.

    `group` (N,) has numbers, or `NO_GROUP`, which stays. Each patient takes over the names of another, image by image
    and from the first again where there are too few: who has one name for all images has one afterwards.
    """
    known = np.flatnonzero(group != NO_GROUP)
    _, owner = np.unique(patients[known], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    known, names, owner = known[order], group[known][order], owner[order]
    count = np.bincount(owner)
    start = np.cumsum(count) - count
    place = np.arange(len(owner)) - start[owner]  # of an image among its patient's
    digest = hashlib.sha256(f"{seed} groups".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    for first in range(0, permutations, BLOCK):
        block = np.full((len(group), min(BLOCK, permutations - first)), NO_GROUP, dtype=np.uint16)
        for column in range(block.shape[1]):
            other = generator.permutation(len(count))[owner]
            block[known, column] = names[start[other] + place % count[other]]
        yield block


def measure_permuted(
    questions: Mapping[str, Question], blocks: Iterator[Block], patients: NDArray[np.str_]
) -> dict[str, NDArray[np.float64]]:
    """Macros (G, B) of each question in the groups of each permutation.

    A group is a weighting of images by 0 and 1: with a metric that offers `batched`, each label is sorted once for all
    permutations.
    """
    prepared = {
        name: [_prepare(question, label, patients) for label in range(question.targets.shape[1])]
        for name, question in questions.items()
    }
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in questions}
    with ThreadPoolExecutor(count_processors()) as pool:
        for block in blocks if questions else ():
            for name, labels in prepared.items():
                values = np.stack(list(pool.map(lambda weigh, one=block: weigh(one), labels)), axis=2)  # (G, b, C)
                found[name].append(np.stack([average_labels(of_group) for of_group in values]))
    return {
        name: np.concatenate(parts, axis=1) if parts else np.empty((len(questions[name].groups), 0))
        for name, parts in found.items()
    }


def _prepare(question: Question, label: int, patients: NDArray[np.str_]) -> Weigh:
    """What gives values (G, b) of one label for a block of permutations."""
    metric, rows = question.metric, np.flatnonzero(~np.isnan(question.targets[:, label]))
    score, target = question.given[rows, label, None], question.targets[rows, label, None]
    if metric.batched is not None:
        weighted = metric.batched(score, target)

        def weigh(block: Block) -> NDArray[np.float64]:
            chosen = block[rows]
            return np.stack([weighted((chosen == group).astype(np.uint8))[:, 0] for group in question.groups])

        return weigh

    def repeat(block: Block) -> NDArray[np.float64]:
        chosen = block[rows].T
        return np.array(
            [
                [
                    compute_labels(metric, score[one == group], target[one == group], patients[rows][one == group])[0]
                    for one in chosen
                ]
                for group in question.groups
            ]
        )

    return repeat
