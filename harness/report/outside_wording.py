"""What is to be said of rows on outside tests, in words: drops, labels, counts, whether the order changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.evaluation.common_labels import tell_labels
from harness.metric_names import split_name, title_metric
from harness.report.format import format_pair
from harness.report.leaderboard import Leaderboard
from harness.report.outside import OutsideCell, OutsideSummary
from harness.report.transfer import TARGET_POLICY, CarriedTable
from harness.text import agree, count
from harness.units import CALLED, count_units

MOST_NAMED = 6
"""Labels or rows that a sentence names; others are counted."""


def name_change(summary: Leaderboard) -> str:
    """What it is called that the objective gets worse: where more is better it drops, else it rises."""
    return "drop" if summary.directions.get(summary.objective, True) else "rise"


def tell_drops(test: OutsideSummary) -> str:
    """How much worse rows are on one outside test, in a sentence; or that it leaks."""
    if test.leak:
        return f"{test.title}: never ranked, as it leaks: {test.leak}."
    having = [cell for cell in test.measured if test.seen.objective in cell.drops]
    found = [cell.drops[test.seen.objective] for cell in having if not cell.mark]
    called, verb = title_metric(test.seen.objective), name_change(test.seen)
    if not having:
        return f"{test.title}: {_explain_no_drop(test)}."
    if test.own_leak:
        return f"{test.title}: no {verb} is judged, as the board's own test leaks: {test.own_leak}."
    if not found:
        return f"{test.title}: no {verb} is judged, as every network has seen images of a test, or may have."
    rows = count(len(found), "row")
    certain = [drop for drop in found if drop.is_certain]
    if not certain:
        if any(drop.interval is None for drop in found):
            return f"{test.title}: whether {called} {verb}s is not known: {_explain_absence(test)}."
        better = sum(drop.interval is not None and drop.interval[1] < 0 for drop in found)
        if len(found) == 1:
            return f"{test.title}: {called} does not {verb} significantly{'; it is better there' if better else ''}."
        also = f"; it is better there in {better} of them" if better else ""
        return f"{test.title}: {called} does not {verb} significantly in any of {rows}{also}."
    span = sorted(f"{drop.value:.3f}" for drop in certain)
    by = span[0] if span[0] == span[-1] else f"{span[0]} to {span[-1]}"
    if len(found) == 1:
        return f"{test.title}: {called} {verb}s by {by} {format_pair(certain[0].interval)}, more than chance explains."
    return f"{test.title}: {called} {verb}s by {by}, more than chance explains, in {len(certain)} of {rows}."


def _explain_no_drop(test: OutsideSummary) -> str:
    """Why no row has a drop, in words."""
    called = title_metric(test.seen.objective)
    if not test.measured and any(cell.state in ("done", "partial") for cell in test.cells.values()):
        return f"{called} has no value there, as no label that it needs has known positives and negatives there"
    return f"no row has a value of {called} there and on the board's own test"


def _explain_absence(test: OutsideSummary) -> str:
    """Why a drop has no interval, in words."""
    spreads = (row.metrics.get(test.seen.objective) for cell in test.measured for row in (cell.seen, cell.row))
    reasons = [one.no_interval for one in spreads if one is not None and one.interval is None and one.no_interval]
    return reasons[0] if reasons else "a record lies without its resamples"


def tell_order(summary: Leaderboard, tests: Sequence[OutsideSummary]) -> str:
    """Whether the rows stand in another order on the outside tests than on the board's own, in one or two sentences."""
    orders = {test.title: (_order(summary, test), _order(test.seen, test)) for test in tests}
    orders = {title: both for title, both in orders.items() if len(both[0]) > 1}
    if not orders:
        return ""
    changed = {title: there for title, (own, there) in orders.items() if own != there}
    if not changed:
        return f"The order of the rows is the same as on the board's own test on {_join([*orders])}."
    titles, first = {row.name: row.title for row in summary.rows}, summary.ranked[0].name
    ahead: dict[str, list[str]] = {}
    for title, order in changed.items():
        if order[0] != first:
            ahead.setdefault(titles[order[0]], []).append(title)
    where = [f"{name} is first on {_join(found)}" for name, found in ahead.items()]
    text = f"The order of the rows is another on {_join([*changed])}"
    text += f": {'; '.join(where)}." if where else f", where {titles[first]} is first as well."
    reversed_pairs = [text for test in tests for text in _find_reversed(summary, test)]
    if not reversed_pairs:
        return f"{text} No two rows that differ significantly on one test are reversed significantly on another."
    return f"{text} Reversed significantly: {'; '.join(reversed_pairs)}."


def _order(ranked: Leaderboard, test: OutsideSummary) -> list[str]:
    """The rows that an outside test ranks too, in the order of a leaderboard."""
    there = {row.name for row in test.seen.ranked}
    return [row.name for row in ranked.ranked if row.name in there and test.cells[row.name].row.rank is not None]


def _find_reversed(summary: Leaderboard, test: OutsideSummary) -> Iterator[str]:
    """Pairs that differ significantly on both tests, the better one of the first being the worse one of the second."""
    titles = {row.name: row.title for row in summary.rows}
    better = {(pair.b, pair.a) for pair in summary.pairs if pair.differs}  # the better one stands first
    for pair in test.seen.pairs:
        if pair.differs and (pair.a, pair.b) in better:
            yield f"{titles[pair.b]} is ahead of {titles[pair.a]} on the own test and behind it on {test.title}"


