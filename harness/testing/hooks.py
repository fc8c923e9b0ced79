"""Checks of a plugin's hooks as a whole: they are cheap, and say what they offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from harness.testing.contract import ContractError, Subject
from harness.testing.processes import ask_elsewhere

HEAVY = ("torch", "timm", "torchvision", "sklearn", "scipy", "optuna", "tensorflow", "jax", "transformers", "monai")
MOST_SECONDS = 0.5


def check_hooks_import_nothing_heavy(subject: Subject) -> None:
    """Importing the plugin and calling its hooks imports no heavy library, so that `harness --help` stays quick."""
    heavy = [name for name in HEAVY if name in _asked(subject)["modules"]]
    if heavy:
        raise ContractError(
            f"importing the plugin and calling its hooks imports {', '.join(heavy)}",
            f"move `import {heavy[0]}` into build, load or compute (for types: under `if TYPE_CHECKING:`)",
        )


def check_hooks_are_quick(subject: Subject) -> None:
    """Importing the plugin and calling its hooks takes less than half a second of a processor."""
    seconds = float(_asked(subject)["seconds"])
    if seconds > MOST_SECONDS:
        raise ContractError(
            f"it took {seconds:.2f} s", "do the work inside build, load or compute, and only describe it in the hook"
        )


def check_components_say_what_they_are(subject: Subject) -> None:
    """Every component has one line of `about`, or its hook a docstring, for those who choose among them."""
    without = _asked(subject)["without_docstring"]
    if without:
        raise ContractError(
            f"{', '.join(without)} has neither a docstring nor `about` with each component",
            'give the hook a docstring, or each component about="..."',
        )


def _asked(subject: Subject) -> dict[str, Any]:
    if "asked" not in subject.kept:
        subject.kept["asked"] = ask_elsewhere(subject)
    return cast(dict[str, Any], subject.kept["asked"])


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_hooks_import_nothing_heavy,
    check_hooks_are_quick,
    check_components_say_what_they_are,
)
