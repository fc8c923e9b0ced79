"""`tensorboard`: curves of each combo for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import Observer, Tell, hookimpl

CURVES = ("train_loss", "val_loss", "value", "lr")


def watch(folder: Path) -> Tell:
    """Write to `runs/tensorboard/COMBO`; look at it by `tensorboard --logdir BOARD/runs/tensorboard`."""
    from torch.utils.tensorboard import SummaryWriter

    writers: dict[str, Any] = {}

    def tell(event: Mapping[str, Any]) -> None:
        name = event["combo"]
        if event["event"] == "epoch finished":
            if name not in writers:
                writers[name] = SummaryWriter(str(folder / "runs" / "tensorboard" / name))
            for curve in CURVES:
                if event[curve] is not None:
                    writers[name].add_scalar(curve, event[curve], event["epoch"])
        elif event["event"] == "combo finished" and name in writers:
            for metric, value in event["metrics"].items():
                if value is not None:
                    writers[name].add_scalar(f"test/{metric}", value)
            writers.pop(name).close()

    return tell


@hookimpl
def harness_observers() -> Iterable[Observer]:
    """TensorBoard."""
    return [Observer(name="tensorboard", watch=watch, about="curves for TensorBoard (pip install tensorboard)")]
