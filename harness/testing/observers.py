"""Checks of an observer: it takes every event of a run."""

from __future__ import annotations

from collections.abc import Callable

from harness.testing.contract import ContractError, NotApplicable, Subject
from harness.testing.processes import watch_elsewhere

COMBO = {"combo": "net--bce--demo--s0", "time": "2030-01-01T00:00:00.000+00:00"}
EPOCH = {"train_loss": 0.5, "val_loss": None, "value": None, "lr": 1e-3, "best": True, "seconds": 1.0, "images": 64}
EVENTS = (
    {"event": "combo started", **COMBO, "number": 1, "total": 2, "epochs": 1},
    {"event": "epoch finished", **COMBO, "epoch": 1, "epochs": 1, **EPOCH},
    {"event": "combo finished", **COMBO, "status": "done", "seconds": 2.0, "metrics": {"auroc": 0.7}, "failure": None},
    {"event": "combo started", **COMBO, "number": 2, "total": 2, "epochs": 1},
    {"event": "combo finished", **COMBO, "status": "failed", "seconds": 1.0, "metrics": {}, "failure": "no memory"},
    {"event": "of a later version", **COMBO},
)


def check_takes_every_event(subject: Subject) -> None:
    """Takes a run that ends well and one that fails, undefined values (None), and events that it does not know."""
    answer = watch_elsewhere(subject, EVENTS)
    if answer["absent"]:
        raise NotApplicable(f"{answer['absent']} is not installed")
    if answer["error"]:
        raise ContractError(
            f"told of '{answer['event']}' it raised {answer['error']}",
            "leave out values that are None, and pass over events that are not known",
        )
    if answer["beside"]:
        raise ContractError(f"it wrote {answer['beside'][0]} into the board's folder", "write under folder / 'runs'")


CHECKS: tuple[Callable[[Subject], None], ...] = (check_takes_every_event,)
