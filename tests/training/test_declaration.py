"""What a row's initial weights were made from: its model says so, its weight file, or nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness import ModelOrigin
from harness.board import Row
from harness.choices import Choices, resolve
from harness.data.pretraining import PretrainingSource
from harness.errors import UnknownNameError
from harness.training.declaration import list_seen
from harness.training.weight_file import read_seen


def choose(registry, weights: str, model: str = "chexnet") -> Choices:
    return resolve(Row(model=model, loss="bce", recipe="demo", params={"recipe": {"weights": weights}}), registry)


def name(seen: tuple[PretrainingSource, ...]) -> list[str]:
    return [source.name for source in seen]


def test_random_weights_have_seen_nothing(registry):
    assert list_seen(choose(registry, "random")) == ()


@pytest.mark.parametrize(
    "model", ["chexnet", "vit-b16", "efficientnet-b0", "chexnet-transformer", "chexnet-demographics"]
)
def test_bundled_models_are_pretrained_on_imagenet(registry, model):
    assert name(list_seen(choose(registry, "imagenet", model))) == ["imagenet"]


def test_a_model_that_does_not_say_is_unknown(registry):
    choices = choose(registry, "imagenet")
    assert name(list_seen(replace(choices, model=replace(choices.model, pretrained_on=())))) == ["unknown"]


def test_a_model_that_always_brings_weights_along_has_seen_what_it_names_whatever_the_recipe_says(registry):
    choices = choose(registry, "random")
    model = replace(choices.model, pretrained=None, pretrained_on=("mimic-cxr", "imagenet"))
    assert name(list_seen(replace(choices, model=model))) == ["mimic-cxr", "imagenet"]


def test_a_name_that_the_table_lacks_is_refused_naming_the_model(registry):
    choices = choose(registry, "imagenet")
    with pytest.raises(UnknownNameError, match="model 'chexnet' names it"):
        list_seen(replace(choices, model=replace(choices.model, pretrained_on=("imagenot",))))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_weight_file_is_unknown_unless_a_file_beside_it_says_what_it_is(registry, tmp_path, suffix):
    path: Path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save({"weight": torch.zeros(2)}, path)
    else:
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(2)}, path)
    assert read_seen(path) == ()
    assert name(list_seen(choose(registry, str(path)))) == ["unknown"]
    path.with_name(f"net{suffix}.toml").write_text('pretrained_on = ["chexpert-train", "imagenet"]')
    assert name(list_seen(choose(registry, str(path)))) == ["chexpert-train", "imagenet"]


@pytest.mark.parametrize(
    ("tag", "seen"),
    [
        ("tv_in1k", ["imagenet"]),
        ("augreg_in21k_ft_in1k", ["imagenet"]),
        ("fb_in22k", ["imagenet"]),
        ("fcmae_ft_in22k_in1k", ["imagenet"]),
        ("laion2b_ft_in12k_in1k", ["imagenet", "unknown"]),
        ("fb_swsl_ig1b_ft_in1k", ["imagenet", "unknown"]),
        ("ns_jft_in1k", ["imagenet", "unknown"]),
        ("lvd142m", ["unknown"]),
        ("openai", ["unknown"]),
        ("", ["unknown"]),
    ],
)
def test_timms_tags_tell_imagenet_from_what_nobody_lists(tag, seen):
    from harness.plugins.timm_models import find_pretraining

    assert list(find_pretraining(f"some_net.{tag}" if tag else "some_net")) == seen


def test_a_network_of_timms_family_is_resolved_with_what_it_has_seen(registry):
    assert registry.model("timm/resnet18").pretrained_on == ("imagenet",)
    assert registry.model("timm/vit_small_patch14_dinov2").pretrained_on == ("unknown",)


def test_weights_that_a_model_brings_have_seen_what_it_says_or_what_a_file_beside_them_does(registry, tmp_path):
    choices = choose(registry, "pretrained")
    assert name(list_seen(choices)) == ["imagenet"]
    file = tmp_path / "model.safetensors"
    origin = ModelOrigin(describe=lambda recipe, **params: {}, weights=file)
    encoder = replace(choices, model=replace(choices.model, pretrained_on=(), origin=origin))
    assert name(list_seen(encoder)) == ["unknown"]
    (tmp_path / "model.safetensors.toml").write_text('pretrained_on = ["mimic-cxr", "chexpert-train"]')
    assert name(list_seen(encoder)) == ["mimic-cxr", "chexpert-train"]
