"""How often intervals hold the truth, by metric, size of the test set and way of resampling: `make simulate`.

Patients are as in ChestX-ray14: the prevalences of its 14 labels, how much a patient's images share of each, how many
images a patient of the official test list has, and that patients with more images have more findings. What is true
is integrated over the population, not sampled. Letters in shapes: N images, C labels, P patients, K kinds of patients.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

from harness.components import IntervalMethod, Metric
from harness.evaluation import clustered, delong
from harness.evaluation.bootstrap import Resampling, average_labels, choose_labels, draw_resamples, resample
from harness.evaluation.contract import defined_labels
from harness.evaluation.intervals import find_interval
from harness.evaluation.thresholds import decide, maximal_f1_thresholds
from harness.registry import load_registry

sys.path.insert(0, str(Path(__file__).parent))
import tables  # type: ignore[import-not-found]

Array = NDArray[np.float64]

PREVALENCE = np.array([10.3, 2.48, 11.9, 17.7, 5.16, 5.65, 1.28, 4.73, 4.16, 2.05, 2.24, 1.50, 3.02, 0.20]) / 100
"""Of ChestX-ray14's labels, from Atelectasis to Hernia."""
SHARED = np.array([0.34, 0.56, 0.45, 0.22, 0.59, 0.45, 0.21, 0.60, 0.30, 0.39, 0.55, 0.46, 0.38, 0.88])
"""Correlation of a patient's images in what lies below each label (tetrachoric, from pairs of images)."""
SKILL = np.array([0.78, 0.88, 0.86, 0.69, 0.82, 0.75, 0.71, 0.85, 0.74, 0.84, 0.90, 0.78, 0.76, 0.88])
"""AUROC of the simulated network."""
IMAGES = np.repeat(
    [*range(1, 18), 19, 21, 22, 24, 25, 28, 30, 34, 36, 41, 46, 54, 61, 69, 108],
    [49, 9, 4, 3, 3, 2, 2, 2, 1, 2, 1, 1, 2, *[1] * 19],
)
"""Of a patient: 100 quantiles of the official test list."""
LIFT = 0.15
"""By how much what lies below a label rises with the logarithm of a patient's images, in standard deviations."""
SIZES = {
    "155 images, 60 patients": (60, 5),
    "2,118 images, 300 patients": (300, 30),
    "25,596 images, 2,797 patients": (2797, 184),
}
"""Patients, and the most images that one of them has; that gives about so many images."""
GRID = 1_500


@dataclass(frozen=True, eq=False)
class Population:
    """Of whom test sets are drawn; a label is present where a normal variable is above its threshold."""

    patients: int
    images: NDArray[np.intp]
    """(K,) of a patient."""
    share: Array
    """(K,) of patients."""
    lift: Array
    """(K,) mean of the variable."""
    threshold: Array
    """(C,)"""
    skill: Array
    """(C,) correlation of the variable with what the network sees of it."""

    def draw(self, generator: np.random.Generator, patients: int) -> tuple[Array, Array, NDArray[np.str_]]:
        """Scores and targets (N, C), and patients (N,)."""
        kind = generator.choice(len(self.images), size=patients, p=self.share)
        of = np.repeat(np.arange(patients), self.images[kind])

        def mix(share: Any, per_patient: Array) -> Array:
            own = generator.normal(size=(len(of), len(SHARED)))
            return np.asarray(np.sqrt(share) * per_patient[of] + np.sqrt(1 - share) * own)

        own = generator.normal(size=(patients, len(SHARED)))
        illness = np.sqrt(0.3) * generator.normal(size=(patients, 1)) + np.sqrt(0.7) * own
        below = self.lift[kind][of][:, None] + mix(SHARED, illness)
        noise = mix(0.5, generator.normal(size=(patients, len(SHARED))))
        seen = self.skill * below + np.sqrt(1 - self.skill**2) * noise
        return self.score(seen), (below > self.threshold).astype(float), np.array([f"p{n:05}" for n in of])

    def score(self, seen: Array) -> Array:
        """The network's scores (N, C): chances, a little too certain and off by label."""
        chances = ndtr((self.skill * seen - self.threshold) / np.sqrt(1 - self.skill**2))
        tilt = np.random.default_rng(5).normal(size=(2, len(SKILL)))
        return np.asarray(
            expit(1.25 * np.exp(0.1 * tilt[0]) * logit(np.clip(chances, 1e-12, 1 - 1e-12)) + 0.25 * tilt[1])
        )

    def integrate(self) -> tuple[Array, Array, Array]:
        """Scores (M, C) all over the population, the chance (M, C) that each is a positive's, and weights (M,)."""
        weights = self.share * self.images / (self.share * self.images).sum()
        center = self.lift[:, None, None] * self.skill  # (K, 1, C)
        seen = center + ndtri((np.arange(GRID) + 0.5) / GRID)[None, :, None]
        mean = self.lift[:, None, None] + self.skill * (seen - center)
        chances = ndtr((mean - self.threshold) / np.sqrt(1 - self.skill**2))
        flat = (-1, len(SKILL))
        return self.score(seen.reshape(flat)), chances.reshape(flat), np.repeat(weights / GRID, GRID)


