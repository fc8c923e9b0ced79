"""A dataset's boxes as a network's heat maps are held against them: in shares of the whole image.

Images are squashed to a square and then resized or cropped; a heat map is brought back to the whole image
(`harness.training.attribution`), so that a box is in the same place whatever the network saw of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data
from harness.data.headers import find_sizes
from harness.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of a dataset, by pairs of an image and a label that has boxes there. P pairs, M boxes."""

    row: NDArray[np.intp]
    """(P,) the image, as a row of the dataset's table; pairs are in the order of the table, then of the labels."""
    label: NDArray[np.intp]
    """(P,) the label, as a column of the targets."""
    pair: NDArray[np.intp]
    """(M,) the pair that a box belongs to, ascending."""
    corners: NDArray[np.float64]
    """(M, 4) left, top, right, bottom in shares of the image's width and height, 0..1."""

    def __len__(self) -> int:
        return len(self.row)

    def select(self, keep: NDArray[np.bool_]) -> Boxes:
        """The pairs where `keep` (P,) is true."""
        number = np.cumsum(keep) - 1
        held = keep[self.pair]
        return Boxes(self.row[keep], self.label[keep], number[self.pair[held]], self.corners[held])

    def mask(self, pair: int, side: int) -> NDArray[np.bool_]:
        """Which pixels of a frame (side, side) lie in a box of a pair: those whose center does, and at least one."""
        inside = np.zeros((side, side), dtype=np.bool_)
        first, last = np.searchsorted(self.pair, [pair, pair + 1])
        for left, top, right, bottom in self.corners[first:last]:
            inside[_cover(top, bottom, side), _cover(left, right, side)] = True
        return inside

    def masks(self, pairs: NDArray[np.intp], side: int) -> NDArray[np.bool_]:
        """`mask` of several pairs (n,): (n, side, side)."""
        return np.stack([self.mask(pair, side) for pair in pairs.tolist()])


def _cover(low: float, high: float, side: int) -> slice:
    """The pixels whose centers lie in low .. high, or the one that the middle of both falls into."""
    first, last = (int(np.ceil(end * side - 0.5)) for end in (low, high))  # pixel i has its center at i + 1/2
    if first >= last:
        first = min(max(int((low + high) / 2 * side), 0), side - 1)
        last = first + 1
    return slice(max(first, 0), min(max(last, 1), side))


def find_boxes(data: Data) -> Boxes:
    """The boxes of the dataset's images and labels, those over the edge cut there.

    Reads the headers of image files that have boxes, and renders images that say nothing of their size. Raises
    `DataError` where the size of such an image is unknown.
    """
    import pandas as pd

    nothing = np.empty(0, dtype=np.intp)
    if data.boxes is None or not len(data.boxes):
        return Boxes(nothing, nothing, nothing, np.empty((0, 4)))
    row = pd.Index(data.table["image"]).get_indexer(pd.Index(data.boxes["image"]))
    label = pd.Index(data.labels).get_indexer(pd.Index(data.boxes["label"]))
    ours = (row >= 0) & (label >= 0)
    found, row, label = data.boxes[ours], row[ours], label[ours]
    sizes = find_sizes(data, set(found["image"]))
    for image, at in zip(found["image"], row, strict=True):
        if image not in sizes:
            sizes[image] = _measure(data, int(at), image)
    size = np.array([sizes[image] for image in found["image"]], dtype=np.float64).reshape(-1, 2)  # width, height
    start, extent = (found[list(names)].to_numpy(dtype=np.float64) for names in (("x", "y"), ("width", "height")))
    corners = np.clip(np.concatenate([start / size, (start + extent) / size], axis=1), 0, 1)
    order = np.lexsort((label, row))
    code = row[order] * len(data.labels) + label[order]
    codes, pair = np.unique(code, return_inverse=True)
    return Boxes(codes // len(data.labels), codes % len(data.labels), pair, corners[order])


def explain_no_boxes(data: Data) -> str | None:
    """Why heat maps of a dataset's test split cannot be measured, in words; None where it has boxes there."""
    if data.boxes is None or not len(data.boxes):
        return "the dataset has no boxes"
    test = data.table["image"][data.table["split"] == "test"]
    known = data.boxes["image"].isin(test) & data.boxes["label"].isin(data.labels)
    return None if known.any() else "no image of the test split has boxes"


def _measure(data: Data, row: int, image: str) -> tuple[int, int]:
    """Width and height of an image that had to be rendered. Raises `DataError` for a file without a header."""
    if data.encoded:
        raise DataError(f"image '{image}' has boxes, and its file does not say how large it is, so they have no place")
    height, width = np.asarray(data.images[row]).shape
    return width, height
