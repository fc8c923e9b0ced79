"""Names of metrics: `auroc`, or for decisions `metric@policy`. Imports nothing heavy: a page needs no plugin."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from harness.errors import UnknownNameError

EACH = ", for each label"
_FIXED = {
    "val-sens": "the highest threshold with a sensitivity of at least {} on validation, for each label",
    "val-spec": "the lowest threshold with a specificity of at least {} on validation, for each label",
}
"""Policies that end in a number above 0 and up to 1, and what they mean."""
POLICIES = {
    "0.5": "a score of one half",
    "val-f1": "the threshold with the highest F1 on validation, for each label",
    "val-youden": "the threshold with the highest sensitivity + specificity - 1 on validation, for each label",
    "val-sens0.9": _FIXED["val-sens"].format(0.9),
    "val-spec0.9": _FIXED["val-spec"].format(0.9),
    "oracle": "the threshold with the highest F1 on the test split itself, for each label: optimistic, never ranked",
}
"""The usual ones, which every record holds; a metric may ask for `val-sens` and `val-spec` with another number, and for
what is fitted on validation for one label alone, as `val-f1:Pneumonia`."""
WITHOUT_VALIDATION = ("0.5", "oracle")
"""Policies that need no validation."""
TITLES = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "brier": "Brier", "ece": "ECE", "iou": "IoU"}
"""What people call the metrics whose names are abbreviations; others are called as they are typed."""
DEFAULT_POLICY = "val-f1"
"""What a decision metric without a policy means."""


def split_name(name: str) -> tuple[str, str | None]:
    """`f1@0.5` -> (`f1`, `0.5`), `auroc` -> (`auroc`, None). Raises `UnknownNameError` for an unknown policy."""
    base, at, policy = name.partition("@")
    if at and policy not in POLICIES and parse_fixed(policy) is None and parse_single(policy) is None:
        hint = (
            "val-sens and val-spec take any number above 0 and up to 1, such as val-sens0.85; one that is fitted on "
            "validation may be of one label alone, such as val-f1:Pneumonia"
        )
        raise UnknownNameError(f"threshold policy in '{name}':", policy, POLICIES, hint)
    return base, policy if at else None


def title_metric(name: str) -> str:
    """What a metric is called where people read it: `AUROC` for `auroc`, `F1@val-f1` for `f1@val-f1`."""
    base, at, policy = name.partition("@")
    return f"{TITLES.get(base, base)}{at}{policy}"


def full_name(name: str, measured: Collection[str]) -> str:
    """The name under which records hold a metric: a decision metric without a policy means `@val-f1`."""
    return f"{name}@{DEFAULT_POLICY}" if name not in measured and f"{name}@{DEFAULT_POLICY}" in measured else name


def parse_fixed(policy: str) -> tuple[str, float] | None:
    """`val-sens0.85` -> (`val-sens`, 0.85), and likewise `val-spec`; None for any other policy."""
    match = re.fullmatch(rf"({'|'.join(_FIXED)})([01](?:\.[0-9]+)?)", policy)
    return (match[1], float(match[2])) if match and 0 < float(match[2]) <= 1 else None


def parse_single(policy: str) -> tuple[str, str] | None:
    """`val-f1:Pneumonia` -> (`val-f1`, `Pneumonia`): the policy of that label alone; None for any other policy."""
    base, _, label = policy.partition(":")
    fitted = (base in POLICIES and base not in WITHOUT_VALIDATION) or parse_fixed(base) is not None
    return (base, label) if label and fitted else None


def require_labels(names: Iterable[str], labels: Collection[str]) -> None:
    """Raise `UnknownNameError` where the policy of a metric is of one label alone that is none of these."""
    for name in names:
        single = parse_single(name.partition("@")[2])
        if single is not None and single[1] not in labels:
            raise UnknownNameError(f"label of the threshold policy in '{name}':", single[1], labels)


def is_of(name: str, labels: Collection[str]) -> bool:
    """Whether a metric means something where these are the labels: not one by the threshold of another label alone."""
    single = parse_single(name.partition("@")[2])
    return single is None or single[1] in labels


def needed_policies(names: Iterable[str]) -> tuple[str, ...]:
    """The policies that a record fits: the usual ones, and what names of metrics ask for beyond them.

    Raises `UnknownNameError` for an unknown policy.
    """
    asked = (split_name(name)[1] for name in names)
    return tuple(dict.fromkeys([*POLICIES, *(policy for policy in asked if policy is not None)]))


def explain_policies(names: Iterable[str]) -> dict[str, str]:
    """Policy -> what it is, for those in names of metrics that are known; the usual ones first, in their order."""
    policies = {name.partition("@")[2] for name in names}
    explained = {policy: _explain(policy) for policy in [*POLICIES, *sorted(policies - POLICIES.keys())]}
    return {policy: about for policy, about in explained.items() if policy in policies and about}


def _explain(policy: str) -> str:
    """What a policy is in words; empty where it is none."""
    if (fixed := parse_fixed(policy)) is not None:
        return _FIXED[fixed[0]].format(fixed[1])
    if (single := parse_single(policy)) is not None:
        base, label = single
        return f"{_explain(base).removesuffix(EACH)}, for {label} alone; for every other label a score of one half"
    return POLICIES.get(policy, "")
