"""A panel of readers: people who decided on each label of the same units that networks score.

Letters in shapes: M readers, N units (images, studies or patients), C labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import DataError
from harness.panels import FEWEST, Truth, tell_few

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """What M readers decided on N units."""

    names: tuple[str, ...]
    """(M,)"""
    labels: tuple[str, ...]
    """(C,)"""
    decisions: NDArray[np.float32]
    """(M, N, C): 1, 0, or NaN where a reader did not decide."""
    truth: Truth = "targets"
    digests: Mapping[str, str] = field(default_factory=dict)
    """Reader -> what tells their file from others."""
    notes: tuple[str, ...] = ()
    """What has to be said about the readers' files, in sentences."""

    def __post_init__(self) -> None:
        if self.decisions.shape[::2] != (len(self.names), len(self.labels)):
            raise DataError(
                f"decisions must be (readers, units, labels) for {len(self.names)} readers and {len(self.labels)} "
                f"labels, got {self.decisions.shape}"
            )
        if len(self.names) < FEWEST[self.truth]:
            raise DataError(tell_few(self.truth, len(self.names), "readers"))

    def find_truths(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each reader is held against (M, N, C), NaN where unknown; targets are (N, C).

        Where a reader did not decide, nothing is known: so networks are held against the same.
        """
        if self.truth == "leave-one-out":
            truths = np.stack([find_majority(np.delete(self.decisions, m, axis=0)) for m in range(len(self.names))])
        else:
            known = find_majority(self.decisions) if self.truth == "majority" else targets
            truths = np.repeat(known[None], len(self.names), axis=0)
        return np.asarray(np.where(np.isnan(self.decisions), np.nan, truths).astype(np.float32))

    def find_common_truth(self, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """The one truth (N, C) that curves are drawn against, of units that any reader decided on, else NaN."""
        known = targets if self.truth == "targets" else find_majority(self.decisions)
        return np.asarray(np.where(np.isnan(self.decisions).all(axis=0), np.nan, known).astype(np.float32))


def find_majority(decisions: NDArray[np.float32]) -> NDArray[np.float32]:
    """What most of the readers who decided say (N, C), of their decisions (M, N, C); NaN in a tie or without any."""
    balance = np.nansum(decisions, axis=0) * 2 - (~np.isnan(decisions)).sum(axis=0)
    return np.select([balance > 0, balance < 0], [1.0, 0.0], np.nan).astype(np.float32)
