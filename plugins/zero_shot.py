"""Scores without training: an image-text encoder with a head of sentences."""

from __future__ import annotations

from collections.abc import Iterable

from harness import Recipe, hookimpl


@hookimpl
def harness_recipes() -> Iterable[Recipe]:
    """zero-shot."""
    return [
        Recipe(
            name="zero-shot",
            train="nothing",
            weights="pretrained",
            precision="float32",
            about="nothing is trained: images are held against sentences about each label (model.prompts)",
        )
    ]
