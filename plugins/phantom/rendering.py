"""From a cohort to `Data` whose images are rendered on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness import Data

from .anatomy import Anatomy, breathe, draw_anatomy, draw_chest
from .film import Shot, draw_shot, expose, make_plane, to_pixels
from .findings import LOOKS, Place, Scene, place_finding
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
    steady: bool = False
    """Whether pose, exposure and what is drawn of the chest belong to the patient, not to the image."""

    def __len__(self) -> int:
        return len(self.cohort.patient)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        anatomy, shot, places = self.plan(index)
        plane = make_plane(shot, self.size)
        density, lungs = draw_chest(anatomy, shot, plane, self._stream(FILM, self._own(index)))
        for label, at in places.items():
            draw = LOOKS[label].draw
            if draw is not None:
                own = self._stream(FINDING, index, LABELS.index(label), 1)
                density = density + draw(Scene(anatomy, plane, lungs, density, own), at)
        return expose(density, shot, plane, self._stream(FILM, index, 1))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W), as of an array that is there."""
        return len(self), self.size, self.size

    def plan(self, index: int) -> tuple[Anatomy, Shot, dict[str, Place]]:
        """What will be drawn: the anatomy as findings have changed it, the shot, and each finding's place."""
        cohort = self.cohort
        patient, view = int(cohort.patient[index]), str(cohort.view[index])
        anatomy = draw_anatomy(self._stream(PATIENT, patient), str(cohort.sex[index]), int(cohort.age[index]))
        stream = self._stream(SHOT, self._own(index))
        shot = draw_shot(stream, view)
        anatomy = breathe(anatomy, stream, view)
        present = [LABELS[column] for column in np.flatnonzero(cohort.targets[index])]
        places = {}
        for label in sorted(present, key=lambda label: LOOKS[label].alter is None):  # first what moves the others
            own = self._stream(FINDING, index, LABELS.index(label))
            places[label] = place_finding(label, own, anatomy, self.difficulty)
            alter = LOOKS[label].alter
            anatomy = alter(anatomy, places[label]) if alter is not None else anatomy
        return anatomy, shot, places

    def _own(self, index: int) -> int:
        """What a shot belongs to: the image, or its patient where all of a patient's images are alike."""
        return int(self.cohort.patient[index]) if self.steady else index

    def _stream(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])


def make_data(
    counts: dict[str, int],
    size: int,
    seed: int,
    difficulty: float,
    label_noise: float,
    prevalence: str,
    *,
    steady: bool = False,
    age_effect: float = 0.0,
) -> Data:
    """The phantom as `Data`; see `load`."""
    cohort = draw_cohort(counts, prevalence, seed, age_effect)
    radiographs = Radiographs(cohort, size, seed, difficulty, steady)
    names = [f"phantom-{index:06d}" for index in range(len(radiographs))]
    table = pd.DataFrame(
        {
            "image": names,
            "split": cohort.split,
            "patient": [f"p{patient:05d}" for patient in cohort.patient],
            "study": [f"p{patient:05d}-{study}" for patient, study in zip(cohort.patient, cohort.study, strict=True)],
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
    return Data(
        labels=LABELS,
        images=radiographs,
        targets=targets,
        table=table,
        boxes=_boxes(radiographs, names),
        notes={"prevalence": prevalence},
    )


def _boxes(radiographs: Radiographs, names: list[str]) -> pd.DataFrame:
    """Where the findings are, in pixels, as far as they lie in the image."""
    images: list[str] = []
    labels: list[str] = []
    shots: list[Shot] = []
    found: list[tuple[float, float, float, float]] = []
    for index in np.flatnonzero(radiographs.cohort.targets.any(axis=1)):
        _, shot, places = radiographs.plan(int(index))
        for label, at in places.items():
            images += [names[index]] * len(at.boxes)
            labels += [label] * len(at.boxes)
            shots += [shot] * len(at.boxes)
            found += at.boxes
    boxes = pd.DataFrame(to_pixels(found, shots, radiographs.size), columns=["x", "y", "width", "height"])
    boxes.insert(0, "image", images)
    boxes.insert(1, "label", labels)
    return boxes[(boxes["width"] > 0) & (boxes["height"] > 0)].reset_index(drop=True)
