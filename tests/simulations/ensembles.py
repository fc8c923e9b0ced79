"""What ensembles do to verdicts: six rows without a difference, and four ensembles of three of them, three seeds each.

The table of docs/simulations.md is made by `python tests/simulations/ensembles.py`.
"""

from __future__ import annotations

import numpy as np
import tables  # type: ignore[import-not-found]

from harness.evaluation.comparison import System, compare_pairs
from harness.evaluation.significance import SIGNIFICANT

ROWS, MEMBERS, ENSEMBLES, SEEDS = 6, 3, 4, 3
PAIRS = {"two rows": ("row 0", "row 1"), "an ensemble and its member": ("row 0", "ensemble 0"),
         "an ensemble and another row": ("row 5", "ensemble 0")}  # fmt: skip


def simulate(boards: int, *, borrows: bool, seed: int = 0) -> dict[str, float]:
    """The share of boards in which each pair is called different; patients are taken to play no part."""
    draw = np.random.default_rng(seed)
    found = dict.fromkeys(PAIRS, 0)
    for _ in range(boards):
        rows = draw.normal(size=(ROWS, SEEDS))
        members = [np.arange(MEMBERS), *(draw.choice(ROWS, MEMBERS, replace=False) for _ in range(ENSEMBLES - 1))]
        nothing = 1e-9 * draw.normal(size=(ROWS + ENSEMBLES, SEEDS, 2))
        systems = {f"row {n}": System(one, nothing[n]) for n, one in enumerate(rows)}
        for n, chosen in enumerate(members):
            systems[f"ensemble {n}"] = System(rows[chosen].mean(axis=0), nothing[ROWS + n], borrows)
        for name, pair in zip(PAIRS, compare_pairs(systems, list(PAIRS.values())), strict=True):
            found[name] += pair.p is not None and pair.p < SIGNIFICANT
    return {name: count / boards for name, count in found.items()}


def main(boards: int = 5000) -> None:
    """Write the table."""
    shared, borrowed = (simulate(boards, borrows=borrows) for borrows in (False, True))
    lines = [[name, f"{shared[name]:.3f}", f"{borrowed[name]:.3f}"] for name in PAIRS]
    head = ("called different", "ensembles share the variance", "ensembles borrow it")
    tables.keep("ensembles", f"{boards:,} boards, p < 0.05, not adjusted.\n\n{tables.make_table(head, lines)}")


if __name__ == "__main__":
    main()
