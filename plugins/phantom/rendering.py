"""From a cohort to `Data` whose images are rendered on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness import Data

from .anatomy import Anatomy, Shot, breathe, chest, draw_anatomy, draw_shot, expose, make_plane, to_pixels
from .findings import LOOKS, Place, Scene, place
from .labels import LABELS, Cohort, draw_cohort

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATIENT, SHOT, FINDING, FILM, NOISE = range(1, 6)
"""Purposes of random streams: each thing drawn has one of its own, so that nothing depends on the order of reading."""


@dataclass(frozen=True, eq=False)
class Radiographs:
    """N images (size, size) uint8, each rendered when it is asked for, the same whoever asks and when."""

    cohort: Cohort
    size: int
    seed: int
    difficulty: float

    def __len__(self) -> int:
        return len(self.cohort.patient)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        anatomy, shot, places = self.plan(index)
        for label, at in places.items():
            alter = LOOKS[label].alter
            anatomy = alter(anatomy, at) if alter is not None else anatomy
        plane = make_plane(shot, self.size)
        density, lungs = chest(anatomy, shot, plane, self._stream(FILM, index))
        for label, at in places.items():
            draw = LOOKS[label].draw
            if draw is not None:
                own = self._stream(FINDING, index, LABELS.index(label), 1)
                density = density + draw(Scene(anatomy, plane, lungs, density, own), at)
        return expose(density, shot, plane, self._stream(FILM, index, 1))

    def plan(self, index: int) -> tuple[Anatomy, Shot, dict[str, Place]]:
        """What will be drawn: the anatomy before findings change it, the shot, and each finding's place."""
        cohort = self.cohort
        patient, view = int(cohort.patient[index]), str(cohort.view[index])
        anatomy = draw_anatomy(self._stream(PATIENT, patient), str(cohort.sex[index]), int(cohort.age[index]))
        stream = self._stream(SHOT, index)
        shot = draw_shot(stream, view)
        anatomy = breathe(anatomy, stream, view)
        present = np.flatnonzero(cohort.targets[index])
        streams = {LABELS[label]: self._stream(FINDING, index, int(label)) for label in present}
        return anatomy, shot, {label: place(label, own, anatomy, self.difficulty) for label, own in streams.items()}

    def _stream(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])


def make_data(
    counts: dict[str, int], size: int, seed: int, difficulty: float, label_noise: float, prevalence: str
) -> Data:
    """The phantom as `Data`; see `load`."""
    cohort = draw_cohort(counts, prevalence, seed)
    radiographs = Radiographs(cohort, size, seed, difficulty)
    names = [f"phantom-{index:06d}" for index in range(len(radiographs))]
    table = pd.DataFrame(
        {
            "image": names,
            "split": cohort.split,
            "patient": [f"p{patient:05d}" for patient in cohort.patient],
            "age": cohort.age,
            "sex": cohort.sex,
            "view": cohort.view,
        }
    )
    targets = cohort.targets.copy()
    if label_noise:
        flipped = np.random.default_rng([seed, NOISE]).random(targets.shape) < label_noise
        flipped[cohort.split == "test"] = False
        targets[flipped] = 1 - targets[flipped]
    return Data(LABELS, radiographs, targets, table, boxes=_boxes(radiographs, names), notes={"prevalence": prevalence})


def _boxes(radiographs: Radiographs, names: list[str]) -> pd.DataFrame:
    """Where the findings are, in pixels."""
    found = []
    for index, name in enumerate(names):
        _, shot, places = radiographs.plan(index)
        for label, at in places.items():
            found += [(name, label, *to_pixels(box, shot, radiographs.size)) for box in at.boxes]
    return pd.DataFrame(found, columns=["image", "label", "x", "y", "width", "height"])
