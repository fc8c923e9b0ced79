"""What a check is: a function of a subject, its outcome, and the two things that it may raise."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from harness.components import Component, Kind
from harness.errors import HarnessError, PluginError
from harness.registry import Offer


class ContractError(PluginError):
    """A broken contract: what was seen, and how to fix it."""

    def __init__(self, seen: str, fix: str) -> None:
        super().__init__(f"{seen}; {fix}")
        self.seen, self.fix = seen, fix


class NotApplicable(Exception):  # noqa: N818 - it is no error
    """A check that cannot be made here, and why."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """One component, or a plugin's hooks as a whole, with what its checks need."""

    kind: Kind | Literal["hook"]
    offer: Offer
    """The component and who offers it; of a hook, the component is only a name."""
    files: tuple[Path, ...] = ()
    """Local files that plugins are loaded from."""
    device: str = "cpu"
    data_root: Path = Path("data")
    """Where a dataset lies."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of a dataset or of an executor."""

    @property
    def component(self) -> Component:
        """What is checked."""
        return self.offer.component

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What one check found out and another one uses."""
        return {}


@dataclass(frozen=True)
class Check:
    """A check by its name, with what it proves."""

    name: str
    proves: str
    run: Callable[[Subject], None]

    @classmethod
    def of(cls, function: Callable[[Subject], None]) -> Check:
        """The check that a function `check_some_thing` is: its name is `some thing`, what it proves its docstring."""
        return cls(
            function.__name__.removeprefix("check_").replace("_", " "),
            " ".join((inspect.getdoc(function) or "").split()),
            function,
        )

    def __call__(self, subject: Subject) -> Outcome:
        """Make the check; whatever the plugin raises is a failure that says how to fix it.

        What an earlier check of the subject failed by is told once: this one then cannot be made.
        """
        started = time.perf_counter()
        status: Literal["passed", "failed", "skipped"] = "failed"
        seen = fix = ""
        try:
            self.run(subject)
            status = "passed"
        except NotApplicable as reason:
            status, seen = "skipped", str(reason)
        except ContractError as error:
            seen, fix = error.seen, error.fix
        except HarnessError as error:
            seen, fix = str(error), "fix what the message names"
        except Exception as error:  # noqa: BLE001 - a stranger's code raises what it likes
            seen, fix = f"it raised {describe(error)}", "fix the plugin so that this works"
        if status == "failed":
            first = subject.kept.setdefault("failures", {}).setdefault(seen, self.name)
            if first != self.name:
                status, seen, fix = "skipped", f"fails as '{first}' does; fix that first", ""
        seconds = round(time.perf_counter() - started, 3)
        component = subject.component.name
        return Outcome(
            kind=subject.kind,
            component=component,
            check=self.name,
            proves=self.proves,
            status=status,
            seen=seen,
            fix=fix,
            seconds=seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a check."""

    kind: str
    component: str
    check: str
    proves: str
    status: Literal["passed", "failed", "skipped"]
    seen: str = ""
    """On failure what was seen; of a check that was skipped, why."""
    fix: str = ""
    seconds: float = 0.0

    @property
    def message(self) -> str:
        """A failure in one line."""
        return f"{self.kind} '{self.component}': {self.check}: {self.seen}; {self.fix}"


def describe(error: Exception) -> str:
    """An error in one line, with its innermost place in the plugin's own code, where it passed through that."""
    import sysconfig
    import traceback
    from importlib.resources import files

    own = [Path(str(files("harness.plugins"))).resolve()]
    others = [Path(folder).resolve() for folder in (str(files("harness")), *sysconfig.get_paths().values())]
    places = [
        f" ({file.name}:{frame.lineno})"
        for frame in traceback.extract_tb(error.__traceback__)
        if (file := Path(frame.filename).resolve()).is_file()
        and "site-packages" not in file.parts
        and (any(map(file.is_relative_to, own)) or not any(map(file.is_relative_to, others)))
    ]
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}{said and ': '}{said}{places[-1] if places else ''}"


def require_space(subject: Subject, build: Callable[..., Any], space: Mapping[str, Any]) -> None:
    """Raise `ContractError` where a name of a search space is no keyword of `build`."""
    from harness.errors import suggest
    from harness.parameters import defaults

    keywords = defaults(build)
    for name in space:
        if name not in keywords:
            raise ContractError(
                f"`space` names '{name}', which is no keyword of build{suggest(name, keywords)}",
                f"rename it in `space`, or give build({subject.component.name!r}) a keyword argument '{name}'",
            )


def corners(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Values of a search space: all lows, all highs, all in the middle, and one of each further option.

    Raises `ContractError` where an entry is no Float, Int or Choice.
    """
    from harness.components import Choice, Float, Int

    if not space:
        return []
    for name, entry in space.items():
        if not isinstance(entry, Float | Int | Choice):
            raise ContractError(
                f"`space` gives '{name}' {entry!r}", "give harness.Float(low, high), Int(low, high) or Choice((...))"
            )
    sides = [{n: s.options[0] if isinstance(s, Choice) else s.low for n, s in space.items()}]
    sides.append({n: s.options[-1] if isinstance(s, Choice) else s.high for n, s in space.items()})
    sides.append({n: _middle(s) for n, s in space.items()})
    for name, entry in space.items():
        if isinstance(entry, Choice):
            sides += [sides[0] | {name: option} for option in entry.options[1:-1]]
    return sides


def _middle(entry: Any) -> Any:
    """A value within: of a Float never a whole number, which a parameter that has to be one would pass for."""
    from harness.components import Choice, Int

    if isinstance(entry, Choice):
        return entry.options[len(entry.options) // 2]
    if isinstance(entry, Int):
        return (entry.low + entry.high) // 2
    return entry.low + 0.4142 * (entry.high - entry.low)
