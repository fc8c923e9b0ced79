"""How many device hours a plan takes, and how long people wait for it, by recorded speeds of one named device."""

from __future__ import annotations

import heapq
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.files import decode_text

if TYPE_CHECKING:
    from harness.components import Recipe
    from harness.execution.planning import Planned
    from harness.results.record import Record

CROPS = {"ten-crop": 10}
"""Views that an evaluated image is seen in, where there are several."""
ASSUMED = (
    "taken for granted: every worker is as fast as that device, has it for itself and takes the longest combination "
    "that is left"
)
NOT_COUNTED = (
    "not counted: decoding images, starting workers, compiling, evaluation, outside tests and waiting for a scheduler"
)


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
    on_gpu: bool


@dataclass(frozen=True, kw_only=True)
class Hours:
    """What the combos of a plan that are to be run would take on one device."""

    device: str
    """The device; empty where no speed is recorded."""
    combos: Mapping[str, float | None]
    """Combo -> its hours; None where no speed of its network at its size is recorded."""
    rows: Mapping[str, float | None]
    """Row -> hours of all of its seeds; None where those of one are not known."""
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    """What is not counted, and why."""

    @property
    def total(self) -> float | None:
        """Hours of all rows; None where one row's are not known, or nothing is to be run."""
        known = self._list_known()
        return sum(known.values()) if known else None

    @property
    def longest(self) -> str | None:
        """The combo that takes longest, the first of several; None where `total` is."""
        known = self._list_known()
        return max(known, key=lambda name: known[name], default=None)

    def wait(self, at_once: int) -> float | None:
        """Hours until all is done where so many combos run at once, the longest first; None where `total` is."""
        known = self._list_known()
        ends = [0.0] * max(1, at_once)
        for hours in sorted(known.values(), reverse=True):
            heapq.heapreplace(ends, ends[0] + hours)
        return max(ends) if known else None

    def _list_known(self) -> dict[str, float]:
        """The hours of all combos, or nothing where those of one are not known."""
        known = {name: hours for name, hours in self.combos.items() if hours is not None}
        return known if len(known) == len(self.combos) else {}


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
                on_gpu=provenance.get("cuda") is not None,
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
                on_gpu=record.provenance.cuda is not None,
            )
        )
    return measured


def estimate_hours(planned: Sequence[Planned], speeds: Sequence[RecordedSpeed]) -> Hours:
    """Estimate the hours of what is to be run: every epoch of training and validation, and the test once.

    Images are embedded once for all combos that share embeddings, by the first of them. Speeds of one device count
    alone, that which has the most of the rows' networks; of several with as many, the first.
    """
    todo = [item for item in planned if item.reason is not None]
    devices = list(dict.fromkeys(speed.device for speed in speeds))
    wanted = {_identify(item) for item in todo if not _is_untrained(item)}
    covered = {name: len({(s.model, s.size) for s in speeds if s.device == name} & wanted) for name in devices}
    device = max(devices, key=lambda name: covered[name], default="")
    used = [speed for speed in speeds if speed.device == device]
    embedded: set[tuple[object, ...]] = set()
    combos = {item.job.combo.name: _estimate(item, used, embedded) for item in todo}
    rows: dict[str, float | None] = {}
    for item in todo:
        name, hours = item.job.combo.row.name, combos[item.job.combo.name]
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
    if any(hours is not None for hours in combos.values()):
        notes += [ASSUMED, NOT_COUNTED]
    sources = tuple(dict.fromkeys(speed.source for speed in used if (speed.model, speed.size) in wanted))
    return Hours(device=device, combos=combos, rows=rows, sources=sources, notes=tuple(notes))


def expect_seconds(planned: Sequence[Planned], speeds: Sequence[RecordedSpeed], *, on_gpu: bool) -> tuple[float, ...]:
    """Expect how long each combo that is to be run trains and predicts, on a GPU or on a CPU whose name is not known.

    Of the devices of that kind whose speeds tell it of every combo, the slowest counts; nothing where there is none.
    """
    alike = [speed for speed in speeds if speed.on_gpu == on_gpu]
    found: list[tuple[float, ...]] = []
    for device in dict.fromkeys(speed.device for speed in alike):
        hours = estimate_hours(planned, [speed for speed in alike if speed.device == device])
        known = tuple(3600 * one for one in hours.combos.values() if one is not None)
        if len(known) == len(hours.combos):
            found.append(known)
    return max(found, key=sum, default=())


def _identify(item: Planned) -> tuple[str, int]:
    return item.job.choices.model.name, item.job.choices.recipe.size


def _is_untrained(item: Planned) -> bool:
    return item.job.combo.row.control == "prevalence"


def _estimate(item: Planned, speeds: Sequence[RecordedSpeed], embedded: set[tuple[object, ...]]) -> float | None:
    """Hours of one combo; None without a speed of its network at its size. `embedded` gains what it embeds."""
    if _is_untrained(item):
        return 0.0
    model, size = _identify(item)
    found = [speed for speed in speeds if (speed.model, speed.size) == (model, size)]
    if not found:
        return None
    recipe, split = item.job.choices.recipe, item.job.used.data.table["split"]
    train, val, test = (int((split == name).sum()) for name in ("train", "val", "test"))
    predicted = recipe.epochs * val + val + test
    if recipe.train in ("head", "neighbors"):
        shared = _identify_embeddings(item)
        predicted = 0 if shared in embedded else len(item.job.prepared.data.table)
        embedded.add(shared)
    return expect_training(recipe, train, predicted, found) / 3600


def expect_training(recipe: Recipe, train: int, predicted: int, speeds: Sequence[RecordedSpeed]) -> float:
    """Seconds of all epochs of so many training images, and of so many images predicted, by the speeds' medians."""
    views = CROPS.get(recipe.evaluate_at, 1)
    training = recipe.epochs * train / statistics.median(speed.train for speed in speeds)
    return training + views * predicted / statistics.median(speed.predict for speed in speeds)


def _identify_embeddings(item: Planned) -> tuple[object, ...]:
    """What is the same of combos that share embeddings."""
    choices = item.job.choices
    recipe = choices.recipe
    seed = item.job.combo.seed if recipe.weights == "random" else None
    shown = recipe.load_size, recipe.size, recipe.evaluate_at, recipe.precision
    return choices.model.name, repr(sorted(choices.model_params.items())), recipe.weights, seed, *shown