def make_population(patients: int, most: int) -> Population:
    """Of patients with at most so many images."""
    images, counts = np.unique(np.minimum(IMAGES, most), return_counts=True)
    weights = images * counts / (images * counts).sum()
    lift = LIFT * (np.log(images) - weights @ np.log(images))
    threshold = np.array([_solve(lambda t, p=p: weights @ ndtr(lift - t) - p, -6, 6) for p in PREVALENCE])
    skill = np.array(
        [_solve(lambda s, t=t, a=a: a - _area(s, t), 0.01, 0.999) for t, a in zip(threshold, SKILL, strict=True)]
    )
    return Population(patients, images, counts / counts.sum(), lift, threshold, skill)


def _solve(falling: Any, low: float, high: float) -> float:
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _area(skill: float, threshold: float) -> float:
    chances = ndtr((skill * ndtri((np.arange(GRID) + 0.5) / GRID) - threshold) / np.sqrt(1 - skill**2))
    negatives = 1 - chances
    below = np.cumsum(negatives) - negatives / 2
    return float((chances * below).sum() / (chances.sum() * negatives.sum()))


@dataclass(frozen=True, eq=False)
class Truth:
    """What metrics are in the population."""

    values: dict[str, Array]
    """Metric of scores -> (C,)"""
    curves: list[tuple[Array, Array]]
    """Of each label: scores from the highest down, and F1 with each as the threshold."""

    def f1(self, thresholds: Array) -> Array:
        """F1 (C,) at thresholds (C,)."""
        found = []
        for (scores, values), threshold in zip(self.curves, thresholds, strict=True):
            place = np.searchsorted(-scores, -threshold, side="right") - 1
            found.append(np.nan if np.isnan(threshold) else values[max(place, 0)])
        return np.array(found)


def find_truth(population: Population, metrics: dict[str, Metric]) -> Truth:
    """Each metric of the whole population, by its own weights."""
    scores, chances, weights = population.integrate()
    twice, targets = np.concatenate([scores, scores]), np.repeat([1.0, 0.0], len(scores))[:, None]
    values = {name: np.empty(len(SKILL)) for name, metric in metrics.items() if metric.on != "decisions"}
    curves = []
    for label in range(len(SKILL)):
        positive, negative = weights * chances[:, label], weights * (1 - chances[:, label])
        for name, found in values.items():
            found[label] = metrics[name].compute(twice[:, [label]], targets, np.concatenate([positive, negative]))[0]
        order = np.argsort(-scores[:, label])
        true, false = np.cumsum(positive[order]), np.cumsum(negative[order])
        curves.append((scores[order, label], 2 * true / (true + false + true[-1])))
    return Truth(values, curves)


# --- trials ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """To resample, and to make an interval; the metric's own where None."""

    weights: str
    method: IntervalMethod | None


WAYS = {
    "chosen": Way("chosen", None),
    "percentile of counts": Way("counts", "percentile"),
    "percentile": Way("chosen", "percentile"),
    "exponential weights": Way("exponential", None),
}


def draw(way: str, patients: NDArray[np.str_], resamples: int, generator: np.random.Generator) -> Resampling:
    """Resamples by the harness's weights, by exponential ones in hundredths of 4, or by counts."""
    ours = draw_resamples(patients, resamples, seed=str(generator.integers(2**32)))
    shape = ours.weights.shape
    if way == "exponential":
        drawn = np.clip(np.rint(25 * generator.exponential(size=shape)), 1, 255)
        return Resampling(ours.patients, drawn.astype(np.uint8), "")
    return Resampling(ours.patients, ours.counts, "") if way == "counts" else ours


@dataclass(frozen=True)
class Trial:
    """An interval, or none, of what is true."""

    metric: str
    way: str
    truth: float
    interval: tuple[float, float] | None

    @property
    def held(self) -> bool:
        """Whether the interval holds the truth; no interval does not."""
        return self.interval is not None and self.interval[0] <= self.truth <= self.interval[1]


