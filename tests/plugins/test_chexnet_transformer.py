"""CheXNet's network with a transformer encoder for its head."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from harness.errors import UsageError
from harness.parameters import complete, find_types
from harness.training.weights import fill
from tests.plugins.test_models import task


@pytest.fixture(scope="module")
def model(registry):
    return registry.model("chexnet-transformer")


@pytest.mark.parametrize(("channels", "labels", "size"), [(1, 14, 32), (1, 14, 64), (3, 1, 224)])
def test_images_become_one_logit_a_label(model, channels, labels, size):
    with torch.device("meta"):
        network = model.build(task(channels, labels, size))
        assert network(torch.empty(2, channels, size, size)).shape == (2, labels)


def test_its_head_is_an_encoder_over_places_with_as_many_layers_and_heads_as_asked(model):
    with torch.device("meta"):
        network = model.build(task(), layers=3, heads=4, drop_rate=0.2)
    layers = [part for part in network.modules() if isinstance(part, torch.nn.TransformerEncoderLayer)]
    assert len(layers) == 3
    for layer in layers:
        assert (layer.self_attn.embed_dim, layer.self_attn.num_heads, layer.dropout.p) == (1024, 4, 0.2)
    seen = []
    layers[0].register_forward_hook(lambda _, given, made: seen.append(given[0].shape))
    network(torch.empty(2, 1, 96, 96, device="meta"))
    assert seen == [(2, 9, 1024)]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"layers": 0}, "layers must be a whole number between 1 and 100"),
        ({"heads": 0}, "heads must be 1, 2, 4, 8"),
        ({"heads": 7}, "heads must be 1, 2, 4, 8"),
    ],
)
def test_a_head_that_cannot_be_is_refused_with_what_can(model, params, says):
    with pytest.raises(UsageError, match=says):
        complete(model, model.build, params)


def test_as_many_heads_as_it_allows_divide_the_features(model):
    for heads in get_args(find_types(model.build)["heads"]):
        assert 1024 % heads == 0


def test_weights_of_chexnets_network_fill_its_trunk_and_the_head_stays_random(registry, model):
    given = registry.model("chexnet").build(task(3, 1000)).state_dict()
    network = model.build(task(3))
    head = network.encoder[0].linear1.weight.clone()
    loaded = fill(network, given, 14, "weights", model.trunk)
    assert "found their place in 'trunk', all others stay random" in loaded.note
    for name, tensor in network.trunk.state_dict().items():
        assert torch.equal(tensor, given[name]), name
    assert torch.equal(network.encoder[0].linear1.weight, head)
