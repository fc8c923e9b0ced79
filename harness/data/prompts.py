"""Sentences that say of an image that a label is present or absent, as data: what zero-shot heads are made of."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError, WeightsError
from harness.files import decode_text
from harness.identifiers import simplify
from harness.text import agree

BUNDLED = {"chest": "prompts.toml"}
"""Sets that the harness brings along, by name."""
KEYS = ("present", "absent")


@dataclass(frozen=True)
class Prompts:
    """Sentences of one label."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True)
class PromptSet:
    """Sentences of many labels."""

    by_label: Mapping[str, Prompts]

    @property
    def digest(self) -> str:
        """`sha256:...` of all sentences, whatever else stands in their file."""
        plain = {label: [one.present, one.absent] for label, one in self.by_label.items()}
        return f"sha256:{hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()}"

    def choose(self, labels: Iterable[str]) -> dict[str, Prompts]:
        """The sentences of some labels, whose names may differ in case and punctuation.

        Raises `UsageError` that names the labels without sentences: a score of them would mean nothing.
        """
        known = {simplify(label): one for label, one in self.by_label.items()}
        lacking = [label for label in labels if simplify(label) not in known]
        if lacking:
            named = f"{agree(len(lacking), 'the label', 'the labels')} {', '.join(lacking)}"
            raise UsageError(
                f"there are no prompts for {named}; write a file with a table [{lacking[0]}] that has the lists "
                "present and absent, and name it with --set model.prompts=FILE"
            )
        return {label: known[simplify(label)] for label in labels}


def read_prompts(name: str) -> PromptSet:
    """A bundled set, or a TOML file with a table `[LABEL]` for each label.

    Raises `WeightsError` where there is no such file, `UsageError` for one that means nothing.
    """
    if name in BUNDLED:
        content = (importlib.resources.files("harness.data") / BUNDLED[name]).read_bytes()
    else:
        path = Path(name).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"model.prompts is '{path.name}', which is no bundled set ({', '.join(BUNDLED)}), and there is no such "
                "file; bring it to where the run is started"
            )
        content = path.read_bytes()
    try:
        tables = tomllib.loads(decode_text(content))
    except ValueError as error:
        raise UsageError(f"prompts of '{Path(name).name}' cannot be read: {error}") from None
    return PromptSet({label: _read(Path(name).name, label, table) for label, table in tables.items()})


def require_prompts(labels: Iterable[str], prompts: str | None = None, **_: object) -> None:
    """Raise `UsageError` for labels that a model's parameter `prompts` has no sentences about."""
    if prompts is not None:
        read_prompts(prompts).choose(labels)


def _read(file: str, label: str, table: object) -> Prompts:
    lists = [table.get(key) if isinstance(table, Mapping) and set(table) == set(KEYS) else None for key in KEYS]
    if not all(isinstance(one, list) and one and all(isinstance(text, str) and text for text in one) for one in lists):
        raise UsageError(f"prompts of '{file}': [{label}] must have two lists of sentences, {' and '.join(KEYS)}")
    return Prompts(*(tuple(one) for one in lists if one))
