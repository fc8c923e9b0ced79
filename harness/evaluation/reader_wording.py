"""Readers and networks in sentences, alike in the terminal and on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.evaluation.significance import FEWEST_SEEDS, SIGNIFICANT
from harness.panels import TRUTH_TEXTS, join_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.evaluation.parts import AgainstPart, Interval, ReadersPart

MEASURE_TEXTS = {"sensitivity": "sensitivity at the readers' specificity", "f1": "F1"}
FEW = "Fewer than three readers do not show how readers differ: nothing is said of readers in general."
ENOUGH = "enough patients, with the label and without"
MOST_NAMED = 5
"""Labels that a sentence names."""


def list_measures(part: ReadersPart) -> list[str]:
    """What a network is held against readers in: `sensitivity`, and `f1` where it has thresholds."""
    return list(next(iter(part.readers.values())).against)


def describe_panel(part: ReadersPart) -> str:
    """Say who is held against what, and over which labels."""
    count = len(part.readers)
    readers = f"{count} readers, each held" if count > 1 else "One reader, held"
    labels = f"means over {len(part.labels_used)} labels" if len(part.labels_used) != 1 else part.labels_used[0]
    if not part.labels_used:
        return f"{readers} against {TRUTH_TEXTS[part.truth]}; no means, as no label has {ENOUGH} of every reader"
    without = ""
    if part.left_out:
        without = f", without {_name(part.left_out)}, of which not every reader has {ENOUGH}"
    return f"{readers} against {TRUTH_TEXTS[part.truth]}; {labels}{without}"


def describe_average(
    part: ReadersPart, network: str = "the network", many: Mapping[str, int] | None = None
) -> list[str]:
    """Say how a network stands to the average reader, a sentence for each measure.

    `many` is how many networks were held against them in each measure; by default it is the only one.
    """
    if not part.labels_used:
        return []
    if not part.average:
        return [FEW]
    return [
        _conclude(part, measure, against, network, (many or {}).get(measure, 1))
        for measure, against in part.average.items()
    ]


def _conclude(part: ReadersPart, measure: str, against: AgainstPart, network: str, many: int) -> str:
    what = MEASURE_TEXTS[measure] + (f" (the network's {describe_policy(part)})" if measure == "f1" else "")
    start = f"{network[0].upper()}{network[1:]}" if network == "the network" else network
    p = against.p_holm
    if against.delta is None or p is None:
        return f"{start} cannot be compared with the average reader in {what}: there is no value."
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    adjusted = f" (Holm, {many} systems)" if many > 1 else ""
    over = "patients, readers and seeds" if part.seeds >= FEWEST_SEEDS else "patients and readers"
    numbers = f"{against.delta:+.3f}{_interval(against.interval)}, {chance}{adjusted}, over {over}"
    if p >= SIGNIFICANT:
        return f"{start} and the average reader do not differ significantly in {what}: {numbers}."
    better = "better" if against.delta > 0 else "worse"
    return f"{start} is significantly {better} than the average reader in {what}: {numbers}."


def describe_policy(part: ReadersPart) -> str:
    """Say where the network's F1 decides, and which labels it and the difference from readers are without."""
    missing = part.without_threshold
    without = f", without {_name(missing)}, for which validation gave no threshold" if missing else ""
    return f"at {part.policy}{without}"


def _name(labels: Sequence[str]) -> str:
    return join_names(labels) if len(labels) <= MOST_NAMED else f"{len(labels)} labels"


def describe_agreement(part: ReadersPart) -> list[str]:
    """Say how far readers agree."""
    if part.kappa is None or part.kappa.all_readers.value is None:
        return []
    one = part.kappa.all_readers
    said = [f"Readers agree with a kappa of {one.value:.3f}{_interval(one.interval)} (Fleiss, mean over labels)."]
    pairs = [pair for pair in part.kappa.pairs if pair[2] is not None]
    if len(pairs) > 1:
        low, high = min(pairs, key=lambda pair: pair[2] or 0), max(pairs, key=lambda pair: pair[2] or 0)
        said.append(
            f"Two of them agree with a kappa (Cohen) from {low[2]:.3f} ({low[0]} and {low[1]}) to {high[2]:.3f} "
            f"({high[0]} and {high[1]})."
        )
    return said


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
