"""How often a published number and a measured one of the same system are said to differ: `make simulate`.

Test sets come from the population of `intervals.py`: several images a patient, rare labels. One is the board's own,
which is resampled; of the other nothing is known but the mean AUROC and the number of patients.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from harness.components import Metric
from harness.evaluation.bootstrap import average_labels, choose_labels, draw_resamples, resample
from harness.evaluation.contract import defined_labels
from harness.evaluation.elsewhere import find_reach, imply_error, imply_interval

sys.path.insert(0, str(Path(__file__).parent))
import intervals  # type: ignore[import-not-found]
import tables  # type: ignore[import-not-found]

Array = NDArray[np.float64]

PATIENTS = (300, 1_000, 3_000, 8_000)
MOST_IMAGES = 5
"""Of a patient."""
SETS, RESAMPLES = 300, 200
"""Test sets of each size, and resamples of each."""
SHIFTS = 10
"""Each own test set is held against so many published ones."""
ALIKE = 0.85
"""Correlation of the logits of two trainings of one method."""
SEEDS = 0.004
"""Standard deviation of a mean AUROC over trainings, as of eight published systems."""
BETTER = (0.01, 0.02, 0.04)
"""By how much the published system is really better where power is measured."""
Z = 1.96


@dataclass(frozen=True, eq=False)
class TestSet:
    """A test set, scored by two trainings of one method."""

    __test__ = False
    labels: NDArray[np.bool_]
    """(C,) those that its mean is over."""
    values: Array
    """(C,) NaN where undefined."""
    trained: tuple[Array, Array]
    """(C,) each, of two trainings of one method."""
    resampled: Array
    """(R,) the mean."""

    @property
    def error(self) -> float:
        """The standard error over patients."""
        return float(self.resampled.std(ddof=1))


def draw(population: intervals.Population, metric: Metric, generator: np.random.Generator) -> TestSet:
    """One test set; two trainings of one method err alike, but for noise of their own."""
    scores, targets, patients = population.draw(generator, population.patients)
    logits = logit(np.clip(scores, 1e-9, 1 - 1e-9))
    spread = np.sqrt(1 / ALIKE - 1) * logits.std(axis=0)
    first, second = (logits + spread * generator.normal(size=logits.shape) for _ in range(2))
    used = choose_labels(defined_labels(scores, targets), targets, patients)
    drawn = draw_resamples(patients, RESAMPLES, seed=str(generator.integers(2**32)))
    resampled = average_labels(np.where(used, resample(metric, scores, targets, patients, drawn), np.nan), used)
    values, *trained = (metric.compute(one, targets, None) for one in (scores, first, second))
    return TestSet(used, values, (trained[0], trained[1]), resampled)


def draw_sets(patients: int, count: int) -> list[TestSet]:
    """Test sets of one size."""
    population = intervals.make_population(patients, MOST_IMAGES)
    metric, generator = intervals.load_registry().metric("auroc"), np.random.default_rng(patients)
    return [draw(population, metric, generator) for _ in range(count)]


# --- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What a rule gets to see."""

    measured: float
    error: float
    published: float
    implied: float
    seeds: Sequence[float] = ()


def _on_logits(case: Case) -> bool:
    slopes = [1 / (value * (1 - value)) for value in (case.measured, case.published)]
    apart = abs(logit(case.measured) - logit(case.published))
    return bool(apart > Z * np.hypot(case.error * slopes[0], case.implied * slopes[1]))


RULES: Mapping[str, Callable[[Case], bool]] = {
    "beyond both errors together (chosen)": lambda c: (
        abs(c.measured - c.published) > find_reach(c.error, c.implied, c.seeds)
    ),
    "the same on the logit scale": _on_logits,
    "outside the measured interval": lambda c: abs(c.measured - c.published) > Z * c.error,
    "intervals apart": lambda c: abs(c.measured - c.published) > Z * (c.error + c.implied),
}
"""Name -> whether the two are said to differ by more than chance."""
CHOSEN = next(iter(RULES))


def pair(own: Sequence[TestSet], others: Sequence[TestSet], sizes: tuple[int, int], better: float = 0) -> list[Case]:
    """Cases of one system on two test sets; the published mean is over the labels of the own one."""
    cases = []
    for shift, (place, mine) in itertools.product(range(1, SHIFTS + 1), enumerate(own)):
        other = others[(place + shift) % len(others)]
        labels = mine.labels & ~np.isnan(other.values)
        cases.append(
            Case(
                float(mine.values[labels].mean()),
                mine.error,
                float(other.values[labels].mean()) + better,
                imply_error(mine.error, *sizes),
            )
        )
    return cases


