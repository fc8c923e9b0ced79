"""`harness new` writes plugins that keep the contract as they stand."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.registry import load_registry
from harness.testing import examine
from harness.testing.scaffold import TRIED_WITH, make_skeleton, write


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "executor")) for kind in TRIED_WITH]
)
def test_a_new_plugin_keeps_the_contract(registry, kind):
    skeleton = make_skeleton(kind, "my-own", registry)
    write(skeleton)
    assert list(skeleton.files) == [Path("my_own.py")]
    outcomes = list(examine("my_own.py"))
    assert [outcome.message for outcome in outcomes if outcome.status == "failed"] == []
    assert kind in {outcome.kind for outcome in outcomes}


@pytest.mark.parametrize(
    ("kind", "function", "says"),
    [
        ("dataset", "load", ("(N, 32, 32) uint8", "(N, C) float32", "raise `DataError`")),
        (
            "model",
            "build",
            ("(B, task.channels, task.size, task.size) float32", "(B, C) float32", "Raises `UsageError`"),
        ),
        ("loss", "build", ("(B, C) float32", "Raises `UsageError`")),
        ("metric", "compute", ("(N, C) float64", "(C,) float64", "nothing is raised")),
        ("executor", "open_pool", ("Raises `UsageError`",)),
    ],
)
def test_a_new_plugin_says_what_it_takes_gives_and_raises(registry, kind, function, says):
    (code,) = make_skeleton(kind, "my-own", registry).files.values()
    made = {one.name: one for one in ast.walk(ast.parse(code)) if isinstance(one, ast.FunctionDef | ast.ClassDef)}
    told = " ".join((ast.get_docstring(made[function]) or "").split())
    assert [part for part in says if part not in told] == []
    assert all(ast.get_docstring(one) for one in made.values() if one.name not in {"__init__", "weighted"})
    assert max(map(len, code.splitlines())) <= 120


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("model", {"width": 0}), ("loss", {"positive_weight": -1.0}), ("loss", {"positive_weight": float("nan")})],
)
def test_a_new_plugin_refuses_a_parameter_that_it_cannot_use(registry, kind, parameters):
    write(make_skeleton(kind, "my-own", registry))
    made = getattr(load_registry([Path("my_own.py")]), kind)("my-own")
    (parameter,) = parameters
    with pytest.raises(UsageError, match=rf"{kind}\.{parameter} must be "):
        made.build(None, **parameters)


def test_a_new_package_has_an_entry_point_a_test_a_readme_and_ci(registry):
    skeleton = make_skeleton("loss", "my-own", registry, package=True)
    write(skeleton)
    assert {str(path.relative_to("my-own")) for path in skeleton.files} == {
        "my_own.py",
        "pyproject.toml",
        "README.md",
        "tests/test_my_own.py",
        ".github/workflows/test.yml",
    }
    project = tomllib.loads(Path("my-own/pyproject.toml").read_text())
    assert project["project"]["entry-points"]["harness"] == {"my-own": "my_own"}
    assert project["tool"]["setuptools"]["py-modules"] == ["my_own"]
    ast.parse(Path("my-own/tests/test_my_own.py").read_text())
    assert load_registry([Path("my-own/my_own.py")]).loss("my-own")


@pytest.mark.parametrize("name", ["My-Net", "1net", "my net", "my_net", "../net", "", "class", "net-"])
def test_a_name_that_no_module_can_have_is_refused(registry, name):
    with pytest.raises(UsageError, match="is no name for a model"):
        make_skeleton("model", name, registry)


def test_a_name_that_is_taken_is_refused(registry):
    with pytest.raises(UsageError, match=r"'tiny-cnn' is there already, from harness.plugins.tiny_cnn"):
        make_skeleton("model", "tiny-cnn", registry)


@pytest.mark.parametrize("name", ["torch", "numpy", "json", "harness"])
def test_a_name_that_would_shadow_a_module_is_refused(registry, name):
    with pytest.raises(UsageError, match=f"is a module of Python or of an installed package.*my-{name}"):
        make_skeleton("model", name, registry)


def test_nothing_is_overwritten(registry):
    skeleton = make_skeleton("model", "my-own", registry, package=True)
    Path("my-own").mkdir()
    Path("my-own/README.md").write_text("mine")
    with pytest.raises(UsageError, match=r"my-own/README.md is there already"):
        write(skeleton)
    assert [path.name for path in Path("my-own").iterdir()] == ["README.md"]
