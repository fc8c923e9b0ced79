"""Locks: several processes that want one folder take turns.

Where the file system has locks, the kernel keeps them and ends them with their process. Network file systems may have
none; then a lease beside the lock's file serves instead (`harness.lease_files`). A lease may be lost by a process that
was stopped for its whole length, which is found out in the end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import ClaimLostError, StorageError
from harness.lease_files import read, take
from harness.leases import LEASE, Keeper, Owner

MISSING = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What a file system without locks answers."""
TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
"""What one answers where another process has the lock."""
POLL = 0.1
"""Seconds between two attempts."""
PATIENCE = 1.0
"""Seconds of waiting after which it is remarked."""


@contextlib.contextmanager
def hold_lock(
    path: Path,
    what: str,
    remark: Callable[[str], None] | None = None,
    way_out: str = "choose another folder",
    lease: float = LEASE,
) -> Iterator[None]:
    """Hold the lock of a file for a block, after waiting for whoever has it.

    `remark` hears after a second what is waited for, and who has it. Raises `StorageError` where the folder cannot be
    written.
    """
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, handle)
            began, told = time.monotonic(), remark is None
            while (require := _take(path, handle, lease, stack)) is None:
                if remark is not None and not told and time.monotonic() - began >= PATIENCE:
                    remark(f"waiting for {what}: {_find_holder(path).describe()} is at work there")
                    told = True
                time.sleep(POLL)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}; {way_out}") from None
        yield
        try:
            require()
        except ClaimLostError:
            raise StorageError(
                f"another process has taken over {what}: this one was not heard of for {lease:.0f} s; run it again"
            ) from None


def _take(path: Path, handle: int, lease: float, stack: contextlib.ExitStack) -> Callable[[], None] | None:
    """Take a lock until the stack ends; None where another has it.

    What is returned raises `ClaimLostError` where the lock was lost meanwhile.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return None
        if error.errno not in MISSING:
            raise
        taken = take(_lease_path(path), lease, {})
        if taken is not None:
            stack.enter_context(Keeper(lease)).keep(taken)
        return None if taken is None else taken.require
    with contextlib.suppress(OSError):  # on a full disk, nobody learns who it is
        content = json.dumps(vars(Owner.here())).encode()
        os.pwrite(handle, content, 0)
        os.ftruncate(handle, len(content))
    return lambda: None


def _find_holder(path: Path) -> Owner:
    """Find who has a lock, as far as that is told."""
    with contextlib.suppress(OSError, ValueError):
        held = read(_lease_path(path), time.time())
        return Owner.read(json.loads(path.read_text(encoding="utf-8")) if held is None else held.about)
    return Owner()


def _lease_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lease")
