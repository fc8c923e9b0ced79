"""Vega in a process of its own: it draws pictures, and gives the script that draws them in a browser.

Starting Vega takes as long as the rest of a page, and lets no other thread run; beside this process it takes no time.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, StorageError
from harness.files import write_atomically
from harness.machine import find_own_folder, require_drawing

VEGA_LITE = "6.4"
"""The version of Vega-Lite that the script and the drawings are of."""

_DRAWING = f"""
import json, sys, vl_convert

def draw(specification):
    return vl_convert.vegalite_to_svg(specification, vl_version="{VEGA_LITE}")

draw({{"data": {{"values": []}}, "mark": "point"}})  # so that Vega has started before the first picture comes
for line in sys.stdin:
    specification = json.loads(line)
    if specification is None:
        made = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", "{VEGA_LITE}")
    else:
        made = draw(specification)
    print(json.dumps(made), flush=True)
"""


_STARTING = threading.Lock()


class Vega:
    """The process, which answers in the order in which it is asked. It ends with this one, and no Ctrl-C reaches it."""

    def __init__(self) -> None:
        """Start it. Raises `UsageError` where the address space is too small for it."""
        require_drawing()
        command = [sys.executable, "-P", "-c", _DRAWING]
        self._process = subprocess.Popen(  # noqa: S603 - our own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", start_new_session=True
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vega")
        atexit.register(self.close)
        self.script = self._thread.submit(self._find_script)
        """Vega, Vega-Lite and vega-embed with its expression interpreter, as one script without a request."""

    def draw(self, specification: Mapping[str, Any]) -> Future[str]:
        """Begin to draw a Vega-Lite specification with its data as an SVG, the same on every machine: fonts come with
        the library.
        """
        return self._thread.submit(self._ask, specification)

    def _ask(self, specification: Mapping[str, Any] | None) -> str:
        """Have a picture drawn, or the script made."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(specification), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise HarnessError(
                f"the process that draws the page's pictures ended with code {self._process.wait()}; results are kept, "
                "and `harness leaderboard` makes the page"
            )
        made: str = json.loads(answer)
        return made

    def _find_script(self) -> str:
        """Read the script where an earlier process of this user has kept it, else make it, which takes a second."""
        path = _script_path()
        kept = None if path is None else _read_kept(path)
        if kept is not None:
            return kept
        made = self._ask(None)
        if path is not None:
            with contextlib.suppress(StorageError):  # it is made again next time
                write_atomically(path, f"{hashlib.sha256(made.encode()).hexdigest()}\n{made}")
        return made

    @property
    def pid(self) -> int:
        """The process's id, which is its group's, too."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process, and wait for it; pictures that have not begun are not drawn any more."""
        with self._process:  # which ends when its pipes are closed, and is waited for
            self._thread.shutdown(cancel_futures=True)


def start() -> Vega:
    """Give this process's Vega, started by the first who asks, and again where it was killed: it may wait for hours."""
    with _STARTING:
        if _start().has_ended:
            _start.cache_clear()
        return _start()


@cache
def _start() -> Vega:
    return Vega()


def _script_path() -> Path | None:
    """Where the script is kept, by the versions that it is made of; None where nothing can be."""
    folder, made_by = find_own_folder("page"), version("vl-convert-python")
    return None if folder is None else folder / f"vega-{VEGA_LITE}-by-{made_by}.js"


def _read_kept(path: Path) -> str | None:
    """Read what was kept, if it is whole."""
    try:
        digest, _, script = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return script if hashlib.sha256(script.encode()).hexdigest() == digest else None
