"""From where an image was taken, and which of these views a dataset is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.errors import DataError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FRONTAL = "PA,AP"
"""The views that datasets take by default: images from the side have other labels than what they show."""
USUAL = ("PA", "AP", "FRONTAL", "frontal", "LATERAL", "LL", "RL", "L", "unknown")
"""Views that may be asked for although no image is of them."""
UNKNOWN = "unknown"
"""What images are chosen by whose view nothing tells."""
NOTE = "views"
"""The note of a dataset about views that were left out."""


def choose_views(
    view: pd.Series, wanted: Sequence[str] | str, dataset: str
) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """Which images (N,) are of the wanted views, and a note that counts the others; `all` takes every image.

    `view` holds texts such as PA, empty or NaN where it is not known; `wanted` is a list, or names between commas, of
    which `unknown` is one. Raises `UsageError` for no view at all, `UnknownNameError` for one that is neither usual nor
    of any image, `DataError` where no image is of a wanted one.
    """
    import numpy as np

    names = [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
    names = [name for name in names if name]
    if not names:
        raise UsageError(f"{dataset}: views is empty; give views between commas, such as {FRONTAL}, or all")
    known = view.fillna("").astype(str).replace("", UNKNOWN)
    if names == ["all"]:
        return np.ones(len(view), dtype=bool), {}
    strange = [name for name in names if name not in {*known.unique(), *USUAL}]
    if strange:
        raise UnknownNameError(f"view of {dataset}", strange[0], known.unique())
    chosen = known.isin(names).to_numpy(dtype=bool)
    counts = known[~chosen].value_counts()
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    if not chosen.any():
        raise DataError(f"{dataset}: no image is of the views {', '.join(names)}; there are {told}")
    left_out = int((~chosen).sum())
    return chosen, {
        NOTE: f"{left_out:,} of {len(view):,} images, of other views, are left out: {told}"
    } if left_out else {}
