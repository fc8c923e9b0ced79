"""Right and wrong decisions of a row: counts by threshold policy and label, averaged over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.board import RATES
from harness.evaluation.parts import ConfusionPart
from harness.metric_names import POLICIES
from harness.results.record import Record

Confusion = Mapping[str, Mapping[str, "Decided"]]
"""Policy -> label -> counts."""


@dataclass(frozen=True)
class Decided:
    """Decisions on one label by one policy's thresholds: means over seeds."""

    true_positives: float
    false_positives: float
    false_negatives: float
    true_negatives: float

    @property
    def sensitivity(self) -> float | None:
        """The share of positives that are found: recall, or the true positive rate; None without a positive."""
        return _divide(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def false_alarms(self) -> float | None:
        """The share of negatives that are flagged: the false positive rate; None without a negative."""
        return _divide(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def precision(self) -> float | None:
        """The share of what is flagged that is positive; None where nothing is flagged."""
        return _divide(self.true_positives, self.true_positives + self.false_positives)


def average_confusion(records: Sequence[Record]) -> Confusion:
    """Average the counts of a row's records over those seeds that have them; the usual policies first, oracle last."""
    counts = [record.confusion or _recover(record) for record in records]
    known = dict.fromkeys(policy for of_seed in counts for policy in of_seed)
    ordered = sorted(known, key=lambda policy: (policy == "oracle", policy not in POLICIES))
    return {policy: _average([of_seed[policy] for of_seed in counts if policy in of_seed]) for policy in ordered}


def draw_counts(confusion: Confusion, labels: Sequence[str], digits: int) -> Iterator[tuple[str, Markup]]:
    """Each label with its cells, four for each policy.

    Cells hold numbers alone, so nothing has to be escaped; a template would take several times as long.
    """
    for label in labels:
        cells = [_draw_policy(of_policy.get(label), digits) for of_policy in confusion.values()]
        yield label, Markup("".join(cells))  # noqa: S704 - see above


def _draw_policy(one: Decided | None, digits: int) -> str:
    if one is None:
        return '<td class="begins" colspan="4">no threshold</td>'
    counts = (one.false_positives, one.false_negatives, one.true_negatives)
    others = "".join(f"<td>{count:,.{digits}f}</td>" for count in counts)
    return f'<td class="begins">{one.true_positives:,.{digits}f}</td>{others}'


def _average(seeds: Sequence[Mapping[str, ConfusionPart]]) -> dict[str, Decided]:
    labels = dict.fromkeys(label for of_seed in seeds for label in of_seed)
    return {label: _average_label([of_seed[label] for of_seed in seeds if label in of_seed]) for label in labels}


def _average_label(parts: Sequence[ConfusionPart]) -> Decided:
    return Decided(
        statistics.fmean(part.true_positives for part in parts),
        statistics.fmean(part.false_positives for part in parts),
        statistics.fmean(part.false_negatives for part in parts),
        statistics.fmean(part.true_negatives for part in parts),
    )


def _recover(record: Record) -> dict[str, dict[str, ConfusionPart]]:
    """The counts of an older record, which sensitivity and specificity determine; none where it lacks these."""
    counts: dict[str, dict[str, ConfusionPart]] = {}
    for name, metric in record.metrics.items():
        base, _, policy = name.partition("@")
        other = record.metrics.get(f"{RATES[1]}@{policy}")
        if base != RATES[0] or other is None:
            continue
        for label, part in metric.per_label.items():
            specificity = other.per_label[label].value if label in other.per_label else None
            if part.value is not None and specificity is not None:
                found, right = round(part.value * part.positives), round(specificity * part.negatives)
                counts.setdefault(policy, {})[label] = ConfusionPart(
                    true_positives=found,
                    false_positives=part.negatives - right,
                    false_negatives=part.positives - found,
                    true_negatives=right,
                )
    return counts


def _divide(part: float, whole: float) -> float | None:
    return part / whole if whole else None
