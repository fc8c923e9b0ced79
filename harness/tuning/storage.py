"""Where studies are kept: a journal in the board's folder, or any storage that Optuna knows by its URL."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.errors import UsageError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

FOLDER = "studies"
WAIT = 10
"""Seconds for which an answer is waited."""


def journal_path(folder: Path, study: str) -> Path:
    """Where a study's journal lies in a board's folder."""
    return folder / FOLDER / f"{study}.journal"


def open_storage(url: str | None, folder: Path, study: str) -> BaseStorage:
    """The storage of a study. Raises `UsageError` for one that is unknown or does not answer."""
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    try:
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
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - each kind of storage has errors of its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"the storage {_without_password(url)} does not answer: {reason}") from None


def _open_journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except ValueError as error:  # a line that is none
        raise UsageError(f"{path} is no journal of a study, or is damaged: {error}") from None


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
    from sqlalchemy.exc import NoSuchModuleError
    from sqlalchemy.pool import NullPool

    if scheme.startswith("sqlite"):
        options: dict[str, Any] = {"poolclass": NullPool}  # a file is quickly opened, and left open by nobody
    else:
        options = {"pool_pre_ping": True}
    if scheme.startswith("postgresql"):
        options["connect_args"] = {"connect_timeout": WAIT}
    try:
        return RDBStorage(url, engine_kwargs=options)
    except NoSuchModuleError:
        known = "sqlite:///FILE, postgresql+psycopg://..., mysql://..., grpc://HOST:PORT, journal://FILE"
        raise UsageError(f"--storage {_without_password(url)}: unknown kind of storage; give {known}") from None
    except ImportError as error:
        driver = "psycopg[binary]" if scheme.startswith("postgresql") else error.name
        raise UsageError(f"the storage {_without_password(url)} needs a driver: pip install '{driver}'") from None


def _without_password(url: str | None) -> str:
    if url is None:
        return "in the board's folder"
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url
