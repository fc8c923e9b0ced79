"""The whole extension surface: seven hooks.

A plugin is a module with one or more of these functions, marked `@harness.hookimpl`. Each is called once, without
arguments, and must be cheap: torch, timm and downloads wait inside `load`, `build`, `compute`, `watch` and `open`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from harness.components import Dataset, Executor, Loss, Metric, Model, Observer, Recipe

hookspec = pluggy.HookspecMarker("harness")
hookimpl = pluggy.HookimplMarker("harness")


@hookspec
def harness_datasets() -> Iterable[Dataset]:  # type: ignore[empty-body]
    """Sources of images, targets, patients and a split."""


@hookspec
def harness_models() -> Iterable[Model]:  # type: ignore[empty-body]
    """Networks from images (B, K, H, W) to logits (B, C)."""


@hookspec
def harness_losses() -> Iterable[Loss]:  # type: ignore[empty-body]
    """Functions of logits (B, C) and targets (B, C)."""


@hookspec
def harness_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]
    """Numbers about scores or decisions (N, C) and targets (N, C), one for each label."""


@hookspec
def harness_recipes() -> Iterable[Recipe]:  # type: ignore[empty-body]
    """Sets of training choices."""


@hookspec
def harness_observers() -> Iterable[Observer]:  # type: ignore[empty-body]
    """Listeners to runs, such as logs and experiment trackers."""


@hookspec
def harness_executors() -> Iterable[Executor]:  # type: ignore[empty-body]
    """Places to run combos on, such as a cluster."""