def tell_labels_used(test: OutsideSummary) -> list[str]:
    """Which of the board's labels the outside test has, in sentences."""
    used = len(test.matched) - len(test.dropped)
    labels, have = count(len(test.matched), "label"), agree(used, "has", "have")
    told = [f"{used} of the board's {labels} {have} a counterpart there"]
    if test.dropped:
        told.append(
            f"dropped, as nothing there stands for {agree(len(test.dropped), 'it', 'them')}: {_name(test.dropped)}"
        )
    if test.merged:
        ways = [f"{label} is any of {', '.join(others)}" for label, others in test.merged.items()]
        told.append(f"merged: {_name(ways, '; ')}")
    if test.unused:
        told.append(
            f"not used, as the board has no label for {agree(len(test.unused), 'it', 'them')}: {_name(test.unused)}"
        )
    return told


def tell_targets(test: OutsideSummary) -> str:
    """How many targets are certain and how many are left out, in words; empty where nothing was measured."""
    known = sum(one.known for one in test.matched.values() if one.others)
    left_out = sum(one.left_out for one in test.matched.values() if one.others)
    if not known + left_out:
        return ""
    return f"{known:,} targets are certain; {left_out:,} uncertain or unknown ones are left out"


def tell_size(test: OutsideSummary) -> str:
    """How large the outside test is, in words; empty where nothing was measured."""
    data = test.seen.data
    if data is None:
        return ""
    split = data.splits["test"]
    people = "unknown patients" if "patients" in data.notes else count(split.patients, "patient")
    pooled = next((record.pooled for record in test.seen.counted if record.pooled is not None), None)
    scored = f", scored over {count_units(pooled.unit, pooled.test)}" if pooled is not None else ""
    left_out = f"; {split.left_out:,} images have no file" if split.left_out else ""
    return f"{count(split.images, 'image')} of {people}{scored}{left_out}"


def tell_splits(test: OutsideSummary) -> str:
    """Which of the other dataset's splits are tested on, in words."""
    splits = test.test.splits
    if set(splits) == {"train", "val", "test"}:
        return "all its images"
    return f"its {_join(list(splits))} {agree(len(splits), 'split', 'splits')}"


def tell_shared(test: OutsideSummary) -> list[str]:
    """Where values or drops are over fewer labels than have a counterpart, in sentences."""
    objective = test.seen.objective
    outside, shared = test.seen.labels.get(objective, ()), test.labels.get(objective, ())
    told = tell_labels({objective: outside}, test.seen.data.labels) if test.seen.data and outside else []
    if shared and not set(outside) <= set(shared):
        told += [f"The {name_change(test.seen)}: {text}" for text in tell_labels({objective: shared}, outside)]
    return told


def tell_cell(test: OutsideSummary, cell: OutsideCell) -> str:
    """All that a cell rests on, a line each."""
    objective = test.seen.objective
    spread = cell.seen.metrics.get(objective)
    lines = [f"{cell.row.title} on {test.title}"]
    if spread is not None:
        labels = len(test.seen.data.labels) if test.seen.data else 0
        lines.append(
            f"{title_metric(objective)} over {spread.labels_used} of {count(labels, 'label')} with a counterpart"
        )
        if spread.interval:
            lines.append(f"95 % over patients {format_pair(spread.interval)}")
        if spread.interval_seeds:
            lines.append(f"95 % over patients and seeds {format_pair(spread.interval_seeds)}")
    if (drop := cell.drops.get(objective)) is not None:
        ends = f"from {drop.inside:.4f} to {drop.outside:.4f} over the same labels"
        text = f"{name_change(test.seen)} {drop.value:.4f}, {ends}"
        lines.append(text + (f"; 95 % over {drop.over} {format_pair(drop.interval)}" if drop.interval else ""))
    lines += [f"{text[0].upper()}{text[1:]}" for text in tell_labels_used(test)]
    lines += [text for text in (tell_targets(test), f"{tell_splits(test)}: {tell_size(test)}") if text]
    lines += [f"The {name_change(test.seen)} is not judged: {cell.mark}"] if cell.mark and not test.leak else []
    return "\n".join([*lines, *cell.reasons])


def tell_missing(test: OutsideSummary) -> dict[str, str]:
    """Why values are missing -> the rows that lack them for it, in words."""
    rows: dict[str, list[str]] = {}
    for cell in test.cells.values():
        for reason in cell.reasons:
            rows.setdefault(reason, []).append(cell.row.title)
    return {reason: _name(names) for reason, names in rows.items()}


def tell_carried(test: OutsideSummary, table: CarriedTable) -> str:
    """What became of the first row's thresholds that promise a sensitivity, in a sentence; empty where not known."""
    first = next((cell for cell in test.measured if cell.row.name in table.rows), None)
    if first is None:
        return ""
    found = table.rows[first.row.name]
    told = [
        f"{split_name(name)[0]} goes from {found[name].inside:.2f} to {found[name].outside:.2f}"
        for name in (f"sensitivity@{TARGET_POLICY}", f"specificity@{TARGET_POLICY}")
        if name in found
    ]
    if not told:
        return ""
    labels = count(len(table.labels[f"sensitivity@{TARGET_POLICY}"]), "label")
    return (
        f"With thresholds that have a sensitivity of at least 0.9 on its own validation, {first.row.title}'s "
        f"{' and '.join(told)} (mean of {labels})."
    )


def describe_units(test: OutsideSummary) -> str:
    """What rows are scored over: images, studies or patients."""
    return CALLED[test.seen.board.unit][1]


def _name(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - MOST_NAMED
    return between.join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _join(names: Sequence[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
