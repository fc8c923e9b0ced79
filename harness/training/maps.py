"""Heat maps of a split held against the dataset's boxes, beside maps that know nothing of the image.

Letters in shapes: P pairs of an image and a label with boxes there, C labels, F the frame's side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.components import Metric
from harness.data.boxes import Boxes
from harness.data.placement import Placed
from harness.evaluation.contract import compute_on_maps
from harness.evaluation.localization import BASELINES, NETWORK, MapValues, SplitValues
from harness.training.attribution import BATCH, Explainer
from harness.training.numerics import computing

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Maps = NDArray[np.float64]
    MakeMaps = Callable[[NDArray[np.intp]], Maps]
    """Pairs (n,) -> maps (n, F, F)."""


def hold_against_boxes(
    explainer: Explainer, placed: Placed, boxes: Boxes, metrics: Sequence[Metric], table: Tensor | None = None
) -> MapValues:
    """Measure the network's maps of all images with boxes in test, and of validation where a metric has a threshold.

    `table` (N, ...) is what the network gets beside the dataset's images. Computes in float32. Raises `PluginError` for
    a metric that breaks its contract.
    """
    held = _Held(explainer=explainer, placed=placed, boxes=boxes, metrics=metrics, table=table)
    test = held.measure("test")
    has_thresholds = any(values.shape[1] > 1 for values in test.values[NETWORK].values())
    in_val = bool(held.find_pairs("val").size)
    return MapValues(
        about=f"Grad-CAM at {explainer.layer}",
        usual=held.usual_about,
        test=test,
        val=held.measure("val") if has_thresholds and in_val else None,
    )


@dataclass(eq=False, kw_only=True)
class _Held:
    """A network's maps and the dataset's boxes, which are held against each other split by split."""

    explainer: Explainer
    placed: Placed
    boxes: Boxes
    metrics: Sequence[Metric]
    table: Tensor | None
    usual_about: str = field(init=False)

    def __post_init__(self) -> None:
        self.split = self.placed.data.table["split"].to_numpy(dtype=str)[self.boxes.row]  # (P,)
        patients = self.placed.data.table["patient"].to_numpy(dtype=str)
        self.patient = patients[self.boxes.row]  # (P,)
        self.usual_about = (
            "This map counts how many of the training split's boxes of the label cover each place."
            if (self.split == "train").any()
            else "This map counts how many boxes of the label cover each place, over all other patients of the same "
            "split: training has no boxes."
        )

    def find_pairs(self, split: str) -> NDArray[np.intp]:
        """The pairs of a split."""
        return np.flatnonzero(self.split == split)

    def measure(self, split: str) -> SplitValues:
        """Every metric of the network's maps and of the baselines', of a split with boxes."""
        pairs, data = self.find_pairs(split), self.placed.data
        side = self._explain(pairs[:1]).shape[-1]
        makers: Mapping[str, MakeMaps] = {
            NETWORK: self._explain,
            **dict(zip(BASELINES, (_center(side), self._find_usual(split, side)), strict=True)),
        }
        values: dict[str, dict[str, list[Maps]]] = {name: {m.name: [] for m in self.metrics} for name in makers}
        for chosen in np.array_split(pairs, range(BATCH, len(pairs), BATCH)):
            inside = self.boxes.masks(chosen, side)
            for name, make in makers.items():
                maps = make(chosen)
                for metric in self.metrics:
                    values[name][metric.name].append(compute_on_maps(metric, maps, inside))
        return SplitValues(
            image=data.table["image"].to_numpy(dtype=str)[self.boxes.row[pairs]],
            patient=self.patient[pairs],
            label=np.array(data.labels, dtype=str)[self.boxes.label[pairs]],
            values={
                name: {metric: _as_stored(np.concatenate(parts)) for metric, parts in of_system.items()}
                for name, of_system in values.items()
            },
        )

    def _explain(self, pairs: NDArray[np.intp]) -> Maps:
        placed = self.placed
        row = torch.from_numpy(self.boxes.row[pairs])
        images = placed.images.index_select(0, row.to(placed.images.device)).to(placed.device)
        given = None if self.table is None else self.table.index_select(0, row.to(placed.device))
        with computing(placed.device, "float32"):
            maps = self.explainer.explain(images, self.boxes.label[pairs].tolist(), given)
        return maps.double().cpu().numpy()

    def _find_usual(self, split: str, side: int) -> MakeMaps:
        """Where boxes of a label usually are: of training, or else of the split without those of the pair's patient."""
        source = "train" if (self.split == "train").any() else split
        pairs = self.find_pairs(source)
        total = np.zeros((len(self.placed.data.labels), side, side))
        own: dict[tuple[int, str], Maps] = {}  # what a patient adds, where that is taken away again
        for pair in pairs.tolist():
            mask, label = self.boxes.mask(pair, side), int(self.boxes.label[pair])
            total[label] += mask
            if source == split:
                key = label, str(self.patient[pair])
                own[key] = own[key] + mask if key in own else mask.astype(np.float64)

        def make(chosen: NDArray[np.intp]) -> Maps:
            labels, patients = self.boxes.label[chosen].tolist(), self.patient[chosen].tolist()
            cases = zip(labels, patients, strict=True)
            return np.stack([total[label] - own.get((label, who), 0.0) for label, who in cases])

        return make


def _as_stored(values: Maps) -> Maps:
    """Values with the digits of float32, with which they are kept: made now or read again, they are the same."""
    return values.astype(np.float32).astype(np.float64)


def _center(side: int) -> MakeMaps:
    """The map that falls from the image's center to its corners."""
    place = np.abs(np.arange(side) + 0.5 - side / 2)
    away = np.hypot(place[:, None], place[None])
    falling = 1 - away / away.max()
    return lambda pairs: np.broadcast_to(falling, (len(pairs), side, side))
