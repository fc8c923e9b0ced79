"""Engines: where functions run beyond this process. They are opened by an executor's name, with its options checked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib.metadata
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from harness.components import Engine, Executor, Future, Needs
from harness.errors import HarnessError, PluginError, UsageError
from harness.parameters import complete
from harness.results.layout import jobs_path
from harness.results.record import FailureKind
from harness.values import read_value

LOCAL = "local"
"""The name that stands for the workers of this machine."""
SHARED = "shared"
"""An option of every executor: whether its machines see the board's folder."""
ENGINE_KINDS: tuple[FailureKind, ...] = ("interrupted", "timeout", "out_of_memory", "crashed")
"""What `Engine.explain` may say."""


@dataclass(frozen=True, kw_only=True)
class Destination:
    """An executor with its options, checked."""

    executor: Executor
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its own options, as they were given; the others are at their defaults."""
    shared: bool = True
    """Whether its machines see the board's folder."""


def find_destination(executor: Executor, given: Mapping[str, Any]) -> Destination:
    """Check the options of an executor. Raises `UnknownNameError` or `UsageError` for what it cannot take."""
    own = {name: value for name, value in given.items() if name != SHARED}
    complete(executor, executor.open, own)
    return Destination(executor=executor, options=own, shared=read_value(SHARED, bool, given.get(SHARED, True)))


def list_options(executor: Executor) -> dict[str, Any]:
    """The options of an executor, with their defaults."""
    return {n: p.default for n, p in inspect.signature(executor.open).parameters.items() if p.kind is p.KEYWORD_ONLY}


def open_engine(to: Destination, needs: Needs) -> Engine:
    """Open an engine. Raises `HarnessError` where it cannot be, in words."""
    executor = to.executor
    needs.folder.mkdir(parents=True, exist_ok=True)
    try:
        engine = executor.open(needs, **complete(executor, executor.open, to.options))
    except HarnessError:
        raise
    except ModuleNotFoundError as error:
        extras = importlib.metadata.metadata("cxr-harness").get_all("Provides-Extra") or ()
        package = f"'cxr-harness[{executor.name}]'" if executor.name in extras else error.name
        raise UsageError(
            f"--on {executor.name} needs the package {error.name}, which is not installed here; install it: pip "
            f"install {package}"
        ) from None
    except Exception as error:
        raise PluginError(f"--on {executor.name} cannot be used: {type(error).__name__}: {_first(error)}") from error
    for name in ("submit", "close"):
        if not callable(getattr(engine, name, None)):
            raise PluginError(f"executor '{executor.name}' opened {type(engine).__name__}, which has no {name}()")
    return engine


@contextlib.contextmanager
def divert_output() -> Iterator[None]:
    """Send to standard error what an engine prints while it is open, also from its threads, libraries and processes:
    standard output is the harness's own.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def make_needs(board_folder: Path, executor: str, *, workers: int, gpus: int, seconds: float | None) -> Needs:
    """What an engine is asked for, for the jobs of a board."""
    title = re.sub(r"[^A-Za-z0-9._-]+", "-", board_folder.resolve().name).strip("-")
    return Needs(
        name=f"harness-{title}",
        folder=jobs_path(board_folder).absolute() / executor,
        workers=workers,
        gpus=gpus,
        seconds=seconds,
    )


def explain(engine: Engine, error: BaseException) -> FailureKind:
    """The kind of failure that the end of a future means."""
    kind = None
    with contextlib.suppress(Exception):
        told = getattr(engine, "explain", None)
        kind = None if told is None else told(error)
    if kind in ENGINE_KINDS and kind in get_args(FailureKind):
        return cast(FailureKind, kind)
    cancelled = isinstance(error, concurrent.futures.CancelledError | asyncio.CancelledError)
    return "interrupted" if cancelled else "crashed"


def find_future(engine: Engine, job: str | None) -> Future | None:
    """What an earlier process has submitted, where the engine can give it again."""
    find = getattr(engine, "find", None)
    return None if find is None or job is None else find(job)


def forget(engine: Engine, job: str | None) -> None:
    """Tell an engine that keeps results that nobody asks for a job's any more."""
    told = getattr(engine, "forget", None)
    if told is not None and job is not None:
        with contextlib.suppress(Exception):  # a result too many harms nobody
            told(job)


def describe_error(error: BaseException) -> str:
    """An engine's error in one line."""
    return f"{type(error).__name__}: {_first(error)}" if str(error).strip() else type(error).__name__


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else ""
