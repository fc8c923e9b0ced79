"""What a model may know about the data, taken from the training split alone."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Inputs, Recipe, Task
from harness.data.prepare import Prepared

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

SAMPLE = 10_000
"""Training images, drawn at random, that mean and standard deviation are taken from: enough, and quick to read."""


def make_task(prepared: Prepared, recipe: Recipe, inputs: Inputs, table: tuple[str, ...] = ()) -> Task:
    """The task of a network that eats `inputs`: from scratch, one grey channel normalized by the dataset's statistics;
    with given weights, what those were trained on. `table` names what it gets beside images.
    """
    training = np.flatnonzero(prepared.data.table["split"].to_numpy() == "train")
    if recipe.weights == "random":
        channels = inputs.channels or 1
        mean, std = _pixel_statistics(prepared.images, training)
        means, stds = (mean,) * channels, (std,) * channels
    else:
        channels, means, stds = inputs.channels or 3, inputs.mean, inputs.std
        if channels == 1 and len(means) > 1:
            means, stds = (float(np.mean(means)),), (float(np.mean(stds)),)
    return Task(
        labels=prepared.data.labels,
        channels=channels,
        size=recipe.size,
        mean=means,
        std=stds,
        prevalence=_prevalence(prepared.data.targets[training]),
        table=table,
    )


def make_example(task: Task, count: int, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """What a network of this task is called with, without content: images, and rows of a table where it gets some."""
    import torch

    images = torch.zeros(count, task.channels, task.size, task.size, device=device)
    return (images, torch.zeros(count, len(task.table), 2, device=device)) if task.table else (images,)


def _pixel_statistics(images: NDArray[np.uint8], training: NDArray[np.intp]) -> tuple[float, float]:
    """Mean and standard deviation of pixels in 0..1, exact over the sampled images: their histogram is enough."""
    chosen = training
    if len(training) > SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(training, SAMPLE, replace=False))
    histogram = np.zeros(256)
    for index in chosen:
        histogram += np.bincount(images[index].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float((histogram * values).sum() / histogram.sum())
    variance = float((histogram * (values - mean) ** 2).sum() / histogram.sum())
    return mean, max(variance**0.5, 1 / 255)


def _prevalence(targets: NDArray[np.float32]) -> tuple[float, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a label without a known target has no prevalence: NaN
        return tuple(float(value) for value in np.nanmean(targets.astype(np.float64), axis=0))
