"""What the values of options mean: folders, devices, durations, sizes and lists. Each error names its flag."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import UsageError
from harness.machine import count_gpus, default_cache

LONGEST = 1e9
LARGEST = 2.0**60
"""Seconds and bytes at most: more are a slip of the keyboard, and overflow."""


def find_cache(folder: Path | None) -> Path:
    """Where decoded images are kept: the folder given, or the user's cache folder."""
    return folder or default_cache()


def find_device(name: str) -> str:
    """The device of that name: `cpu`, `cuda` or `cuda:N`. Raises `UsageError` where there is none."""
    if name == "auto":
        return "cuda" if count_gpus() else "cpu"
    match = re.fullmatch(r"cpu|cuda(?::(0|[1-9][0-9]*))?", name)
    if match is None:
        raise UsageError(f"--device {name}: give auto, cpu, cuda or cuda:N")
    if name != "cpu" and int(match[1] or 0) >= count_gpus():
        raise UsageError(f"--device {name}: there is no such GPU here; give --device cpu")
    return name


def find_devices(names: str) -> tuple[str, ...]:
    """The devices of these names, commas between; `all` is every GPU. Raises `UsageError` where one is not there."""
    if names == "all":
        count = count_gpus()
        if not count:
            raise UsageError("--device all: there is no GPU here; give --device cpu")
        return tuple(f"cuda:{number}" for number in range(count))
    devices = tuple(find_device(name) for name in split_names([names]))
    if not devices:
        raise UsageError("--device: give auto, cpu, cuda:N, several with commas, or all")
    if len(set(devices)) < len(devices):
        raise UsageError(f"--device {names}: a device stands there twice; --workers gives it more workers")
    return devices


def parse_duration(flag: str, text: str) -> float:
    """Seconds from `90`, `90s`, `15m` or `2h`. Raises `UsageError` for anything else, and for none at all."""
    units = {"s": 1, "m": 60, "h": 3600}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    seconds = float(match[1]) * units[match[2] or "s"] if match else 0
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"{flag} {text}: give seconds, or 90s, 15m, 2h")
    return seconds


def parse_memory(flag: str, text: str) -> int:
    """Bytes from `900M` or `12G`. Raises `UsageError` for anything else, and for none at all."""
    units = {"M": 2**20, "G": 2**30}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])(?:i?B)?", text.strip())
    size = float(match[1]) * units[match[2]] if match else 0
    if not 0 < size <= LARGEST:
        raise UsageError(f"{flag} {text}: give 900M or 12G")
    return int(size)


def split_names(given: list[str] | None) -> tuple[str, ...]:
    """Names separated by commas, or given one by one."""
    return tuple(name.strip() for text in given or () for name in text.split(",") if name.strip())


def split_numbers(text: str | None, flag: str = "--seeds") -> tuple[int, ...]:
    """Whole numbers separated by commas. Raises `UsageError` for anything else."""
    try:
        return tuple(int(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise UsageError(f"{flag} {text}: give whole numbers separated by commas, such as 0,1,2") from None
