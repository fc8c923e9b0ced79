"""Claims: who runs which combo of a board, said by files in its folder, so that several processes share the work.

A claim is a lease (`harness.leases`) that a file holds. What goes on is told in the same file, for `harness status`.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from harness.lease_files import FileLease, Held, read, read_clock, remove, take
from harness.leases import LEASE
from harness.results.layout import claims_path


class Claims:
    """The claims of a board."""

    def __init__(self, board_folder: Path, lease: float = LEASE) -> None:
        self.folder = claims_path(board_folder)
        self.lease = lease

    def take(self, name: str, **about: Any) -> FileLease | None:
        """Claim a combo, or take over what is left of a claim; None where somebody has it.

        Raises `StorageError` where the folder cannot be written.
        """
        return take(self.folder / f"{name}.json", self.lease, about)

    def drop(self, held: Held) -> None:
        """Remove a claim whose owner is certainly over; another one in its place stays."""
        with contextlib.suppress(OSError):
            remove(self.folder / f"{held.name}.json", held.token)

    def read(self) -> tuple[Held, ...]:
        """Read all claims, by name; ages by this machine's clock where the folder cannot be written."""
        if not self.folder.is_dir():
            return ()
        now = time.time()
        with contextlib.suppress(OSError):
            now = read_clock(self.folder)
        claims = (read(path, now) for path in sorted(self.folder.glob("*.json")))
        return tuple(held for held in claims if held is not None)
