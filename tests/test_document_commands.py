"""The commands of README and of the manual, typed as they stand, one after another.

A command that several documents show is typed once. The page of plugins has a desk of its own: its tutorial begins with
an empty folder.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.board import read_board
from harness.results.store import read_records
from harness.scoring.prediction_files import read_predictions
from tests.plugins.tiny_encoders import save_encoders
from tests.test_document_examples import DOCUMENTS, PLUGINS, ROOT, commands

SMALL = "--set recipe.weights=random --set recipe.epochs=1 --set recipe.size=64"
PHANTOM = "--option train=16 --option val=60 --option test=120"
ENCODERS = ("run --dataset phantom --models hf/", "run --dataset phantom --models open-clip/")
LIGHTER = {
    "run demo": f"--seeds 0 --only tiny-cnn--bce* {PHANTOM}",
    "run nih-dacnet": f"--option allow_missing=true --seeds 0 --only chexnet--focal* {SMALL}",
    **dict.fromkeys(("run nih-official", "run nih-paper"), "--option allow_missing=true --dry-run"),  # like nih-dacnet
    "run --dataset csv": SMALL,
    "run --dataset phantom --models chexnet": f"--only chexnet--* {PHANTOM}",  # the rows that later commands name
    **dict.fromkeys(ENCODERS, f"--seeds 0 {PHANTOM}"),
    "run --dataset phantom --models my-net --losses bce --recipes demo --board": f"--only my-net--* {PHANTOM}",
    "compare scores.csv": PHANTOM,
    "predict my-board::chexnet--bce--demo phantom": PHANTOM,
    "data check nih": "--option allow_missing=true",
    "data prepare nih": "--option allow_missing=true",
    "serve": "--port 0",
    "speed": "--size 32 --batch-size 8 --images 32 --plain-seconds 1",
    "tune probes": "--confirm 1",
    "tune": "--trials 2 --confirm 1 --set recipe.epochs=1 --set recipe.size=32",
    "--install-completion": "bash",  # which a shell is asked for, where there is one
}
"""What is added to commands that need all of NIH, a download or a GPU to be as they stand; the longest that fits."""
ALIKE = ("run nih-official", "run nih-paper", "speed chexnet")
"""Commands that need nothing of others, and whose like is typed, too: they are typed by `make test-exhaustive`."""
ON_CLUSTERS = ("docs/clusters.md", "CONTRIBUTING.md")
"""Documents whose commands need a cluster: tests/cluster types them."""
MAY_FIND = ("data check nih",)
"""Commands that exit 1 where they find something: the sample has not all images."""


class Desk:
    """A folder in which a reader types commands."""

    def __init__(self, folder: Path, sample: Path | None) -> None:
        self.folder = folder
        self.sample = sample
        self.said = ""
        """Standard output of the last command."""
        shutil.copytree(ROOT / "leaderboards", folder / "leaderboards", ignore=shutil.ignore_patterns("runs"))
        write_images(folder / "images")

    def type(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        words = [word.replace("/path/to/images", "images") for word in command[1:]]
        if self.sample is not None:
            words = [word.replace("/path/to/nih", str(self.sample)) for word in words]
        text = " ".join(words)
        lighter = max((start for start in LIGHTER if text.startswith(start)), key=len, default=None)
        words += shlex.split(LIGHTER[lighter]) if lighter is not None else []
        environment = os.environ | {
            "HARNESS_CACHE_DIR": str(self.folder / "cache"),
            "HARNESS_DEVICE": "cpu",
            "HOME": str(self.folder),
            "BROWSER": "true",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",  # these networks gain nothing from more, and tests run side by side
            "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        }
        if (self.folder / "my_net.py").is_file():
            environment["HARNESS_PLUGIN"] = "my_net.py"  # as the README exports it
        script = Path(sys.executable).with_name("harness")
        if words[0] == "serve":
            return look_at_page([str(script), *words], self.folder, environment)
        done = subprocess.run(
            [script, *words],
            cwd=self.folder,
            env=environment,
            input="n\n" * 20,  # to what asks before it removes something
            capture_output=True,
            text=True,
            check=False,
        )
        self.said = done.stdout
        return done


def look_at_page(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Serve a page until its address is printed and it is there; it is then interrupted, as its reader does."""
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"open (http://\S+) ", line)
        if found:
            with urllib.request.urlopen(found[1], timeout=30) as page:
                assert b"no medical device" in page.read()
        process.send_signal(signal.SIGINT)
        said, told = process.communicate(timeout=60)
    code = 0 if found and process.returncode in (130, -signal.SIGINT) else process.returncode or 1
    return subprocess.CompletedProcess(command, code, line + said, told)


