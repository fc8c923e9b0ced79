"""A row that is ready for use: `load_row` finds its weights, and applies its networks to images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.data.grey import GreyScale
from harness.errors import DataError, UsageError
from harness.machine import count_processors
from harness.registry import Registry
from harness.results.record import Record
from harness.serving.images import (
    ImageSource,
    decode_each,
    explain,
    read_path,
    silence_pillow,
    take_arrays,
    take_files,
)
from harness.serving.scores import Fitted, ImageScores, join_scores, make_image_scores, put_gaps
from harness.serving.window import Window
from harness.training.prediction import BATCH
from harness.training.restore import Restored
from harness.units import tell_units

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from numpy.typing import NDArray
    from torch import nn

AHEAD = 4
"""Images for each thread that are decoded while the network is busy, beside the next batch."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedRow:
    """A trained row on a device, or several of its seeds as an ensemble, whose probabilities are averaged.

    One thread uses it at a time.
    """

    name: str
    """`BOARD::ROW`, or the path of the weight file."""
    members: tuple[Restored, ...]
    """The network of each seed, at least one."""
    records: tuple[Record, ...]
    """The record of each seed; none where the weight file alone was read."""
    weights: tuple[Path, ...]
    """The weight file of each seed."""
    fitted: Fitted
    """What validation fitted: of several seeds, on the mean of their probabilities."""
    measured: tuple[int, ...] = ()
    """All seeds of the row that have a result, loaded here or not; none where the weight file alone was read."""
    notes: tuple[str, ...] = ()
    """What has to be known of what it says, in sentences."""
    _windows: dict[int, list[Window]] = field(default_factory=dict, repr=False)
    """Batch size -> a window for each seed, made when it is asked for."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The C names, in the order of all columns."""
        return self.members[0].labels

    @property
    def network(self) -> nn.Module:
        """The first seed's network, in evaluation mode: normalized images (B, K, size, size) -> logits (B, C)."""
        return self.members[0].network

    @property
    def record(self) -> Record | None:
        """The first seed's record; None where the weight file alone was read."""
        return self.records[0] if self.records else None

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.members[0].device

    @property
    def size(self) -> int:
        """S, height and width in pixels to which images are decoded."""
        return self.members[0].recipe.load_size

    @property
    def scale(self) -> GreyScale:
        """How the values of image files become bytes."""
        return self.members[0].scale

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a table that the network gets beside each image, such as age; empty for most."""
        return tuple(code.name for code in self.members[0].codes)

    @property
    def batch(self) -> int:
        """As many images at a time as training predicted on such a device."""
        return BATCH[self.device.type]

    def thresholds(self, policy: str | None = None) -> NDArray[np.float64]:
        """(C,) probabilities from which a label counts as present, by a policy such as `val-f1`, by the board's where
        it is None; NaN for a label that has none. Raises `UnknownNameError` for a policy that was not fitted.
        """
        return self.fitted.choose(policy)

    def decode(self, path: str | Path) -> NDArray[np.uint8]:
        """Read a PNG, JPEG, TIFF or DICOM file as (S, S) uint8, as training images were read.

        Raises `DataError`, which names the file, for one that cannot be used.
        """
        silence_pillow()
        try:
            return read_path(Path(path), self.size, self.scale)
        except Exception as error:
            raise DataError(f"{path}: {explain(error)}") from error

    def predict(
        self,
        images: NDArray[np.uint8] | Sequence[str | Path | NDArray[np.uint8]],
        table: pd.DataFrame | None = None,
        *,
        policy: str | None = None,
        batch: int | None = None,
    ) -> ImageScores:
        """Scores of N images: files, or grey arrays (H, W) uint8, or one array (N, H, W) uint8.

        A `table`, where the network wants one, has N rows in the images' order. `batch` images are predicted at a
        time, as many as in training unless it is given. A file that cannot be used is a gap: its scores are NaN, and
        `gaps` says why. Raises `DataError` for arrays or a table that cannot be used, `UsageError` for a batch below 1
        or a table where none is wanted, `UnknownNameError` for a policy.
        """
        given = list(images)
        if all(isinstance(one, str | os.PathLike) for one in given):
            source = take_files([Path(one) for one in given], self.size, self.scale)[0] if given else take_arrays([], 0)
        elif any(isinstance(one, str | os.PathLike) for one in given):
            raise UsageError("give either files or arrays, not both at once")
        else:
            source = take_arrays([np.asarray(one) for one in given], self.size)
        parts = self.stream(replace(source, table=table), policy=policy, batch=batch)
        empty = np.empty((0, len(self.labels)), dtype=np.float32)
        nothing = make_image_scores(self.labels, (), [empty], self.fitted, policy)
        return join_scores(list(parts) or [nothing])

    def stream(
        self, source: ImageSource, *, policy: str | None = None, batch: int | None = None
    ) -> Iterator[ImageScores]:
        """Scores of images in order, a batch at a time, while threads decode those that follow.

        Memory is that of a few batches, however many images there are. Raises as `predict` does, before the first
        image is read.
        """
        if batch is not None and batch < 1:
            raise UsageError(f"batch must be at least 1, got {batch}")
        self.fitted.choose(policy)
        encoded = self.members[0].encode(
            source.table if self.columns or source.data is None else None, len(source.names)
        )
        return self._stream(source, encoded, policy, batch or max(1, min(self.batch, len(source.names))))

    def _stream(
        self, source: ImageSource, encoded: NDArray[np.float32] | None, policy: str | None, batch: int
    ) -> Iterator[ImageScores]:
        workers = count_processors()
        used: list[int] = []
        pixels: list[NDArray[np.uint8]] = []
        gaps: dict[str, str] = {}
        names: list[str] = []
        for number, image in enumerate(decode_each(source, workers, batch + AHEAD * workers)):
            names.append(source.names[number])
            if isinstance(image, str):
                gaps[names[-1]] = image
            else:
                used.append(number)
                pixels.append(image)
            if len(used) == batch or number == len(source.names) - 1:
                beside = None if encoded is None else encoded[used]
                found = self._predict_batch(pixels, beside, batch)
                scores = make_image_scores(self.labels, [source.names[one] for one in used], found, self.fitted, policy)
                yield put_gaps(scores, names, gaps)
                used, pixels, gaps, names = [], [], {}, []

    def _predict_batch(
        self, pixels: Sequence[NDArray[np.uint8]], table: NDArray[np.float32] | None, batch: int
    ) -> list[NDArray[np.float32]]:
        """Logits (n, C) by each seed's network of at most a batch of images (S, S), or of none."""
        if not pixels:
            return [np.empty((0, len(self.labels)), dtype=np.float32) for _ in self.members]
        if batch not in self._windows:
            self._windows.clear()  # one is enough
            self._windows[batch] = [Window(member, batch) for member in self.members]
        stacked = np.stack(pixels)
        return [window.predict(stacked, table) for window in self._windows[batch]]


