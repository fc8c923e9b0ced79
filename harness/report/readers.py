"""Readers on a board's page: rows beside people who read the same, averaged over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.evaluation.parts import AgainstPart, ReadersPart
from harness.evaluation.reader_wording import (
    describe_agreement,
    describe_average,
    describe_panel,
    describe_policy,
    list_measures,
)
from harness.evaluation.readers import compare_with_average, compare_with_each
from harness.evaluation.significance import FEWEST_SEEDS, SIGNIFICANT
from harness.results.store import read_reader_differences
from harness.scoring.beside_readers import adjust_averages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.evaluation.readers import Difference
    from harness.report.leaderboard import Leaderboard, RowSummary
    from harness.results.record import Record

    Drawn = Mapping[str, NDArray[np.float64]]

HEADINGS = {"sensitivity": "sensitivity at the readers' specificity", "f1": "F1"}


@dataclass(frozen=True, eq=False)
class RowBeside:
    """One row beside the panel."""

    row: RowSummary
    part: ReadersPart
    """What the mean over its seeds is beside readers; p-values against the average reader are adjusted for all rows."""

    def measures(self) -> list[str]:
        """What it was held against readers in."""
        return list_measures(self.part)

    @property
    def policy(self) -> str:
        """Where its F1 decides."""
        return describe_policy(self.part)

    def count(self, measure: str, *, better: bool) -> int:
        """Count the readers that it is significantly better, or worse, than in a measure."""
        found = [reader.against[measure] for reader in self.part.readers.values() if measure in reader.against]
        shown = [one.delta for one in found if one.p_holm is not None and one.p_holm < SIGNIFICANT and one.delta]
        return sum((delta > 0) == better for delta in shown)


@dataclass(frozen=True, eq=False)
class ReadersSummary:
    """A board's readers, and its ranked rows beside them."""

    panel: ReadersPart
    """The readers themselves, of whichever record."""
    about: str
    rows: tuple[RowBeside, ...]

    @property
    def measures(self) -> dict[str, str]:
        """What networks are held against readers in, with its heading."""
        known = [measure for beside in self.rows for measure in beside.measures()]
        return {name: heading for name, heading in HEADINGS.items() if name in known}

    def of(self, measure: str) -> list[RowBeside]:
        """The rows that were held against readers in a measure, best first as ranked."""
        return [beside for beside in self.rows if measure in beside.measures()]

    @property
    def title(self) -> str:
        """Who is held against what, over which labels."""
        return describe_panel(self.panel)

    @property
    def seeded(self) -> bool:
        """Whether some row has seeds enough to tell how they spread."""
        return any(beside.row.seeds[FEWEST_SEEDS - 1 :] for beside in self.rows)

    @property
    def sentences(self) -> list[str]:
        """How the best row stands to the average reader, and how far readers agree."""
        best = self.rows[0]
        many = {measure: len(self.of(measure)) for measure in self.measures}
        without = [
            f"{beside.row.title} has no F1 beside readers: its seeds have thresholds for different labels."
            for beside in self.rows
            if not _share_labels(beside.row.counted)
        ]
        return [*describe_average(best.part, best.row.title, many), *without, *describe_agreement(self.panel)]


def summarize_readers(summary: Leaderboard, read: Callable[[Record], Drawn] | None = None) -> ReadersSummary | None:
    """The ranked rows of a board beside its readers; None where no record has any.

    `read` gives what lies beside a record: the resampled differences (M, R) of each measure.
    """
    own = read or (lambda record: read_reader_differences(summary.board.folder, record))
    parts = {row.name: _combine(row.counted, own) for row in summary.ranked}
    known = {name: part for name, part in parts.items() if part is not None}
    first = next(iter(known.values()), None)
    if first is None:
        return None
    adjusted = adjust_averages({name: part for name, part in known.items() if _are_of_one_panel(part, first)})
    rows = tuple(RowBeside(row, adjusted[row.name]) for row in summary.ranked if row.name in adjusted)
    about = "" if summary.board.panel is None else summary.board.panel.about
    return ReadersSummary(first, about, rows)


def _combine(records: Sequence[Record], read: Callable[[Record], Drawn]) -> ReadersPart | None:
    """What the records of a row say of readers, averaged over seeds; None where one of them says nothing."""
    parts = [record.readers for record in records]
    first = parts[0] if parts else None
    if first is None or any(part is None or not _are_of_one_panel(part, first) for part in parts):
        return None
    if len(parts) == 1:
        return first
    drawn = [read(record) for record in records]
    own = [part for part in parts if part is not None]
    readers, averages = {name: dict(one.against) for name, one in first.readers.items()}, {}
    shared = [name for name in HEADINGS if all(name in list_measures(part) for part in own)]
    if not _share_labels(records):  # means over different labels have no mean over seeds
        shared = [name for name in shared if name != "f1"]
    for measure in shared:
        against = [[one.against[measure] for one in part.readers.values()] for part in own]  # k x M
        values = np.array([[one.delta for one in of_seed] for of_seed in against], dtype=float)
        network = np.array([[one.network for one in of_seed] for of_seed in against], dtype=float)
        each, average = _judge(values, [one.get(measure) for one in drawn])
        for name, found, value in zip(readers, each, network.mean(axis=0).tolist(), strict=True):
            readers[name][measure] = _describe(found, value)
        if average is not None:
            averages[measure] = _describe(average, float(network.mean()))
    described = {
        name: one.model_copy(update={"against": {measure: readers[name][measure] for measure in shared}})
        for name, one in first.readers.items()
    }
    return first.model_copy(update={"readers": described, "average": averages, "seeds": len(parts)})


def _share_labels(records: Sequence[Record]) -> bool:
    """Whether the seeds of a row are held against readers in F1 over the same labels."""
    return len({tuple(record.readers.without_threshold) for record in records if record.readers is not None}) <= 1


def _are_of_one_panel(part: ReadersPart, other: ReadersPart) -> bool:
    return (part.truth, part.files, list(part.readers)) == (other.truth, other.files, list(other.readers))


def _judge(
    values: NDArray[np.float64], drawn: Sequence[NDArray[np.float64] | None]
) -> tuple[list[Difference], Difference | None]:
    """Differences from each reader and from the average one; without p where resamples are not there."""
    shapes = {None if one is None else one.shape for one in drawn}
    shape = next(iter(shapes))
    fits = len(shapes) == 1 and shape is not None and shape[0] == values.shape[1]
    stacked = np.stack([one for one in drawn if one is not None]) if fits else np.full((*values.shape, 1), np.nan)
    return compare_with_each(values, stacked), compare_with_average(values, stacked)


def _describe(found: Difference, network: float) -> AgainstPart:
    return AgainstPart(network=network, delta=found.delta, interval=found.interval, p=found.p, p_holm=found.p_holm)
