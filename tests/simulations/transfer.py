"""How often the interval of a drop from one dataset to another holds the truth: `make simulate`.

Both test sets come from populations like that of `intervals.py`: several images a patient, labels as rare as hernia.
Outside they are of the same distribution, or the network sees less there and labels are more frequent. Each set of one
size is held against several of the other. Seeds move the means of both tests, in part together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.components import IntervalMethod, Metric
from harness.evaluation.bootstrap import average_labels, choose_labels, draw_resamples, resample
from harness.evaluation.comparison import estimate_seed_variances
from harness.evaluation.contract import defined_labels
from harness.evaluation.intervals import find_interval
from harness.evaluation.significance import combine, quantile
from harness.evaluation.transfer import Side, measure_drop

sys.path.insert(0, str(Path(__file__).parent))
import intervals  # type: ignore[import-not-found]
import tables  # type: ignore[import-not-found]

Array = NDArray[np.float64]
Interval = tuple[float, float] | None

SIZES = (300, 5_000)
"""Patients of a test set."""
MOST_IMAGES = 5
"""Of a patient."""
SETS, RESAMPLES = 200, 200
"""Test sets of each size and kind, and resamples of each."""
SHIFTS = 5
"""Each own test set is held against so many outside ones."""
ROWS = 4
"""Of a board, which share the spread of their seeds where they agree."""
INSIDE, OUTSIDE, TOGETHER = 0.004, 0.008, 0.5
"""Standard deviation over seeds of a mean on the own test and outside, and the correlation of both."""
METRICS = ("auroc", "auprc", "ece")
WILD = 5
"""Times as far as those of the others the seeds of the last row spread, in one scene."""


@dataclass(frozen=True, eq=False)
class TestSet:
    """A test set, scored by one network."""

    __test__ = False
    labels: NDArray[np.bool_]
    """(C,) those that a mean may be over."""
    values: Array
    """(C,)"""
    resampled: Array
    """(R, C)"""
    truth: Array
    """(C,)"""


def make_kinds() -> dict[str, Callable[[int], intervals.Population]]:
    """Kind of test set -> its population of a size."""

    def worsen(patients: int) -> intervals.Population:
        same = intervals.make_population(patients, MOST_IMAGES)
        return replace(same, skill=0.75 * same.skill, threshold=same.threshold - 0.2)

    return {"the same": lambda patients: intervals.make_population(patients, MOST_IMAGES), "harder": worsen}


def draw_sets(kind: str, patients: int, metric: Metric, count: int) -> list[TestSet]:
    """Test sets of one size from one population."""
    population = make_kinds()[kind](patients)
    truth = intervals.find_truth(population, {metric.name: metric}).values[metric.name]
    generator = np.random.default_rng([patients, *kind.encode(), *metric.name.encode()])
    sets = []
    for _ in range(count):
        scores, targets, people = population.draw(generator, patients)
        used = choose_labels(defined_labels(scores, targets), targets, people)
        drawn = draw_resamples(people, RESAMPLES, seed=str(generator.integers(2**32)))
        resampled = resample(metric, scores, targets, people, drawn, workers=1)
        sets.append(TestSet(used, metric.compute(scores, targets, None), resampled, truth))
    return sets


# --- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A board's rows on both tests, the same labels in each: what a rule sees, and what is true."""

    sides: tuple[tuple[Side, Side], ...]
    method: IntervalMethod
    truth: float


def _with_bias(case: Case) -> list[Interval]:
    """By the harness."""
    return [measure_drop(*pair, higher_is_better=True).interval for pair in case.sides]


def _without_bias(case: Case) -> list[Interval]:
    """By t: both standard errors and that of the seeds' mean drop, around the drop alone."""
    return [_by_t(pair, _list_variances([pair[0].values - pair[1].values])) for pair in case.sides]


def _sharing_seeds(case: Case) -> list[Interval]:
    """The same, but rows share the spread of their seeds so far as they agree."""
    variance, freedom = estimate_seed_variances([inside.values - outside.values for inside, outside in case.sides])
    known = [[(v, f)] if np.isfinite(v) else [] for v, f in zip(variance[:, None], freedom[:, None], strict=True)]
    return [_by_t(pair, own) for pair, own in zip(case.sides, known, strict=True)]


def _without_pairs(case: Case) -> list[Interval]:
    """The same, as if the seeds of both tests had nothing to do with each other."""
    return [_by_t(pair, _list_variances([side.values for side in pair])) for pair in case.sides]


def _list_variances(seeds: Sequence[Array]) -> list[tuple[Array, Array]]:
    """Of the mean of each, with its degrees of freedom; none with fewer than three."""
    return [(np.array([own.var(ddof=1) / len(own)]), np.array([len(own) - 1.0])) for own in seeds if len(own) > 2]


def _by_t(pair: tuple[Side, Side], seeds: Sequence[tuple[Array, Array]]) -> Interval:
    error, freedom = combine(np.array([sum(_resample(side).var(ddof=1) for side in pair)]), *seeds)
    reach = float((error * quantile(freedom, 0.975))[0])
    drop = pair[0].mean - pair[1].mean
    return drop - reach, drop + reach


def _resample(side: Side) -> Array:
    assert side.resamples is not None
    return np.asarray(side.resamples.mean(axis=0))


