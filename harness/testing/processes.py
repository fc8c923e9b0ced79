"""What only a fresh process can tell: whether a model is found again, what it touches, what a hook costs."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.components import Component, Model, Task
from harness.machine import python_command, safe_environment
from harness.testing.contract import ContractError, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT = 90.0
"""Seconds after which a process is given up."""

BUILD = """
import json, os, sys, tempfile
from pathlib import Path
asked = json.loads(sys.argv[1])
written, connected, watched = [], [], []
def watch(event, arguments):
    if not watched:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode, flags = os.fsdecode(arguments[0]), arguments[1] or "", arguments[2] or 0
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or any(letter in mode for letter in "wax+")
        if writes and not path.startswith(("/dev/", "/proc/")):
            written.append(path)
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"):
        path = str(arguments[0])
        if not path.startswith(scratch):  # where torch makes folders for its compiler
            written.append(path)
    elif event in ("socket.connect", "socket.getaddrinfo"):
        connected.append(str(arguments[1] if event == "socket.connect" else arguments[0]))
sys.addaudithook(watch)
import torch
from harness.components import Task
from harness.registry import load_registry
from harness.testing.networks import build_seeded, digest
torch.set_num_threads(asked["threads"])
scratch = tempfile.gettempdir()  # writes a file when it is first asked
watched.append(True)
model = load_registry([Path(file) for file in asked["files"]]).model(asked["name"])
task = Task(**{name: tuple(v) if isinstance(v, list) else v for name, v in asked["task"].items()})
network = build_seeded(model, task).eval()
with torch.inference_mode():
    network(torch.zeros(2, task.channels, task.size, task.size))
watched.clear()
print(json.dumps({"digest": digest(network), "written": written, "connected": connected}))
"""

HOOKS = """
import json, sys, time
from pathlib import Path
asked = json.loads(sys.argv[1])
import harness.registry
before, started = set(sys.modules), time.process_time()
problems = harness.registry.ask_alone(asked["plugin"], Path(asked["file"]) if asked["file"] else None)
seconds = time.process_time() - started
modules = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"seconds": seconds, "modules": modules, "without_docstring": problems}))
"""

OBSERVE = """
import json, sys
from pathlib import Path
asked = json.loads(sys.argv[1])
from harness.registry import load_registry
found, folder = {"absent": "", "error": "", "event": "", "beside": []}, Path("board")
folder.mkdir()
try:
    tell = load_registry([Path(file) for file in asked["files"]]).observer(asked["name"]).watch(folder)
    for event in asked["events"]:
        found["event"] = event["event"]
        tell(event)
except ModuleNotFoundError as error:
    found["absent"] = error.name
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
found["beside"] = [path.name for path in folder.iterdir() if path.name != "runs"]
print(json.dumps(found))
"""


def build_elsewhere(subject: Subject, task: Task) -> dict[str, Any]:
    """`digest` of the weights from seed 0, `written` files and `connected` addresses, in a fresh offline process."""
    import torch

    asked = {
        "name": _find_name(subject.component),
        "files": [str(file.resolve()) for file in subject.files],
        "task": asdict(task),
        "threads": torch.get_num_threads(),
    }
    return _run(BUILD, asked, "building it in a fresh process failed")


def _find_name(component: Component) -> str:
    """The name by which another process, in another folder, finds a component."""
    origin = component.origin if isinstance(component, Model) else None
    if origin is None or not origin.found_as:
        return component.name
    family, _, folder = origin.found_as.partition("/")
    return f"{family}/{Path(folder).expanduser().resolve()}"


def ask_elsewhere(subject: Subject) -> dict[str, Any]:
    """`seconds` that importing a plugin and calling its hooks takes, `modules` imported by it, `without_docstring`."""
    local = subject.offer.origin == "local"
    asked = {"plugin": subject.offer.plugin, "file": str(subject.files[0].resolve()) if local else ""}
    return _run(HOOKS, asked, "loading the plugin in a fresh process failed")


def watch_elsewhere(subject: Subject, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tell an observer of events; `error` with its `event`, the `absent` library, files `beside` the folder runs."""
    files = [str(file.resolve()) for file in subject.files]
    asked = {"name": subject.component.name, "files": files, "events": events}
    return _run(OBSERVE, asked, "telling it in a fresh process failed")


def _run(code: str, asked: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The JSON that a process prints last. Raises `ContractError` with the last line of its error otherwise."""
    environment = safe_environment(HF_HUB_OFFLINE="1", WANDB_MODE="offline", PYTHONDONTWRITEBYTECODE="1")
    with tempfile.TemporaryDirectory() as folder:
        command = python_command(code, json.dumps(asked))
        try:
            done = subprocess.run(  # noqa: S603 - the program is the text above
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            raise ContractError(f"{what}: it took more than {LIMIT:g} s", "make building it faster") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise ContractError(f"{what}: {last}", "depend on nothing that only this process has")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer
