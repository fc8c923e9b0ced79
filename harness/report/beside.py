"""Published numbers beside the measured rows that they are about: the interval that their test set implies, and
whether the two can agree by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.board import EXTERNAL_ROW, PUBLISHED_FILE, file_name
from harness.errors import UsageError
from harness.evaluation.elsewhere import find_reach, imply_error, imply_interval
from harness.evaluation.significance import FEWEST_SEEDS
from harness.report.chance import count_test
from harness.report.format import format_pair
from harness.report.leaderboard import Beside, Leaderboard, RowSummary
from harness.report.published import Published, PublishedRow, PublishedSplit, explain_closed, is_own
from harness.units import CALLED

"""What the name of a submitted row begins with."""
SAME = 1e-4
"""The most by which a number printed with four digits differs from what it was printed of."""


def set_beside(published: Published, summary: Leaderboard) -> dict[str, tuple[Beside, ...]]:
    """Row -> what was published about it in the board's objective, measured or not, in the file's order.

    Raises `UsageError` for a published row that names a row which the board does not have.
    """
    metric = summary.objective.partition("@")[0]
    splits = {split.name: split for split in published.splits}
    beside: dict[str, list[Beside]] = {}
    for one, row in find_rows(published, summary):
        if (found := _Found.read(one, metric)).value is not None or found.labels:
            beside.setdefault(row.name, []).append(_compare(one, found, splits[one.split], row, summary))
    return {name: tuple(found) for name, found in beside.items()}


def find_rows(published: Published, summary: Leaderboard) -> list[tuple[PublishedRow, RowSummary]]:
    """The published rows that are about a row of the board, each with it. Raises `UsageError` for an unknown name.

    A submission may be named before it is there: a new folder of a bundled board has none.
    """
    rows = [row for row in summary.rows if row.control is None]
    # rows that parameters have made one are called by both titles
    known = {title: row for row in rows for title in (*row.title.split(" / "), row.title, row.name)}
    # a row that was given other parameters has another name, and what was published is not about it
    changed = {file_name(f"{row.model}--{row.loss}--{row.recipe}") for row in rows if row.params}
    found = []
    for one in published.rows:
        if one.row in known:
            found.append((one, known[one.row]))
        elif one.row and not one.row.startswith(EXTERNAL_ROW) and one.row not in changed:
            names = ", ".join(f"'{row.title}'" for row in rows) or "none"
            raise UsageError(
                f"{summary.board.folder / PUBLISHED_FILE}: '{one.name}' is about the row '{one.row}', which this board "
                f"does not have; known are {names}. Write one of these as its `row`, or leave `row` out"
            )
    return found


@dataclass(frozen=True)
class _Found:
    """A published metric: its mean, and its labels."""

    value: float | None
    labels: dict[str, float]

    @classmethod
    def read(cls, one: PublishedRow, metric: str) -> _Found:
        """The published metric of that name; nothing of others than AUROC and F1."""
        if metric == "auroc":
            return cls(one.auroc, one.auroc_per_label)
        return cls(one.f1, one.f1_per_label) if metric == "f1" else cls(None, {})

    def average(self, labels: Sequence[str], known: Sequence[str]) -> float | None:
        """The mean over these labels of all `known` ones; None where what was published does not tell it."""
        whole = set(labels) == set(known) and set(self.labels) in (set(), set(known))
        if whole and self.value is not None:
            return self.value
        if labels and all(label in self.labels for label in labels):
            return sum(self.labels[label] for label in labels) / len(labels)
        return None


def _compare(one: PublishedRow, found: _Found, split: PublishedSplit, row: RowSummary, summary: Leaderboard) -> Beside:
    spread = row.metrics.get(summary.objective)
    told = [_introduce(one, found.value, split)]
    if spread is None or summary.data is None:
        told += [f"Split: {split.title}.", "Nothing of this row has been measured here yet."]
        return Beside(name=one.name, text=_join(told, one, summary))
    all_labels = summary.data.labels
    closed = explain_closed(split, summary) or ("" if row.rank else "the row is not ranked")
    if closed:
        return Beside(name=one.name, text=_join([*told, f"It does not stand beside the measured row: {closed}."], one))
    labels = summary.labels.get(summary.objective, ())
    value = found.average(labels, all_labels) if spread.labels_used == len(labels) else None
    if value is None:
        why = f"the row's mean is over {spread.labels_used} of {len(all_labels)} labels"
        told.append(f"It does not stand beside the measured row: {why}, and what was published does not tell the same.")
        return Beside(name=one.name, text=_join(told, one))
    if len(labels) < len(all_labels):
        told.append(f"Over the {len(labels)} labels that the row averages, it is {value:.4f}.")
    told.append(f"Measured: {' '.join(filter(None, [f'{spread.mean:.4f}', format_pair(spread.interval)]))}.")
    if spread.error is None:
        why = spread.no_interval or "a record of the row lies without its resamples"
        told.append(f"Whether the two can agree by chance is not known: {why}.")
        return Beside(name=one.name, value=value, text=_join(told, one, summary))
    sizes = _find_sizes(split, summary)
    if sizes is None:
        told.append(
            "Whether the two can agree by chance is not known: the size of the published test set is not given."
        )
        return Beside(name=one.name, value=value, text=_join(told, one, summary))
    implied = imply_error(spread.error, *sizes.numbers)
    reach = find_reach(spread.error, implied, spread.values)
    told += _judge(value, reach, sizes, row, summary, own=is_own(split, summary))
    if not is_own(split, summary):
        told.append(f"The published number is of another split: {split.title}.")
    interval = imply_interval(value, implied)
    return Beside(name=one.name, value=value, interval=interval, reach=reach, text=_join(told, one, summary))


def _introduce(one: PublishedRow, value: float | None, split: PublishedSplit) -> str:
    number = f"{value:.4f}" if value is not None else "labels alone, without a mean"
    images = f" on {split.test_images:,} {CALLED[split.unit][1]}" if split.test_images else ""
    patients = f" of {split.test_patients:,} patients" if split.test_patients and split.unit != "patient" else ""
    return f"Published{' (second-hand)' if one.second_hand else ''}, {one.name}: {number}{images}{patients}."


@dataclass(frozen=True)
class _Sizes:
    """The own test set and the published one."""

    numbers: tuple[float, float]
    unit: str


def _find_sizes(split: PublishedSplit, summary: Leaderboard) -> _Sizes | None:
    """How large the two test sets are, in patients where both are known; None where the published one is not."""
    test = summary.data.splits.get("test") if summary.data else None
    if test is None or summary.data is None:
        return None
    known = "patients" not in summary.data.notes
    own = test.patients if known else count_test(summary)[0]
    unit = "patients" if known else summary.units
    if is_own(split, summary):
        return _Sizes((own, own), unit)
    if known and split.test_patients is not None:
        return _Sizes((test.patients, split.test_patients), "patients")
    if split.test_images is not None:
        return _Sizes((count_test(summary)[0], split.test_images), summary.units)
    return None


def _judge(value: float, reach: float, sizes: _Sizes, row: RowSummary, summary: Leaderboard, *, own: bool) -> list[str]:
    """Whether the two can agree by chance, in sentences."""
    spread = row.metrics[summary.objective]
    apart = abs(spread.mean - value)
    if apart < SAME:
        return ["The two are the same, but for rounding."]
    ours, theirs = sizes.numbers
    by = "" if sizes.unit == "patients" else " (patients are not known of both)"
    size = f"two test sets of {ours:,} patients" if ours == theirs else f"test sets of {ours:,} and {theirs:,} patients"
    size = size.replace("patients", sizes.unit) + by
    few = len(spread.values) < FEWEST_SEEDS
    if apart <= reach:
        told = [f"A difference of {apart:.4f} can be chance: {size} differ by up to {reach:.4f}."]
        if own:
            told.append("Both have the same test images, on which one system differs from itself by less.")
        return told
    causes = "training, labels or test images" if few else "labels or test images"
    more = f"A difference of {apart:.4f} is more than chance explains, which is up to {reach:.4f} for {size}"
    told = [f"{more}: the systems, {causes} differ."]
    if few:
        told.append(f"Training again moves a value, too; how far, fewer than {FEWEST_SEEDS} seeds do not tell.")
    return told


def _join(told: Sequence[str], one: PublishedRow, summary: Leaderboard | None = None) -> str:
    """The sentences, with what else is known of the published number."""
    metric, _, policy = summary.objective.partition("@") if summary else ("", "", "")
    if metric == "f1" and one.thresholds != policy:
        told = [*told, f"Its thresholds: {one.thresholds}. This board's are those of {policy}: F1 depends on them."]
    return " ".join([*told, *([one.note] if one.note else [])])
