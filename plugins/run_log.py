"""`log`: every event of a run as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import Observer, Tell, hookimpl


def watch(folder: Path) -> Tell:
    """Append to `runs/log.jsonl`, one line for each event, written at once."""
    file = folder / "runs" / "log.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)

    def tell(event: Mapping[str, Any]) -> None:
        with file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(event) + "\n")

    return tell


@hookimpl
def harness_observers() -> Iterable[Observer]:
    """Log."""
    return [Observer(name="log", watch=watch, always=True, about="every event as a line in runs/log.jsonl; always on")]
