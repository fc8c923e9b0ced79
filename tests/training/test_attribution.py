"""Heat maps: Grad-CAM against gradients by hand, views, and the layers of many networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.components import Recipe, Task
from harness.errors import PluginError
from harness.training.attribution import Explainer
from harness.training.map_layer import as_grid, find_layer

SIZE = 24
TASK = Task(labels=("a", "b"), channels=1, size=SIZE, mean=(0.5,), std=(0.25,), prevalence=(0.5, 0.5))
RECIPE = Recipe(name="r", size=SIZE, load_size=SIZE)


class TwoLayers(nn.Module):
    """A convolution and, over the mean of its places, a linear layer."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 3, 3, padding=1, stride=3)
        self.head = nn.Linear(3, 2)

    def forward(self, images):
        return self.head(self.features(images).relu_().mean(dim=(2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return TwoLayers()


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def explain(network, images, labels, recipe=RECIPE, *, mirrors=True, **settings):
    return Explainer.of(network, TASK, recipe, mirrors=mirrors, **settings).explain(images, labels)


def test_grad_cam_is_what_gradients_by_hand_give(network, images):
    labels = [0, 1, 1]
    maps = explain(network, images, labels)
    features = network.features((images.unsqueeze(1) / 255 - 0.5) / 0.25).detach()  # (3, 3, 8, 8)
    for number, label in enumerate(labels):
        # the head's input is the mean of 64 rectified places, so that a place's gradient is w / 64 where it is above 0
        weights = [(features[number, k] > 0).float().mean() * network.head.weight[label, k] / 64 for k in range(3)]
        expected = sum(weight * features[number, k] for k, weight in enumerate(weights)).clamp(min=0)
        enlarged = nn.functional.interpolate(expected[None, None], size=(SIZE, SIZE), mode="bilinear")[0, 0]
        torch.testing.assert_close(maps[number], enlarged.detach(), rtol=1e-4, atol=1e-7)


def test_maps_are_at_least_0_and_do_not_depend_on_the_batch(network, images):
    maps = explain(network, images, [0, 1, 0])
    assert maps.shape == (3, SIZE, SIZE)
    assert float(maps.min()) >= 0
    torch.testing.assert_close(maps[1:2], explain(network, images[1:2], [1]))
    many = images.repeat(15, 1, 1)
    torch.testing.assert_close(explain(network, many, [0, 1, 0] * 15)[42:], maps)


def test_a_network_is_as_it_was_afterwards(network, images):
    before = {name: (tensor.clone(), tensor.requires_grad) for name, tensor in network.named_parameters()}
    explain(network, images, [0, 0, 0])
    assert torch.is_grad_enabled()
    for name, tensor in network.named_parameters():
        assert torch.equal(tensor, before[name][0])
        assert tensor.requires_grad == before[name][1]
        assert tensor.grad is None
    assert not any(module._forward_hooks for module in network.modules())


def test_integrated_gradients_add_up_to_what_the_logit_is_above_a_black_image():
    torch.manual_seed(0)
    layer = nn.Linear(SIZE * SIZE, 2)
    layer.weight.data.abs_()  # so that no pixel speaks against a label
    linear = nn.Sequential(nn.Flatten(), layer)
    images = torch.full((1, SIZE, SIZE), 200, dtype=torch.uint8)
    maps = explain(linear, images, [1], method="integrated-gradients")
    view, black = ((pixels / 255 - 0.5) / 0.25 for pixels in (images.float(), torch.zeros(1, SIZE, SIZE)))
    torch.testing.assert_close(maps.sum(), (linear(view)[0, 1] - linear(black)[0, 1]).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients"])
def test_a_mirrored_view_is_mirrored_back(network, images, method):
    flipped = explain(network, images, [0, 1, 0], replace(RECIPE, evaluate_at="flip"), method=method)
    plain = explain(network, images, [0, 1, 0], method=method)
    mirrored = explain(network, images.flip(-1), [0, 1, 0], method=method).flip(-1)
    torch.testing.assert_close(flipped, (plain + mirrored) / 2)


def test_a_crop_is_put_where_it_was_cut_out_and_nothing_is_seen_beside_it(network):
    large = torch.randint(0, 256, (2, 30, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    recipe = Recipe(name="r", size=SIZE, load_size=30, evaluate_at="center-crop")
    maps = explain(network, large, [0, 1], recipe)
    assert maps.shape == (2, 30, 30)
    torch.testing.assert_close(maps[:, 3:27, 3:27], explain(network, large[:, 3:27, 3:27].contiguous(), [0, 1]))
    assert float(maps.sum() - maps[:, 3:27, 3:27].sum()) == 0


def test_crops_are_averaged_where_they_overlap(network):
    large = torch.randint(0, 256, (1, 30, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    recipe = Recipe(name="r", size=SIZE, load_size=30, evaluate_at="ten-crop")
    maps = explain(network, large, [0], recipe, mirrors=False)
    corner = explain(network, large[:, :SIZE, :SIZE].contiguous(), [0])
    torch.testing.assert_close(maps[:, :3, :3], corner[:, :3, :3])  # which no other view has
    places = [(0, 0), (0, 6), (6, 0), (6, 6), (3, 3)]
    views = [explain(network, large[:, t : t + SIZE, x : x + SIZE].contiguous(), [0]) for t, x in places]
    middle = [view[0, 15 - t, 15 - x] for view, (t, x) in zip(views, places, strict=True)]
    torch.testing.assert_close(maps[0, 15, 15], torch.stack(middle).mean())


# --- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((2, 5, 7, 7), (2, 5, 7, 7)),
        ((2, 7, 7, 5), (2, 5, 7, 7)),
        ((2, 50, 5), (2, 5, 7, 7)),  # a class token before 49 places
        ((2, 49, 5), (2, 5, 7, 7)),
        ((2, 5), None),
        ((2, 63, 5), None),  # 49 and 14 more
        ((2, 5, 7, 6), None),
    ],
)
def test_outputs_are_seen_as_grids_of_places(shape, grid):
    found = as_grid(torch.zeros(shape))
    assert (None if found is None else tuple(found.shape)) == grid


def test_tokens_lie_row_by_row_behind_the_class_token():
    tokens = torch.arange(10.0).view(1, 10, 1)
    grid = as_grid(tokens)
    assert grid is not None
    assert grid[0, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_a_branch_beside_a_shortcut_is_no_layer_for_a_map():
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 4, 3, padding=1)
            self.branch = nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Linear(4, 2)

        def forward(self, images):
            images = self.stem(images)
            return self.head((images + self.branch(images)).mean(dim=(2, 3)))

    assert find_layer(Shortcut().eval(), TASK) == "stem"


LONGER = [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.mark.parametrize(
    ("model", "size", "layer"),
    [
        ("tiny-cnn", 64, "14"),
        ("timm/test_vit", 160, "blocks.4"),  # behind it, the class token alone counts
        ("timm/test_resnet", 224, "layer4"),
        pytest.param("chexnet", 224, "features", marks=pytest.mark.slow),
        pytest.param("chexnet", 128, "features.transition3.conv", marks=LONGER),  # 4 x 4 cells behind it
        pytest.param("resnet50", 224, "layer4", marks=LONGER),
        pytest.param("resnet50", 128, "layer3", marks=pytest.mark.slow),
        pytest.param("vit-b16", 224, "blocks.10", marks=pytest.mark.slow),
        pytest.param("convnext-tiny", 224, "norm_pre", marks=LONGER),
        pytest.param("efficientnet-b0", 224, "bn2", marks=LONGER),
        pytest.param("chexnet-transformer", 224, "encoder", marks=LONGER),
        pytest.param("chexnet-demographics", 224, "trunk.features", marks=LONGER),
        pytest.param("timm/swin_tiny_patch4_window7_224", 224, "norm", marks=pytest.mark.slow),
    ],
)
def test_the_deepest_layer_with_a_fine_grid_is_found(registry, model, size, layer):
    torch.manual_seed(0)
    table = registry.model(model).inputs.table
    task = replace(TASK, size=size, table=("age", "sex=M") if table else ())
    network = registry.model(model).build(task).eval()
    assert find_layer(network, task) == layer


def test_a_layer_that_torchvision_writes_into_is_found_as_well(images):
    pytest.importorskip("torchvision")
    from torchvision.models import densenet121

    torch.manual_seed(0)
    network = densenet121(weights=None, num_classes=2).eval()  # its forward rectifies the features in place
    task = Task(labels=("a", "b"), channels=3, size=64, mean=(0.5,) * 3, std=(0.2,) * 3, prevalence=(0.5, 0.5))
    explainer = Explainer.of(network, task, Recipe(name="r", size=64, load_size=64), mirrors=True, map_layer="features")
    assert explainer.explain(torch.zeros(1, 64, 64, dtype=torch.uint8), [0]).shape == (1, 64, 64)


def test_a_model_may_name_the_layer_and_a_wrong_name_is_refused(network):
    assert Explainer.of(network, TASK, RECIPE, mirrors=True, map_layer="features").layer == "features"
    with pytest.raises(PluginError, match="names 'head' as its map_layer, and the network has no module of that name"):
        find_layer(network, TASK, "head")


def test_a_network_without_places_has_no_grad_cam_and_says_what_to_do():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 2))
    with pytest.raises(PluginError, match=r"name one by Model\(map_layer=...\), or take --method integrated-gradients"):
        Explainer.of(flat, TASK, RECIPE, mirrors=True)
