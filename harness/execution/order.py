"""Orders: what a worker on another machine is to do, as one text, so that whatever is wrong there can be named.

An order holds names, numbers and the text of plugin files, and no object of this version: it can be read, and refused,
by any other. Whoever receives one makes sure that results there would be the results here.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
import json
import os
import platform
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import OrderRefusedError
from harness.execution.planning import Settings
from harness.machine import count_gpus, default_cache
from harness.registry import Registry, load_registry
from harness.results.layout import token_path
from harness.results.store import hide_runs
from harness.training import VERSION
from harness.training.engine import EngineOptions

DeviceKind = Literal["auto", "cpu", "cuda"]
"""Where a worker trains: on its GPU, on its CPU, or on whichever it has."""
Shipped = tuple[str, Mapping[str, str]]
"""A plugin's file: its path here, and the content of every file that it is made of, by its place beside it."""


def read_versions() -> dict[str, str]:
    """What has to be the same where an order is carried out: the versions that results depend on."""
    return {
        "harness": importlib.metadata.version("cxr-harness"),
        "training engine": str(VERSION),
        "torch": importlib.metadata.version("torch").partition("+")[0],
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be done elsewhere, and what that takes."""

    task: Mapping[str, Any]
    """What is to be done, as plain data."""
    board: str
    """The board's folder, an absolute path."""
    token: str | None
    """What `runs/folder.token` says; None where the folder is not shared."""
    data_root: str
    cache: str | None
    """Where decoded images are kept; None for the user's cache folder there."""
    device: DeviceKind = "auto"
    engine: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `EngineOptions`."""
    plugins: tuple[Shipped, ...] = ()
    installed: Mapping[str, str] = field(default_factory=dict)
    """Installed plugins that take part, with the digest of their source."""
    job: str = ""
    """The name of the job that it is for, as the job book has it."""
    versions: Mapping[str, str] = field(default_factory=read_versions)

    def write(self, job: str) -> str:
        """The order as a text, for the job of that name."""
        return json.dumps(asdict(self) | {"job": job})


def make_token(folder: Path) -> str:
    """The token of a board's folder, by which it is known wherever it is seen; made where there is none."""
    path = token_path(folder)
    hide_runs(folder)
    with contextlib.suppress(FileExistsError), path.open("x") as file:
        file.write(secrets.token_hex(16))
    return path.read_text()


def ship_plugins(files: Sequence[Path]) -> tuple[Shipped, ...]:
    """The plugin files as an order holds them; of a package, given by its `__init__.py`, all of its source."""
    return tuple((str(file.absolute()), _pack(file)) for file in files)


def _pack(file: Path) -> dict[str, str]:
    sources = file.parent.rglob("*.py") if file.name == "__init__.py" else [file]
    return {path.relative_to(file.parent).as_posix(): base64.b64encode(path.read_bytes()).decode() for path in sources}


# --- where it is carried out -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opened:
    """An order where it is carried out."""

    order: Order
    registry: Registry
    settings: Settings
    """Where things lie here, and this worker's device."""
    plugins: tuple[Path, ...]
    """The shipped plugin files, here."""

    @property
    def folder(self) -> Path:
        """The board's folder, where it is shared."""
        return Path(self.order.board)


@contextlib.contextmanager
def open_order(text: str) -> Iterator[Opened]:
    """Take an order: its plugins are loaded for the length of the block.

    Raises `OrderRefusedError` where results here would not be those there, or the board's folder is not the same.
    """
    document = json.loads(text)
    _require_versions(document.get("versions", {}))
    order = Order(**document)
    _require_folder(order)
    with tempfile.TemporaryDirectory(prefix="harness-plugins-") as folder:
        files = tuple(_unpack(one, Path(folder) / str(number)) for number, one in enumerate(order.plugins))
        registry = load_registry(files)
        _require_plugins(order, registry, files)
        settings = Settings(
            data_root=_find_folder(order, "HARNESS_DATA_ROOT", order.data_root) or Path(order.data_root),
            cache=_find_folder(order, "HARNESS_CACHE_DIR", order.cache) or default_cache(),
            device=_find_device(order.device),
            engine=EngineOptions(**order.engine),
        )
        yield Opened(order, registry, settings, files)


def here() -> str:
    """What this machine is called, for messages that are not published."""
    return socket.gethostname()


def _require_versions(there: Mapping[str, str]) -> None:
    own = read_versions()
    for name, version in there.items():
        if own.get(name) != version:
            raise OrderRefusedError(
                f"{here()} has {name} {own.get(name, 'of no version')}, and the board is run with {version}; install "
                "the same version on both"
            )


def _require_folder(order: Order) -> None:
    """Refuse a folder that is not the submitter's: its records would be lost here."""
    if order.token is None:
        return
    path = token_path(Path(order.board))
    try:
        same = path.read_text() == order.token
    except OSError:
        same = False
    if not same:
        raise OrderRefusedError(
            f"{order.board} is not the board's folder on {here()}: the machines do not share it; --on-option "
            "shared=false brings results back without a shared folder"
        )


def _unpack(shipped: Shipped, folder: Path) -> Path:
    """A plugin's file, as it was shipped: the same file where it is shared, else a copy."""
    name, packed = shipped
    file, contents = Path(name), {place: base64.b64decode(text) for place, text in packed.items()}
    with contextlib.suppress(OSError):
        if all((file.parent / place).read_bytes() == content for place, content in contents.items()):
            return file
    home = folder / file.parent.name if file.name == "__init__.py" else folder
    for place, content in contents.items():
        path = home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return home / file.name


def _require_plugins(order: Order, registry: Registry, files: Sequence[Path]) -> None:
    """Refuse to work where a plugin that takes part is missing, broken, or does something else."""
    broken = {problem.plugin: problem.message for problem in registry.problems}
    for file in files:
        if str(file) in broken:
            raise OrderRefusedError(f"the plugin {file.name} {broken[str(file)]} (on {here()})")
    codes = {offer.plugin: offer.code for offers in registry.offers.values() for offer in offers.values()}
    for plugin, code in order.installed.items():
        if plugin in broken:
            raise OrderRefusedError(f"the plugin {plugin} {broken[plugin]} (on {here()})")
        if plugin not in codes:
            raise OrderRefusedError(f"the plugin {plugin} is not installed on {here()}; install it there")
        if codes[plugin] != code:
            raise OrderRefusedError(f"the plugin {plugin} on {here()} is another version; install the same on both")


def _find_folder(order: Order, variable: str, given: str | None) -> Path | None:
    """The submitter's folder; without a shared folder, the one that this machine's own environment names."""
    own = os.environ.get(variable) if order.token is None else None
    if own:
        return Path(own).expanduser()
    return Path(given) if given is not None and (order.token is not None or Path(given).is_dir()) else None


def _find_device(kind: str) -> str:
    count = count_gpus() if kind != "cpu" else 0
    if kind == "cuda" and not count:
        raise OrderRefusedError(f"there is no GPU on {here()}; --device cpu trains on CPUs")
    return "cuda" if count else "cpu"
