"""How often an interval of a network minus readers holds the true difference: make simulate.

Everybody sees a finding by a score with normal noise, part of which is the case's and shared: a network, and readers
who decide at thresholds of their own. The truth for these very readers is their own difference; for readers in general
it is the mean over the readers that might have been asked.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.bootstrap import draw_resamples
from harness.evaluation.panel import Panel
from harness.evaluation.predictions import Predictions
from harness.evaluation.readers import (
    PAIRED,
    compare_with_average,
    compare_with_each,
    measure_readers,
    stack_differences,
)

sys.path.insert(0, str(Path(__file__).parent))
from tables import keep, make_table  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.evaluation.readers import Difference

    Array = NDArray[np.float64]

SKILL = 1.5
"""By how much a positive's score lies above a negative's."""
SHARED = 0.4
"""Share of the noise's variance that a case has for everybody."""
THRESHOLDS = (0.8, 2.0)
"""Between which readers decide: a specificity of 0.79 to 0.98."""
RESAMPLES = 400
POPULATION = 20_000
"""Readers by whom the truth for readers in general is found."""


@dataclass(frozen=True)
class Scene:
    """A panel of readers and what they read."""

    name: str
    readers: int
    patients: int
    prevalence: tuple[float, ...]
    spread: float = 0.0
    """Standard deviation of the readers' skill."""
    studies: int = 1
    """Of a patient, at most."""
    read: float = 1.0
    """Share of the studies that a reader read, each others."""
    lead: float = 0.0
    """By how much the network's skill is above that of the mean reader."""


FOURTEEN = (0.16, 0.11, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02)
SCENES = (
    Scene("four readers, 14 labels of 2 to 16 %", 4, 420, FOURTEEN),
    Scene("eight readers, five labels of 10 to 40 %", 8, 500, (0.4, 0.3, 0.2, 0.15, 0.1)),
    Scene("eight readers of unequal skill", 8, 500, (0.4, 0.3, 0.2, 0.15, 0.1), spread=0.3),
    Scene("eight readers of unequal skill, the network better", 8, 500, (0.4, 0.2, 0.1), spread=0.3, lead=0.4),
    Scene("three readers of unequal skill, one label of 20 %", 3, 150, (0.2,), spread=0.3),
    Scene("three readers, one label of 10 %", 3, 100, (0.1,)),
    Scene(
        "five readers, each of another half, up to four studies for each patient",
        5,
        200,
        (0.3, 0.1),
        studies=4,
        read=0.5,
    ),
)


