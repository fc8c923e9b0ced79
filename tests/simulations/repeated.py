"""What rows whose seeds repeat each other do to verdicts: six trained rows without a difference stand beside some.

The table of docs/simulations.md is made by `python tests/simulations/repeated.py`.
"""

from __future__ import annotations

import numpy as np
import tables  # type: ignore[import-not-found]

from harness.evaluation import spread
from harness.evaluation.comparison import System, compare_pairs
from harness.evaluation.significance import SIGNIFICANT

ROWS, SEEDS, FAR = 6, 3, 4.0
PAIRS = {"two trained rows": ("row 0", "row 1"), "a trained row and one that repeats": ("row 0", "same 0"),
         f"two trained rows that lie {FAR:g} standard deviations apart": ("row 0", "far")}  # fmt: skip


def simulate(boards: int, repeating: int, *, apart: bool = True, seed: int = 0) -> dict[str, float]:
    """The share of boards in which each pair is called different; patients are taken to play no part.

    Without `apart`, rows whose seeds repeat each other count among those that may share a spread.
    """
    draw = np.random.default_rng(seed)
    found = dict.fromkeys(PAIRS, 0)
    usual = spread.REPEATED
    spread.REPEATED = usual if apart else -1.0
    try:
        for _ in range(boards):
            rows = 100 + draw.normal(size=(ROWS + 1, SEEDS))
            rows[ROWS] += FAR
            nothing = 1e-9 * draw.normal(size=(ROWS + 1 + repeating, SEEDS, 2))
            systems = {f"row {n}": System(rows[n], nothing[n]) for n in range(ROWS)}
            systems["far"] = System(rows[ROWS], nothing[ROWS])
            for n in range(repeating):
                systems[f"same {n}"] = System(np.full(SEEDS, 100.0), nothing[ROWS + 1 + n])
            pairs = {name: pair for name, pair in PAIRS.items() if repeating or "same" not in pair[1]}
            for name, pair in zip(pairs, compare_pairs(systems, list(pairs.values())), strict=True):
                found[name] += pair.p is not None and pair.p < SIGNIFICANT
    finally:
        spread.REPEATED = usual
    return {name: count / boards for name, count in found.items()}


def main(boards: int = 5000) -> None:
    """Write the table."""
    lines = []
    for repeating in (1, 3, 7):
        shared, apart = (simulate(boards, repeating, apart=apart) for apart in (False, True))
        lines += [[f"{repeating}", name, f"{shared[name]:.3f}", f"{apart[name]:.3f}"] for name in PAIRS]
    head = ("rows that repeat", "called different", "counted among the others", "left out of the spread")
    tables.keep("repeated", f"{boards:,} boards, p < 0.05, not adjusted.\n\n{tables.make_table(head, lines)}")


if __name__ == "__main__":
    main()
