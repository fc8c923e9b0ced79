"""What of a board is to be measured on its outside tests: which finished rows lack which of them, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.board import Board, OutsideTest
from harness.components import TOLD
from harness.data.outside import OutsideData, find_outside, load_outside
from harness.data.prepare import prepare
from harness.errors import DataError, PluginError
from harness.execution.events import Listener, Noted
from harness.execution.outside_parts import PreparedTest, explain, identify_part
from harness.registry import Registry
from harness.results.artifacts import has_artifact
from harness.results.identity import fingerprint
from harness.results.layout import outside_file, run_path
from harness.results.record import FailurePart, Record
from harness.results.shadow import DECLARED_OTHERWISE, is_declared
from harness.results.staleness import why_part_changed
from harness.results.store import read_records

if TYPE_CHECKING:
    from harness.execution.job import Job
    from harness.execution.planning import Planned, Settings

LOST = "board.toml asks for numbers that it lacks, and its predictions are gone"
UNTRAINED = "after its training"
"""Why a combo is to be measured that is to be run first."""


@dataclass(eq=False, kw_only=True)
class TestPlan:
    """An outside test as this machine has it, with its images by their size as rows ask for them."""

    test: OutsideTest
    found: OutsideData | None
    problem: FailurePart | None
    """Why its data cannot be had here."""
    sizes: dict[int, PreparedTest] = field(default_factory=dict)
    obstacle: str = ""
    """Why its images cannot be had, as far as that is known without decoding them."""
    prints: dict[int, str | None] = field(default_factory=dict)
    """The fingerprint of the images that are in use at a size; None where they cannot be had here."""

    @property
    def title(self) -> str:
        """What readers know it as."""
        return self.test.title or self.test.key

    def find_print(self, size: int, settings: Settings) -> str | None:
        """The fingerprint of the images in use at a size, as far as label files and the cache tell; decodes nothing."""
        if size not in self.prints:
            self.prints[size] = None
            if self.found is not None:
                try:
                    prepared = prepare(self.found.source, self.found.data, size, settings.cache, decode_now=False)
                    self.prints[size] = fingerprint(prepared.data)
                except DataError as error:
                    self.obstacle = str(error)
        return self.prints[size]


@dataclass(frozen=True)
class Wanted:
    """A combo that is to be measured on an outside test, or need not be."""

    plan: TestPlan
    planned: Planned
    reason: str | None
    """Why it is to be measured; None where it is measured already."""


def plan_outside(
    board: Board, registry: Registry, settings: Settings, planned: Sequence[Planned], listener: Listener
) -> tuple[Wanted, ...]:
    """What of a plan's combos is to be measured on the board's outside tests, test by test.

    Reads label files and opens no image. Raises `UsageError` or `UnknownNameError` for a test that the board cannot
    mean; one whose data are not here is told, and the board goes on.
    """
    if not board.tests or not planned:
        return ()
    wanted: list[Wanted] = []
    for test in board.tests:
        plan = _load(test, registry, settings, planned[0].job, listener)
        for size in {item.job.choices.recipe.load_size for item in planned}:
            plan.find_print(size, settings)
        of_test = [Wanted(plan, item, _find_reason(plan, item, settings)) for item in planned]
        if plan.obstacle and any(one.reason is not None for one in of_test):
            listener(Noted(f"outside test {plan.title} would fail: {plan.obstacle}"))
        wanted += of_test
    submitted = sorted({r.combo.row for r in read_records(board.folder).records if r.external is not None})
    if submitted and any(one.reason is not None for one in wanted):
        listener(Noted(f"{', '.join(submitted)}: submitted without a network, so not measured on outside tests"))
    return tuple(wanted)


def _load(test: OutsideTest, registry: Registry, settings: Settings, own: Job, listener: Listener) -> TestPlan:
    """Read a test's label files, and tell what a person should know of them."""
    source = find_outside(registry.offer("dataset", test.dataset), test.options, settings.data_root)
    name, data = own.source.dataset.name, own.prepared.data
    found, problem = None, None
    try:
        found = load_outside(source, test.splits, name, data.labels)
    except (DataError, PluginError) as error:
        problem = explain("data", str(error))
    plan = TestPlan(test=test, found=found, problem=problem)
    if problem is not None:
        listener(Noted(f"outside test {plan.title}: {problem.message}"))
    if found is not None:
        plan.found = replace(found, data=replace(found.data, mirrors=data.mirrors))  # as the networks were trained
        for note in (note for note in TOLD if note in found.data.notes):
            listener(Noted(f"outside test {plan.title}: {note.replace('_', ' ')}: {found.data.notes[note]}"))
    return plan


def _find_reason(plan: TestPlan, item: Planned, settings: Settings) -> str | None:
    if item.reason is not None:
        return UNTRAINED
    record = item.before
    if record is None or record.status != "done":
        return None
    part = record.outside.get(plan.test.key)
    if part is None:
        return "not measured"
    if part.status == "failed":
        return "failed before"
    if plan.found is None or record.key != item.job.key:
        return None  # it keeps what another machine had the data for
    print_now = plan.find_print(item.job.choices.recipe.load_size, settings)
    if print_now is None:
        return None
    if part.key != identify_part(plan.found, print_now, record):
        return "out of date: its data, labels or weights have changed"
    job = item.job
    if part.status == "done" and job.missing is None and not is_declared(job.seen, part.pretraining):
        return DECLARED_OTHERWISE
    return LOST if lost_predictions(item.job.board, record, plan.test) else None


def lost_predictions(board: Board, record: Record, test: OutsideTest) -> bool:
    """Whether board.toml asks for numbers that a part lacks, and its predictions are gone."""
    file = outside_file(test.key)
    digest = record.outside[test.key].artifacts.get(file)
    changed = why_part_changed(board, record, test) is not None
    return changed and not has_artifact(run_path(board.folder, record.key) / file, digest)
