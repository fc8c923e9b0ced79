"""`wandb`: a run of Weights & Biases for each combo, as the paper logged its trainings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import Observer, Tell, hookimpl

CURVES = ("train_loss", "val_loss", "value", "lr")


def watch(folder: Path) -> Tell:
    """Log one run for each combo in the project of the board's name, files under `runs/wandb`.

    WANDB_MODE=offline keeps it on this machine, WANDB_PROJECT gives another project.
    """
    import os

    import wandb

    project = os.environ.get("WANDB_PROJECT", folder.resolve().name)
    files = folder / "runs" / "wandb"
    runs: dict[str, Any] = {}

    def tell(event: Mapping[str, Any]) -> None:
        name = event["combo"]
        if event["event"] == "combo started":
            files.mkdir(parents=True, exist_ok=True)
            runs[name] = wandb.init(project=project, name=name, dir=str(files), reinit="create_new")
        elif event["event"] == "epoch finished":
            known = {curve: event[curve] for curve in CURVES if event[curve] is not None}
            runs[name].log(known, step=event["epoch"])
        elif event["event"] == "combo finished" and name in runs:
            runs[name].summary.update({"status": event["status"], **event["metrics"]})
            runs.pop(name).finish(exit_code=0 if event["status"] == "done" else 1)

    return tell


@hookimpl
def harness_observers() -> Iterable[Observer]:
    """Weights & Biases."""
    return [
        Observer(
            name="wandb", watch=watch, about="one run of Weights & Biases for each combination (pip install wandb)"
        )
    ]
