"""What is around the code says what is true of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEMPLATES = sorted((ROOT / ".github").glob("*_TEMPLATE/*.md"))


def test_the_public_forge_tests_the_lowest_python_and_another_as_make_test_does():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    versions = jobs["test"]["strategy"]["matrix"]["python"]
    assert len(versions) == 2
    assert f">={versions[0]}" == PROJECT["project"]["requires-python"]
    assert {"run": "make test"} in jobs["test"]["steps"]
    assert any("lowest-direct" in step.get("run", "") for step in jobs["lowest"]["steps"])


def test_pre_commit_runs_the_tools_of_make_lint():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"].replace(" --force-exclude", "") for repo in config["repos"] for hook in repo["hooks"]]
    assert entries == ["ruff check", "ruff format --check", "mypy"]
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert re.findall(r"\$\(BIN\)/(.+)", lint) == entries


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_template_of_the_forge_names_verbs_and_folders_that_exist(path):
    from typer.main import get_command

    from harness.cli.main import app

    text = path.read_text()
    verbs = set(re.findall(r"`harness ([a-z]+)", text))
    assert verbs <= set(vars(get_command(app))["commands"])
    for board in re.findall(r"nih-[a-z]+", text):
        assert (ROOT / "leaderboards" / board / "board.toml").is_file()


def test_every_lower_bound_is_given():
    for wanted in PROJECT["project"]["dependencies"]:
        assert re.fullmatch(r"[a-z0-9-]+[>=]=[0-9.]+", wanted), wanted


def test_every_package_of_the_source_is_installed():
    folders = {str(file.parent.relative_to(ROOT)).replace("/", ".") for file in (ROOT / "harness").rglob("__init__.py")}
    assert folders <= set(PROJECT["tool"]["setuptools"]["packages"])