def run(
    population: Population,
    truth: Truth,
    metrics: dict[str, Metric],
    generator: np.random.Generator,
    ways: dict[str, Way],
    resamples: int,
) -> Iterator[Trial]:
    """One test set, with thresholds of a validation of its own: the mean over the labels that the harness averages."""
    scores, targets, patients = population.draw(generator, population.patients)
    val_scores, val_targets, _ = population.draw(generator, max(population.patients, 300))
    thresholds = maximal_f1_thresholds(val_scores, val_targets)
    kinds = dict.fromkeys(way.weights for way in ways.values())
    drawn = {kind: draw(kind, patients, resamples, generator) for kind in kinds}
    for name, metric in metrics.items():
        given = decide(scores, thresholds) if metric.on == "decisions" else scores
        used = choose_labels(defined_labels(given, targets), targets, patients)
        value = float(metric.compute(given[:, used], targets[:, used], None).mean())
        true = float((truth.f1(thresholds) if metric.on == "decisions" else truth.values[name])[used].mean())
        found = {kind: resample(metric, given, targets, patients, one) for kind, one in drawn.items()}
        for title, way in ways.items():
            of_mean = average_labels(np.where(used, found[way.weights], np.nan))  # of counts, over what a resample has
            interval = find_interval(value, of_mean, way.method or metric.interval)
            yield Trial(name, title, true, interval)


def run_labels(
    population: Population, truth: Truth, auroc: Metric, generator: np.random.Generator, resamples: int
) -> Iterator[tuple[int, str, bool, float]]:
    """Each label's AUROC in one test set: patients who have it, way, whether the interval held the truth, its width."""
    scores, targets, patients = population.draw(generator, population.patients)
    drawn = resample(auroc, scores, targets, patients, draw("chosen", patients, resamples, generator))
    for label, true in enumerate(truth.values["auroc"]):
        score, target = scores[:, label], targets[:, label]
        carriers = len(np.unique(patients[target == 1]))
        if carriers < 2:
            continue
        value = float(auroc.compute(score[:, None], target[:, None], None)[0])
        found = {
            "resamples, logit (chosen)": find_interval(value, drawn[:, label], "logit"),
            "resamples, percentile": find_interval(value, drawn[:, label]),
            "Obuchowski, logit and t": clustered.find_interval(score, target, patients),
            "DeLong": delong.find_interval(score, target),
        }
        for way, interval in found.items():
            if interval is not None:
                yield carriers, way, interval[0] <= true <= interval[1], interval[1] - interval[0]


@dataclass(frozen=True)
class Rate:
    """What is true of the sensitivity of a label, and how many patients have it."""

    patients: int
    value: float


RATES = [Rate(patients, value) for patients in (15, 60, 300) for value in (0.5, 0.9, 0.99)]
ALIKE = 0.4
"""Correlation of what lies below whether two positives of a patient are flagged."""


def run_rate(rate: Rate, sensitivity: Metric, generator: np.random.Generator, resamples: int) -> list[Trial]:
    """The intervals of one test set, whose positives are of as many patients as `rate` has."""
    images = np.minimum(generator.choice(IMAGES, rate.patients), 5)
    of = np.repeat(np.arange(rate.patients), images)
    below = np.sqrt(ALIKE) * generator.normal(size=rate.patients)[of]
    flagged = below + np.sqrt(1 - ALIKE) * generator.normal(size=len(of)) < ndtri(rate.value)
    decisions = np.append(flagged, np.zeros(10))[:, None]  # ten patients more are negatives
    targets = np.append(np.ones(len(of)), np.zeros(10))[:, None]
    patients = np.append(of, rate.patients + np.arange(10)).astype(str)
    drawn = resample(sensitivity, decisions, targets, patients, draw("chosen", patients, resamples, generator))[:, 0]
    methods: dict[str, IntervalMethod] = {"chosen": sensitivity.interval, "percentile": "percentile"}
    value = float(flagged.mean())
    return [
        Trial("sensitivity", name, rate.value, find_interval(value, drawn, method)) for name, method in methods.items()
    ]


def load_metrics() -> dict[str, Metric]:
    """Those whose intervals are simulated."""
    registry = load_registry()
    return {name: registry.metric(name) for name in ("auroc", "auprc", "f1", "brier", "ece")}


# --- tables ----------------------------------------------------------------------------------------------------------

REPETITIONS = {60: 1_000, 300: 1_000, 2797: 1_000}
"""By patients."""
RESAMPLES = {60: 400, 300: 400, 2797: 200}
"""Likewise; records have 1,000. Of 200, a standard deviation is known within 5 %, which coverage hardly feels."""
OF_RATES = 600
"""Repetitions of each sensitivity."""
MANY = 1_000
"""Patients from which on the harness's weights alone are tried: how to weigh matters where patients are few."""
WANTED = {
    "auroc": "0.92 to 0.98", "auprc": "0.88, 0.92, 0.93", "f1": "0.88, 0.92, 0.93", "brier": "0.92 to 0.98",
    "ece": "0.85, 0.91, 0.93",
}  # fmt: skip
CARRIERS = (2, 3, 5, 10, 30, 100)

