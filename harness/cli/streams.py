"""What a process is started with: streams that may be closed, full or not know a letter, and words that are no text."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, TextIO

from harness.errors import UsageError

PREFIX = "HARNESS_"
"""How the names of variables begin that stand for options."""

HOME = re.compile(r"(?:(?<=^)|(?<=[=,]))~(?=[/,]|$)")
"""The home folder, where a path may begin."""
KEPT = ("--set", "--option")
EMPTY = re.compile(r"--[a-z-]+=")


class _Outlet(io.FileIO):
    """A file whose writer goes on where what is written is lost: what is said of a training must not end it."""

    error: OSError | None = None
    """Why something was lost, the first time."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except BlockingIOError:
            raise
        except OSError as error:
            self.error = self.error or error
            return len(memoryview(content))


def prepare_streams() -> None:
    """Have closed streams lead nowhere, letters that a stream does not know escaped, and no stream ever fail.

    A closed stream's number would be the next opened file's, and what libraries print would go into that file.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = _lead_nowhere(1)
    elif sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        sys.stdout = _open(sys.stdout, line_buffering=sys.stdout.isatty())
    if sys.stderr is None:
        sys.stderr = _lead_nowhere(2)
    elif sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        sys.stderr = _open(sys.stderr, line_buffering=True)


def find_lost_output() -> OSError | None:
    """Find why standard output has not taken all of what was printed; None where it has."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _Outlet) else None


def _open(stream: TextIO, *, line_buffering: bool) -> TextIO:
    file = io.BufferedWriter(_Outlet(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(file, stream.encoding, "backslashreplace", line_buffering=line_buffering)


def _lead_nowhere(number: int) -> TextIO:
    """A text stream at a number that is taken, and inherited, from now on."""
    handle = os.open(os.devnull, os.O_WRONLY)
    if handle != number:
        try:
            os.fstat(number)
        except OSError:
            os.dup2(handle, number)
    return open(handle, "w", encoding="utf-8", closefd=False)


def expand_home(words: Iterable[str]) -> list[str]:
    """The words of a command line with the home folder for `~` where a path begins, also where no shell looks for it.

    A shell leaves it as it is in quotes, in variables, and after the `=` of an option. Parameters and options of
    datasets stay as they are: what is written to `board.toml` is to hold on another machine.
    """
    expanded: list[str] = []
    for word in words:
        kept = (expanded and expanded[-1] in KEPT) or word.partition("=")[0] in KEPT
        expanded.append(word if kept else HOME.sub(lambda _: os.path.expanduser("~"), word))  # noqa: PTH111 - fails never
    return expanded


def prepare_variables(variables: MutableMapping[str, str]) -> None:
    """Have the harness's variables name the home folder where they say `~`, as `expand_home` does with words."""
    for name, value in variables.items():
        if name.startswith(PREFIX):
            variables[name] = os.pathsep.join(expand_home(value.split(os.pathsep)))


def require_values(words: Sequence[str]) -> None:
    """Raise `UsageError` for an empty word, which would be taken for the current folder or for nothing given."""
    for before, word in zip(["harness", *words], words, strict=False):
        if not word or EMPTY.fullmatch(word):
            raise UsageError(
                f"the value after {word or before} is empty; leave it out or give one: a variable may be unset"
            )


def require_text(words: Iterable[str], variables: Mapping[str, str]) -> None:
    """Raise `UsageError` for the first word, or variable of the harness, that is no text where this process runs."""
    named = {f"argument {number}": word for number, word in enumerate(words, 1)}
    named |= {name: value for name, value in variables.items() if name.startswith(PREFIX)}
    for name, value in named.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{name} is no text in {sys.getfilesystemencoding()}: {value!a}; "
                "name it in UTF-8, and where the terminal has another encoding, set LC_ALL=C.UTF-8"
            ) from None