def pair_again(own: Sequence[TestSet]) -> list[Case]:
    """Cases of two trainings of one method on the same test images."""
    means = [[float(values[one.labels].mean()) for values in one.trained] for one in own]
    return [Case(a, one.error, b, one.error) for one, (a, b) in zip(own, means, strict=True)]


def add_training(cases: Sequence[Case], seeds: int, generator: np.random.Generator) -> list[Case]:
    """The same where the published network is another training, and the measured value a mean over so many."""
    moved = []
    for case in cases:
        trained = case.measured + SEEDS * generator.normal(size=seeds)
        published = case.published + SEEDS * generator.normal()
        moved.append(Case(float(trained.mean()), case.error, published, case.implied, tuple(trained.tolist())))
    return moved


def share(cases: Sequence[Case], rule: str) -> float:
    """How many cases a rule says are more than chance explains."""
    return float(np.mean([RULES[rule](case) for case in cases]))


def cover(
    own: Sequence[TestSet], patients: tuple[int, int], others: Sequence[TestSet], truth: Array
) -> dict[str, float]:
    """How often the implied interval of a published mean holds what is true, plain and on the logit scale."""
    held: dict[str, list[bool]] = {"plain": [], "logit": []}
    for mine, other in zip(own, others[1:], strict=False):
        labels = mine.labels & ~np.isnan(other.values)
        value, true, implied = (
            float(other.values[labels].mean()),
            truth[labels].mean(),
            imply_error(mine.error, *patients),
        )
        low, high = imply_interval(value, implied)
        held["plain"].append(bool(low <= true <= high))
        ends = expit(logit(value) + np.array([-Z, Z]) * implied / (value * (1 - value)))
        held["logit"].append(bool(ends[0] <= true <= ends[1]))
    return {name: float(np.mean(found)) for name, found in held.items()}


# --- tables ----------------------------------------------------------------------------------------------------------


def main(count: int = SETS) -> None:
    """Write the tables."""
    start = time.perf_counter()
    sets = {patients: draw_sets(patients, count) for patients in PATIENTS}
    generator = np.random.default_rng(4)
    lines, coverage, power = [], [], []
    metrics = {"auroc": intervals.load_registry().metric("auroc")}
    truth = intervals.find_truth(intervals.make_population(300, MOST_IMAGES), metrics).values["auroc"]
    for own, other in itertools.product(PATIENTS, PATIENTS):
        sizes = own, other
        cases = pair(sets[own], sets[other], sizes)
        trained = [share(add_training(cases, seeds, generator), CHOSEN) for seeds in (1, 3, 5)]
        lines.append([*map("{:,}".format, sizes), *(f"{value:.3f}" for value in
                      (*(share(cases, rule) for rule in RULES), *trained))])  # fmt: skip
        held = cover(sets[own], sizes, sets[other], truth)
        coverage.append([*map("{:,}".format, sizes), *(f"{value:.3f}" for value in held.values())])
        found = [share(pair(sets[own], sets[other], sizes, better), CHOSEN) for better in BETTER]
        power.append([*map("{:,}".format, sizes), *(f"{value:.3f}" for value in found)])
    same = [[f"{own:,}", *(f"{share(pair_again(sets[own]), rule):.3f}" for rule in RULES)] for own in PATIENTS]
    heads = "own patients", "published patients"
    text = [
        f"{count} test sets of each size, {RESAMPLES} resamples, each held against {SHIFTS} others.",
        tables.make_table((*heads, *RULES, "chosen, one training each", "three seeds", "five seeds"), lines),
        "The same system, two trainings, on the same test images:",
        tables.make_table((heads[0], *RULES), same),
        "How often the implied interval of 95 % holds the truth:",
        tables.make_table((*heads, "plain (chosen)", "on the logit scale"), coverage),
        "How often the chosen rule finds that the published system is really better, on other test images:",
        tables.make_table((*heads, *(f"by {better:g}" for better in BETTER)), power),
    ]
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")
    tables.keep("published", "\n\n".join(text))


if __name__ == "__main__":
    main()
