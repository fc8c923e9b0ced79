"""A file's tensors are found under any prefix and by other libraries' names, all of them, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

import pytest
import timm
import torch
import torchvision
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer as OtherViT

from harness.errors import PluginError, WeightsError
from harness.training.weights import Loaded, fill

State = dict[str, Tensor]
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def make(architecture: str = "test_efficientnet", classes: int = 14, seed: int = 0, **more) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = timm.create_model(architecture, num_classes=classes, **more)
    return network.eval()


GIVEN = {
    n: t.float().uniform_(0.5, 1.5) if t.is_floating_point() else t for n, t in make(classes=5).state_dict().items()
}


def load(given: Mapping[str, Tensor], network: nn.Module | None = None, trunk: str = "") -> tuple[nn.Module, Loaded]:
    network = network or make(seed=2)
    return network, fill(network, given, 14, "it", trunk)


def put(prefix: str, state: Mapping[str, Tensor] = GIVEN) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def is_filled(network: nn.Module, state: Mapping[str, Tensor] = GIVEN) -> bool:
    own = network.state_dict()
    return all(torch.equal(own[name], tensor) for name, tensor in state.items() if "classifier" not in name)


WRAPPERS = [
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    "encoder.",
    "backbone.",
    "densenet121.",
    "state_dict/",
    "anything.",
]


@pytest.mark.parametrize("prefix", ["", *WRAPPERS, *map("".join, product(WRAPPERS[:4], repeat=2)), "0/ab/c.d.e."])
def test_whatever_stands_before_all_names_is_taken_away(prefix):
    network, loaded = load(put(prefix))
    assert is_filled(network)
    assert loaded.head == ("classifier.bias", "classifier.weight")
    assert (f"'{prefix}'" in loaded.note) == bool(prefix)


@pytest.mark.parametrize(
    "beside",
    [
        {"criterion.pos_weight": torch.ones(3)},
        {"metrics.auroc.confusion": torch.ones(14, 2, 2), "step": torch.ones(1)},
        {"head.0.weight": torch.ones(7, 3), "head.2.weight": torch.ones(2, 7)},
        put("optimizer/state.", {"0/exp_avg": torch.ones(3)}),
    ],
)
@pytest.mark.parametrize("prefix", ["model.", "state_dict/model.module."])
def test_other_tensors_beside_are_left_out_and_named(prefix, beside):
    network, loaded = load({**beside, **put(prefix)})
    assert is_filled(network)
    assert f"other tensors are left out, {len(beside) + 2} in all ({next(iter(beside))}" in loaded.note


def test_mappings_beside_the_tensors_in_one_checkpoint_are_left_out():
    network, loaded = load({**GIVEN, "optimizer/state/0/exp_avg": torch.ones(3), "ema/step": torch.ones(1)})
    assert is_filled(network)
    assert "left out, 4 in all" in loaded.note


def change(state: Mapping[str, Tensor]) -> State:
    return {name: tensor + 1 for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("plain", "averaged"),
    [
        ("state_dict/", "state_dict_ema/"),
        ("model.", "ema_model.module."),
        ("params/", "params_ema/"),
        ("", "ema."),
        ("net.", "swa/averaged_net."),
    ],
)
@pytest.mark.parametrize("first", ["plain", "averaged"])
def test_averaged_weights_go_before_plain_ones_and_that_is_said(plain, averaged, first):
    sets = [put(plain, change(GIVEN)), put(averaged)]
    network, loaded = load(sets[0] | sets[1] if first == "plain" else sets[1] | sets[0])
    assert is_filled(network)
    assert f"they are an average over training and go before those under '{plain}'" in loaded.note


@pytest.mark.parametrize(
    "prefixes", [("student.", "teacher."), ("", "teacher."), ("emanon.", "schema."), ("ema/", "swa/")]
)
def test_several_sets_that_fit_are_refused_by_their_prefixes(prefixes):
    with pytest.raises(WeightsError, match=rf"2 sets of tensors.*'{prefixes[0]}' and '{prefixes[1]}'"):
        load(put(prefixes[0]) | put(prefixes[1], change(GIVEN)))


def test_two_sets_of_equal_values_are_one():
    network, _ = load(put("model.") | put("best."))
    assert is_filled(network)


@pytest.mark.parametrize(
    "extra",
    [
        {"blocks.5.0.conv.weight": torch.ones(3, 3, 1, 1)},
        {"norm_pre.weight": torch.ones(3)},
        {"aux.weight": torch.ones(5, 77)},
        {"one.weight": torch.ones(5, 256), "two.weight": torch.ones(5, 256)},
    ],
)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_what_a_larger_network_has_under_the_same_prefix_is_refused_by_name(prefix, extra):
    with pytest.raises(WeightsError, match=rf"(has|have) no place in the network \({prefix}{next(iter(extra))}"):
        load(put(prefix, GIVEN | extra))


def without_head(state: Mapping[str, Tensor] = GIVEN) -> State:
    return {name: tensor for name, tensor in state.items() if "classifier" not in name}


def head(classes: int, module: str) -> State:
    return {f"{module}.weight": torch.full((classes, 256), 0.5), f"{module}.bias": torch.full((classes,), 0.25)}


@pytest.mark.parametrize("module", ["classifier", "classifier.0", "classifier.1.linear", "fc", "head.fc"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_head_of_as_many_labels_is_filled_by_whatever_name_it_has(prefix, module):
    network, loaded = load(put(prefix, without_head() | head(14, module)))
    assert is_filled(network)
    assert loaded.head == ()
    assert (f"the head is '{prefix}{module}'" in loaded.note) == (module != "classifier")
    assert torch.equal(network.classifier.bias, torch.full((14,), 0.25))  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize(
    "heads",
    [
        head(5, "classifier.0"),
        head(5, "fc"),
        head(18, "classifier") | {"op_threshs": torch.full((18,), torch.nan)},
        {"classifier.0.weight": torch.ones(9, 256), "classifier.2.weight": torch.ones(14, 9)},
        head(14, "classifier.0") | {"classifier.2.weight": torch.ones(14, 14)},
        {},
    ],
)
def test_another_head_is_left_out_and_the_networks_stays_random(heads):
    network, loaded = load(without_head() | heads)
    assert is_filled(network)
    assert loaded.head == ("classifier.bias", "classifier.weight")
    assert "classifier.bias, classifier.weight stay random" in loaded.note
    assert all(name in loaded.note for name in heads)


def test_a_layer_of_another_width_is_no_head():
    with pytest.raises(WeightsError, match=r"(has|have) no place in the network \(aux\.weight"):
        load(without_head() | {"aux.weight": torch.ones(5, 77)})


def test_vectors_of_one_number_a_label_belong_to_a_head_that_fits():
    network, loaded = load(without_head() | head(14, "classifier") | {"criterion.pos_weight": torch.ones(14)})
    assert is_filled(network)
    assert "criterion.pos_weight" in loaded.note


# --- other libraries' names ------------------------------------------------------------------------------------------


def spell_old(name: str) -> str:
    for layer, number in product(("norm", "conv"), "12"):
        name = name.replace(f"{layer}{number}.", f"{layer}.{number}.") if "denselayer" in name else name
    return name


@pytest.mark.parametrize("prefix", ["", "module.densenet121."])
def test_old_checkpoints_of_chexnet_are_read(prefix):
    """They have dotted names, a head in a Sequential, and stand in two wrappers."""
    given, network = make("densenet121", seed=1), make("densenet121", seed=2)
    state = {spell_old(name): tensor for name, tensor in given.state_dict().items()}
    state = {name.replace("classifier.", "classifier.0."): tensor for name, tensor in state.items()}
    assert any("norm.1." in name for name in state)
    loaded = fill(network, put(prefix, state), 14, "it")
    assert "the names of old DenseNets" in loaded.note
    with torch.inference_mode():
        assert torch.equal(network(IMAGES), given(IMAGES))


PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "ViT": (
        lambda: OtherViT(64, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=14),
        lambda: VisionTransformer(
            img_size=64, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2, num_classes=14
        ),
    ),
    "EfficientNet": (
        partial(torchvision.models.efficientnet_b0, num_classes=14),
        partial(make, "efficientnet_b0"),
    ),
    "ConvNeXt": (partial(torchvision.models.convnext_tiny, num_classes=14), partial(make, "convnext_tiny")),
    "ResNet": (partial(torchvision.models.resnet18, num_classes=14), partial(make, "resnet18")),
    "DenseNet": (partial(torchvision.models.densenet121, num_classes=14), partial(make, "densenet121")),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_torchvisions_weights_give_the_same_logits_in_timms_network(pair):
    other, own = PAIRS[pair]
    given, network = other().eval(), own().eval()
    state = given.state_dict()
    for name, tensor in state.items():
        if "head" in name or "layer_scale" in name:  # begin at zero or nearly
            tensor.uniform_(-0.5, 0.5)
        elif "running_var" in name:
            tensor.uniform_(0.5, 2.0)
    loaded = fill(network, put("module.", state), 14, "it")
    assert loaded.head == ()
    with torch.inference_mode():
        torch.testing.assert_close(network(IMAGES), given(IMAGES), rtol=1e-3, atol=1e-3)


def test_the_children_of_a_network_in_a_sequential_are_found_by_their_numbers():
    given, network = make("resnet18", seed=1), make("resnet18", seed=2)
    children = nn.Sequential(*list(given.children())[:-1])
    loaded = fill(network, put("0.", children.state_dict()), 14, "it")
    assert loaded.head == ("fc.bias", "fc.weight")
    with torch.inference_mode():
        assert torch.equal(network.forward_features(IMAGES), given.forward_features(IMAGES))  # type: ignore[operator]


# --- a trunk ---------------------------------------------------------------------------------------------------------


class Larger(nn.Module):
    """A network around another."""

    def __init__(self) -> None:
        super().__init__()
        self.part = make(classes=0, seed=3)
        self.attention, self.last = nn.Linear(256, 14), nn.Linear(14, 14)


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("heads", [{}, head(5, "classifier"), head(14, "fc")])
def test_weights_of_the_trunk_alone_fill_it_and_all_else_stays_random(prefix, heads):
    torch.manual_seed(0)
    network = Larger()
    before = network.attention.weight.clone()
    _, loaded = load(put(prefix, without_head() | heads), network, "part")
    assert is_filled(network.part, without_head())
    assert torch.equal(network.attention.weight, before)
    assert "found their place in 'part', all others stay random" in loaded.note


def test_weights_of_the_whole_network_fill_the_whole():
    given = change(Larger().state_dict())
    network, loaded = load(given, Larger(), "part")
    assert all(torch.equal(tensor, given[name]) for name, tensor in network.state_dict().items())
    assert loaded.tensors == len(given)


def test_without_a_trunk_a_part_is_refused():
    with pytest.raises(WeightsError, match="are not in it"):
        load(without_head(), Larger())


def test_a_trunk_that_the_network_has_not_is_named_with_those_it_has():
    with pytest.raises(PluginError, match=r"trunk is 'prat'.*it has part, attention, last"):
        load(without_head(), Larger(), "prat")
