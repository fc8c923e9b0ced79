"""Observers: plugins that are told how a run goes, and can do it no harm."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness.components import Observer, Tell
from harness.execution.events import ComboFinished, ComboStarted, EpochFinished, Event, Listener
from harness.registry import Registry


def choose_observers(registry: Registry, names: Sequence[str]) -> tuple[Observer, ...]:
    """Choose the observers that are always on, and those that are asked for. Raises `UnknownNameError`."""
    asked = [registry.observer(name) for name in names]
    offered = [registry.observer(name) for name in registry.offers["observer"]]
    chosen = {observer.name: observer for observer in (*(o for o in offered if o.always), *asked)}
    return tuple(chosen.values())


class Audience:
    """A listener that tells another one, then every observer in plain data."""

    def __init__(
        self, first: Listener, observers: Sequence[Observer], folder: Path, warn: Callable[[str], None]
    ) -> None:
        self.first, self.warn = first, warn
        self.tells: dict[str, Tell] = {}
        for observer in observers:
            self._guard(observer.name, partial(self._begin, observer, folder))

    def __call__(self, event: Event) -> None:
        """Tell everybody of one event."""
        self.first(event)
        plain = as_plain(event)
        if plain is not None:
            for name, tell in tuple(self.tells.items()):
                self._guard(name, partial(tell, dict(plain)))

    def _begin(self, observer: Observer, folder: Path) -> None:
        self.tells[observer.name] = observer.watch(folder)

    def _guard(self, name: str, call: Callable[[], None]) -> None:
        """Whatever an observer raises, it is told no more and the run goes on."""
        try:
            call()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code raises what it likes
            self.tells.pop(name, None)
            self.warn(f"observer '{name}' is told no more: {type(error).__name__}: {error}")


def as_plain(event: Event) -> dict[str, Any] | None:
    """An event as JSON can hold it, NaN as None; None for one that observers are not told of."""
    content: dict[str, Any]
    match event:
        case ComboStarted():
            content = {"event": "combo started", "combo": event.name}
            content |= {"number": event.number, "total": event.total, "epochs": event.epochs}
        case EpochFinished():
            epoch = asdict(event.epoch)
            del epoch["timing"], epoch["values"]
            content = {"event": "epoch finished", "combo": event.name, "epoch": epoch.pop("number"), **epoch}
            content["epochs"] = event.epochs
        case ComboFinished():
            record = event.record
            content = {
                "event": "combo finished",
                "combo": record.combo.name,
                "status": record.status,
                "seconds": event.seconds,
                "metrics": {name: part.macro for name, part in record.metrics.items()},
                "failure": record.failure.message if record.failure else None,
            }
        case _:
            return None
    plain = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in content.items()}
    plain["time"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    as_read: dict[str, Any] = json.loads(json.dumps(plain))
    return as_read
