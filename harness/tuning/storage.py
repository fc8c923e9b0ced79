"""Where studies are kept: a journal in the board's folder, or any storage that Optuna knows by its URL."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from harness.errors import HarnessError, UsageError
from harness.results.layout import study_path

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.storages.journal import JournalFileOpenLock

WAIT = 10
"""Seconds for which an answer is waited."""
GRACE = 30
"""Seconds after which a journal's lock is taken from whoever has died with it."""
KINDS = "sqlite:///FILE, postgresql+psycopg://..., mysql+pymysql://..., grpc://HOST:PORT or journal://FILE"
SERVERS = "postgresql+psycopg://..., mysql+pymysql://... or grpc://HOST:PORT"
DRIVERS = {
    "postgresql": ("psycopg", "psycopg[binary]"),
    "mysql": ("pymysql", "pymysql"),
    "mariadb": ("pymysql", "pymysql"),
}
"""Kind of database -> the driver to name, and its package, where the URL names none."""
PACKAGES = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "pymysql": "pymysql",
    "mysqldb": "mysqlclient",
    "mysqlconnector": "mysql-connector-python",
    "mariadbconnector": "mariadb",
}
"""Driver -> its package, where they are called differently or pip offers it ready-made."""


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


def is_begun(url: str | None, folder: Path, study: str) -> bool:
    """Whether there is the journal that a study would be in. In another storage it may be, which only that knows."""
    if url is not None and urlsplit(url).scheme != "journal":
        return True
    return (journal_path(folder, study) if url is None else Path(url.partition("://")[2])).is_file()


def name_elsewhere(url: str | None, *, shared: bool) -> str | None:
    """The storage as workers on other machines are to open it; `shared` is whether they see the board's folder.

    A journal's lock is a file that only one can create, and every look at it opens it again: that holds on network
    disks (NFS 3 and newer), where SQLite's locks often do not. Raises `UsageError` for a storage that those workers
    would not reach or could not share.
    """
    scheme = "" if url is None else urlsplit(url).scheme.partition("+")[0]
    if scheme == "sqlite":
        raise UsageError(
            f"--storage {url}: workers on other machines cannot share an SQLite file, whose locks do not hold on "
            f"network disks; leave --storage out for a journal in the board's folder, or name a server: {SERVERS}"
        )
    if scheme not in ("", "journal"):
        return url
    if not shared:
        where = "the board's folder" if url is None else url
        raise UsageError(
            f"without a shared folder, workers on other machines do not reach a study in {where}; keep it on a server: "
            f"--storage {SERVERS}"
        )
    return None if url is None else f"journal://{Path(url.partition('://')[2]).absolute()}"


@contextlib.contextmanager
def answering(url: str | None, hint: str = "") -> Iterator[None]:
    """Raise `UsageError`, in one line, where the storage of that URL raises anything within."""
    try:
        yield
    except Exception as error:
        if not is_of_storage(error):
            raise
        where = "in the board's folder" if url is None else hide_password(url)
        raise UsageError(f"the storage {where} does not answer: {_hide_in(_explain(error), url)}{hint}") from None


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
    try:
        host, port = place.hostname or "localhost", place.port or 13000
    except ValueError:
        raise UsageError(f"--storage {hide_password(url)}: its port is no number; give grpc://HOST:PORT") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = GrpcStorageProxy(host=host, port=port)
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
        raise UsageError(f"--storage {hide_password(url)}: unknown kind of storage; give {KINDS}") from None
    except ImportError as error:
        raise UsageError(_explain_driver(url, scheme, error)) from None
    if scheme.startswith("sqlite"):
        # it knows no SELECT ... FOR UPDATE, by which Optuna gives a waiting trial to one worker alone
        event.listen(storage.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return storage


def _explain_driver(url: str, scheme: str, error: ImportError) -> str:
    """Name the package that a database needs, and the URL by which it is used.

    SQLAlchemy's own choice where a URL names none may be another one, or need a compiler: ours is named instead.
    """
    kind, _, asked = scheme.partition("+")
    missing = getattr(error.__cause__, "name", None) or error.name or asked
    driver, package = (asked, PACKAGES.get(asked, missing)) if asked else DRIVERS.get(kind, ("", missing))
    form = f"{kind}+{driver}" if driver else kind
    rest = hide_password(url).partition("://")[2]
    again = "" if form == scheme else f", and give --storage {form}://{rest}"
    return f"the storage {hide_password(url)} needs a driver that is not installed: pip install '{package}'{again}"


def hide_password(url: str) -> str:
    """Return a URL that may be printed: without its passwords, though they hold characters that no URL may hold."""
    hidden = re.sub(r"(://[^:@/?]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&][^=&]*pass[^=&]*=)[^&]*", r"\1***", hidden)


def _hide_in(text: str, url: str | None) -> str:
    """A driver's words without the password: also without its pieces, where the driver took one for a host."""
    found = re.search(r"://[^:@/?]*:(.*)@", url or "")
    given = [found.group(1)] if found else []
    given += re.findall(r"(?i)[?&][^=&]*pass[^=&]*=([^&]*)", url or "")
    pieces = {piece for one in given for piece in (one, unquote(one), *re.split(r"[@/:?#]", one)) if piece}
    for piece in sorted(pieces, key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(piece)}(?![A-Za-z0-9])", "***", text)
    return text
