"""What the public forge does with boards: its commands are run as they stand, on a small repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "boards.yml").read_text())


def find_command(job, name):
    (step,) = [step for step in WORKFLOW["jobs"][job]["steps"] if step.get("name") == name]
    return step["run"]


@pytest.fixture
def repository(tmp_path):
    """A checkout with two boards, one of which has lost a seed since the first commit."""
    folder = tmp_path / "checkout"
    for name in ("demo", "nih-paper"):
        shutil.copytree(ROOT / "leaderboards" / name, folder / "leaderboards" / name)

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "before")
    base = git("rev-parse", "HEAD").strip()
    for file in (folder / "leaderboards" / "demo" / "records").glob("chexnet--*--s2.*"):
        file.unlink()
    return folder, base


def run(command, folder, **environment):
    binaries = Path(sys.executable).parent
    variables = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", **environment}
    line = ["bash", "-e", "-c", command]
    return subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_pull_request_is_told_what_became_of_each_row_and_fails_where_a_page_is_out_of_date(repository, tmp_path):
    folder, base = repository
    summary = tmp_path / "summary.md"
    made = run(find_command("changes", "compare"), folder, BASE=base, GITHUB_STEP_SUMMARY=str(summary))
    assert made.returncode == 0, made.stderr
    text = summary.read_text()
    assert text == (folder / "changes.md").read_text()
    assert "### demo" in text
    assert "| chexnet--bce--demo |" in text
    checked = run(find_command("changes", "validate"), folder)
    assert checked.returncode == 1
    assert "harness leaderboard" in checked.stdout + checked.stderr


@pytest.mark.slow
def test_all_boards_are_rendered_with_an_index_and_their_records(repository):
    folder, _ = repository
    made = run(find_command("render", "render"), folder)
    assert made.returncode == 0, made.stderr
    assert (folder / "site" / "index.html").is_file()
    assert (folder / "site" / "demo" / "records" / "chexnet--bce--demo--s0.json").is_file()
    (upload,) = [step for step in WORKFLOW["jobs"]["render"]["steps"] if "upload-pages" in step.get("uses", "")]
    assert upload["with"]["path"] == "site"


def test_only_what_publishes_may_write_pages_and_only_what_comments_may_write_comments():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    granted = {name: job.get("permissions", {}) for name, job in WORKFLOW["jobs"].items()}
    writes = {name: {what for what, how in given.items() if how == "write"} for name, given in granted.items()}
    assert writes == {"changes": {"pull-requests"}, "render": set(), "publish": {"pages", "id-token"}}
