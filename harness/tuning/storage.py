"""Where studies are kept: a journal in the board's folder, or any storage that Optuna knows by its URL."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.errors import HarnessError, UsageError
from harness.results.layout import study_path

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.storages.journal import JournalFileOpenLock

WAIT = 10
"""Seconds for which an answer is waited."""
GRACE = 30
"""Seconds after which a journal's lock is taken from whoever has died with it."""


def journal_path(folder: Path, study: str) -> Path:
    """Where a study's journal lies in a board's folder."""
    return study_path(folder, study, ".journal")


def open_storage(url: str | None, folder: Path, study: str) -> BaseStorage:
    """The storage of a study. Raises `UsageError` for one that is unknown or does not answer."""
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    with answering(url):
        if url is None:
            path = journal_path(folder, study)
            path.parent.mkdir(parents=True, exist_ok=True)
            return _open_journal(path)
        scheme = urlsplit(url).scheme
        if scheme == "journal":
            return _open_journal(Path(url.partition("://")[2]))
        if scheme == "grpc":
            return _open_proxy(url)
        return _open_database(url, scheme)


@contextlib.contextmanager
def answering(url: str | None, hint: str = "") -> Iterator[None]:
    """Raise `UsageError`, in one line, where the storage of that URL raises anything within."""
    try:
        yield
    except Exception as error:
        if not is_of_storage(error):
            raise
        raise UsageError(f"the storage {_without_password(url)} does not answer: {_explain(error)}{hint}") from None


def is_of_storage(error: BaseException) -> bool:
    """Whether a storage raised it, of whatever kind: each has errors of its own. A trial that is over is no such."""
    from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError

    if isinstance(error, HarnessError | DuplicatedStudyError | UpdateFinishedTrialError):
        return False
    frames = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(name.startswith("optuna.storages") for name in frames)


def _explain(error: BaseException) -> str:
    """The first line of what went wrong: Optuna's own words hide it in what they were raised from."""
    from optuna.exceptions import StorageInternalError

    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _open_journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    lock = _make_lock(path)
    if path.is_file():
        _drop_torn_line(path, lock)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock))
    except ValueError as error:  # a line that is none
        raise UsageError(f"{path} is no journal of a study, or is damaged: {error}") from None


def _make_lock(path: Path) -> JournalFileOpenLock:
    """A file beside the journal.

    Optuna's default is a link to the journal: of a relative path it leads nowhere, and such a one is never taken over
    when its owner has died.
    """
    from optuna.storages.journal import JournalFileOpenLock

    return JournalFileOpenLock(str(path), grace_period=GRACE)


def _drop_torn_line(path: Path, lock: JournalFileOpenLock) -> None:
    """A writer that died in the middle, or a full disk, leaves half a line, to which the next would be appended."""
    if _ends_whole(path):
        return
    lock.acquire()
    try:
        if not _ends_whole(path):  # it was not being written just now
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _open_proxy(url: str) -> BaseStorage:
    from optuna.exceptions import ExperimentalWarning

    if importlib.util.find_spec("grpc") is None:
        raise UsageError("a grpc:// storage needs the package grpcio: pip install grpcio")
    from optuna.storages import GrpcStorageProxy

    place = urlsplit(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = GrpcStorageProxy(host=place.hostname or "localhost", port=place.port or 13000)
    storage.wait_server_ready(timeout=WAIT)
    return storage


def _open_database(url: str, scheme: str) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy import event
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    kind = scheme.partition("+")[0]
    waits = {"sqlite": "timeout", "postgresql": "connect_timeout", "mysql": "connect_timeout"}
    options: dict[str, Any] = {"connect_args": {waits[kind]: WAIT} if kind in waits else {}}
    # a file is quickly opened, and so left open by nobody
    options |= {"poolclass": NullPool} if kind == "sqlite" else {"pool_pre_ping": True}
    try:
        storage = RDBStorage(url, engine_kwargs=options)
    except (ArgumentError, NoSuchModuleError):
        kinds = "sqlite:///FILE, postgresql+psycopg://..., mysql://..., grpc://HOST:PORT, journal://FILE"
        raise UsageError(f"--storage {_without_password(url)}: unknown kind of storage; give {kinds}") from None
    except ImportError as error:
        driver = "psycopg[binary]" if scheme.startswith("postgresql") else error.name
        raise UsageError(f"the storage {_without_password(url)} needs a driver: pip install '{driver}'") from None
    if scheme.startswith("sqlite"):
        # it knows no SELECT ... FOR UPDATE, by which Optuna gives a waiting trial to one worker alone
        event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return storage


def _without_password(url: str | None) -> str:
    if url is None:
        return "in the board's folder"
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url