Held = dict[tuple[int, str], list[tuple[bool, float]]]
"""The fewest patients of a group of labels, way -> whether intervals held the truth, and how wide they were."""


def main(scale: float = 1.0) -> None:
    """Write the tables; `scale` of the repetitions."""
    rows = [row for title in SIZES for row in simulate(title, scale)]
    keep(rows, [simulate_labels(title, scale) for title in SIZES], tabulate_rates(scale))


def simulate(title: str, scale: float) -> list[list[str]]:
    """Lines of the first table, from test sets of one size."""
    started, metrics, (patients, most) = time.perf_counter(), load_metrics(), SIZES[title]
    population = make_population(patients, most)
    truth, generator = find_truth(population, metrics), np.random.default_rng(patients)
    repetitions, resamples = max(2, round(scale * REPETITIONS[patients])), RESAMPLES[patients]
    ways = WAYS if patients < MANY else {name: way for name, way in WAYS.items() if way.weights == "chosen"}
    trials = [t for _ in range(repetitions) for t in run(population, truth, metrics, generator, ways, resamples)]
    rows = []
    for name in metrics:
        found = ([trial for trial in trials if (trial.metric, trial.way) == (name, way)] for way in WAYS)
        rows.append([title, name, WANTED[name], *map(_describe, found), f"{repetitions:,}"])
    print(f"{title}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return rows


def simulate_labels(title: str, scale: float) -> Held:
    """What the second table is made of, from half as many test sets of one size."""
    auroc, (patients, most) = load_registry().metric("auroc"), SIZES[title]
    population = make_population(patients, most)
    truth, generator = find_truth(population, {"auroc": auroc}), np.random.default_rng((patients, 1))
    found: Held = {}
    for _ in range(max(1, round(scale * REPETITIONS[patients]) // 2)):
        for carriers, way, held, width in run_labels(population, truth, auroc, generator, RESAMPLES[patients]):
            group = max(bound for bound in CARRIERS if bound <= carriers)
            found.setdefault((group, way), []).append((held, width))
    return found


def keep(rows: Sequence[Sequence[str]], sizes: Sequence[Held], rates: str) -> None:
    """Write the tables."""
    heads = ["test set", "metric", "wanted", *WAYS, "repetitions"]
    names = {bound: f"{bound}" if end == bound + 1 else f"{bound} to {end - 1}" for bound, end in pairwise(CARRIERS)}
    kinds = list(dict.fromkeys(way for by_label in sizes for _, way in by_label))
    lines = []
    for bound in CARRIERS:
        of_ways = ([one for by_label in sizes for one in by_label.get((bound, way), [])] for way in kinds)
        lines.append([names.get(bound, f"{bound} or more"), *map(_share, of_ways)])
    parts = (
        tables.make_table(heads, rows),
        tables.make_table(["patients who have the label", *kinds], lines),
    )
    tables.keep("intervals", "\n\n".join([*parts, rates]))


def tabulate_rates(scale: float) -> str:
    """The table of sensitivities."""
    sensitivity, repetitions = load_registry().metric("sensitivity"), max(2, round(scale * OF_RATES))
    rows = []
    for rate in RATES:
        generator = np.random.default_rng(rate.patients)
        trials = [t for _ in range(repetitions) for t in run_rate(rate, sensitivity, generator, RESAMPLES[60])]
        chosen, percentile = ([trial for trial in trials if trial.way == way] for way in ("chosen", "percentile"))
        without = np.mean([trial.interval is None for trial in chosen])
        known = [[trial for trial in found if trial.interval is not None] for found in (chosen, percentile)]
        rows.append(
            [f"{rate.patients}", f"{rate.value:g}", *map(_describe, known), f"{without:.3f}", f"{repetitions:,}"]
        )
    heads = ["patients who have the label", "sensitivity", "chosen", "percentile", "no interval", "repetitions"]
    return str(tables.make_table(heads, rows))


def _describe(found: list[Trial]) -> str:
    if not found:
        return "not tried"
    widths = [trial.interval[1] - trial.interval[0] for trial in found if trial.interval is not None]
    width = f"{np.mean(widths):.3f}" if widths else "no interval"
    return f"{np.mean([trial.held for trial in found]):.3f} ({width})"


def _share(held: list[tuple[bool, float]]) -> str:
    if not held:
        return "no interval"
    share, width = np.mean(held, axis=0)
    return f"{share:.3f} ({width:.3f}) of {len(held):,}"


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 1.0)
