"""Texts inside a page that few readers open: compressed, and unpacked by the page's script when they are asked for.

That keeps a page of hundreds of rows small. `unpack` of `templates/page.js` is the other way round.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any


def pack(text: str) -> str:
    """Base64 of the text's UTF-8 as zlib compresses it (RFC 1950); the same text and zlib give the same characters."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def pack_data(data: Any) -> str:
    """Plain data as packed JSON. Raises `ValueError` for NaN, which JSON lacks."""
    return pack(json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def unpack(packed: str) -> str:
    """The text again, as a page's script makes it."""
    return zlib.decompress(base64.b64decode(packed)).decode()
