"""Where the engine stands on a GPU: its tests, and its figures beside the bars that it has to pass.

`make test-gpu` runs this. It imports nothing of the harness and installs nothing: it lays the checkout out as an
installation would, and other processes import it from there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("chexnet", "resnet50", "efficientnet-b0", "convnext-tiny", "vit-b16")
PARTS = ("tests", "speed", *MODELS)
SOURCES = ("harness", "plugins", "tests/gpu", "tests/fixtures", "tests/training")
"""Folders whose Python files decide what is measured."""
DACNET_IMAGES = 25 * 103_847
"""Seen by DACNet's recipe in its 25 epochs of its authors' training images."""
SECONDS = 540
"""One measurement may take this long; whoever is allowed ten minutes a command then loses nothing."""

Documents = Mapping[str, Mapping[str, Any]]
"""What `harness speed --json` printed, by measurement."""
Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Measurement:
    """One command of Python, which runs in a process of its own."""

    name: str
    part: str
    arguments: tuple[str, ...]
    """For the Python interpreter."""
    times: int = 1
    """How often it runs. The last time counts: earlier ones leave compiled code on the disk."""


@dataclass(frozen=True)
class Bar:
    """A figure and what it has to be."""

    figure: str
    measurements: tuple[str, ...]
    """That it is computed from."""
    compute: Callable[[Documents], float]
    bar: float
    at_least: bool = True


def speed(name: str, model: str, *options: str, size: str = "224") -> Measurement:
    """A measurement by `harness speed`."""
    code = "from harness.cli.main import main; main()"
    given = ("--size", size, "--device", "cuda", "--plain-seconds", "0", "--json")
    return Measurement(name, model, ("-c", code, "speed", model, *given, *options))


def list_speeds() -> list[Measurement]:
    """All measurements of speed, the most telling ones first."""
    dacnet = ("--recipes", "dacnet", "--losses", "focal")
    return [
        speed("chexnet captured", "chexnet", "--compile", "off"),
        speed("chexnet compiled", "chexnet", "--compile", "on"),
        replace(speed("chexnet compiled again", "chexnet", "--compile", "on", "--images", "2048"), times=2),
        speed("chexnet streamed", "chexnet", "--compile", "off", "--placement", "streamed"),
        speed("chexnet dacnet 8", "chexnet", *dacnet, "--batch-size", "8"),
        speed("chexnet dacnet 64", "chexnet", *dacnet, "--batch-size", "64"),
        *(speed(f"{model} captured", model, "--compile", "off") for model in MODELS[1:]),
    ]


def list_bars() -> list[Bar]:
    """The bars of the engine's acceptance; DenseNet-121 is `chexnet`, and all is at 224 px and batch 64 by default."""

    def value(measurement: str, key: str) -> Callable[[Documents], float]:
        return lambda documents: float(documents[measurement][key])

    def of_one(figure: str, measurement: str, key: str, bar: float, *, at_least: bool = True) -> Bar:
        return Bar(figure, (measurement,), value(measurement, key), bar, at_least=at_least)

    def dacnet(batch_size: int, bar: float) -> Bar:
        name = f"chexnet dacnet {batch_size}"
        figure = f"DACNet's recipe at batch {batch_size}, min"
        return Bar(
            figure, (name,), lambda found: DACNET_IMAGES / float(found[name]["engine"]) / 60, bar, at_least=False
        )

    captured, compiled, streamed = "chexnet captured", "chexnet compiled", "chexnet streamed"
    ratios = [(f"{model}, captured", f"{model} captured") for model in MODELS] + [("chexnet, compiled", compiled)]
    return [
        *(of_one(f"{what}: share of its tight loop", name, "engine_over_tight_loop", 0.95) for what, name in ratios),
        of_one("chexnet, captured: images/s", captured, "engine", 2_000),
        of_one("chexnet, compiled: images/s", compiled, "engine", 3_000),
        of_one("chexnet, compiled: inference, images/s", compiled, "inference", 8_000),
        of_one("chexnet, compiled before: start, s", "chexnet compiled again", "start_seconds", 30, at_least=False),
        Bar(
            "chexnet, captured: share of augmentation in the step",
            (captured,),
            lambda documents: 1 - float(documents[captured]["engine_over_tight_loop"]),
            0.05,
            at_least=False,
        ),
        Bar(
            "chexnet, streamed: share of resident images/s",
            (captured, streamed),
            lambda documents: float(documents[streamed]["engine"]) / float(documents[captured]["engine"]),
            0.95,
        ),
        dacnet(8, 70),
        dacnet(64, 15),
    ]


def list_tests(run: Run) -> list[Measurement]:
    """The tests that need a GPU: the quick ones together, each slow one by itself. Raises `RuntimeError`."""
    files = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    )
    # a bare machine may lack pytest-timeout, whose setting is then unknown
    pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestConfigWarning")
    quick = Measurement("tests", "tests", (*pytest, "-o", f"timeout={SECONDS}", "-m", "gpu and not slow", *files))
    found = run((*pytest, "--collect-only", "-m", "gpu and slow", *files))
    slow = re.findall(r"^tests/\S+::.+$", found.stdout, re.MULTILINE)
    if found.returncode not in (0, 5):  # 5: there are none
        raise RuntimeError(_last_lines(found))
    return [
        quick,
        *(Measurement(name, "tests", (*pytest, "-o", f"timeout={SECONDS}", "-m", "gpu", name)) for name in slow),
    ]


# --- what is kept ----------------------------------------------------------------------------------------------------


