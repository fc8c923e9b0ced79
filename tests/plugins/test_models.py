"""Bundled networks build, map images to logits, and repeat themselves."""

from __future__ import annotations

import inspect

import pytest
import timm
import torch

from harness import Task
from harness.errors import UnknownNameError

HEAVY = ["chexnet", "efficientnet-b0", "efficientnet-b3", "resnet50", "vit-b16", "convnext-tiny"]


def task(channels: int = 1, labels: int = 14, size: int = 64) -> Task:
    names = tuple(f"l{n}" for n in range(labels))
    return Task(
        labels=names,
        channels=channels,
        size=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        prevalence=(0.1,) * labels,
    )


@pytest.mark.parametrize("name", [*HEAVY, "tiny-cnn", "timm/resnet18"])
@pytest.mark.parametrize(("channels", "labels", "size"), [(1, 14, 64), (3, 1, 224)])
def test_images_become_one_logit_a_label(registry, name, channels, labels, size):
    with torch.device("meta"):  # shapes only: no weights, no arithmetic
        network = registry.model(name).build(task(channels, labels, size))
        assert network(torch.empty(2, channels, size, size)).shape == (2, labels)


@pytest.mark.parametrize("name", ["tiny-cnn", "timm/test_vit", "timm/test_efficientnet", "timm/test_convnext"])
def test_logits_are_finite_and_do_not_depend_on_the_batch_around_them(registry, name):
    network = registry.model(name).build(task()).eval().to(memory_format=torch.channels_last)
    images = torch.randn(4, 1, 64, 64)
    with torch.inference_mode():
        together, alone = network(images), network(images[:1])
        with torch.autocast("cpu", torch.bfloat16):
            assert network(images).isfinite().all()
    assert together.isfinite().all()
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny-cnn", "timm/test_vit"])
def test_two_builds_with_one_seed_are_equal(registry, name):
    built = []
    for _ in range(2):
        torch.manual_seed(3)
        built.append(registry.model(name).build(task()).state_dict())
    assert all(torch.equal(one, other) for one, other in zip(built[0].values(), built[1].values(), strict=True))


def test_every_name_in_a_space_is_a_parameter(registry):
    for kind in ("model", "loss"):
        for offer in registry.offers[kind].values():
            assert set(offer.component.space) <= set(inspect.signature(offer.component.build).parameters), (
                offer.component.name
            )


def test_parameters_change_the_network(registry):
    model = registry.model("tiny-cnn")
    sizes = [sum(p.numel() for p in model.build(task(), width=width).parameters()) for width in (8, 16)]
    assert sizes[0] < sizes[1]
    network = registry.model("chexnet").build(task(), drop_rate=0.4)
    assert "Dropout(p=0.4" in str(network)


def test_a_timm_name_resolves_to_its_full_tagged_name_and_inputs(registry):
    assert registry.model("timm/resnet18").name == "timm/resnet18.a1_in1k"
    assert registry.model("timm/resnet18.tv_in1k").name == "timm/resnet18.tv_in1k"
    assert registry.model("timm/vit_base_patch16_224").inputs.mean == (0.5, 0.5, 0.5)


def test_the_resolved_name_of_a_network_without_weights_resolves_again(registry):
    name = registry.model("timm/ghostnet_050").name
    assert registry.model(name).name == name == "timm/ghostnet_050"


@pytest.mark.parametrize(
    ("name", "near"), [("timm/resnet1888", "resnet18"), ("timm/resnet18.tv_in2k", "resnet18.tv_in1k")]
)
def test_a_name_that_timm_does_not_know_gets_the_nearest(registry, name, near):
    with pytest.raises(UnknownNameError, match=f"did you mean '{near}"):
        registry.model(name)


@pytest.mark.parametrize("name", HEAVY)
def test_named_models_eat_what_their_weights_were_trained_on(registry, name):
    model = registry.model(name)
    config = timm.get_pretrained_cfg(model.build.keywords["architecture"])
    assert config is not None  # such weights exist
    assert (model.inputs.mean, model.inputs.std) == (config.mean, config.std)


def test_named_models_are_the_networks_they_say(registry):
    with torch.device("meta"):
        sizes = {
            name: sum(p.numel() for p in registry.model(name).build(task(3, 1000, 224)).parameters()) for name in HEAVY
        }
    # parameters at 1,000 classes, as the architectures' papers and torchvision's model tables give them
    millions = {
        "chexnet": 8.0,
        "efficientnet-b0": 5.3,
        "efficientnet-b3": 12.2,
        "resnet50": 25.6,
        "vit-b16": 86.6,
        "convnext-tiny": 28.6,
    }
    assert {name: round(size / 1e6, 1) for name, size in sizes.items()} == millions
