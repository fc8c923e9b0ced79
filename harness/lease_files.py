"""Leases that files hold: whoever makes the file has what it stands for.

The file has a random token, by which its owner knows it, and tells what goes on. Whoever is about to write a result
asks first whether the token is still its own. Ages are measured by the clock of the file system alone, since machines
that share a disk need not agree on the time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ClaimLostError, StorageError
from harness.files import make_temporary_name, storage_problem
from harness.leases import Owner, is_abandoned


@dataclass(frozen=True)
class Held:
    """What the file of a lease says."""

    name: str
    """The file's name without its suffix."""
    token: str
    about: Mapping[str, Any]
    """What its owner tells: `host`, `process`, `device`, `started`, `epoch`, `epochs`, `key`, ..."""
    age: float
    """Seconds since it was renewed."""

    def is_abandoned(self, lease: float) -> bool:
        """Whether it may be taken over."""
        return is_abandoned(Owner.read(self.about), self.age, lease)


class FileLease:
    """A lease that is this process's."""

    def __init__(self, path: Path, token: str, about: Mapping[str, Any]) -> None:
        self.path, self.token, self.about = path, token, dict(about)

    def begin(self) -> bool:
        """Make the file; False where there is one."""
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            try:
                file.write(self._content())
                file.flush()
            except OSError:
                self.path.unlink(missing_ok=True)
                raise
        return True

    def require(self) -> None:
        """Make sure, before anything is written, that the lease is still held.

        Raises `ClaimLostError` where it is another's by now.
        """
        self._update(None)

    def renew(self) -> None:
        """Renew the lease. Raises `ClaimLostError`."""
        self._update(os.utime)

    def tell(self, **about: Any) -> None:
        """Say how far the work is. Raises `ClaimLostError`."""
        self.about |= about

        def write(handle: int) -> None:
            with contextlib.suppress(OSError):  # a full disk will be found out by what matters
                content = self._content()
                os.pwrite(handle, content, 0)
                os.ftruncate(handle, len(content))

        self._update(write)

    def release(self) -> None:
        """Give it up, if it is still this process's."""
        with contextlib.suppress(OSError):
            remove(self.path, self.token)

    def _content(self) -> bytes:
        return f"{self.token}\n{json.dumps(self.about)}\n".encode()

    def _update(self, change: Callable[[int], None] | None) -> None:
        """Change the file that holds the token. One that is taken over in this moment is another file by then."""
        try:
            with self.path.open("rb+") as file:
                if file.readline().strip().decode(errors="replace") == self.token:
                    if change is not None:
                        change(file.fileno())
                    return
        except FileNotFoundError:
            pass
        except OSError as error:
            reason = storage_problem(error) or error.strerror
            raise StorageError(f"cannot write {self.path}: {reason}; make room or choose another folder") from None
        raise ClaimLostError(f"{self.path.stem} was taken over by another process: this one did not renew its lease")


def take(path: Path, lease: float, about: Mapping[str, Any]) -> FileLease | None:
    """Make the file of a lease, or take over what is left of one; None where somebody has it.

    Raises `StorageError` where the folder cannot be written.
    """
    taken = FileLease(path, secrets.token_hex(16), vars(Owner.here()) | dict(about))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            if taken.begin():
                return taken
            held = read(path, read_clock(path.parent))
            if held is None:
                continue
            if not held.is_abandoned(lease) or not remove(path, held.token):
                return None
    except OSError as error:
        reason = storage_problem(error) or error.strerror
        raise StorageError(f"cannot write {path.parent}: {reason}; make room or choose another folder") from None
    return None


def read(path: Path, now: float) -> Held | None:
    """Read the file of a lease at a time of its file system.

    None where there is no file; one that is being written, or that may not be read, tells nothing.
    """
    content = b""
    try:
        age = now - path.stat().st_mtime
        with path.open("rb") as file:
            content, age = file.read(), now - os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EISDIR):
            raise
    token, _, text = content.partition(b"\n")
    try:
        about = json.loads(text)
    except ValueError:
        about = {}
    return Held(path.stem, token.decode(errors="replace"), about if isinstance(about, dict) else {}, age)


def read_clock(folder: Path) -> float:
    """Read the clock of a folder's file system."""
    probe = folder / make_temporary_name("clock")
    with probe.open("x") as file:
        probe.unlink()
        return os.fstat(file.fileno()).st_mtime


def remove(path: Path, token: str) -> bool:
    """Remove the lease with that token; False where another has come in its place, which stays."""
    aside = path.with_name(make_temporary_name(path.name))  # this process lives: nobody sweeps it away meanwhile
    try:
        path.rename(aside)
        try:
            if aside.read_bytes().partition(b"\n")[0].decode(errors="replace") == token:
                return True
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return False
