"""How often verdicts about pairs are false, and how often a real difference is found: make simulate.

Seeds are normal around their row's mean, patients move each row's mean. Spreads are those of eight published systems
of five seeds on ChestX-ray14: 0.004 over seeds, and 0.002 for the error of a difference over patients. Letters in
shapes: T trials, S rows, M pairs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.significance import SIGNIFICANT, combine, find_detectable, two_sided
from harness.evaluation.spread import Spreads, find_spreads

sys.path.insert(0, str(Path(__file__).parent))
from tables import keep, make_table  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Method = Callable[[Array, Array], Spreads]

SEEDS, PATIENTS = 0.004, 0.002
"""Standard deviation over seeds of a quiet row, and the standard error of a difference over patients."""
WANTED_POWER = 0.8
"""What the pooled test has among equal rows at the difference that power is measured at."""


def pool_all(variance: Array, freedom: Array) -> Spreads:
    """One variance for all rows, whatever their spreads."""
    shape = np.broadcast_shapes(variance.shape, freedom.shape)
    common = variance.mean(axis=-1, keepdims=True)
    return Spreads(
        np.broadcast_to(common, shape),
        np.broadcast_to(freedom.sum(axis=-1, keepdims=True), shape),
        np.ones(shape, bool),
    )


def keep_own(variance: Array, freedom: Array) -> Spreads:
    """A variance of its own for each row."""
    return Spreads(variance, np.broadcast_to(freedom, variance.shape), np.zeros(variance.shape, bool))


def moderate(variance: Array, freedom: Array) -> Spreads:
    """Variances shrunk towards a common one by as much as the rows agree (Smyth 2004, by moments of the logarithms)."""
    from scipy.special import digamma, polygamma

    half = freedom / 2
    logs = np.log(np.maximum(variance, 1e-300)) - digamma(half) + np.log(half)
    excess = logs.var(axis=-1, ddof=1, keepdims=True) - polygamma(1, half).mean()
    prior = np.where(excess > 0, 2 * _invert_trigamma(np.maximum(excess, 1e-6)), 1e6)
    shift = np.where(excess > 0, digamma(prior / 2) - np.log(prior / 2), 0.0)
    common = np.exp(logs.mean(axis=-1, keepdims=True) + shift)
    moderated = (prior * common + freedom * variance) / (prior + freedom)
    known = np.minimum(prior + freedom, freedom.sum(axis=-1, keepdims=True))
    return Spreads(moderated, np.broadcast_to(known, moderated.shape), np.ones(moderated.shape, bool))


def _invert_trigamma(values: Array) -> Array:
    from scipy.special import polygamma

    found = 0.5 + 1 / values
    for _ in range(20):
        trigamma = polygamma(1, found)
        found = found + trigamma * (1 - trigamma / values) / polygamma(2, found)
    return np.asarray(found)


METHODS: Mapping[str, Method] = {
    "pooled over all rows": pool_all,
    "each row's own": keep_own,
    "moderated (Smyth)": moderate,
    "shared where rows agree": find_spreads,
}
CHOSEN = "shared where rows agree"


@dataclass(frozen=True)
class Scene:
    """A board of rows."""

    name: str
    spreads: Array
    """(S,) of each row over its seeds, as a multiple of `SEEDS`."""
    seeds: int


def make_board(rows: int, seeds: int, times: float = 1.0) -> Scene:
    """Rows of one spread, but the last, which has a multiple of it."""
    spreads = np.ones(rows)
    spreads[-1] = times
    return Scene("equal" if times == 1 else f"one of {times:g}x", spreads, seeds)


@dataclass(frozen=True)
class Found:
    """What a method does on a board, as shares of trials."""

    quiet: float
    """Pairs of rows with the ordinary spread called different, unadjusted, where nothing differs."""
    noisy: float
    """Likewise pairs with the last row."""
    any: float
    """Boards where any pair is called different after Holm's adjustment."""
    power: float
    """Boards where the first row, which is better, is told from the second after the adjustment."""


def simulate(scene: Scene, method: Method, delta: float, trials: int, generator: np.random.Generator) -> Found:
    """Draw boards, of which one half has no difference at all and the first row of the others is better by `delta`."""
    p = _draw(scene, method, 0.0, trials, generator)
    better = _draw(scene, method, delta, trials, generator)
    noisy = np.triu_indices(len(scene.spreads), 1)[1] == len(scene.spreads) - 1
    return Found(
        quiet=float((p[:, ~noisy] < SIGNIFICANT).mean()) if not noisy.all() else float("nan"),
        noisy=float((p[:, noisy] < SIGNIFICANT).mean()),
        any=float((p.min(axis=1) * p.shape[1] < SIGNIFICANT).mean()),
        power=float((_adjust_first(better) < SIGNIFICANT).mean()),
    )


def _draw(scene: Scene, method: Method, delta: float, trials: int, generator: np.random.Generator) -> Array:
    """P-values (T, M) of all pairs, the first row against the second first."""
    spreads, freedom = SEEDS * scene.spreads, scene.seeds - 1.0
    shape = trials, len(spreads)
    mean = generator.normal(size=shape) * np.sqrt(spreads**2 / scene.seeds + PATIENTS**2 / 2)
    mean[:, 0] += delta
    variance = spreads**2 * generator.chisquare(freedom, shape) / freedom
    found = method(variance, np.full(len(spreads), freedom))
    a, b = np.triu_indices(len(spreads), 1)
    parts = [(found.variance[:, row] / scene.seeds, found.freedom[:, row]) for row in (a, b)]
    error, known = combine(np.full((trials, len(a)), PATIENTS**2), *parts)
    return two_sided(mean[:, a] - mean[:, b], error, known)