class Notebook:
    """The JSON file, written after each measurement; what it has of the same code, card and torch is not done again."""

    def __init__(self, path: Path, where: Mapping[str, str]) -> None:
        self.path, self.where = path, dict(where)
        self.measured: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if _without_commit(before.get("where", {})) == _without_commit(self.where):
            self.measured = dict(before["measured"])

    def keep(self, name: str, document: Any) -> None:
        """Note what was measured."""
        self.measured[name] = document
        self.failed.pop(name, None)
        self.write()

    def fail(self, name: str, reason: str) -> None:
        """Note why something was not; it is tried again next time."""
        self.failed[name] = reason
        self.write()

    def figures(self) -> list[dict[str, Any]]:
        """Each figure beside its bar; null where it was not measured."""
        found = []
        for one in list_bars():
            known = all(name in self.measured for name in one.measurements)
            value = one.compute(self.measured) if known else None
            met = None if value is None else value >= one.bar if one.at_least else value <= one.bar
            bound = "at least" if one.at_least else "at most"
            found.append({"figure": one.figure, "value": value, "bar": f"{bound} {one.bar:,g}", "met": met})
        return found

    def write(self) -> None:
        """Write the file, whole or not at all."""
        document = {
            "where": self.where,
            "figures": self.figures(),
            "failed": self.failed,
            "measured": self.measured,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        beside.replace(self.path)


def _without_commit(where: Mapping[str, str]) -> dict[str, str]:
    """What figures depend on: a commit that changed no code changes none."""
    return {name: value for name, value in where.items() if name != "commit"}


def measure(measurements: Sequence[Measurement], notebook: Notebook, run: Run, say: Callable[[str], None]) -> bool:
    """Make the measurements that the notebook lacks; whether it has all of them in the end."""
    for one in measurements:
        if one.name in notebook.measured:
            say(f"{one.name}: measured before")
            continue
        say(f"{one.name} ...")
        started = time.perf_counter()
        for _ in range(one.times):
            done = run(one.arguments)
        if done.returncode != 0:
            notebook.fail(one.name, _last_lines(done))
            say(f"{one.name} failed: {notebook.failed[one.name]}")
        elif one.part == "tests":
            notebook.keep(one.name, {"said": _last_lines(done, 1), "seconds": time.perf_counter() - started})
        else:
            notebook.keep(one.name, json.loads(done.stdout))
    return all(one.name in notebook.measured for one in measurements)


def lay_out(folder: Path) -> dict[str, str]:
    """Make a folder from which the checkout can be imported as if it were installed; gives the environment for that.

    `pyproject.toml` says which folders are packages under another name. They are links, so that nothing is copied.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    packages = {f"harness/{path.name}": path for path in (ROOT / "harness").iterdir() if path.name != "__pycache__"}
    elsewhere = project["tool"]["setuptools"]["package-dir"]
    packages |= {name.replace(".", "/"): ROOT / path for name, path in elsewhere.items()}
    (folder / "harness").mkdir(parents=True)
    for name, path in packages.items():
        (folder / name).symlink_to(path)
    name, version = project["project"]["name"], project["project"]["version"]
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    searched = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    # the current folder has a `harness` too, without plugins
    return {**os.environ, "PYTHONPATH": searched, "PYTHONSAFEPATH": "1"}


def run_python(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run this Python in the checkout; a run that takes too long is ended and counts as failed."""
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"it took more than {SECONDS} s")


def _last_lines(done: subprocess.CompletedProcess[str], count: int = 15) -> str:
    lines = (done.stdout + done.stderr).strip().splitlines()
    return "\n".join(lines[-count:])


def describe(card: str, torch_version: str) -> dict[str, str]:
    """What has to be the same for a figure to hold: the code, the card, torch. The commit is for readers."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    git = ["git", "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {"card": card, "torch": torch_version, "commit": commit, "code": digest.hexdigest()[:16]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 0 where everything was measured and every bar passed, else 1."""
    parser = argparse.ArgumentParser(prog="make test-gpu", description=__doc__)
    parser.add_argument("--part", default="", choices=("", *PARTS), metavar="PART", help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu.json", help="by default build/gpu.json")
    given = parser.parse_args(arguments)
    try:
        import torch
    except ImportError:
        print("make test-gpu: this Python has no torch", file=sys.stderr)
        return 1
    if not torch.cuda.is_available():
        print("make test-gpu: there is no GPU here that torch could use (CUDA)", file=sys.stderr)
        return 1
    where = describe(torch.cuda.get_device_name(), torch.__version__)
    environment = lay_out(ROOT / "build" / "uninstalled")
    return report(given.part, Notebook(given.out, where), lambda command: run_python(command, environment))


def report(part: str, notebook: Notebook, run: Run) -> int:
    """Measure a part, or everything where it is empty, and print where the engine stands."""
    measurements: list[Measurement] = []
    complete = True
    if part in ("", "tests"):
        try:
            measurements += list_tests(run)
        except RuntimeError as error:
            notebook.fail("tests", str(error))
            complete = False
    if part != "tests":
        measurements += [one for one in list_speeds() if part in ("", "speed", one.part)]
    complete &= measure(measurements, notebook, run, lambda text: print(text, flush=True))
    notebook.write()
    asked = {one.name for one in measurements}
    wanted = [one.figure for one in list_bars() if asked.issuperset(one.measurements)]
    figures = [one for one in notebook.figures() if one["figure"] in wanted]
    for one in figures:
        value = "not measured" if one["value"] is None else f"{one['value']:,.3f}"
        verdict = {None: "", True: "met", False: "NOT MET"}[one["met"]]
        print(f"{one['figure']:<56}{value:>14}  {one['bar']:<18}{verdict}")
    print(f"written to {notebook.path}")
    return 0 if complete and all(one["met"] for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
