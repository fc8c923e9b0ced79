"""What of this machine the process may use, and how it starts another Python."""

from __future__ import annotations

import os
import resource
import stat
import sys
from functools import cache
from pathlib import Path

from harness.errors import UsageError

DRAWING = 72 * 2**30
"""Bytes of address space in which a page can be drawn: the library reserves 64 GiB of it, and uses next to none."""
SAFE_PATH = "PYTHONSAFEPATH"
"""The variable by which every Python below leaves the current folder off its path: no file there is run."""

_BEGINNING = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
sys.path[:] = {path!a}
_spec = spec_from_file_location("harness", {file!a})
sys.modules["harness"] = module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["harness"])
"""


def count_processors() -> int:
    """Count the processors that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_gpus() -> int:
    """Count the GPUs that torch can use, without touching CUDA: a process that only schedules must not.

    On a Linux machine without the device file of any driver, torch, which takes seconds to import, is not asked.
    """
    files = ("nvidia*", "nvhost*", "kfd", "dxg")  # NVIDIA's, Jetson's, AMD's, Windows' below Linux
    if sys.platform == "linux" and not any(True for name in files for _ in Path("/dev").glob(name)):
        return 0
    import torch

    return torch.cuda.device_count()


@cache
def identify_boot() -> str:
    """Return what is the same until this machine starts again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time()))


def default_cache() -> Path:
    """Where decoded images are kept unless a folder is given: the user's cache folder."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("cxr-harness", appauthor=False))


@cache
def find_own_folder(name: str) -> Path | None:
    """Make a folder in the user's cache folder, for what is made once for all boards, code among it.

    None where there cannot be one that this user alone can write.
    """
    folder = default_cache() / name
    if not folder.is_absolute():  # the user has no home
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError:
        return None
    own = about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder if own and os.access(folder, os.W_OK) else None


def find_address_limit() -> int | None:
    """Find the bytes of address space that the process may have (`ulimit -v`); None where nothing limits it."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def require_drawing() -> None:
    """Raise `UsageError` where a page cannot be drawn: the library would abort the process, after hours of training."""
    limit = find_address_limit()
    if limit is not None and limit < DRAWING:
        raise UsageError(
            f"the address space is limited to {limit / 2**30:.0f} GiB, and drawing a page reserves "
            f"{DRAWING / 2**30:.0f} GiB of it (hardly any memory); lift the limit with ulimit -v unlimited"
        )


def python_command(code: str, *arguments: str) -> list[str]:
    """Give the command that runs `code` in another Python, which has this process's own harness and `sys.path`.

    The current folder is not on that path, even where it is on this one because somebody is typing: what a board came
    with may lie there. Start it with `safe_environment()`, so that the same holds for what it starts.
    """
    path = [entry for entry in sys.path if entry and isinstance(entry, str)]
    beginning = _BEGINNING.format(path=path, file=str(Path(__file__).with_name("__init__.py")))
    return [sys.executable, "-P", "-c", beginning + code, *arguments]


def safe_environment(**more: str) -> dict[str, str]:
    """This process's environment for another one, whose own Python processes do not look into the current folder."""
    return os.environ | {SAFE_PATH: "1"} | more
