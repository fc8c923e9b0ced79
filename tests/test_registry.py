"""Plugins are found in three ways, and a broken one harms nothing but itself."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.errors import UnknownNameError, UsageError
from harness.hookspecs import hookspec
from harness.registry import HOOKS, Registry, load_registry

GOOD = """
    from harness import Loss, hookimpl

    @hookimpl
    def harness_losses():
        return [Loss(name="{name}", build=lambda task: None, about="a stranger's")]
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def only_problem(registry: Registry) -> str:
    assert len(registry.problems) == 1, registry.problems
    return registry.problems[0].message


def test_bundled_plugins_load_without_a_problem(registry):
    assert registry.problems == ()
    assert {offer.origin for offers in registry.offers.values() for offer in offers.values()} == {"bundled"}


def test_a_local_file_adds_its_components(tmp_path):
    registry = load_registry([write(tmp_path, "mine.py", GOOD.format(name="mine"))])
    offer = registry.offer("loss", "mine")
    assert (offer.origin, registry.problems) == ("local", ())
    assert len(offer.code) == 64


def digest_of(file: Path) -> str:
    return load_registry([file]).offer("loss", "mine").code


def test_a_local_file_whose_code_is_changed_has_another_digest(tmp_path):
    text = GOOD.format(name="mine")
    first = digest_of(write(tmp_path, "mine.py", text))
    assert digest_of(write(tmp_path, "mine.py", text.replace("lambda task: None", "lambda task: 1"))) != first


def test_a_comment_or_another_name_of_a_local_file_leaves_its_digest(tmp_path):
    text = GOOD.format(name="mine")
    first = digest_of(write(tmp_path, "mine.py", text))
    assert digest_of(write(tmp_path, "mine.py", text + "    # a comment\n")) == first
    assert digest_of(write(tmp_path, "other.py", text)) == first


def test_two_local_files_of_one_name_do_not_shadow_each_other(tmp_path):
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files.append(write(tmp_path / folder, "mine.py", GOOD.format(name=f"mine-{folder}")))
    registry = load_registry(files)
    assert {"mine-a", "mine-b"} <= set(registry.offers["loss"])


def test_a_new_file_among_the_bundled_plugins_is_live(tmp_path, monkeypatch):
    package = importlib.import_module("harness.plugins")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    write(tmp_path, "a_new_idea.py", GOOD.format(name="new"))
    write(tmp_path, "a_broken_idea.py", "import nothing_of_that_name")
    registry = load_registry()
    assert registry.offer("loss", "new").origin == "bundled"
    assert registry.problems[0].plugin == "harness.plugins.a_broken_idea"
    assert "chexnet" in registry.offers["model"]


def test_an_installed_package_is_found_by_its_entry_point(tmp_path):
    write(tmp_path, "stranger.py", GOOD.format(name="strange"))
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness]\nstranger = stranger\n")
    code = """
from harness.registry import load_registry
offer = load_registry().offer("loss", "strange")
print(offer.plugin, offer.origin)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout.split() == ["stranger", "installed"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("def broken(:", "SyntaxError"),
        (GOOD.format(name="x").replace("harness_losses", "harness_loses"), "did you mean 'harness_losses'?"),
        (GOOD.format(name="x").replace("harness_losses()", "harness_losses(task)"), "remove task"),
        (GOOD.format(name="x").replace("@hookimpl", ""), "put @harness.hookimpl above it"),
        (GOOD.format(name="x").replace("about=", "abuot="), "abuot"),
        (GOOD.format(name="x").replace("[Loss(", "['x', Loss("), "must give Loss objects, gave str"),
        (GOOD.format(name="a b"), "no name for a component"),
        (
            GOOD.format(name="mine").replace("return", "raise RuntimeError('boom')\n        return"),
            "RuntimeError: boom",
        ),
    ],
)
def test_a_broken_plugin_is_named_with_what_to_do_and_the_rest_works(tmp_path, registry, text, says):
    broken = write(tmp_path, "broken.py", text)
    good = write(tmp_path, "good.py", GOOD.format(name="good"))
    loaded = load_registry([broken, good])
    assert loaded.problems[0].plugin == str(broken)
    assert says in only_problem(loaded)
    assert "good" in loaded.offers["loss"]
    assert set(registry.offers["model"]) == set(loaded.offers["model"])


def test_a_name_offered_twice_is_refused_naming_both(tmp_path):
    files = [write(tmp_path, name, GOOD.format(name="same")) for name in ("one.py", "two.py")]
    registry = load_registry(files)
    assert registry.problems[0].plugin == str(files[1])
    assert str(files[0]) in only_problem(registry)
    assert "'same'" in only_problem(registry)
    assert registry.offer("loss", "same").plugin == str(files[0])


def test_a_bundled_name_cannot_be_taken(tmp_path, registry):
    taken = next(iter(registry.offers["loss"]))
    loaded = load_registry([write(tmp_path, "mine.py", GOOD.format(name=taken))])
    assert taken in only_problem(loaded)
    assert loaded.offer("loss", taken).origin == "bundled"


def test_an_unknown_name_gets_the_nearest_one(registry):
    with pytest.raises(UnknownNameError, match="unknown model 'chexnt': did you mean 'chexnet'"):
        registry.model("chexnt")


def test_a_plugin_file_that_does_not_exist_is_the_callers_mistake(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        load_registry([tmp_path / "absent.py"])


def test_every_hook_has_a_docstring_a_type_and_no_argument():
    from harness import hookspecs

    specs = {name: value for name, value in vars(hookspecs).items() if name.startswith("harness_")}
    assert set(specs) == set(HOOKS)
    for spec in specs.values():
        assert spec.__doc__
        assert set(spec.__annotations__) == {"return"}
    assert hookspec.project_name == "harness"


def test_loading_plugins_imports_nothing_heavy():
    heavy = ["torch", "timm", "torchvision", "sklearn", "scipy", "numba", "pandas", "optuna"]
    code = "import sys; from harness.registry import load_registry; load_registry(); "
    code += f"print([module for module in {heavy} if module in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
