"""Labels from lists of terms: a dataset whose table names what an image shows in words of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

USUAL, ALL = "usual", "all"


def label_by_terms(
    lists: Sequence[Collection[str]],
    codes: NDArray[np.intp],
    asked: Sequence[str] | str,
    *,
    usual: Mapping[str, Sequence[str]],
    fewest: int,
    no_labels: Collection[str],
    dataset: str,
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names of C labels, and targets (N, C): 1 where an image's list has the label, else 0.

    `lists` are D lists of terms, and `codes` (N,) says which of them each image has. `asked` is `usual` (the names of
    the table `usual`, each present where one of its terms is), `all` (the terms that at least `fewest` images have,
    without `no_labels`), or names of either kind, in a list or between commas.

    Raises `UnknownNameError` for a name that is neither in the table nor a term of an image, `UsageError` where no name
    is left.
    """
    import numpy as np

    names = _choose(_count(lists, codes), asked, usual, fewest, no_labels, dataset)
    terms = [frozenset(usual.get(name, (name,))) for name in names]
    present = [[not of_label.isdisjoint(listed) for of_label in terms] for listed in lists]
    return names, np.array(present, dtype=np.float32).reshape(len(lists), len(names))[codes]


def _count(lists: Sequence[Collection[str]], codes: NDArray[np.intp]) -> Counter[str]:
    """Count the images that have each term."""
    import numpy as np

    counts: Counter[str] = Counter()
    for listed, images in zip(lists, np.bincount(codes, minlength=len(lists)).tolist(), strict=True):
        for term in listed if images else ():
            counts[term] += images
    return counts


def _choose(
    counts: Counter[str],
    asked: Sequence[str] | str,
    usual: Mapping[str, Sequence[str]],
    fewest: int,
    no_labels: Collection[str],
    dataset: str,
) -> tuple[str, ...]:
    if asked == USUAL:
        return tuple(usual)
    if asked == ALL:
        names = sorted(term for term, count in counts.items() if count >= fewest and term not in no_labels)
        if not names:
            raise UsageError(f"{dataset}: no label has {fewest:,} images among those chosen; give a smaller fewest")
        return tuple(names)
    given = (name.strip() for name in (asked.split(",") if isinstance(asked, str) else asked))
    names = [name for name in dict.fromkeys(given) if name]
    if not names:
        raise UsageError(f"{dataset}: labels is empty; give {USUAL}, {ALL}, or names between commas")
    for name in names:
        if name not in usual and name not in counts:
            raise UnknownNameError(f"label of {dataset}", name, [*usual, *sorted(counts)])
    return tuple(names)
