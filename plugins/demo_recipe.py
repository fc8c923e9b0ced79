"""A short training from scratch at 64 px, for machines without a GPU."""

from __future__ import annotations

from collections.abc import Iterable

from harness import Augment, Float, Int, Recipe, Schedule, hookimpl


@hookimpl
def harness_recipes() -> Iterable[Recipe]:
    """Demo."""
    return [
        Recipe(
            name="demo",
            optimizer="adamw",
            lr=3e-3,
            weight_decay=1e-2,
            schedule=Schedule(kind="one-cycle"),
            epochs=6,
            batch_size=32,
            load_size=64,
            size=64,
            augment=Augment(flip=True),
            space={"lr": Float(1e-4, 1e-1, log=True), "weight_decay": Float(1e-5, 1.0, log=True), "epochs": Int(2, 20)},
            about="six epochs from scratch at 64 px: minutes on a CPU",
        )
    ]
