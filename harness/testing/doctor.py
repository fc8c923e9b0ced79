"""What this machine has for the harness, and what is missing for what."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.registry import Registry
from harness.text import count

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "scikit-learn",
    "numba",
    "optuna",
    "onnxruntime",
    "tensorboard",
    "wandb",
)
EXTRAS = {
    "onnxruntime": "harness export --to onnx needs it. Run pip install 'cxr-harness[export]'.",
    "optuna": "harness tune needs Optuna. Run pip install optuna.",
    "tensorboard": "Curves in TensorBoard need it. Run pip install tensorboard.",
    "wandb": "Curves in Weights & Biases need it. Run pip install wandb.",
}
"""What an optional library is for."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HUB_SECONDS = 3.0
LITTLE_DISK = 20 * 2**30
"""ChestX-ray14 decoded at 224 and 320 px, with room for a board."""


@dataclass(frozen=True)
class Fact:
    """One thing about this machine."""

    section: str
    name: str
    value: Any
    """Text, a number, or None where there is none."""
    missing: str = ""
    """What cannot be done without it, and what to do, in sentences."""


def examine_machine(registry: Registry, cache: Path, data_root: Path) -> Iterator[Fact]:
    """Every fact, those that take long last."""
    yield from _describe_python()
    yield from _describe_devices()
    yield from _describe_plugins(registry)
    yield from _describe_folders(cache, data_root)
    yield _find_browser()
    yield _ask_hub()


def _describe_python() -> Iterator[Fact]:
    yield Fact("software", "python", platform.python_version())
    yield Fact("software", "system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors")
    yield Fact("software", "harness", metadata.version("cxr-harness"))
    for name in LIBRARIES:
        try:
            yield Fact("software", name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Fact("software", name, None, EXTRAS.get(name, f"The harness needs {name}. Run pip install {name}."))


def _describe_devices() -> Iterator[Fact]:
    import torch

    yield Fact("device", "threads", torch.get_num_threads())
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        yield Fact(
            "device", "cuda", None, f"No GPU. Training runs on the CPU: {built}, and finds none; see nvidia-smi."
        )
        return
    yield Fact("device", "cuda", torch.version.cuda)
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        yield Fact("device", f"cuda:{number}", f"{name}, {describe_bytes(free)} of {describe_bytes(total)} free")


def _describe_plugins(registry: Registry) -> Iterator[Fact]:
    offers = [offer for offers in registry.offers.values() for offer in offers.values()]
    for origin in ("bundled", "installed", "local"):
        names = sorted({offer.plugin for offer in offers if offer.origin == origin})
        if names:
            text = count(len(names), "plugin") if origin == "bundled" else ", ".join(names)
            yield Fact("plugins", origin, text)
    for problem in registry.problems:
        yield Fact("plugins", problem.plugin, "broken", f"A plugin is broken: {problem.plugin} {problem.message}")


def _describe_folders(cache: Path, data_root: Path) -> Iterator[Fact]:
    yield Fact("folders", "cache", f"{cache}, {describe_bytes(folder_bytes(cache))}")
    if data_root.is_dir():
        yield Fact("folders", "data", f"{data_root}, {describe_bytes(folder_bytes(data_root))}")
    else:
        yield Fact(
            "folders", "data", None, f"No data folder {data_root}. Datasets read from files need --data-root DIR."
        )
    there = next(folder for folder in (cache.resolve(), *cache.resolve().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    missing = (
        ""
        if free > LITTLE_DISK
        else "Little room for decoded images. Make room, or give --cache-dir DIR on another disk."
    )
    yield Fact("folders", "free for the cache", describe_bytes(free), missing)


def _find_browser() -> Fact:
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    return Fact("tools", "chromium", browser, "" if browser else "Tests of the page in a browser need Chromium.")


def _ask_hub() -> Fact:
    """Whether ImageNet weights can be downloaded."""
    import urllib.request

    without = "ImageNet weights cannot be downloaded. Give a file with --set recipe.weights=FILE.safetensors"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return Fact("tools", "hub", "offline mode (HF_HUB_OFFLINE)", f"{without}, or unset HF_HUB_OFFLINE.")
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urllib.request.urlopen(address, timeout=HUB_SECONDS):  # noqa: S310 - the hub's own address
            return Fact("tools", "hub", f"{address} answers")
    except (OSError, ValueError) as error:
        return Fact("tools", "hub", None, f"{without} ({address}: {error}).")


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder; 0 where there is none."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            path = Path(place) / file
            total += path.lstat().st_size if path.exists() else 0
    return total


def describe_bytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:.1f} MiB"
