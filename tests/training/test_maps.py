"""A network's maps and the baselines' held against boxes, split by split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.components import Inputs, Metric, Recipe
from harness.data.boxes import find_boxes
from harness.data.placement import place
from harness.data.prepare import Prepared
from harness.errors import PluginError
from harness.registry import load_registry
from harness.training.attribution import Explainer
from harness.training.maps import hold_against_boxes
from harness.training.task import make_task
from tests.fixtures.boxed import load_boxed

RECIPE = Recipe(name="r", size=16, load_size=16)
REGISTRY = load_registry()
POINTING, IOU = (REGISTRY.metric(name) for name in ("pointing", "iou"))


def hold(metrics, explainer_maps=None, **boxes):
    """The toy's values, of maps of a network of random weights or of the given function of images and labels."""
    data = load_boxed(Path(), **boxes)
    placed = place(Prepared(data=data, images=data.images), torch.device("cpu"))
    task = make_task(placed.prepared, RECIPE, Inputs())
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten())
    network.append(torch.nn.Linear(4 * 256, 3))
    explainer = Explainer.of(network, task, RECIPE, mirrors=False)
    if explainer_maps is not None:
        object.__setattr__(explainer, "explain", explainer_maps)
    return hold_against_boxes(explainer, placed, find_boxes(data), metrics), data


def test_a_map_of_the_right_corner_hits_every_box_and_one_of_the_left_some():
    def corner(images, labels, table=None):
        maps = torch.zeros(len(images), 16, 16)
        for number, label in enumerate(labels):
            maps[number, (2, 2, 13)[label], (2, 13, 13)[label]] = 1
        return maps

    found, data = hold([POINTING], corner)
    assert set(found.test.label.tolist()) <= set(data.labels)
    hits = {label: found.test.values["network"]["pointing"][found.test.label == label] for label in data.labels}
    # boxes of the toy: upper left, lower left, lower right
    assert hits["first"].all()
    assert not hits["second"].any()
    assert hits["third"].all()


def test_pairs_are_the_images_of_test_with_boxes_and_validation_is_measured_for_thresholds_alone():
    found, data = hold([POINTING])
    test = data.table["split"].to_numpy() == "test"
    assert len(found.test.image) == int(data.targets[test].sum())
    assert set(found.test.image) <= set(data.table["image"][test])
    assert found.val is None
    both, _ = hold([POINTING, IOU])
    assert both.val is not None
    assert set(both.val.image) <= set(data.table["image"][data.table["split"] == "val"])
    assert both.val.values["network"]["iou"].shape == (len(both.val.image), 19)
    assert hold([POINTING, IOU], val=False)[0].val is None


def test_the_usual_place_is_that_of_training_and_the_center_is_the_images():
    found, _ = hold([POINTING])
    assert found.usual == "This map counts how many of the training split's boxes of the label cover each place."
    assert found.test.values["usual place"]["pointing"].all()  # the toy's findings never move
    assert not found.test.values["center"]["pointing"].any()


def test_without_boxes_in_training_the_usual_place_is_that_of_other_patients():
    found, _ = hold([POINTING], train=False)
    assert "over all other patients of the same split: training has no boxes" in found.usual
    assert found.test.values["usual place"]["pointing"].all()


def test_a_patients_own_box_tells_nothing_of_where_those_of_others_are():
    found, _ = hold([POINTING], train=False, alone="first")
    values = found.test.values["usual place"]["pointing"]
    assert (found.test.label == "first").sum() == 1
    assert not values[found.test.label == "first"].any()
    assert values[found.test.label != "first"].all()


def test_a_metric_that_gives_no_number_for_a_map_is_refused():
    broken = Metric(name="broken", compute=lambda maps, inside: np.full(len(maps), np.nan), on="maps")
    with pytest.raises(PluginError, match=r"'broken' must give a map a value in its range 0..1, never NaN"):
        hold([broken])
    short = Metric(name="short", compute=lambda maps, inside: np.zeros(1), on="maps")
    with pytest.raises(PluginError, match="'short' must return a value for each of the"):
        hold([short])
