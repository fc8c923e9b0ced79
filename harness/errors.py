"""The errors that the harness raises on purpose: one small tree.

HarnessError            a message for a person; the command line prints it without a traceback
├── UsageError          a command line, board or parameter that cannot mean anything
│   └── StorageError    a file that cannot be written: no space, no permission
├── UnknownNameError    a name that nothing answers to, with the nearest one
├── DataError           a dataset that is missing, damaged or not what it says
├── WeightsError        weights, initial or trained, that cannot be had or do not fit
├── PluginError         a plugin that breaks its contract
├── NotFiniteError      a loss or a weight that stopped being a number
├── OutOfMemoryError    a batch that the memory is too small for
├── ClaimLostError      work that another process has taken over
└── OrderRefusedError   an order that a machine elsewhere cannot carry out as it was meant
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 30
"""Names that a message lists at most."""


class HarnessError(Exception):
    """Says what was asked, what is known and what to do, in one line."""


class UsageError(HarnessError):
    """A command line, a board or a parameter that cannot mean anything."""


class StorageError(UsageError):
    """A file that cannot be written: the disk is full, or the folder read-only. Nothing else can be written either."""


class UnknownNameError(HarnessError):
    """A name that nothing answers to.

    The message holds the nearest known name, or all known ones where they are few.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        super().__init__(f"unknown {kind} '{name}'{suggest(name, known)}{f' ({hint})' if hint else ''}")


class DataError(HarnessError):
    """A dataset that is missing, damaged or not what it says."""


class WeightsError(HarnessError):
    """Weights, initial or trained, that cannot be had or do not fit the network."""


class PluginError(HarnessError):
    """A plugin that breaks its contract."""


class NotFiniteError(HarnessError):
    """A training loss or a weight that became infinite or NaN."""


class OutOfMemoryError(HarnessError):
    """A batch that the memory, of the device or the host, is too small for."""


class ClaimLostError(HarnessError):
    """Work that another process has taken over, since this one did not renew its lease in time."""


class OrderRefusedError(HarnessError):
    """An order that a machine elsewhere cannot carry out as it was meant: other versions, plugins, data or folders."""


def suggest(name: str, known: Iterable[str]) -> str:
    """The tail of a message about an unknown name: the nearest known one, or what is known."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f": did you mean '{near[0]}'?"
    if len(names) > MOST_LISTED:
        return f" (none of the {len(names):,} known ones is near)"
    return f" (known: {', '.join(names)})" if names else " (none is known)"
