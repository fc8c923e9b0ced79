"""What networks were pretrained on: names of one table, `pretraining.toml`, and what files beside weights declare."""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import UnknownNameError, UsageError, suggest
from harness.files import decode_text

TABLE = "pretraining.toml"
UNKNOWN = "unknown"
"""The name that says that nobody knows."""
SUFFIX = ".toml"
"""What follows the whole name of a weight file in the name of the file that declares what it was made from."""


class PretrainingSource(BaseModel):
    """Images that a network has seen: a whole that has a name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    about: str = Field(default="", exclude_if=lambda about: not about, description="what it is, in a sentence")
    address: str = Field(default="", exclude_if=lambda address: not address, description="where it comes from")
    dataset: str = Field(
        default="", exclude_if=lambda dataset: not dataset, description="whose images it consists of; empty: no X-rays"
    )
    options: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda options: not options)
    splits: tuple[Literal["train", "val", "test"], ...] = Field(
        default=("train", "val"), description="of the dataset with these options, whose images were seen"
    )
    images: tuple[str, ...] = Field(
        default=(), exclude_if=lambda images: not images, description="names of images, in place of splits"
    )
    fingerprint: str = Field(
        default="", exclude_if=lambda fingerprint: not fingerprint, description="of the data, where a run noted it"
    )

    @model_validator(mode="after")
    def _require_dataset(self) -> Self:
        if not self.dataset and (self.options or self.images):
            raise ValueError("options and images need dataset, the name of the dataset that the images belong to")
        return self


@dataclass(frozen=True)
class PretrainingTable:
    """The whole table."""

    sources: Mapping[str, PretrainingSource]
    same_images: tuple[frozenset[str], ...]
    """Datasets that have the same images under other names."""
    any_images: frozenset[str]
    """Datasets that hold whatever images a user gives them."""

    @property
    def datasets(self) -> frozenset[str]:
        """Datasets whose origin is known."""
        return frozenset({source.dataset for source in self.sources.values()}.union(*self.same_images) - {""})

    def share_images(self, dataset: str, other: str) -> bool:
        """Whether two datasets have the same images under other names."""
        return dataset != other and any({dataset, other} <= group for group in self.same_images)


@cache
def read_table() -> PretrainingTable:
    """Read the table, checking no more than its form: a test holds it together."""
    text = (importlib.resources.files("harness.data") / TABLE).read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return PretrainingTable(
        sources={name: PretrainingSource(name=name, **entry) for name, entry in table["sources"].items()},
        same_images=tuple(frozenset(group) for group in table["same_images"]),
        any_images=frozenset(table["any_images"]),
    )


def find_sources(names: Iterable[str], what: str) -> tuple[PretrainingSource, ...]:
    """The entries of these names, each once. Raises `UnknownNameError`, naming `what` declares them."""
    known = read_table().sources
    for name in names:
        if name not in known:
            hint = f"{what} names it; docs/data.md lists what there is, and {UNKNOWN} says that nobody knows"
            raise UnknownNameError("pretraining", name, known, hint)
    return unite(known[name] for name in names)


def unite(sources: Iterable[PretrainingSource]) -> tuple[PretrainingSource, ...]:
    """Sources in their order, each once."""
    return tuple({source.model_dump_json(): source for source in sources}.values())


def read_declaration(weights: Path) -> tuple[PretrainingSource, ...] | None:
    """What the file beside weights declares, such as `net.pth.toml` beside `net.pth`; None where there is none.

    Its `pretrained_on` is a list of names of the table and of tables with the keys of `PretrainingSource`, where
    `images` may be a file of names, one a line, seen from the file. Raises `UsageError` and `UnknownNameError` for
    what it cannot mean.
    """
    path = weights.with_name(weights.name + SUFFIX)
    if not path.is_file():
        return None
    try:
        said = tomllib.loads(decode_text(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    declared = said.get("pretrained_on")
    if set(said) != {"pretrained_on"} or not isinstance(declared, list) or not declared:
        raise UsageError(f'{path} must hold one list, such as pretrained_on = ["imagenet"] or ["{UNKNOWN}"]')
    return unite(source for entry in declared for source in _read_entry(path, entry))


def _read_entry(path: Path, entry: object) -> tuple[PretrainingSource, ...]:
    if isinstance(entry, str):
        return find_sources([entry], path.name)
    if not isinstance(entry, dict):
        raise UsageError(f"{path}: {entry!r} is neither a name nor a table")
    given = {"name": entry.get("dataset", "")} | entry
    if isinstance(given.get("images"), str):
        given["images"] = _read_names(path.parent / given["images"], path)
    try:
        return (PretrainingSource(**given),)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{path}: unknown key '{place}'{suggest(place, PretrainingSource.model_fields)}") from None
        wrong = ": ".join(filter(None, (place, first["msg"].removeprefix("Value error, "))))
        raise UsageError(f"{path}: {wrong}") from None


def _read_names(file: Path, path: Path) -> list[str]:
    """Names of images, the first word of each line that has one."""
    try:
        lines = decode_text(file.read_bytes()).splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the list of images {file.name} cannot be read: {error}") from None
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise UsageError(f"{path}: the list of images {file.name} is empty")
    return names
