"""CheXNet's network that gets age, sex and view beside the image, and its control."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from harness.training.weights import fill
from tests.plugins.test_models import task


@pytest.fixture(scope="module")
def model(registry):
    return registry.model("chexnet-demographics")


def told(numbers: int = 5):
    return dataclasses.replace(task(3), table=tuple(f"n{number}" for number in range(numbers)))


@pytest.mark.parametrize("width", [8, 32])
def test_images_and_rows_of_a_table_become_one_logit_a_label(model, width):
    with torch.device("meta"):
        network = model.build(told(), width=width)
        assert network(torch.empty(2, 3, 64, 64), torch.empty(2, 5, 2)).shape == (2, 14)
        assert network.classifier.in_features == 1024 + width


def test_weights_of_chexnets_network_fill_its_trunk_and_the_rest_stays_random(registry, model):
    given = registry.model("chexnet").build(task(3, 1000)).state_dict()
    network = model.build(told())
    before = network.table[0].weight.clone()
    loaded = fill(network, given, 14, "weights", model.trunk)
    assert "found their place in 'trunk', all others stay random" in loaded.note
    for name, tensor in network.trunk.state_dict().items():
        assert torch.equal(tensor, given[name]), name
    assert torch.equal(network.table[0].weight, before)


def test_the_control_is_the_same_network_whose_rows_are_permuted(registry, model):
    control = registry.model("chexnet-demographics-permuted")
    assert control.about.startswith("A control: ")
    assert (control.build, control.space) == (model.build, model.space)
    assert control.inputs == dataclasses.replace(model.inputs, permuted=True)
