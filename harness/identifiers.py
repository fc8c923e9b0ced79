"""Ids of patients and images that two files spell differently: `170`, `00000170`, `170.0`, `A7.png` and `a7`.

Tables lose zeros and gain `.0` on their way through spreadsheets and pandas; a split that is told apart by such ids
alone leaks. What is alike may still be different, so that nothing is refused for it: it is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SUFFIX = re.compile(r"\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|gif|jp2|webp|npy|npz|nii|mha)(?:\.gz)?$")
WHOLE = re.compile(r"^(\d+)\.0+$")
SHOWN = 3
"""Pairs that a message names."""


def strip(text: str) -> str:
    """What is left of an id without leading zeros, case, a file's suffix and the `.0` of a whole number."""
    plain = WHOLE.sub(r"\1", SUFFIX.sub("", text.strip().casefold()))
    return plain.lstrip("0") or "0"


def find_alike(ours: Iterable[str], theirs: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of an id of ours and one of theirs that are written differently and are the same once stripped.

    Sorted; an id that both have is in none.
    """
    left, right = set(map(str, ours)), set(map(str, theirs))
    only = {strip(text): text for text in sorted(right - left, reverse=True)}
    return sorted((text, only[stripped]) for text in left - right if (stripped := strip(text)) in only)


def list_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """The first of them: `'170' and '00000170', '9' and '009'`."""
    return ", ".join(f"'{a}' and '{b}'" for a, b in list(pairs)[:SHOWN])


def hint_alike(ours: Iterable[str], theirs: Iterable[str]) -> str:
    """The end of a message about ids that only one of two files has; empty where none are alike."""
    pairs = find_alike(ours, theirs)
    return f" (perhaps the same, written differently: {list_pairs(pairs)})" if pairs else ""
