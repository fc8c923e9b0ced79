"""What a model may know comes from the training split alone."""

from __future__ import annotations

import dataclasses

import numpy as np

from harness import Inputs
from harness.data.prepare import Prepared
from harness.training.task import make_task


def training_rows(prepared: Prepared) -> np.ndarray:
    return (prepared.data.table["split"] == "train").to_numpy()


def test_statistics_are_those_of_training_pixels(prepared, recipe):
    task = make_task(prepared, recipe, Inputs())
    pixels = prepared.images[training_rows(prepared)] / 255
    np.testing.assert_allclose(task.mean, [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(task.std, [pixels.std()], rtol=1e-9)
    assert (task.channels, task.size, task.labels) == (1, 16, ("first", "second", "third"))


def test_prevalence_counts_known_training_targets(prepared, recipe):
    targets = prepared.data.targets.copy()
    rows = training_rows(prepared)
    targets[np.flatnonzero(rows)[:5], 0] = np.nan
    targets[rows, 2] = np.nan
    targets[~rows] = 1
    task = make_task(
        dataclasses.replace(prepared, data=dataclasses.replace(prepared.data, targets=targets)), recipe, Inputs()
    )
    np.testing.assert_allclose(task.prevalence[:2], np.nanmean(targets[rows][:, :2], axis=0), rtol=1e-6)
    assert np.isnan(task.prevalence[2])


def test_test_images_change_nothing(prepared, recipe):
    images = prepared.images.copy()
    images[~training_rows(prepared)] = 0
    assert make_task(dataclasses.replace(prepared, images=images), recipe, Inputs()) == make_task(
        prepared, recipe, Inputs()
    )


def test_pretrained_networks_get_what_their_weights_were_trained_on(prepared, recipe):
    pretrained = dataclasses.replace(recipe, weights="imagenet")
    task = make_task(prepared, pretrained, Inputs(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)))
    assert (task.channels, task.mean, task.std) == (3, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    grey = make_task(prepared, pretrained, Inputs(channels=1, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)))
    assert (grey.channels, len(grey.mean), len(grey.std)) == (1, 1, 1)


def test_a_network_that_wants_three_channels_gets_them_from_scratch_too(prepared, recipe):
    task = make_task(prepared, recipe, Inputs(channels=3))
    assert task.mean == (task.mean[0],) * 3
