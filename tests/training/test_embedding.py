"""Embeddings are what the last linear layer of any network is given, and known by all that made them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from harness.board import Row
from harness.choices import Choices, resolve
from harness.data.augmentation import evaluation_views
from harness.data.embeddings import Embeddings
from harness.data.placement import Placed, place
from harness.data.prepare import Prepared
from harness.errors import PluginError
from harness.parameters import override
from harness.registry import load_registry
from harness.training.build import describe_inputs
from harness.training.embedding import build_frozen, embed, find_last_layer
from harness.training.engine import EngineOptions
from harness.training.heads import LinearHead
from harness.training.prediction import Predictor
from tests.conftest import TOY

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def probes():
    return load_registry([TOY, TOY.with_name("probes.py")])


@pytest.fixture
def choose(probes):
    def make(model: str = "tiny-cnn", **changes) -> Choices:
        choices = resolve(Row(model=model, loss="bce", recipe="toy-linear"), probes)
        return replace(choices, recipe=override(choices.recipe, changes))

    return make


@pytest.fixture
def make(prepared):
    """Embed the images, as a run does; also gives how often a network was asked for."""
    return Maker(prepared)


class Maker:
    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.asked = 0

    def __call__(self, choices: Choices, seed: int = 0) -> Embeddings:
        inputs = describe_inputs(self.prepared, choices.recipe, choices.model.inputs, seed)
        return embed(choices, self.prepared, self.place, inputs, seed, CPU, EngineOptions())

    def place(self) -> Placed:
        self.asked += 1
        return place(self.prepared, CPU)


def run_network(choices: Choices, prepared, seed: int = 0) -> tuple[np.ndarray, np.ndarray, nn.Module]:
    """Embeddings (N, D), the mean of the views' logits (N, C), and the layer, by the network's own forward."""
    task, _ = describe_inputs(prepared, choices.recipe, choices.model.inputs, seed)
    frozen = build_frozen(choices.model, choices.model_params, task, "random", seed, CPU)
    layer, seen = frozen.network.get_submodule(frozen.layer), []
    layer.register_forward_hook(lambda module, given, made: seen.append(given[0]))
    images = torch.from_numpy(np.asarray(prepared.images))
    with torch.no_grad():
        views = evaluation_views(images, choices.recipe, task, mirrors=prepared.data.mirrors)
        logits = torch.stack([frozen.network(view) for view in views]).mean(0)
    return torch.stack(seen).mean(0).numpy(), logits.numpy(), layer


@pytest.mark.parametrize("model", ["tiny-cnn", "toy-net"])
def test_embeddings_are_the_input_of_the_last_layer_by_the_networks_own_forward(choose, make, prepared, model):
    choices = choose(model)
    embeddings = make(choices)
    expected, _, _ = run_network(choices, prepared)
    np.testing.assert_allclose(embeddings.values, expected, atol=1e-5)
    assert embeddings.values.dtype == np.float32


def test_cached_embeddings_are_those_that_were_made_and_no_network_is_asked_for_again(choose, make):
    made = np.array(make(choose()).values)
    again = make(choose())
    assert np.array_equal(again.values, made)
    assert make.asked == 1


def test_the_mean_embedding_of_several_views_gives_the_mean_of_their_logits(choose, make, prepared):
    choices = choose(evaluate_at="ten-crop", size=12, load_size=16)
    _, logits, layer = run_network(choices, prepared)
    with torch.no_grad():
        found = layer(torch.from_numpy(make(choices).values))
    np.testing.assert_allclose(found.numpy(), logits, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"size": 12, "load_size": 16}, {"precision": "bf16"}, {"evaluate_at": "ten-crop", "load_size": 16}],
    ids=["size", "precision", "views"],
)
def test_other_images_or_numbers_are_other_embeddings(choose, make, changes):
    first = make(choose())
    assert make(choose(**changes)).key != first.key
    assert make.asked == 2


def test_embeddings_that_are_not_finite_are_refused_and_not_kept(choose, make, monkeypatch):
    choices = choose()
    monkeypatch.setattr(Predictor, "logits_at", lambda self, index: torch.full((len(index), self.width), torch.nan))
    with pytest.raises(PluginError, match=r"hold NaN or infinite values; look at the network's weights"):
        make(choices)
    monkeypatch.undo()
    assert np.isfinite(make(choices).values).all()


def test_the_seed_the_model_and_its_parameters_matter_and_strengths_do_not(choose, make):
    first = make(choose())
    wide = replace(choose(), model_params={"width": 8, "drop_rate": 0.0})
    keys = {first.key, make(choose(), seed=1).key, make(choose("toy-net")).key, make(wide).key}
    assert len(keys) == 4
    assert make(choose(strengths=[1.0])).key == first.key


def test_the_seed_does_not_matter_where_weights_are_given(choose, make, tmp_path, prepared):
    from safetensors.torch import save_file

    choices = choose()
    task, _ = describe_inputs(prepared, choose(weights="some.pth").recipe, choices.model.inputs, 0)
    network = choices.model.build(task, **choices.model_params)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    given = choose(weights=str(tmp_path / "w.safetensors"))
    assert make(given, seed=0).key == make(given, seed=1).key
    assert make.asked == 1


@pytest.mark.slow
@pytest.mark.parametrize("model", ["chexnet", "efficientnet-b0", "vit-b16", "convnext-tiny", "timm/resnet18"])
def test_the_last_layer_of_bundled_networks_is_found(registry, model):
    from harness.testing.samples import make_task

    found = registry.model(model)
    size = 224 if model == "vit-b16" else 64
    task = make_task(channels=3, labels=14, size=size)
    frozen = build_frozen(found, {"drop_rate": 0.0}, task, "random", 0, CPU)
    assert isinstance(frozen.network.get_submodule(frozen.layer), nn.Linear)
    assert frozen.width >= 512
    before = frozen.digest()
    frozen.put(LinearHead(frozen.width, 14))
    assert frozen.digest() == before
    assert frozen.network(torch.zeros(1, 3, size, size)).shape == (1, 14)


def test_a_network_without_a_last_linear_layer_is_refused_in_a_sentence(task):
    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)).expand(-1, 3)

    with pytest.raises(PluginError, match=r"must be one torch.nn.Linear .* this network has none"):
        find_last_layer(Odd(), task, CPU)