def _from_intervals(case: Case) -> list[Interval]:
    """From the two means' own intervals and the spread of the row's drops over seeds (Zou and Donner 2008)."""
    found: list[Interval] = []
    for inside, outside in case.sides:
        first, second = (find_interval(side.mean, _resample(side), case.method) for side in (inside, outside))
        assert first is not None
        assert second is not None
        drops = inside.values - outside.values
        reach = sum((float(quantile(f, 0.975)[0]) ** 2 * float(v[0]) for v, f in _list_variances([drops])), 0.0)
        below = np.hypot(inside.mean - first[0], second[1] - outside.mean)
        above = np.hypot(first[1] - inside.mean, outside.mean - second[0])
        drop = inside.mean - outside.mean
        found.append((drop - float(np.hypot(below, reach**0.5)), drop + float(np.hypot(above, reach**0.5))))
    return found


def _percentiles(case: Case) -> list[Interval]:
    """Percentiles of resample b inside minus resample b outside: patients alone."""
    found: list[Interval] = []
    for inside, outside in case.sides:
        low, high = np.quantile(_resample(inside) - _resample(outside), [0.025, 0.975])
        found.append((float(low), float(high)))
    return found


RULES: Mapping[str, Callable[[Case], list[Interval]]] = {
    "around the drop with and without its bias (chosen)": _with_bias,
    "around the drop alone": _without_bias,
    "the same, seeds shared": _sharing_seeds,
    "the same, seeds not paired": _without_pairs,
    "from the two intervals": _from_intervals,
    "percentiles, patients alone": _percentiles,
}
CHOSEN = next(iter(RULES))


# --- scenes ----------------------------------------------------------------------------------------------------------


def make_cases(
    own: Sequence[TestSet],
    outside: Sequence[TestSet],
    metric: Metric,
    seeds: int,
    generator: np.random.Generator,
    wild: float = 1,
) -> Iterator[Case]:
    """Boards of `ROWS` rows whose networks are one method, with so many seeds; one seed stands for itself."""
    for shift in range(1, SHIFTS + 1):
        for place, mine in enumerate(own):
            other = outside[(place + shift) % len(outside)]
            labels = mine.labels & other.labels
            truth = float((mine.truth - other.truth)[labels].mean())
            sides = []
            for row in range(ROWS if seeds > 1 else 1):
                moved = np.zeros((2, seeds))
                if seeds > 1:
                    both = np.array(
                        [[INSIDE**2, TOGETHER * INSIDE * OUTSIDE], [TOGETHER * INSIDE * OUTSIDE, OUTSIDE**2]]
                    )
                    times = wild if row == ROWS - 1 else 1
                    moved = times * generator.multivariate_normal([0, 0], both, size=seeds).T  # (2, k)
                sides.append((_move(mine, labels, moved[0]), _move(other, labels, moved[1])))
            yield Case(tuple(sides), metric.interval, truth)


def _move(one: TestSet, labels: NDArray[np.bool_], moved: Array) -> Side:
    """A test set's mean over labels, with seeds that are moved by so much."""
    mean = float(one.values[labels].mean())
    resampled = average_labels(one.resampled, labels)
    return Side(mean + moved, resampled[None] + moved[:, None])


@dataclass(frozen=True)
class Found:
    """How often a rule's intervals hold the truth, and how wide they are: of ordinary rows, and of the last one."""

    held: float
    wide: float
    last: float
    without: float
    """Share of rows without an interval."""


def judge(cases: Sequence[Case], rule: str) -> Found:
    """What a rule does on boards."""
    held: list[list[bool]] = []
    wide: list[float] = []
    for case in cases:
        found = RULES[rule](case)
        held.append([one is not None and one[0] <= case.truth <= one[1] for one in found])
        wide += [one[1] - one[0] for one in found if one is not None]
    table = np.array(held)
    ordinary = table[:, :-1] if table.shape[1] > 1 else table
    return Found(float(ordinary.mean()), float(np.mean(wide)), float(table[:, -1].mean()), 1 - len(wide) / table.size)


SCENES = ((1, 1.0), (3, 1.0), (3, float(WILD)), (5, 1.0))
"""Seeds, and how wildly those of the last row spread."""


def main(count: int = SETS) -> None:
    """Write the tables."""
    start = time.perf_counter()
    generator = np.random.default_rng(6)
    text = [f"{count} test sets of each size and kind, {RESAMPLES} resamples, each held against {SHIFTS} others."]
    for name in METRICS:
        metric = intervals.load_registry().metric(name)
        sets = {(kind, size): draw_sets(kind, size, metric, count) for kind in make_kinds() for size in SIZES}
        lines = []
        for kind in make_kinds():
            for own in SIZES:
                for other in SIZES:
                    for seeds, wild in SCENES:
                        given = sets["the same", own], sets[kind, other], metric, seeds, generator, wild
                        cases = list(make_cases(*given))
                        found = [judge(cases, rule) for rule in RULES]
                        called = f"{seeds}, one row of {wild:g}x" if wild > 1 else f"{seeds}"
                        cells = [f"{f.last if wild > 1 else f.held:.3f} ({f.wide:.3f})" for f in found]
                        lines.append([kind, f"{own:,}", f"{other:,}", called, *cells])
        text.append(f"`{name}`:")
        text.append(tables.make_table(("outside", "own patients", "outside patients", "seeds", *RULES), lines))
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")
    tables.keep("transfer", "\n\n".join(text))


if __name__ == "__main__":
    main()
