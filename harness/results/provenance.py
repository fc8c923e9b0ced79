"""What a result was measured with; nothing in it tells whose machine it was."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from harness.components import Recipe
from harness.machine import count_processors
from harness.results.record import ProvenancePart, Record

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "pillow")
PART = r"(?:[/\\][^\s/\\:'\",;()=]+)"
"""A part of a path with the separator before it, as a regular expression."""
ANOTHER_REPOSITORY = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}
"""Variables by which a hook's children are told of the repository that is committed to, which is another one."""


def describe_run(device: torch.device) -> ProvenancePart:
    """Versions, device, command and time of what has just finished on `device`."""
    import torch

    return ProvenancePart(
        harness=importlib.metadata.version("cxr-harness"),
        commit=find_commit(),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
        python=platform.python_version(),
        device=describe_device(device),
        threads=torch.get_num_threads() if device.type == "cpu" else None,
        cuda=torch.version.cuda if device.type == "cuda" else None,
        command=command(),
        finished=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


@cache
def describe_device(device: torch.device) -> str:
    """What the device is called by its maker, with the number of cores in use for a CPU."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model} ({count_processors()} cores)"


def command() -> str:
    """The command line as it could be typed elsewhere, without folders of this machine."""
    arguments = (_as_text(scrub_paths(_without_folder(argument))) for argument in sys.argv[1:])
    text = shlex.join(["harness", *arguments])
    # a plain word may be a model, or its optimizer: only a name like gpu07 can be nothing else
    return _replace_names(text, lambda name: not name.isalpha())


def _without_folder(argument: str) -> str:
    """An argument that is a path, or ends in one after `=`, with the path's last part: folders may have spaces."""
    name, equals, value = argument.rpartition("=")
    return f"{name}{equals}{_last_part(value)}" if re.match(r"~?[/\\]|[A-Za-z]:[/\\]", value) else argument


def scrub(text: str) -> str:
    """Take absolute paths (their last part stays), the host's name and the user's name out of a message.

    A name that is also a word of records stays: `loss` and `adam` tell nobody's name. For values there is
    `scrub_paths`: what was chosen is never written as another word.
    """
    return _replace_names(_as_text(scrub_paths(text)), lambda name: name.lower() not in _vocabulary())


def scrub_paths(text: str) -> str:
    """Take absolute paths out of a text: their last part stays. The same on every machine.

    Within a text a path is what is quoted or has two parts at least: `x /y` may be a label.
    """
    if re.fullmatch(rf"(?:~|[A-Za-z]:)?{PART}+[/\\]?", text):
        return _last_part(text)
    text = re.sub(rf"(?<=\w/)~?{PART}+", lambda match: _last_part(match.group()), text)  # hf//home/me/encoder
    text = re.sub(r"(?<=')(?:~|[A-Za-z]:)?[/\\][^'\n]*(?=')", lambda match: _last_part(match.group()), text)
    return re.sub(
        rf"(?<![\w./<])(?!//)(?:(?:~|[A-Za-z]:){PART}+|{PART}{{2,}})[/\\]?",
        lambda match: _last_part(match.group()),
        text,
    )


def _as_text(text: str) -> str:
    """The text with escapes for what is none, as names of files can be."""
    return text.encode("utf-8", "backslashreplace").decode()


def _replace_names(text: str, tells: Callable[[str], bool]) -> str:
    """Take the host's and the user's name out of a text, where the name tells who that is."""
    host = socket.gethostname()
    for name, stand_in in ((host, "HOST"), (host.partition(".")[0], "HOST"), (_user(), "USER")):
        if len(name) > 3 and tells(name):
            text = re.sub(rf"\b{re.escape(name)}\b", stand_in, text)
    return text


@cache
def _vocabulary() -> frozenset[str]:
    """The words that records are written in (their keys, what a recipe may choose from), and names that many have."""
    schemas = Record.model_json_schema(), TypeAdapter(Recipe).json_schema()
    return frozenset(re.findall(r"\w+", json.dumps(schemas).lower())) | {"root", "user", "localhost"}


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


@cache
def find_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `+` where it was changed; None without a checkout.

    It is found once, when it is first asked for: before a training, since somebody may commit meanwhile.
    """
    folder = Path(__file__).parent
    environment = {name: value for name, value in os.environ.items() if name not in ANOTHER_REPOSITORY}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - fixed arguments
        return done.stdout.strip()

    try:
        if git("ls-files", "provenance.py") != "provenance.py":
            return None
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "--", "..", "../../plugins") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None
