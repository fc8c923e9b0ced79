"""What is around the code says what is true of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
TEMPLATES = sorted((ROOT / ".github").glob("*_TEMPLATE/*.md"))


def test_the_public_forge_tests_the_lowest_python_and_another_as_make_test_does():
    jobs = WORKFLOW["jobs"]
    versions = jobs["test"]["strategy"]["matrix"]["python"]
    assert len(versions) == 2
    assert f">={versions[0]}" == PROJECT["project"]["requires-python"]
    assert {"run": "make test"} in jobs["test"]["steps"]
    assert any("lowest-direct" in step.get("run", "") for step in jobs["lowest"]["steps"])


def test_the_public_forge_runs_the_slow_tests_every_week_and_when_asked():
    events, slow = WORKFLOW[True], WORKFLOW["jobs"]["slow"]  # YAML reads `on` as true
    assert "workflow_dispatch" in events
    (when,) = events["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", when["cron"])
    assert set(re.findall(r"event_name == '(\w+)'", slow["if"])) == {"schedule", "workflow_dispatch"}
    runs = [step["run"] for step in slow["steps"] if "run" in step]
    assert runs[-2:] == ["make test-all", "make test-exhaustive"]
    assert re.search(r"apt-get install .*\bchromium\b.*\bpostgresql\b", runs[0])


def test_the_platforms_are_those_that_have_what_the_code_uses():
    systems = [line for line in PROJECT["project"]["classifiers"] if line.startswith("Operating System")]
    assert systems == ["Operating System :: MacOS", "Operating System :: POSIX :: Linux"]
    assert "import fcntl" in (ROOT / "harness" / "locks.py").read_text()  # why Windows is not among them
    assert "Windows is not supported" in (ROOT / "README.md").read_text()


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


QUOTED = sorted(set(re.findall(r"`([^`\s]+)`", re.sub(r"```.*?```", "", ARCHITECTURE, flags=re.DOTALL))))
PATHS = [text for text in QUOTED if "/" in text or text.endswith(".py")]
STEPS = re.findall(r"^ *([a-z_/]+\.py) (\w+) ", ARCHITECTURE, flags=re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_the_architecture_names_exists(path):
    found = ROOT / path
    assert found.is_dir() if path.endswith("/") else found.exists()


@pytest.mark.parametrize(("path", "name"), STEPS, ids=" ".join)
def test_a_step_in_the_way_of_the_data_is_a_function_or_a_class_of_its_file(path, name):
    assert re.search(rf"^(def|class) {name}\b", (ROOT / "harness" / path).read_text(), flags=re.MULTILINE)


def test_the_architecture_names_every_package_and_every_step_of_the_data():
    packages = {f"harness/{file.parent.name}/" for file in (ROOT / "harness").glob("*/__init__.py")}
    assert packages <= set(PATHS)
    way = ARCHITECTURE.partition("```\n")[2].partition("```")[0]
    assert len(STEPS) == len(way.splitlines())
