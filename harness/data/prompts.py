"""Sentences that say of an image that a label is present or absent, as data: what zero-shot heads are made of."""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError, WeightsError
from harness.files import decode_text
from harness.identifiers import simplify

BUNDLED = {"chest": "prompts.toml"}
"""Sets that the harness brings along, by name."""
KEYS = ("present", "absent")


@dataclass(frozen=True)
class Prompts:
    """Sentences of one label."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


def read_prompts(name: str) -> dict[str, Prompts]:
    """Label -> its sentences, of a bundled set or of a TOML file with a table `[LABEL]` for each label.

    Raises `WeightsError` where there is no such file, `UsageError` for one that means nothing.
    """
    if name in BUNDLED:
        content = (importlib.resources.files("harness.data") / BUNDLED[name]).read_bytes()
    else:
        path = Path(name).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"model.prompts is '{path.name}': neither {' nor '.join(BUNDLED)}, and there is no such file; bring it to "
                "where the run is started"
            )
        content = path.read_bytes()
    try:
        tables = tomllib.loads(decode_text(content))
    except ValueError as error:
        raise UsageError(f"prompts of '{Path(name).name}' cannot be read: {error}") from None
    return {label: _read(Path(name).name, label, table) for label, table in tables.items()}


def _read(file: str, label: str, table: object) -> Prompts:
    lists = [table.get(key) if isinstance(table, Mapping) and set(table) == set(KEYS) else None for key in KEYS]
    if not all(isinstance(one, list) and one and all(isinstance(text, str) and text for text in one) for one in lists):
        raise UsageError(f"prompts of '{file}': [{label}] must have two lists of sentences, {' and '.join(KEYS)}")
    return Prompts(*(tuple(one) for one in lists if one))


def choose_prompts(prompts: Mapping[str, Prompts], labels: Iterable[str]) -> dict[str, Prompts]:
    """The sentences of some labels, whose names may differ in case and punctuation.

    Raises `UsageError` that names the labels without sentences: a score of them would mean nothing.
    """
    known = {simplify(label): one for label, one in prompts.items()}
    lacking = [label for label in labels if simplify(label) not in known]
    if lacking:
        raise UsageError(
            f"there are no prompts for the label {', '.join(lacking)}; write a file with a table [{lacking[0]}] that has the "
            "lists present and absent, and name it with --set model.prompts=FILE"
        )
    return {label: known[simplify(label)] for label in labels}


def list_sentences(prompts: Mapping[str, Prompts]) -> dict[str, list[list[str]]]:
    """The same as plain data, for a digest."""
    return {label: [list(one.present), list(one.absent)] for label, one in prompts.items()}