def write_images(folder: Path) -> None:
    """A table of one's own with images."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    lines = ["image,patient,split,Mass,Edema"]
    for number in range(48):
        split = ("train", "train", "val", "test")[number % 4]
        pixels = generator.integers(0, 255, (80, 80), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,p{number},{split},{number // 4 % 2},{number // 8 % 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def save_predictions(folder: Path) -> None:
    """The files of predictions that the manual names, once, from the board that the README has made before."""
    if (folder / "old").is_dir():
        return
    board = folder / "my-board"
    records = {(r.combo.row, r.combo.seed): r for r in read_records(board).records}
    systems = {"my": "bce", "other": "focal"}
    for system in systems:
        (folder / f"{system}-net").mkdir()
        (folder / f"{system}-val").mkdir()
    for seed in read_board(board).seeds:
        for system, loss in systems.items():
            run = board / "runs" / records[f"chexnet--{loss}--demo", seed].key
            shutil.copy(run / "predictions-test.npz", folder / f"{system}-net" / f"{seed}.npz")
            shutil.copy(run / "predictions-val.npz", folder / f"{system}-val" / f"{seed}.npz")
        shutil.copy(folder / "my-net" / f"{seed}.npz", folder / f"seed{seed}.npz")
        shutil.copy(folder / "my-val" / f"{seed}.npz", folder / f"val{seed}.npz")
    shutil.copy(folder / "seed0.npz", folder / "scores.npz")
    shutil.copy(folder / "seed0.npz", folder / "test.npz")
    shutil.copy(folder / "val0.npz", folder / "val.npz")
    found = read_predictions(folder / "seed0.npz")
    for name, values in (("scores.csv", 1 / (1 + np.exp(-found.logits))), ("targets.csv", found.targets)):
        rows = [",".join([image, *map(str, row)]) for image, row in zip(found.image, values, strict=True)]
        (folder / name).write_text("\n".join([",".join(["image", *found.labels]), *rows]) + "\n")
    for reader in ("a.csv", "b.csv"):
        shutil.copy(folder / "targets.csv", folder / reader)
    for place in ("old", "boards", "boards-before"):
        shutil.copytree(board, folder / place / "my-board")
    save_studies(folder)


def save_studies(folder: Path) -> None:
    """Scores by image and targets by study, named as those of CheXpert."""
    draw = np.random.default_rng(0)
    scores, targets = ["Path,Mass,Edema"], ["Study,Mass,Edema"]
    for number in range(60):
        study = f"test/patient{number:05d}/study1"
        targets.append(f"{study},{number % 2},{number // 2 % 2}")
        scores += [f"{study}/view{view}.jpg,{draw.random():.3f},{draw.random():.3f}" for view in (1, 2)]
    (folder / "chexpert.csv").write_text("\n".join(scores) + "\n")
    (folder / "studies.csv").write_text("\n".join(targets) + "\n")


def copy_weights(folder: Path) -> None:
    """The weight file that the manual names, from the board that the README has made before."""
    board = folder / "my-board"
    (key,) = {r.key for r in read_records(board).records if (r.combo.row, r.combo.seed) == ("chexnet--bce--demo", 0)}
    shutil.copy(board / "runs" / key / "weights.safetensors", folder / "weights.safetensors")


def forget_network(folder: Path) -> None:
    (folder / "my_net.py").unlink(missing_ok=True)


def save_tiny_encoders(folder: Path) -> None:
    """Tiny encoders by the names that the manual has for real ones, once."""
    if not (folder / "rad-dino").is_dir():
        save_encoders(folder)
        (folder / "dino").rename(folder / "rad-dino")
        (folder / "biomed").rename(folder / "biomedclip")


def copy_demo(folder: Path) -> None:
    """The line of the tutorial that is no command of the harness, typed as it stands."""
    (line,) = [line for line in PLUGINS.splitlines() if line.startswith("cp ")]
    subprocess.run(shlex.split(line), cwd=folder, check=True)


BEFORE: dict[str, Callable[[Path], None]] = {
    "run --dataset phantom --models my-net --losses bce --recipes demo --seeds": copy_demo,
    "new model": forget_network,
    "predict weights": copy_weights,
    **dict.fromkeys(ENCODERS, save_tiny_encoders),
    **dict.fromkeys(
        ("score", "compare", "diff", "merge", "submit", "leaderboard boards", "validate boards"), save_predictions
    ),
}


def list_typed() -> Iterator[tuple[str, str, list[str]]]:
    """Desk, document and command; each command once at a desk."""
    seen: set[tuple[str, ...]] = set()
    for document, text in DOCUMENTS.items():
        desk = "plugins" if text is PLUGINS else "manual"
        for command in commands(text) if document not in ON_CLUSTERS else ():
            if (desk, *command) not in seen:
                seen.add((desk, *command))
                yield desk, document, command


@pytest.fixture(scope="module")
def desks(tmp_path_factory) -> dict[str, Desk]:
    sample = ROOT.parent / "shared" / "data" / "nih-sample"
    found = sample if sample.is_dir() else None
    return {name: Desk(tmp_path_factory.mktemp(name), found) for name in ("manual", "plugins")}


TYPED = [
    pytest.param(
        *(desk, command),
        id=f"{document}: {' '.join(command)}",
        marks=[pytest.mark.exhaustive] if " ".join(command[1:]).startswith(ALIKE) else [],
    )
    for desk, document, command in list_typed()
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "command"), TYPED)
def test_a_command_of_the_documents_does_its_work(desks, name, command):
    desk, text = desks[name], " ".join(command[1:])
    if "/path/to/nih" in text and desk.sample is None:
        pytest.skip("the sample of NIH ChestX-ray14 does not lie beside the checkout")
    for start, prepare in BEFORE.items():
        if text.startswith(start):
            prepare(desk.folder)
    done = desk.type(command)
    allowed = (0, 1) if text.startswith(MAY_FIND) else (0,)
    assert done.returncode in allowed, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_tutorial_has_left_a_row_beside_those_of_the_demo(desks):
    desk = desks["plugins"]
    records = [record.combo for record in read_records(desk.folder / "my-board").records]
    assert {"my-net--bce--demo", "chexnet--bce--demo", "tiny-cnn--focal--demo"} <= {combo.row for combo in records}
    assert sum(combo.row == "my-net--bce--demo" for combo in records) == 2
    assert "my-net--bce--demo" in (desk.folder / "my-board" / "index.html").read_text(encoding="utf-8")
    assert "my-net--bce--demo" in desk.said
