"""The data of a search: without a test split, so that no mistake of a trial can look at it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.components import WITHHELD
from harness.data.prepare import Prepared


def withhold_test(prepared: Prepared) -> Prepared:
    """Prepared data in which test images belong to no split and their targets are gone.

    Their pixels stay in the cache's memory map, at whose places the others are found; nothing names them. Targets read
    0, not unknown, so that a training takes the same steps as one that has a test split.
    """
    data = prepared.data
    of_test = data.table["split"].to_numpy() == "test"
    table = data.table.copy()
    table.loc[of_test, "split"] = WITHHELD
    targets = np.where(of_test[:, None], np.float32(0), data.targets)
    return replace(prepared, data=replace(data, table=table, targets=targets, boxes=None))
