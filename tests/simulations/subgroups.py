"""How often groups of patients are called different, where they are and where they are not: make simulate.

Patients have several images that resemble each other, in scores and in what is seen; labels are of several prevalences.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.bootstrap import draw_resamples
from harness.evaluation.subgroups import Gap, measure_subgroups
from harness.registry import load_registry

sys.path.insert(0, str(Path(__file__).parent))
from tables import keep, make_table  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREVALENCE = (0.4, 0.25, 0.15)
SKILL = 1.2
"""By how much a positive's score lies above a negative's; a patient's images share half of the noise's variance."""
DRAWS = 199
"""Resamples and permutations of a trial."""
LEVEL = 0.05


@dataclass(frozen=True)
class Scene:
    """Groups, and how much less skill a network has in the first of them."""

    name: str
    shares: tuple[float, ...]
    patients: int
    by_image: bool = False
    """Whether names are given to images, each by itself, instead of to patients."""
    loss: float = 0.0


SCENES = (
    Scene("four random groups", (0.25,) * 4, 300),
    Scene("four random groups, of 7, 13, 30 and 50 %", (0.07, 0.13, 0.3, 0.5), 600),
    Scene("four random groups of images", (0.25,) * 4, 300, by_image=True),
    Scene("two random groups", (0.5, 0.5), 300),
    Scene("four groups, one with an AUROC lower by about 0.06", (0.25,) * 4, 600, loss=0.3),
)


def simulate(scene: Scene, trials: int, seed: int = 0) -> tuple[float, float]:
    """Share of trials in which groups are called different: by the interval between the extreme two, and by p."""
    auroc = load_registry().metric("auroc")
    by_interval = by_p = 0
    for trial in range(trials):
        scores, targets, patients, groups = make_case(scene, np.random.default_rng((seed, trial)))
        resampling = draw_resamples(patients, DRAWS, seed=str(trial))
        found = measure_subgroups(
            {"group": groups},
            [auroc],
            {"auroc": scores},
            targets,
            patients,
            resampling,
            permutations=DRAWS,
            seed=str(trial),
        )
        gap = found["group"].gaps["auroc"]
        by_interval += _excludes_zero(gap)
        by_p += gap is not None and gap.p is not None and gap.p <= LEVEL
    return by_interval / trials, by_p / trials


def make_case(
    scene: Scene, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]]:
    """Scores and targets (N, C), patients and names of groups (N,); a patient has one to seven images."""
    images = generator.integers(1, 8, scene.patients)
    owner = np.repeat(np.arange(scene.patients), images)
    names = np.array([f"g{place}" for place in range(len(scene.shares))])
    drawn = generator.choice(len(names), len(owner) if scene.by_image else scene.patients, p=scene.shares)
    group = drawn if scene.by_image else drawn[owner]
    shape = len(owner), len(PREVALENCE)

    def share(strength: float) -> NDArray[np.float64]:
        of_patient = generator.normal(size=(scene.patients, shape[1]))[owner]
        return np.asarray(np.sqrt(strength) * of_patient + np.sqrt(1 - strength) * generator.normal(size=shape))

    from scipy.special import ndtri

    targets = share(0.5) < ndtri(PREVALENCE)
    skill = SKILL - scene.loss * (group == 0)
    scores = share(0.5) + skill[:, None] * targets
    return scores, targets.astype(np.float32), np.array([f"p{one}" for one in owner]), names[group]


def _excludes_zero(gap: Gap | None) -> bool:
    return gap is not None and gap.interval is not None and gap.interval[0] > 0


def main(trials: int = 500) -> None:
    """Make the table."""
    started = time.perf_counter()
    rows = []
    for scene in SCENES:
        found = simulate(scene, trials)
        rows.append([scene.name, str(scene.patients), *(f"{share:.3f}" for share in found)])
        print(rows[-1], f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    head = ["groups", "patients", "interval of the extreme two excludes 0", "p at most 0.05"]
    keep("subgroups", f"{trials:,} trials a line.\n\n{make_table(head, rows)}")


if __name__ == "__main__":
    main()
