"""The paper's recipes are the paper's."""

from __future__ import annotations

import pytest

from harness import Augment, Schedule
from harness.parameters import override, recipe_values

# Strick et al. (arXiv 2505.06646), their scripts: optimizer, rate, decay, plateau patience, batch, epochs
PAPER = {
    "chexnet": ("adam", 1e-3, 1e-5, 1, 16, 20),
    "dacnet": ("adamw", 5e-5, 1e-5, 1, 8, 25),
    "vit": ("adam", 1e-4, 1e-5, 3, 16, 20),
}
AUGMENT = {
    "chexnet": Augment(flip=True),
    "dacnet": Augment(flip=True, crop_scale=(0.08, 1.0), brightness=0.1, contrast=0.1),
    "vit": Augment(),
}


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_of_the_paper_is_what_its_script_does(registry, name):
    recipe = registry.recipe(name)
    optimizer, lr, decay, patience, batch, epochs = PAPER[name]
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == (optimizer, lr, decay)
    assert recipe.schedule == Schedule(kind="plateau", patience=patience, factor=0.1)
    assert (recipe.batch_size, recipe.epochs, recipe.patience) == (batch, epochs, 5)
    assert (recipe.select_on, recipe.weights, recipe.size) == ("auroc", "imagenet", 224)
    assert recipe.augment == AUGMENT[name]
    crops = name == "dacnet"
    assert (recipe.load_size, recipe.evaluate_at) == ((256, "center-crop") if crops else (224, "resize"))
    assert "2505.06646" in recipe.citation


def test_every_name_in_a_recipes_space_is_a_field_of_it(registry):
    for offer in registry.offers["recipe"].values():
        assert set(offer.component.space) <= set(recipe_values(offer.component))


def test_the_demo_trains_from_scratch_at_64_pixels(registry):
    demo = registry.recipe("demo")
    assert (demo.weights, demo.size, demo.load_size) == ("random", 64, 64)
    assert override(demo, {"epochs": 1}).epochs == 1
