"""Labels that their readers were not certain of: what they are taken for in training, and in val and test.

In training a policy may take an uncertain label for anything. What is measured never rests on invented labels unless it
is asked for: val and test leave uncertain labels out by default, and it is said how many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.errors import UsageError, suggest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

UNCERTAIN = -1.0
"""What stands for an uncertain label before a policy is applied."""
POLICIES: Mapping[str, float] = {"ignore": math.nan, "zeros": 0.0, "ones": 1.0}
"""What each policy takes an uncertain label for; a number between 0 and 1 is a policy, too: a soft target."""
NOTE = "uncertain labels"
"""The note of a dataset about what became of them."""

Policy = Mapping[str, str | float] | str | float
"""One for all labels (`ones`, `0.6`), or by label (`Edema=ones,Mass=0.6`, or a table)."""


def take_uncertain(
    values: NDArray[np.float32],
    split: pd.Series,
    labels: Sequence[str],
    *,
    training: Policy = "ignore",
    test: Policy = "ignore",
    dataset: str = "csv",
) -> tuple[NDArray[np.float32], dict[str, str]]:
    """Targets (N, C) of `values` (N, C), which are 1, 0, -1 for uncertain, or NaN for unknown; and a note on them.

    `training` is for the train split, `test` for val and test. A label that a policy by label does not name is ignored.
    Raises `UsageError` for a policy that there is not, and for a soft one where labels are measured against.
    """
    import numpy as np

    in_training = (split == "train").to_numpy()[:, None]  # (N, 1)
    taken = find_policies("uncertain", training, labels, dataset)
    measured = find_policies("uncertain_test", test, labels, dataset, soft=False)
    uncertain = values == UNCERTAIN
    targets = np.where(uncertain, np.where(in_training, taken, measured), values).astype(np.float32)
    if not uncertain.any():
        return targets, {}
    trained, others = int((uncertain & in_training).sum()), int((uncertain & ~in_training).sum())
    left_out = int((uncertain & ~in_training & np.isnan(targets)).sum())
    invented = f", {others - left_out:,} of them taken as 0 or 1 as asked" if others > left_out else ""
    what = _describe(training)
    note = f"{trained:,} in training ({what}); {others:,} in val and test, {left_out:,} of them left out{invented}"
    return targets, {NOTE: note}


def find_policies(
    option: str, given: Policy, labels: Sequence[str], dataset: str, *, soft: bool = True
) -> NDArray[np.float32]:
    """What an uncertain label is taken for, (C,); NaN where it is ignored."""
    import numpy as np

    by_label = _split(given)
    for label in by_label or ():
        if label not in labels:
            raise UsageError(
                f"{dataset}: {option} names '{label}', which is none of the labels{suggest(label, labels)}"
            )
    chosen = dict.fromkeys(labels, given) if by_label is None else dict.fromkeys(labels, "ignore") | by_label
    return np.array([_read(option, policy, dataset, soft=soft) for policy in chosen.values()], dtype=np.float32)


def _split(given: Policy) -> dict[str, str | float] | None:
    """Policies by label; None where there is one for all."""
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, str) or "=" not in given:
        return None
    pairs = (part.partition("=") for part in given.split(","))
    return {label.strip(): policy.strip() for label, _, policy in pairs}


def _read(option: str, policy: object, dataset: str, *, soft: bool) -> float:
    if isinstance(policy, str) and policy in POLICIES:
        return POLICIES[policy]
    try:
        value = float(policy)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if 0 < value < 1 and soft:
        return value
    if 0 < value < 1:
        raise UsageError(
            f"{dataset}: {option} = {policy} would measure against labels that are neither 0 nor 1; give ignore, zeros "
            "or ones"
        )
    number = " or a number between 0 and 1" if soft else ""
    raise UsageError(f"{dataset}: {option} must be {', '.join(POLICIES)}{number}, got '{policy}'")


def _describe(given: Policy) -> str:
    by_label = _split(given)
    return f"{given}" if by_label is None else ", ".join(f"{label}: {policy}" for label, policy in by_label.items())