def _adjust_first(p: Array) -> Array:
    """The first pair's p-value (T,) of (T, M), adjusted by Holm."""
    ordered = np.sort(p, axis=1)
    adjusted = np.maximum.accumulate(ordered * np.arange(p.shape[1], 0, -1), axis=1)
    return np.asarray(adjusted[np.arange(len(p)), (ordered < p[:, :1]).sum(axis=1)])


def find_difference(rows: int, seeds: int) -> float:
    """The difference that the pooled test finds in `WANTED_POWER` of boards of equal rows."""
    low, high = 0.0, 0.06
    for _ in range(9):
        middle = (low + high) / 2
        generator = np.random.default_rng(9)
        p = _draw(make_board(rows, seeds), pool_all, middle, 4000, generator)
        found = (_adjust_first(p) < SIGNIFICANT).mean()
        low, high = (middle, high) if found < WANTED_POWER else (low, middle)
    return (low + high) / 2


def find_promised(rows: int, seeds: int) -> float:
    """What `find_detectable` says of two of so many equal rows, their common spread known by all of them."""
    part = np.array([SEEDS**2 / seeds]), np.array([rows * (seeds - 1.0)])
    error, freedom = combine(np.array([PATIENTS**2]), part, part)
    return float(find_detectable(error, freedom, rows * (rows - 1) // 2)[0])


def main(trials: int = 10_000) -> None:
    """Compare the methods, and write the tables."""
    start = time.perf_counter()
    parts = [_compare_methods(trials), "", _try_harder(trials), "", _check_promises(trials)]
    minutes = (time.perf_counter() - start) / 60
    print(f"{minutes:.1f} minutes")
    keep("verdicts", "\n".join(parts))


def _count(trials: int, rows: int) -> int:
    return trials if rows < 20 else trials // 4


def _compare_methods(trials: int) -> str:
    lines = []
    for rows in (8, 30):
        for seeds in (3, 5, 8):
            delta = find_difference(rows, seeds)
            for name, method in METHODS.items():
                for times in (1, 5, 10):
                    found = simulate(
                        make_board(rows, seeds, times), method, delta, _count(trials, rows), np.random.default_rng(1)
                    )
                    shares = found.quiet, found.noisy if times > 1 else None, found.any, found.power
                    board = "equal" if times == 1 else f"one of {times}x"
                    lines.append([f"{rows}", f"{seeds}", board, name, *map(_share, shares)])
    text = (
        f"{trials:,} boards of 8 rows in each line, {trials // 4:,} of 30. Power is at the difference that the pooled "
        "test finds in 0.80 of boards whose rows are all alike."
    )
    heads = "rows", "seeds", "spreads", "variance over seeds", "quiet pair", "pair with it", "any pair, Holm", "power"
    return f"{text}\n\n{make_table(heads, lines)}"


def _try_harder(trials: int) -> str:
    """Boards that nobody asked for: where the chosen method is at its worst."""
    lines = []
    for rows in (2, 8, 30):
        for seeds in (3, 5):
            for name, spreads in _harder(rows).items():
                scene = Scene(name, spreads, seeds)
                p = _draw(scene, METHODS[CHOSEN], 0.0, _count(trials, rows) // 2, np.random.default_rng(2))
                alarms = (p < SIGNIFICANT).mean(axis=0)
                adjusted = (p.min(axis=1) * p.shape[1] < SIGNIFICANT).mean()
                lines.append(
                    [f"{rows}", f"{seeds}", name, *map(_share, (alarms.mean(), _worst(alarms, spreads), adjusted))]
                )
    heads = "rows", "seeds", "spreads", "mean pair", "worst kind of pair", "any pair, Holm"
    text = f"The chosen method on other boards, {trials // 2:,} of 2 and 8 rows and {trials // 8:,} of 30 a line."
    return f"{text}\n\n{make_table(heads, lines)}"


def _harder(rows: int) -> dict[str, Array]:
    boards = {f"one of {times:g}x": make_board(rows, 3, times).spreads for times in (0, 0.1, 2, 3)}
    if rows == 2:
        return boards | {"one of 5x": np.array([1.0, 5.0])}
    half, quarter = np.ones(rows), np.ones(rows)
    half[rows // 2 :], quarter[-(rows // 4) :] = 3, 5
    return boards | {"half of 3x": half, "a quarter of 5x": quarter, "graded, 1 to 7": np.geomspace(1, 7, rows)}


def _worst(alarms: Array, spreads: Array) -> float:
    """The false alarms of the worst kind of pair: of two spreads; graded ones are taken three at a time."""
    a, b = np.triu_indices(len(spreads), 1)
    kinds: dict[tuple[int, int], list[float]] = {}
    order = np.unique(spreads, return_inverse=True)[1] // (3 if len(np.unique(spreads)) > 3 else 1)
    for first, second, share in zip(order[a], order[b], alarms, strict=True):
        kinds.setdefault((int(min(first, second)), int(max(first, second))), []).append(float(share))
    return max(float(np.mean(found)) for found in kinds.values())


def _check_promises(trials: int) -> str:
    lines = []
    for rows in (2, 8, 30):
        for seeds in (3, 5, 8):
            promised = find_promised(rows, seeds)
            scene = make_board(rows, seeds)
            found = simulate(scene, METHODS[CHOSEN], promised, _count(trials, rows), np.random.default_rng(3)).power
            lines.append([f"{rows}", f"{seeds}", f"{promised:.4f}", _share(found)])
    text = (
        "How often the difference is found that is said to be found in four cases out of five, adjusted for all pairs."
    )
    return f"{text}\n\n{make_table(('rows', 'seeds', 'difference', 'found'), lines)}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
