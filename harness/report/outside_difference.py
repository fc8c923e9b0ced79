"""Two states of a board side by side on its outside tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.report.difference import BoardDifference, compare_states
from harness.report.outside import OutsideSummary, summarize_outside
from harness.report.summary import BoardResults
from harness.results.store import AllResamples


def compare_outside(before: BoardResults, after: BoardResults) -> Iterator[BoardDifference]:
    """What became of the rows on each outside test that both states name, one after another; called `BOARD on TEST`.

    What is said of the whole board is left out.
    """
    earlier = {test.key: test for test in summarize_outside(before.summary)}
    for test in summarize_outside(after.summary):
        if test.key in earlier:
            found = compare_states(_as_results(earlier[test.key]), _as_results(test))
            yield replace(found, name=f"{found.name} on {test.title}", notes=())


def _as_results(test: OutsideSummary) -> BoardResults:
    seen = test.seen
    return BoardResults(seen, AllResamples(seen.board.folder, seen.counted, test.key))
