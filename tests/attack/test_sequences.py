"""Whatever is done to a board in whatever order, killed or not: nothing finished is lost, nothing is mixed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from harness.board import Board, read_board
from harness.evaluation.predictions import load_predictions
from harness.execution import local, planning
from harness.execution.keys import CurrentKeys, find_current_keys
from harness.execution.planning import Settings
from harness.execution.rescore import rescore
from harness.registry import Registry, load_registry
from harness.report.page import render
from harness.results.layout import RESAMPLES, claims_path, record_path, resamples_path, run_path
from harness.results.record import Record
from harness.results.store import read_records, set_aside
from harness.upkeep.cleaning import find_waste, remove
from harness.upkeep.merging import merge
from harness.upkeep.submission import Submission, submit
from harness.upkeep.validation import validate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TOY = Path(__file__).parent.parent / "fixtures" / "toy.py"
BOARD = """
title = "t"
objective = "auroc"
metrics = ["auroc", "f1"]
seeds = [0, 1]

[dataset]
name = "toy"

[[rows]]
models = ["toy-net"]
losses = ["bce"]
recipes = ["toy"]
params = { recipe = { epochs = 1 } }
"""
CHANGES = ("rename", "replace", "unlink")
"""What a process may be killed before."""


class Killed(BaseException):
    """Stands for SIGKILL: from here on nothing more is changed on the disk, whatever cleans up."""


def run_killed(act: Callable[[], object], step: int) -> None:
    """Do something; before its change of a name number `step`, from 0, it is killed, if it comes so far.

    All in this process, since a fork of one whose libraries have threads may hang and a new one takes seconds.
    """
    left = step

    def count(change: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return change(*arguments, **options)

        return counted

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        for name in CHANGES:
            patch.setattr(Path, name, count(getattr(Path, name)))
        act()


class Sequences(RuleBasedStateMachine):
    registry: Registry
    original: Path
    """A folder with two boards that were run: `board` and, on the same data with one more metric, `other`."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.folder = self.place / "board"
        shutil.copytree(self.original / "board", self.folder)
        self.submissions = 0

    def teardown(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)

    # --- what may be done ---------------------------------------------------------------------------------------------

    @rule(force=st.booleans(), killed=st.none() | st.integers(0, 12))
    def run(self, force: bool, killed: int | None) -> None:
        def act() -> None:
            set_aside(self.folder)
            chosen = self.settings(force)
            local.run(planning.plan(self.board(), self.registry, chosen, lambda _: None), lambda _: None)

        self.do(act, killed)
        if killed is None:
            assert {(row, seed) for row, seed in self.done() if "toy" in row} == {(self.row, 0), (self.row, 1)}

    @rule(killed=st.none() | st.integers(0, 8))
    def rescore(self, killed: int | None) -> None:
        self.do(lambda: rescore(self.board(), self.registry), killed)

    @rule(files=st.integers(1, 3), skill=st.sampled_from([1.0, 3.0]), killed=st.none() | st.integers(0, 10))
    def submit(self, files: int, skill: float, killed: int | None) -> None:
        self.submissions += 1
        paths = [self.original / f"{skill}-{number}.npz" for number in range(files)]
        submission = Submission(name="theirs", about=f"submission {self.submissions}", tests=tuple(paths))
        mine = {name for name in self.done() if "external" not in name[0]}

        def act() -> None:
            submit(self.board(), self.registry, submission, self.folder, self.original / "cache", replace_old=True)

        self.do(act, killed, keep=mine)
        if killed is None:
            assert len(self.done()) - len(mine) == files

    @rule(everything=st.booleans(), killed=st.none() | st.integers(0, 12))
    def merge(self, everything: bool, killed: int | None) -> None:
        self.do(lambda: merge(self.board(), [self.original / "other"], "*" if everything else None), killed)

    @rule(killed=st.none() | st.integers(0, 6))
    def clean(self, killed: int | None) -> None:
        def act() -> None:
            remove(find_waste(self.board(), self.keys()), self.board(), self.keys())

        self.do(act, killed)

    @rule(killed=st.none() | st.integers(0, 8))
    def publish(self, killed: int | None) -> None:
        self.do(lambda: render(self.board(), self.place / "site"), killed)
        if killed is None:
            published = {path.name for path in (self.place / "site" / "records").glob("*.json")}
            assert {record_path(self.folder, r.combo.name).name for r in read_records(self.folder).records} <= published

    @rule(number=st.integers(0, 4), how=st.sampled_from(["conflict", "remove", "npz", "predictions", "stray", "name"]))
    def edit(self, number: int, how: str) -> None:
        records = read_records(self.folder).records
        if not records:
            return
        record = records[number % len(records)]
        path = record_path(self.folder, record.combo.name)
        if how == "conflict":
            path.write_text(f"<<<<<<< ours\n{path.read_text()}=======\n{path.read_text()}>>>>>>> theirs\n")
        elif how == "remove":
            path.unlink()
        elif how == "npz":
            resamples_path(self.folder, record.combo.name).unlink(missing_ok=True)
        elif how == "predictions":
            for stored in run_path(self.folder, record.key).glob("predictions-test*"):
                stored.write_bytes(b"damaged")
        elif how == "stray":
            (path.parent / "notes.txt").write_text("mine")
        elif not (path.parent / "copy.json").exists():
            path.rename(path.parent / "copy.json")

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def no_row_mixes_two_origins(self) -> None:
        texts = {r.external for r in read_records(self.folder).records if r.external is not None}
        assert len(texts) <= 1

    @invariant()
    def validate_is_silent_exactly_when_all_fits(self) -> None:
        if self.has_begun():
            faults = [fault for fault in validate(self.board(), self.keys(), {}) if fault.problem]
            named = {fault.file for fault in faults if not fault.file.endswith((".html", ".csv"))}
            assert {Path(file).name for file in named} == self.misfits(), faults

    # --- how it is looked at ------------------------------------------------------------------------------------------

    row = ""

    def board(self) -> Board:
        return read_board(self.folder)

    def keys(self) -> CurrentKeys:
        return find_current_keys(self.board(), self.registry, read_records(self.folder).records)

    def settings(self, force: bool) -> Settings:
        cache = self.original / "cache"
        return Settings(data_root=self.folder, cache=cache, device="cpu", force=force)

    def has_begun(self) -> bool:
        return hasattr(self, "folder")

    def done(self) -> dict[tuple[str, int], Record]:
        """Finished results that belong to the board as it is."""
        keys = self.keys()
        return {
            (record.combo.row, record.combo.seed): record
            for record in read_records(self.folder).records
            if record.status == "done" and keys.why_stale(self.board(), record) is None
        }

    def do(self, act: Callable[[], object], killed: int | None, keep: set[tuple[str, int]] | None = None) -> None:
        """Do something, perhaps killed on its way; what was finished must be there."""
        before = self.done()
        intact = {name for name, record in before.items() if self.is_whole(record)}
        if killed is None:
            act()
        else:
            run_killed(act, killed)
            shutil.rmtree(claims_path(self.folder), ignore_errors=True)  # of a dead process they would be taken over
        after = self.done()
        kept = set(before) if keep is None else keep
        assert kept <= set(after), f"lost {kept - set(after)}"
        for name in kept & intact:
            assert self.is_whole(after[name]), f"{name} has lost its files"

    def is_whole(self, record: Record) -> bool:
        """Whether what the record speaks of lies there, in its place or staged for it."""
        for name, digest in record.artifacts.items():
            beside = resamples_path(self.folder, record.combo.name)
            path = beside if name == RESAMPLES else run_path(self.folder, record.key) / name
            files = [path, *path.parent.glob(f"{path.stem}.*")]
            if digest not in {hashlib.sha256(one.read_bytes()).hexdigest() for one in files if one.is_file()}:
                return False
        return True

    def misfits(self) -> set[str]:
        """What does not fit together, told without the harness."""
        wrong = set()
        records = {}
        for path in (self.folder / "records").glob("[!.]*.json"):
            try:
                document = json.loads(path.read_text())
            except ValueError:
                wrong.add(path.name)
                continue
            name = f"{document['combo']['row']}--s{document['combo']['seed']}"
            if path.stem != name:
                wrong.add(path.name)
                continue
            records[name] = document
            beside = resamples_path(self.folder, name)
            there = [p for p in beside.parent.glob(f"{name}.*npz") if not p.name.startswith(".")]
            if document["artifacts"][RESAMPLES] not in {hashlib.sha256(p.read_bytes()).hexdigest() for p in there}:
                wrong.add(beside.name)
            for artifact, digest in document["artifacts"].items():
                stored = run_path(self.folder, document["key"]) / artifact
                if artifact != RESAMPLES and stored.is_file():
                    versions = [stored, *stored.parent.glob(f"{stored.stem}.*")]
                    if digest not in {hashlib.sha256(one.read_bytes()).hexdigest() for one in versions}:
                        wrong.add(artifact)
        wrong |= {p.name for p in (self.folder / "records").glob("[!.]*.npz") if p.name.split(".")[0] not in records}
        return wrong | {p.name for p in (self.folder / "records").glob("notes.txt")}


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two boards that were run, and predictions to submit."""
    monkeypatch.setenv("HARNESS_PLUGIN", str(TOY))
    registry = load_registry([TOY])
    for name, metrics in {"board": '["auroc", "f1"]', "other": '["auroc", "f1", "brier"]'}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "board.toml").write_text(BOARD.replace('["auroc", "f1"]', metrics))
        board = read_board(folder)
        settings = Settings(data_root=folder, cache=tmp_path / "cache", device="cpu")
        records = local.run(planning.plan(board, registry, settings, lambda _: None), lambda _: None)
    stored = load_predictions(run_path(tmp_path / "other", records[0].key) / "predictions-test.npz")
    for skill in (1.0, 3.0):
        for number in range(3):
            noise = np.random.default_rng(number).normal(size=stored.logits.shape)
            replace(stored, logits=skill * np.nan_to_num(stored.targets) + noise).save(
                tmp_path / f"{skill}-{number}.npz"
            )
    Sequences.registry, Sequences.original, Sequences.row = registry, tmp_path, records[0].combo.row
    return tmp_path


def test_no_sequence_of_commands_kills_and_edits_loses_or_mixes_results(original):
    chosen = settings(max_examples=25, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Sequences, settings=chosen)
