"""Claims: who runs which combo of a board, said by files in its folder, so that several processes share the work.

A claim is a lease: a file with a random token that its owner renews while it lives and that anybody may take over a
minute after it does not. Whoever is about to write a result asks first whether the token is still its own. What goes on
is told in the same file, for `harness status`. Ages are measured by the clock of the file system alone, since machines
that share a disk need not agree on the time. On one machine the death of an owner is seen at once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import ClaimLostError, StorageError
from harness.files import TEMPORARY, lock, storage_problem
from harness.results.layout import claims_path

LEASE = 60.0
"""Seconds after which a claim that is not renewed may be taken over."""
RENEWALS = 6
"""Times that a claim is renewed within a lease."""


@dataclass(frozen=True)
class Held:
    """What a claim says."""

    name: str
    """The name of the combo."""
    token: str
    about: Mapping[str, Any]
    """What its owner tells: `host`, `process`, `device`, `started`, `epoch`, `epochs`, `key`, ..."""
    age: float
    """Seconds since it was renewed."""

    def is_abandoned(self, lease: float) -> bool:
        """Whether its owner lives no more, as far as can be told from here."""
        if self.age > lease:
            return True
        here = self.about.get("machine") == machine_identity()
        return here and not process_lives(self.about.get("process"), self.about.get("process_started"))


class Claims:
    """The claims of a board."""

    def __init__(self, board_folder: Path, lease: float = LEASE) -> None:
        self.folder = claims_path(board_folder)
        self.lease = lease

    def take(self, name: str, **about: Any) -> Claim | None:
        """Claim a combo, or take over what is left of a claim; None where somebody has it.

        Raises `StorageError` where the folder cannot be written.
        """
        path, claim = self._path(name), Claim(self._path(name), secrets.token_hex(16), _owner() | about)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for _ in range(3):
                if claim.begin():
                    return claim
                held = self._read(path, self._now())
                if held is None:
                    continue
                if not held.is_abandoned(self.lease) or not _remove(path, held.token):
                    return None
        except OSError as error:
            reason = storage_problem(error) or error.strerror
            raise StorageError(f"cannot write {self.folder}: {reason}; make room or choose another folder") from None
        return None

    def read(self) -> tuple[Held, ...]:
        """All claims, by name; ages by this machine's clock where the folder cannot be written."""
        if not self.folder.is_dir():
            return ()
        now = time.time()
        with contextlib.suppress(OSError):
            now = self._now()
        found = (self._read(path, now) for path in sorted(self.folder.glob("*.json")))
        return tuple(held for held in found if held is not None)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _now(self) -> float:
        """The file system's time."""
        probe = self.folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        with probe.open("x") as file:
            probe.unlink()
            return os.fstat(file.fileno()).st_mtime

    def _read(self, path: Path, now: float) -> Held | None:
        """None where there is no claim; one that is being written, or that may not be read, tells nothing."""
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


class Claim:
    """A combo that is this process's."""

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
        """Make sure, before anything is written, that the claim is still held.

        Raises `ClaimLostError` where it is another's by now.
        """
        self._update(None)

    def renew(self) -> None:
        """Renew the lease. Raises `ClaimLostError`."""
        self._update(os.utime)

    def tell(self, **about: Any) -> None:
        """Say how far the combo is. Raises `ClaimLostError`."""
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
            _remove(self.path, self.token)

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
        raise ClaimLostError(f"{self.path.stem} was taken over by another process: this one did not renew its claim")


class Keeper:
    """Renews claims while its process lives."""

    def __init__(self, lease: float = LEASE) -> None:
        self.interval = lease / RENEWALS
        self._claims: set[Claim] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what is still held."""
        self._ended.set()
        self._thread.join()
        for claim in self._claims:
            claim.release()

    def keep(self, claim: Claim) -> None:
        """Renew a claim from now on."""
        self._claims = self._claims | {claim}  # a new set: the thread may be going through the old one

    def drop(self, claim: Claim) -> None:
        """Release a claim."""
        self._claims = self._claims - {claim}
        claim.release()

    def _renew(self) -> None:
        while not self._ended.wait(self.interval):
            for claim in self._claims:
                with contextlib.suppress(ClaimLostError, StorageError):  # found out before anything is written
                    claim.renew()


def _remove(path: Path, token: str) -> bool:
    """Remove the claim with that token; False where another has come in its place, which stays."""
    aside = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}-{path.name}")
    try:
        with path.open("rb") as file:
            lock(file.fileno())  # nobody sweeps it away meanwhile
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


# --- who -------------------------------------------------------------------------------------------------------------


def _owner() -> dict[str, Any]:
    """This process, as other processes know it. Claims are never published."""
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "process_started": process_started(os.getpid()),
        "machine": machine_identity(),
    }


@cache
def machine_identity() -> str:
    """Return what is the same for processes that see each other's ids: one host, one start of it, one container."""
    parts = [socket.gethostname()]
    for read in (lambda: Path("/proc/sys/kernel/random/boot_id").read_text(), lambda: os.readlink("/proc/self/ns/pid")):  # noqa: PTH115 - it is no path
        with contextlib.suppress(OSError):
            parts.append(read())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def process_started(process: int) -> float | None:
    """When a process of this machine began; None where there is none."""
    import psutil

    try:
        return psutil.Process(process).create_time()
    except psutil.Error:
        return None


def process_lives(process: object, started: object) -> bool:
    """Whether a process of this machine is there and no other one by the same number."""
    import psutil

    if not isinstance(process, int) or not isinstance(started, int | float):
        return True  # it cannot be told: the lease decides
    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and abs(found.create_time() - started) < 1.0
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, ValueError, OverflowError) as error:
        return not (isinstance(error, OSError) and error.errno == errno.ESRCH)