def fit_single(member: Restored) -> Fitted:
    """What a weight file says that validation fitted."""
    thresholds = {
        policy: np.array([_read(by_label.get(label)) for label in member.labels])
        for policy, by_label in member.thresholds.items()
    }
    return Fitted(thresholds=thresholds, calibration=member.calibration["platt"], policy=member.policy)


def _read(value: float | None) -> float:
    return float("nan") if value is None else value


def describe_doubts(members: Sequence[Restored], registry: Registry) -> tuple[str, ...]:
    """What has to be known of what networks say, in sentences."""
    first, notes = members[0], []
    if registry.model(first.found_as).inputs.permuted:
        notes.append(
            "this row is a control that was given the columns of other images: it is now given an image's own, so that "
            "its scores are not those that its board has stored"
        )
    for member in members:
        notes += [f"{change}: scores may differ from those of training" for change in member.changes]
    if first.unit != "image":
        notes.append(
            f"the board scores {tell_units(first.unit, first.pool)}: thresholds and calibration are for those, and "
            "decisions about single images are made as if each were one"
        )
    if first.own_decoder:
        notes.append(
            "its dataset read image files by code of its own: files that are given by their paths are read by the "
            "harness, and their pixels may differ"
        )
    return tuple(dict.fromkeys(notes))


def describe_calibration(fitted: Fitted, labels: Sequence[str]) -> tuple[str, ...]:
    """What has to be known where validation images with a finding did not score higher than those without."""
    turned = [label for label, slope in zip(labels, fitted.calibration.slope, strict=True) if slope <= 0]
    if not turned:
        return ()
    said = (
        f"the calibrated probability of {', '.join(turned)} does not rise with the probability, since validation "
        "images with the finding did not score higher than those without; decisions there are worth little"
    )
    return (said,)
