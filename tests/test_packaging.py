"""The wheel works outside the checkout; the sdist builds it again."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the sdist, as it would be published."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return Path(path)


@pytest.mark.slow
def test_the_wheel_holds_every_plugin_template_and_board(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in tracked:
        folder, _, rest = name.partition("/")
        if folder in ("plugins", "templates") or (
            folder == "leaderboards" and name.endswith(("board.toml", "published.toml"))
        ):
            assert f"harness/{folder}/{rest}" in inside, name
        elif folder == "harness":
            assert name in inside
    assert not any("/records/" in name for name in inside)


@pytest.mark.slow
def test_the_wheel_runs_the_demo_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    environment = os.environ | {
        "PYTHONPATH": str(site),
        "HARNESS_CACHE_DIR": str(tmp_path / "cache"),
        "HARNESS_DEVICE": "cpu",
    }
    code = "import harness, sys; from harness.cli.main import main; print(harness.__file__, file=sys.stderr); main()"
    lighter = "--only tiny-cnn--bce* --seeds 0 --option train=48 --option val=60 --option test=120"
    command = [sys.executable, "-c", code, "run", "demo", *lighter.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert str(site) in done.stderr
    assert "✓ tiny-cnn--bce--demo seed 0" in done.stderr
    assert (tmp_path / "demo-board" / "index.html").is_file()
