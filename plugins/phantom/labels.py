"""Who the phantom's patients are, and what they have: patients, splits and label vectors like NIH's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# NIH ChestX-ray14, Data_Entry_2017_v2020: images that show each finding, and each pair of findings, of 112,120
IMAGES = 112_120
LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
# fmt: off
TOGETHER = (
    (11559, 370, 3275, 3264, 739, 590, 262, 774, 1223, 221, 424, 220, 496, 40),
    (370, 2776, 1063, 587, 102, 108, 41, 49, 169, 127, 44, 52, 111, 7),
    (3275, 1063, 13317, 4000, 1254, 912, 269, 996, 1287, 593, 359, 188, 849, 21),
    (3264, 587, 4000, 19894, 1159, 1546, 605, 946, 1221, 981, 449, 345, 750, 33),
    (739, 102, 1254, 1159, 5782, 906, 71, 431, 610, 129, 215, 117, 452, 25),
    (590, 108, 912, 1546, 906, 6331, 70, 341, 428, 131, 115, 166, 411, 10),
    (262, 41, 269, 605, 71, 70, 1431, 41, 123, 340, 23, 11, 48, 3),
    (774, 49, 996, 946, 431, 341, 41, 5302, 223, 33, 747, 80, 289, 9),
    (1223, 169, 1287, 1221, 610, 428, 123, 223, 4667, 162, 103, 79, 251, 4),
    (221, 127, 593, 981, 129, 131, 340, 33, 162, 2303, 30, 9, 64, 3),
    (424, 44, 359, 449, 215, 115, 23, 747, 103, 30, 2516, 36, 151, 4),
    (220, 52, 188, 345, 117, 166, 11, 80, 79, 9, 36, 1686, 176, 8),
    (496, 111, 849, 750, 452, 411, 48, 289, 251, 64, 151, 176, 3385, 8),
    (40, 7, 21, 33, 25, 10, 3, 9, 4, 3, 4, 8, 8, 227),
)
# fmt: on
SINGLE = 0.5682
"""Share of NIH's patients with one image; the mean is 3.64."""
FURTHER = 0.163
"""Chance that a patient of several images has no further one: gives NIH's mean."""
MOST = 24
"""Images of one patient: NIH's most is 184, which would be a third of a small test set."""
LIFTED = 0.08
"""Lowest prevalence where rare findings are lifted."""
FEWEST = {"train": 20, "val": 8, "test": 16}
"""Positives of each label in each split at least, where rare findings are lifted and the split has the images."""
AGE = (46.6, 16.6)
"""Mean and standard deviation of a patient's age in years, as at NIH."""
PERSISTENCE = 0.6
"""Share of a finding's tendency that belongs to the patient and stays over the images."""


@dataclass(frozen=True)
class Cohort:
    """N images: whose they are and what is in them."""

    split: NDArray[np.str_]
    patient: NDArray[np.intp]
    targets: NDArray[np.float32]
    """(N, 14): the truth, which is drawn."""
    age: NDArray[np.int_]
    sex: NDArray[np.str_]
    view: NDArray[np.str_]

    @property
    def study(self) -> NDArray[np.intp]:
        """(N,) the number of a patient's study that an image is of: a patient's images in pairs, in their order."""
        order = np.arange(len(self.patient))
        first = np.searchsorted(self.patient, self.patient)  # a patient's images stand together, patients in order
        return (order - first) // 2 + 1


def draw_cohort(counts: dict[str, int], prevalence: str, seed: int, age_effect: float = 0.0) -> Cohort:
    """Patients with their images and findings.

    Label vectors come from a Gaussian copula: latent normal variables, correlated so that pairs of findings are as
    frequent together as at NIH, positive above the threshold that gives the prevalence. A share of each belongs to
    the patient. With an `age_effect` a share belongs to age, so that older patients have more findings.
    """
    generator = np.random.default_rng([seed, 0])
    patients, split = _draw_patients(counts, generator)
    people = int(patients.max()) + 1
    root = np.linalg.cholesky(latent_correlation())
    own = generator.standard_normal((people, len(LABELS)))[patients]
    visit = generator.standard_normal((len(patients), len(LABELS)))
    latent = (PERSISTENCE**0.5 * own + (1 - PERSISTENCE) ** 0.5 * visit) @ root.T
    bedridden = generator.random(len(patients))
    age = np.clip(np.round(generator.normal(*AGE, people)), 1, 95).astype(int)[patients]
    if age_effect:
        old = (age - AGE[0]) / AGE[1]
        latent = (latent + age_effect * old[:, None]) / (1 + age_effect**2) ** 0.5  # as spread as before
    targets = _threshold(latent, split, prevalence)
    sick = np.minimum(targets.sum(axis=1), 3)
    view = np.where(bedridden < 0.26 + 0.16 * sick, "AP", "PA")
    sex = np.where(generator.random(people) < 0.565, "M", "F")[patients]
    return Cohort(split, patients, targets, age, sex, view)


def _draw_patients(counts: dict[str, int], generator: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """Patient and split of each image; the last patient of a split has as many images as fill it."""
    patients, splits, person = [], [], 0
    for split, count in counts.items():
        left = count
        while left:
            several = generator.random() >= SINGLE
            images = min(1 + int(generator.geometric(FURTHER)) if several else 1, MOST, left)
            patients += [person] * images
            splits += [split] * images
            person, left = person + 1, left - images
    return np.array(patients, dtype=np.intp), np.array(splits)


def _threshold(latent: NDArray[np.float64], split: NDArray[np.str_], prevalence: str) -> NDArray[np.float32]:
    """Latent variables (N, 14) to targets; lifted, each split has its fewest positives whatever the draw."""
    from scipy.special import ndtri

    rates = np.diag(np.array(TOGETHER)) / IMAGES
    lifted = prevalence == "lifted"
    cut = -ndtri(np.maximum(rates, LIFTED) if lifted else rates)
    targets = latent > cut
    if lifted:
        for name, fewest in FEWEST.items():
            rows = np.flatnonzero(split == name)
            enough = min(fewest, len(rows) // 2)
            if enough:
                highest = np.argsort(-latent[rows], axis=0)[:enough]
                targets[rows[highest], np.arange(len(LABELS))] = True
    return np.asarray(targets, dtype=np.float32)


def latent_correlation() -> NDArray[np.float64]:
    """(14, 14) tetrachoric correlations of NIH's findings: the latent correlation that gives each pair its frequency.

    Found by bisection on the bivariate normal probability; made positive definite by lifting small eigenvalues.
    """
    from scipy.special import ndtr, ndtri

    together = np.array(TOGETHER) / IMAGES
    cut = -ndtri(np.diag(together))
    first, second = np.triu_indices(len(LABELS), 1)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    x = cut[first, None] + 4 * (nodes + 1)  # P(X > a, Y > b) as an integral over x from a to a + 8
    density = 4 * weights * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    low, high = np.full(len(first), -0.99), np.full(len(first), 0.99)
    for _ in range(40):
        middle = (low + high) / 2
        slope = np.sqrt(1 - middle**2)[:, None]
        probability = (density * ndtr((middle[:, None] * x - cut[second, None]) / slope)).sum(axis=1)
        under = probability < together[first, second]
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    correlation = np.eye(len(LABELS))
    correlation[first, second] = correlation[second, first] = (low + high) / 2
    values, vectors = np.linalg.eigh(correlation)
    positive = (vectors * np.maximum(values, 1e-3)) @ vectors.T
    scale = np.sqrt(np.diag(positive))
    return np.asarray(positive / np.outer(scale, scale))
