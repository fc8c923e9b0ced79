"""What all tests share: one thread, no network, a registry, small datasets."""

from __future__ import annotations

import os
import signal
import sys

os.environ["HF_HUB_OFFLINE"] = "1"  # a missing weight then fails at once

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background job; children would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch

from harness import Data
from harness.cli.main import main
from harness.registry import Registry, load_registry

# no deadline on a busy machine; where others wait for the outcome, the same examples every time
hypothesis.settings.register_profile("harness", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("harness")

TOY = Path(__file__).parent / "fixtures" / "toy.py"
SHARING = (
    *("browser", "bundled", "document_commands", "intervals", "packaging"),
    *("ray_engine", "ray_run", "slurm", "stranger"),
)
"""Files of slow tests that share what takes long to make, or follow each other."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, only those files are kept in one process; all other tests go to processes one by one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    def split_scope(nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if Path(file).stem.removeprefix("test_") in SHARING else nodeid

    scheduling = LoadFileScheduling(config, log)
    scheduling._split_scope = split_scope
    return scheduling


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # what libraries have made by now stays: without it each collection looks through all of it again


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="session")
def browser():
    """Chromium; its tests are marked `service`."""
    import shutil

    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("there is no Chromium; install it, such as by apt-get install chromium")
    flags = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
    with sync_playwright() as playwright:
        arguments = [f"--{flag}" for flag in [*flags.split(), "disable-sync"]]
        started = playwright.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def sample() -> Path:
    """The folder with the real NIH sample, where there is one beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data" / "nih-sample"
    if not folder.is_dir():
        pytest.skip("the sample of NIH ChestX-ray14 does not lie beside the checkout")
    return folder


@pytest.fixture
def small_data() -> Data:
    """48 images of 16 px with 3 labels that can be seen: one corner each; two images a patient."""
    return load_registry([TOY]).dataset("toy").load(Path())


@pytest.fixture
def harness(monkeypatch, capsys, tmp_path):
    """Run a command line in a folder of its own; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_PLUGIN", str(TOY))
    monkeypatch.setenv("HARNESS_DEVICE", "cpu")
    monkeypatch.setenv("HARNESS_WORKERS", "0")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # which main sets, for what it starts; as it was afterwards

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def toy_board(tmp_path_factory) -> Path:
    """A board of two toy rows with two seeds each, trained once; not to be changed."""
    from harness.board import Board, Row, board_text, row_text, save_board
    from harness.execution import local, planning
    from harness.execution.planning import Settings

    folder: Path = tmp_path_factory.mktemp("boards") / "toy-board"
    models = ("toy-net", "tiny-cnn")
    rows = tuple(Row(model=model, loss="bce", recipe="toy") for model in models)
    board = Board(
        folder=folder,
        title="t",
        objective="auroc",
        seeds=(0, 1),
        metrics=("auroc", "f1", "brier"),
        dataset="toy",
        rows=rows,
    )
    save_board(folder, board_text(board, [row_text(models, ["bce"], ["toy"], {})]))
    settings = Settings(data_root=folder, cache=folder.parent / "cache", device="cpu")
    local.run(planning.plan(board, load_registry([TOY]), settings, lambda _: None), lambda _: None)
    return folder


@pytest.fixture
def save_predictions(tmp_path):
    """Writes predictions of 120 images of 40 patients; the larger `skill`, the better they are."""

    def save(name: str, seed: int = 0, skill: float = 1.0, *, images: range = range(120), **changes: Any) -> Path:
        truth = np.random.default_rng(99)
        targets = (truth.random((240, 3)) < 0.4).astype(np.float32)[images]
        logits = np.random.default_rng(seed).normal(size=(240, 3))[images] + skill * (targets - 0.5)
        path: Path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {
            "labels": np.array(["Edema", "Mass", "Nodule"]),
            "image": np.array([f"i{number:03d}" for number in images]),
            "patient": np.array([f"p{number // 3:02d}" for number in images]),
            "logits": logits.astype(np.float32),
            "targets": targets,
        }
        arrays |= changes
        np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
        return path

    return save


class Watch:
    """What trainings made, by weak references."""

    def __init__(self) -> None:
        self.made: list[tuple[str, weakref.ref[Any]]] = []

    def see(self, made: Any, name: str | None = None) -> None:
        self.made.append((name or type(made).__name__, weakref.ref(made)))

    @property
    def alive(self) -> list[str]:
        return [name for name, reference in self.made if reference() is not None]


@pytest.fixture
def watch(monkeypatch) -> Iterator[Watch]:
    """Sees what trainings make, while nothing is collected: what dies, dies because nothing refers to it."""
    from harness.data.placement import Placed
    from harness.training import build
    from harness.training.fit import Training
    from harness.training.prediction import Predictor
    from harness.training.step import Step

    found = Watch()
    for kind in (Training, Step, Predictor, Placed):

        def init(self: Any, *arguments: Any, make: Any = kind.__init__, **more: Any) -> None:
            make(self, *arguments, **more)
            found.see(self)

        monkeypatch.setattr(kind, "__init__", init)
    whole = build.build_network

    def build_network(*arguments: Any) -> Any:
        network = whole(*arguments)
        found.see(network, "network")
        return network

    monkeypatch.setattr(build, "build_network", build_network)
    gc.disable()
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
    yield found
    gc.enable()
