"""Names of metrics: `auroc`, or for decisions `metric@policy`. Imports nothing, so that a page needs no plugin."""

from __future__ import annotations

from collections.abc import Collection

from harness.errors import UnknownNameError

POLICIES = {
    "0.5": "a score of one half",
    "val-f1": "the threshold with the highest F1 on validation, for each label",
    "oracle": "the threshold with the highest F1 on the test split itself, for each label: optimistic, never ranked",
}
DEFAULT = "val-f1"
"""What a decision metric without a policy means."""


def split_name(name: str) -> tuple[str, str | None]:
    """`f1@0.5` -> (`f1`, `0.5`), `auroc` -> (`auroc`, None). Raises `UnknownNameError` for an unknown policy."""
    base, at, policy = name.partition("@")
    if at and policy not in POLICIES:
        raise UnknownNameError(f"threshold policy in '{name}':", policy, POLICIES)
    return base, policy if at else None


def full_name(name: str, measured: Collection[str]) -> str:
    """The name under which records hold a metric: a decision metric without a policy means `@val-f1`."""
    return f"{name}@{DEFAULT}" if name not in measured and f"{name}@{DEFAULT}" in measured else name