def simulate(scene: Scene, trials: int, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Measure -> share of intervals that hold the truth, of each reader and of readers in general, and the mean error.

    An interval that there is not holds nothing.
    """
    shares: dict[str, tuple[float, float, float]] = {}
    held: dict[str, list[list[float]]] = {name: [[], [], []] for name in PAIRED}
    general = find_general_truth(scene, np.random.default_rng((seed, 10**6)))
    for trial in range(trials):
        generator = np.random.default_rng((seed, trial))
        skills = SKILL + scene.spread * generator.normal(size=scene.readers)
        limits = generator.uniform(*THRESHOLDS, scene.readers)
        test, panel = make_case(scene, skills, limits, generator)
        resampling = draw_resamples(test.patient, RESAMPLES, seed=str(trial))
        measured = measure_readers(
            test, panel, {"0.5": np.full(len(scene.prevalence), np.mean(THRESHOLDS))}, resampling
        )
        if not measured.used.any():
            continue
        for name in PAIRED:
            truth = find_truth(scene, skills, limits, measured.used, name)
            values, resampled = stack_differences([measured], name)
            for one, true in zip(compare_with_each(values, resampled), truth, strict=True):
                held[name][0].append(_holds(one, true))
                held[name][2].append(one.delta - true)
            average = compare_with_average(values, resampled)
            if average is not None:
                held[name][1].append(_holds(average, float(general[name][measured.used].mean())))
    for name, columns in held.items():
        shares[name] = (float(np.mean(columns[0])), float(np.mean(columns[1])), float(np.mean(columns[2])))
    return shares


def make_case(scene: Scene, skills: Array, limits: Array, generator: np.random.Generator) -> tuple[Predictions, Panel]:
    """A test set with a network's scores, and the panel's decisions on it."""
    counts = generator.integers(1, scene.studies + 1, scene.patients)
    owner = np.repeat(np.arange(scene.patients), counts)
    shape = len(owner), len(scene.prevalence)
    # a patient's studies have the finding alike in half of the cases
    same = generator.random((scene.patients, shape[1]))[owner]
    own = generator.random(shape)
    targets = np.where(generator.random(shape) < 0.5, same, own) < np.array(scene.prevalence)
    case = np.sqrt(SHARED) * generator.normal(size=shape)

    def see(skill: float) -> Array:
        return np.asarray(skill * targets + case + np.sqrt(1 - SHARED) * generator.normal(size=shape))

    decisions = np.stack([see(s) >= limit for s, limit in zip(skills, limits, strict=True)]).astype(np.float32)
    decisions[generator.random(decisions.shape[:2]) >= scene.read] = np.nan
    labels = tuple(f"label {number}" for number in range(shape[1]))
    test = Predictions(
        labels=labels,
        image=np.array([f"i{row}" for row in range(shape[0])]),
        patient=np.array([f"p{one}" for one in owner]),
        logits=see(SKILL + scene.lead),
        targets=targets.astype(np.float32),
    )
    return test, Panel(names=tuple(f"reader {r}" for r in range(scene.readers)), labels=labels, decisions=decisions)


def find_truth(scene: Scene, skills: Array, limits: Array, used: NDArray[np.bool_], measure: str) -> Array:
    """The true difference from each reader (M,), a mean over the labels used."""
    return np.asarray(_differ(scene, skills, limits, measure)[:, used].mean(axis=1))


def find_general_truth(scene: Scene, generator: np.random.Generator) -> dict[str, Array]:
    """Measure -> the true difference from readers in general, by label (C,)."""
    skills = SKILL + scene.spread * generator.normal(size=POPULATION)
    limits = generator.uniform(*THRESHOLDS, POPULATION)
    return {name: _differ(scene, skills, limits, name).mean(axis=0) for name in PAIRED}


def _differ(scene: Scene, skills: Array, limits: Array, measure: str) -> Array:
    """The network minus readers (M,) in truth, by label (M, C)."""
    from scipy.special import ndtr

    prevalence, network = np.array(scene.prevalence), SKILL + scene.lead
    if measure == "sensitivity":
        return np.asarray(np.repeat((ndtr(network - limits) - ndtr(skills - limits))[:, None], len(prevalence), axis=1))

    def f1(skill: Array, limit: Array) -> Array:
        hit, alarm = ndtr(skill - limit)[:, None] * prevalence, ndtr(-limit)[:, None] * (1 - prevalence)
        return np.asarray(2 * hit / (hit + alarm + prevalence))

    return f1(np.array([network]), np.array([np.mean(THRESHOLDS)])) - f1(skills, limits)


def _holds(difference: Difference, truth: float) -> bool:
    return difference.interval is not None and difference.interval[0] <= truth <= difference.interval[1]


def main(trials: int = 1000) -> None:
    """Make the table."""
    started = time.perf_counter()
    rows = []
    for scene in SCENES:
        found = simulate(scene, trials)
        cells = [f"{share:.3f}" for name in PAIRED for share in found[name][:2]]
        rows.append([scene.name, str(scene.patients), *cells, f"{found['sensitivity'][2]:+.4f}"])
        print(rows[-1], f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    head = ["panel", "patients"]
    head += ["sensitivity, each reader", "sensitivity, readers in general", "F1, each reader", "F1, readers in general"]
    head += ["mean error of the sensitivity's difference"]
    keep("readers", f"{trials:,} trials a line, {RESAMPLES} resamples.\n\n{make_table(head, rows)}")


if __name__ == "__main__":
    main()
