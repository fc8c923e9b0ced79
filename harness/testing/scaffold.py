"""New plugins from templates: a commented file that works as it stands, or a package around it."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.resources import files
from pathlib import Path

from harness.components import Kind
from harness.errors import UsageError
from harness.files import write_folder
from harness.registry import Registry

TRIED_WITH: Mapping[str, str] = {
    "model": "--dataset phantom --models {name},tiny-cnn --losses bce --recipes demo",
    "loss": "--dataset phantom --models tiny-cnn --losses {name},bce --recipes demo",
    "metric": "",
    "dataset": "--dataset {name} --models tiny-cnn --losses bce --recipes demo",
    "recipe": "--dataset phantom --models tiny-cnn --losses bce --recipes {name},demo",
    "executor": "--dataset phantom --models tiny-cnn --losses bce --recipes demo --on {name}",
}
"""What a component of each kind is first run with."""


@dataclass(frozen=True)
class Skeleton:
    """What is to be written, and the two commands that come next."""

    files: Mapping[Path, str]
    commands: tuple[str, str]


def make_skeleton(kind: Kind, name: str, registry: Registry, *, package: bool = False) -> Skeleton:
    """The files of a new plugin in the current folder; nothing is written yet.

    Raises `UsageError` for a name that is not of small letters, digits and hyphens, or that is taken, by a component
    or by a module.
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(module):
        raise UsageError(f"'{name}' is no name for a {kind}: small letters, digits and hyphens, such as my-{kind}")
    if name in registry.offers[kind]:
        taken = registry.offers[kind][name].plugin
        raise UsageError(f"the {kind} '{name}' is there already, from {taken}; choose another name")
    if _is_elsewhere(module):
        raise UsageError(f"'{module}' is a module of Python or of an installed package; choose another name: my-{name}")
    values = {"name": name, "module": module, "kind": kind}
    code = _render(f"new-{kind}.py", values)
    if not package:
        file = f"{module}.py"
        return Skeleton({Path(file): code}, (f"harness check {file}", _second(kind, name, f" --plugin {file}")))
    folder = Path(name)
    files = {
        folder / f"{module}.py": code,
        folder / "pyproject.toml": _render("new-pyproject.toml", values),
        folder / "README.md": _render("new-README.md", values),
        folder / "tests" / f"test_{module}.py": _render("new-test.py", values),
        folder / ".github" / "workflows" / "test.yml": _render("new-ci.yml", values),
    }
    return Skeleton(files, (f"pip install --editable './{name}[test]'", f"harness check {module}"))


def write(skeleton: Skeleton) -> None:
    """Write all files or none. Raises `UsageError` where one is there already."""
    for path in skeleton.files:
        if path.exists():
            raise UsageError(f"{path} is there already and is left as it is; choose another name, or move it")
    write_folder(Path(), {str(path): text for path, text in skeleton.files.items()})


def _is_elsewhere(module: str) -> bool:
    """Whether the file would shadow a module that is not of the current folder, or be shadowed by it."""
    folders = [folder for folder in sys.path if folder and Path(folder).resolve() != Path.cwd()]
    return module in {*sys.stdlib_module_names, *sys.modules} or PathFinder.find_spec(module, folders) is not None


def _second(kind: Kind, name: str, plugin: str) -> str:
    tried = TRIED_WITH[kind].format(name=name)
    if not tried:
        return f"harness plugins show {name}{plugin}"
    return f"harness run {tried} --board my-board{plugin}"


def _render(template: str, values: Mapping[str, str]) -> str:
    import jinja2

    text = files("harness.templates").joinpath(f"{template}.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - Python and TOML, no HTML
    return environment.from_string(text).render(values)
