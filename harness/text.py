"""Values as people read them, on the page and in the terminal alike."""

from __future__ import annotations


def format_value(value: object) -> str:
    """A parameter's value with as many digits as a person reads."""
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def describe_seconds(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
