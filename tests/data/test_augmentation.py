"""Augmentation on the device does what torchvision's transforms do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from harness import Augment, Recipe, Task
from harness.data.augmentation import (
    _crop_by_gathering,
    _crop_by_products,
    augment,
    draw_boxes,
    evaluation_views,
    move,
    normalize,
    resize,
    training_view,
)
from harness.errors import UnknownNameError

TASK = Task(labels=("a",), channels=1, size=24, mean=(0.5,), std=(0.25,), prevalence=(0.1,))


def random_images(count: int = 4, side: int = 32) -> torch.Tensor:
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(3))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("way", [_crop_by_gathering, _crop_by_products])
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(3, 32), st.integers(3, 32), st.sampled_from([7, 24, 40]))
def test_a_crop_equals_torchvisions_antialiased_resized_crop(way, top, left, height, width, size):
    height, width = min(height, 32 - top), min(width, 32 - left)
    images = random_images()
    boxes = torch.tensor([[top, left, height, width]], dtype=torch.float32)
    theirs = functional.resized_crop(images, top, left, height, width, [size, size], antialias=True)
    for chosen in (boxes, boxes.expand(4, 4)):
        torch.testing.assert_close(way(images, chosen, size), theirs, atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [7, 24, 40])
def test_gathering_and_multiplying_are_one_crop_where_each_image_has_a_box_of_its_own(size):
    images = random_images(200)
    boxes = draw_boxes(images, Augment(crop_scale=(0.08, 1.0)), generator())
    torch.testing.assert_close(
        _crop_by_gathering(images, boxes, size), _crop_by_products(images, boxes, size), atol=2e-6, rtol=0
    )


@pytest.mark.parametrize("size", [12, 24, 32, 50])
def test_resizing_equals_torchvisions(size):
    images = random_images()
    torch.testing.assert_close(
        resize(images, size), functional.resize(images, [size, size], antialias=True), atol=2e-6, rtol=0
    )


def test_a_center_crop_equals_torchvisions():
    recipe = Recipe(name="r", load_size=32, size=23, evaluate_at="center-crop")
    images = (random_images() * 255).to(torch.uint8)
    (ours,) = evaluation_views(images, recipe, TASK, mirrors=True)
    theirs = functional.center_crop(images.float() / 255, [23, 23])
    torch.testing.assert_close(ours[:, 0] * 0.25 + 0.5, theirs)


def test_flip_averaging_sees_the_resized_image_and_its_mirror_image():
    recipe = Recipe(name="r", load_size=32, size=24, evaluate_at="flip")
    images = (random_images() * 255).to(torch.uint8)
    plain, mirrored = evaluation_views(images, recipe, TASK, mirrors=True)
    torch.testing.assert_close(mirrored, plain.flip(-1))
    (only,) = evaluation_views(images, recipe, TASK, mirrors=False)
    assert torch.equal(only, plain)


def test_ten_crops_are_torchvisions():
    recipe = Recipe(name="r", load_size=32, size=23, evaluate_at="ten-crop")
    images = (random_images() * 255).to(torch.uint8)
    ours = list(evaluation_views(images, recipe, TASK, mirrors=True))
    theirs = functional.ten_crop(images / 255, [23, 23])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one[:, 0] * 0.25 + 0.5, other)
    assert len(list(evaluation_views(images, recipe, TASK, mirrors=False))) == 5


def test_an_unknown_evaluation_is_refused_by_name():
    recipe = Recipe(name="r", load_size=32, size=24)
    object.__setattr__(recipe, "evaluate_at", "five-crop")  # as from a pickle or a test
    with pytest.raises(UnknownNameError, match="unknown evaluate_at 'five-crop': did you mean 'ten-crop'"):
        list(evaluation_views(random_images(), recipe, TASK, mirrors=True))


@settings(max_examples=30, deadline=None)
@given(st.floats(-180, 180), st.integers(-9, 9), st.integers(-9, 9))
def test_turning_and_moving_equals_torchvisions_affine(angle, right, down):
    images = random_images()
    shifts = torch.tensor([[right, down]], dtype=torch.float32).expand(4, 2)
    ours = move(images, torch.full((4,), angle), shifts)
    theirs = functional.affine(
        images.unsqueeze(1),
        angle=angle,
        translate=[right, down],
        scale=1.0,
        shear=[0.0, 0.0],
        interpolation=functional.InterpolationMode.BILINEAR,
    ).squeeze(1)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


def test_each_sample_is_turned_and_moved_by_draws_of_its_own_within_bounds():
    images = torch.zeros(300, 33, 33)
    images[:, 16, 16] = 255.0
    moved = augment(images, Augment(shift=0.25), 33, mirrors=True, generator=generator())
    rows, columns = moved.flatten(1).argmax(dim=1) // 33 - 16, moved.flatten(1).argmax(dim=1) % 33 - 16
    for places in (rows, columns):
        assert places.abs().max() <= 8
        assert len(places.unique()) > 12
    images[:, 16, 24] = 255.0
    turned = augment(images, Augment(rotation=30), 33, mirrors=True, generator=generator())
    assert turned[:, 16, 16].min() > 0.9
    assert (
        len(turned.sum(dim=(0, 2)).nonzero()) >= 7
    )  # of rows in which the other dot came to lie: 8 sin 30 to each side


def test_each_sample_gets_a_box_of_its_own_within_the_image():
    choices = Augment(crop_scale=(0.08, 1.0))
    boxes = draw_boxes(random_images(500), choices, generator())
    assert torch.equal(boxes, boxes.round())
    assert len(boxes.unique(dim=0)) > 400
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 32).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 32).all()


def test_boxes_are_distributed_as_torchvisions():
    choices = Augment(crop_scale=(0.08, 1.0))
    ours = draw_boxes(random_images(4000), choices, generator()).numpy()
    image = torch.zeros(1, 32, 32)
    torch.manual_seed(0)
    drawn = (RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000))
    theirs = np.array(list(drawn))
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.5)
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), atol=0.5)


@pytest.mark.parametrize(("ratio", "expected"), [((2.0, 3.0), (0, 8, 32, 16)), ((0.2, 0.5), (8, 0, 16, 32))])
def test_boxes_that_never_fit_fall_back_to_the_central_one(ratio, expected):
    boxes = draw_boxes(random_images(3), Augment(crop_scale=(1.0, 1.0), crop_ratio=ratio), generator())
    top, left, width, height = expected
    assert boxes.tolist() == [[left, top, height, width]] * 3


def test_half_the_images_are_mirrored_where_the_dataset_mirrors():
    grey = torch.randint(0, 256, (400, 8, 8), dtype=torch.uint8, generator=generator())
    images = grey / 255
    mirrored = augment(grey, Augment(flip=True), 8, mirrors=True, generator=generator())
    flipped = (mirrored == images.flip(-1)).all(dim=(1, 2))
    kept = (mirrored == images).all(dim=(1, 2))
    assert (flipped | kept).all()
    assert 150 < int(flipped.sum()) < 250
    assert torch.equal(augment(grey, Augment(flip=True), 8, mirrors=False, generator=generator()), images)


def test_jitter_equals_torchvisions_at_the_same_factors(monkeypatch):
    images = random_images(2)
    draws = iter([torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])])
    monkeypatch.setattr("harness.data.augmentation._uniform", lambda pixels, generator: next(draws).view(-1, 1, 1))
    ours = augment(255 * images, Augment(brightness=0.3, contrast=0.2), 32, mirrors=True, generator=generator())
    first = functional.adjust_contrast(functional.adjust_brightness(images[:1], 0.7), 1.2)
    second = functional.adjust_brightness(functional.adjust_contrast(images[1:], 0.8), 1.3)
    torch.testing.assert_close(ours, torch.cat([first, second]), atol=1e-6, rtol=0)


def test_a_seed_repeats_the_draws_and_another_does_not():
    recipe = Recipe(name="r", load_size=32, size=24, augment=Augment(flip=True, crop_scale=(0.3, 1.0), brightness=0.1))
    images = (random_images() * 255).to(torch.uint8)
    first, again, other = (training_view(images, recipe, TASK, mirrors=True, generator=generator(s)) for s in (1, 1, 2))
    assert first.shape == (4, 1, 24, 24)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_normalizing_copies_grey_into_every_channel():
    task = Task(labels=("a",), channels=3, size=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0), prevalence=(0.1,))
    pixels = random_images(2, 8)
    normalized = normalize(pixels, task)
    assert normalized.shape == (2, 3, 8, 8)
    torch.testing.assert_close(normalized[:, 1], (pixels - 0.2) / 0.25)
    alike = normalize(
        pixels, Task(labels=("a",), channels=3, size=8, mean=(0.1,) * 3, std=(0.5,) * 3, prevalence=(0.1,))
    )
    assert alike.shape == (2, 3, 8, 8)
    for channel in range(3):
        torch.testing.assert_close(alike[:, channel], normalized[:, 0])
