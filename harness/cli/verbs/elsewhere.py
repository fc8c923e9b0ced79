"""What verbs that work on other machines have in common: `--on` and what belongs to it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from harness.cli.output import say
from harness.errors import UsageError
from harness.text import agree, count

if TYPE_CHECKING:
    from harness.execution.order import DeviceKind
    from harness.execution.planning import Settings
    from harness.execution.submitter import Elsewhere
    from harness.registry import Registry


def find_elsewhere(
    registry: Registry,
    settings: Settings,
    *,
    on: str,
    options: Sequence[str] | Mapping[str, Any] | None,
    jobs: int | None,
    device: str,
    plugins: Sequence[Path],
    cache: Path | None,
) -> Elsewhere | None:
    """The machines that are asked for; None for this one. Raises `HarnessError` for what cannot be meant."""
    from harness.execution.engines import LOCAL, find_destination
    from harness.parameters import parse_assignments

    given = options if isinstance(options, Mapping) else parse_assignments("--on-option", options or ())
    if on == LOCAL:
        if given or jobs is not None:
            raise UsageError("--on-option and --jobs are about other machines; name them with --on, such as --on slurm")
        return None
    if any(argument.partition("=")[0] == "--workers" for argument in sys.argv):
        raise UsageError("--workers is about this machine; with --on, --jobs says how many workers there are")
    from harness.execution.submitter import Elsewhere

    return Elsewhere(
        to=find_destination(registry.executor(on), given),
        settings=settings,
        registry=registry,
        plugins=tuple(plugins),
        device=find_device_kind(device),
        jobs=jobs,
        cache=cache,
    )


def find_device_kind(device: str) -> DeviceKind:
    """What each worker elsewhere trains on. Raises `UsageError` for devices of this machine."""
    from harness.execution.order import DeviceKind

    kind: DeviceKind
    for kind in get_args(DeviceKind):
        if device == kind:
            return kind
    raise UsageError(f"--device {device} names devices of this machine; with --on, give auto, cpu or cuda")


def find_own_device(device: str) -> str:
    """What this process itself works on, while others train: a GPU where it has one and may."""
    from harness.machine import count_gpus

    return "cuda" if device != "cpu" and count_gpus() else "cpu"


def explain_leaving(jobs: int, command: str) -> str:
    """Say that jobs go on without this process, and how to come back to them or to cancel them."""
    return (
        f"left; {count(jobs, 'job')} {agree(jobs, 'goes', 'go')} on without this process. Come back with: {command}; "
        f"cancel with: {command} --cancel"
    )


def cancel_jobs(folder: Path, registry: Registry, on: str) -> None:
    """Cancel a board's jobs, those of one executor where one is named, and say what became of them.

    Raises `UsageError` where there is no board, and `UnknownNameError` for an executor that has no job of it and that
    no plugin offers.
    """
    from harness.board import BOARD_FILE
    from harness.execution.cancellation import cancel
    from harness.execution.engines import LOCAL
    from harness.execution.jobs import JobBook

    left = Counter(note.executor for note in JobBook(folder).find_open())
    if not left and not (folder / BOARD_FILE).is_file():
        raise UsageError(f"{folder} is no board: it holds no {BOARD_FILE}, and so there are no jobs to cancel")
    if on != LOCAL and on not in left:
        registry.executor(on)
    asked = left.total() if on == LOCAL else left[on]
    if not asked:
        say(_explain_nothing(folder, on, left))
        return
    done = cancel(folder, registry, None if on == LOCAL else on)
    for line in done.lost:
        say(line)
    over = asked - done.jobs - len(done.lost)
    if done.jobs:
        say(f"cancelled {count(done.jobs, 'job')}; what is finished is kept")
    else:
        say(
            "nothing was cancelled"
            + (f": {count(over, 'job')} {agree(over, 'was', 'were')} over already" if over else "")
        )


def _explain_nothing(folder: Path, on: str, left: Mapping[str, int]) -> str:
    """Say that there is no job to cancel, and where there are some."""
    if not left:
        return f"{folder} has no jobs on other machines: there is nothing to cancel"
    others = " and ".join(f"{number} on {name}" for name, number in sorted(left.items()))
    return f"{folder} has no jobs on {on}, but {others}: nothing was cancelled"
