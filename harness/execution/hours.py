"""How many device hours a plan would take, from speeds that were recorded on one named device."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.files import decode_text

if TYPE_CHECKING:
    from harness.execution.planning import Planned
    from harness.results.record import Record

CROPS = {"ten-crop": 10}
"""Views that an evaluated image is seen in, where there are several."""


@dataclass(frozen=True, kw_only=True)
class RecordedSpeed:
    """What a network did on a device, in images a second."""

    device: str
    model: str
    size: int
    """Height and width of the images in pixels."""
    train: float
    predict: float
    source: str
    """Where the figure stands, and of which day."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """What the combos of a plan that are to be run would take on one device."""

    device: str
    """The device; empty where no speed is recorded."""
    rows: Mapping[str, float | None]
    """Row -> hours of all of its seeds; None where no speed of its network at its size is recorded."""
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    """What is not counted, and why."""

    @property
    def total(self) -> float | None:
        """Hours of all rows; None where one row's are not known, or nothing is to be run."""
        known = [hours for hours in self.rows.values() if hours is not None]
        return sum(known) if known and len(known) == len(self.rows) else None


def read_speeds(paths: Iterable[Path]) -> list[RecordedSpeed]:
    """Read what `harness speed MODEL --json` has written, files or folders of them.

    Raises `UsageError` for a file that is something else.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    return [speed for file in files for speed in _read(file)]


def _read(path: Path) -> list[RecordedSpeed]:
    try:
        document: Any = json.loads(decode_text(path.read_bytes()))
        provenance = document["provenance"]
        return [
            RecordedSpeed(
                device=provenance["device"],
                model=document["model"],
                size=int(one["size"]),
                train=float(one["engine"]),
                predict=float(one["inference"]),
                source=f"{path}, {provenance['finished'][:10]}",
            )
            for one in document["measured"]
        ]
    except OSError as error:
        raise UsageError(
            f"--speeds {path}: {error.strerror}; give what harness speed MODEL --json has written"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--speeds {path} is not what harness speed MODEL --json writes ({type(error).__name__}: {error}); measure "
            "again"
        ) from None


def list_measured(records: Iterable[Record]) -> list[RecordedSpeed]:
    """The speeds that a board's own finished records hold."""
    measured = []
    for record in records:
        train, predict = record.efficiency.train_images_per_second, record.efficiency.inference_images_per_second
        if record.status != "done" or not train or not predict:
            continue
        recipe = record.combo.resolved["recipe"]
        views = CROPS.get(recipe["evaluate_at"], 1)
        measured.append(
            RecordedSpeed(
                device=record.provenance.device,
                model=record.combo.model,
                size=recipe["size"],
                train=train,
                predict=predict * views,
                source=f"{record.combo.name}, {record.provenance.finished[:10]}",
            )
        )
    return measured


def estimate_hours(planned: Sequence[Planned], speeds: Sequence[RecordedSpeed]) -> Hours:
    """Estimate the hours of what is to be run: every epoch of training and validation, and the test once.

    Speeds of one device count alone, that which has the most of the rows' networks; of several with as many, the first.
    """
    todo = [item for item in planned if item.reason is not None]
    devices = list(dict.fromkeys(speed.device for speed in speeds))
    wanted = {_identify(item) for item in todo}
    covered = {name: len({(s.model, s.size) for s in speeds if s.device == name} & wanted) for name in devices}
    device = max(devices, key=lambda name: covered[name], default="")
    used = [speed for speed in speeds if speed.device == device]
    rows: dict[str, float | None] = {}
    for item in todo:
        name, hours = item.job.combo.row.name, _estimate(item, used)
        before = rows.get(name, 0.0)
        rows[name] = None if hours is None or before is None else before + hours
    known = {(speed.model, speed.size) for speed in used}
    lacking = sorted(wanted - known)
    of_tables = {item.job.choices.model.name for item in todo if item.job.choices.model.inputs.table}
    notes = [
        f"no speed of '{model}' at {size} px is recorded{f' on {device}' if device else ''}; "
        + (
            "it gets a table beside images, so that only a finished row gives it"
            if model in of_tables
            else f"measure it: harness speed {model} --size {size} --json > FILE, and give --speeds FILE"
        )
        for model, size in lacking
    ]
    others = [name for name in devices if name != device]
    if others:
        notes.append(f"speeds of {', '.join(others)} are not counted: hours are of one device")
    if any(item.job.choices.recipe.patience is not None for item in todo):
        notes.append("a row that stops early takes less: every epoch is counted")
    sources = tuple(dict.fromkeys(speed.source for speed in used if (speed.model, speed.size) in wanted))
    return Hours(device=device, rows=rows, sources=sources, notes=tuple(notes))


def _identify(item: Planned) -> tuple[str, int]:
    return item.job.choices.model.name, item.job.choices.recipe.size


def _estimate(item: Planned, speeds: Sequence[RecordedSpeed]) -> float | None:
    """Hours of one combo; None without a speed of its network at its size."""
    model, size = _identify(item)
    found = [speed for speed in speeds if (speed.model, speed.size) == (model, size)]
    if not found:
        return None
    recipe, split = item.job.choices.recipe, item.job.used.data.table["split"]
    train, val, test = (int((split == name).sum()) for name in ("train", "val", "test"))
    views = CROPS.get(recipe.evaluate_at, 1)
    training = recipe.epochs * train / statistics.median(speed.train for speed in found)
    embedded = train if recipe.train in ("head", "neighbors") else 0
    predicting = (
        views * (recipe.epochs * val + embedded + val + test) / statistics.median(speed.predict for speed in found)
    )
    return (training + predicting) / 3600
