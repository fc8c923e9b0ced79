"""Imports go down only: lazy ones and those for type checking count, too."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    "errors files leases lease_files locks text metric_names identifiers machine tables source_digest units",
    "components hookspecs parameters values",
    "registry board board_file panels",
    "choices definition",
    "data",
    "evaluation",
    "results",
    "training",
    "scoring",
    "report",
    "execution",
    "tuning upkeep speed serving testing",
    "cli __main__ api",
)
"""From the bottom; packages and modules of one line may import each other, without a cycle."""
APART = LAYERS[-2].split()
"""Packages that do not import each other."""
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names.split()}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "harness").rglob("*.py")
}


def find_imports(path: Path) -> set[str]:
    """Modules of the harness, or names in them, that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:  # a plugin of several files names its own by dots
            whole = (f"{node.module}.{name.name}" for name in node.names)
            found |= {name if name in MODULES else str(node.module) for name in whole}
    return {name for name in found if name.split(".")[0] == "harness"}


IMPORTS = {name: find_imports(path) for name, path in MODULES.items() if name != "harness"}


def get_room(module: str) -> str:
    """`evaluation` for what lies in that package."""
    return module.split(".")[1]


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_module_has_its_layer_and_imports_nothing_above_it():
    assert {get_room(module) for module in IMPORTS} == set(HEIGHT)
    wrong = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        for name in names
        if name == "harness"
        or HEIGHT[get_room(name)] > HEIGHT[get_room(module)]
        or (get_room(name) != get_room(module) and {get_room(name), get_room(module)} <= set(APART))
    ]
    assert not wrong


def test_the_architecture_lists_the_layers_as_they_are_held():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert "\n".join(["```", *LAYERS, "```"]) in text


def test_neither_modules_nor_packages_import_in_a_circle():
    assert not find_cycle(IMPORTS)
    rooms: dict[str, set[str]] = {}
    for module, names in IMPORTS.items():
        rooms.setdefault(get_room(module), set()).update({get_room(name) for name in names} - {get_room(module)})
    assert not find_cycle(rooms)


@pytest.mark.parametrize(("room", "library"), [("report", "torch"), ("training", "optuna"), ("tuning", "typer")])
def test_a_room_does_without_a_library_that_is_not_its_own(room, library):
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "harness" / room).rglob("*.py")]
    assert texts
    assert not [text for text in texts if f"import {library}" in text or f"from {library}" in text]


def test_plugins_and_templates_import_public_names_alone():
    files = [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "templates").rglob("*.py")]
    assert len(files) > 10
    used = {f"{path.name} imports {name}" for path in files for name in find_imports(path)}
    assert not {text for text in used if not text.endswith(" imports harness")}


def test_no_class_or_type_is_defined_twice():
    found: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        aliases = (node.targets[0] for node in tree.body if isinstance(node, ast.Assign))
        names = [target.id for target in aliases if isinstance(target, ast.Name) and not target.id.isupper()]
        names += [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        for name in names:
            if name[:1].isupper():
                found.setdefault(name, []).append(module)
    assert not {name: modules for name, modules in found.items() if len(modules) > 1}


def test_values_of_more_than_five_fields_are_made_by_name():
    classes = [node for path in MODULES.values() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    by_position = [
        node.name
        for node in classes
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in (text := ast.unparse(one)) and "kw_only=True" not in text for one in node.decorator_list)
        and sum(isinstance(line, ast.AnnAssign) and "ClassVar" not in ast.unparse(line) for line in node.body) > 5
    ]
    assert not by_position
