"""Parameters from the command line and from boards, checked against what components take."""

from __future__ import annotations

import pytest
from torch import nn

from harness import Augment, Model, Recipe, Schedule, UsageError
from harness.errors import UnknownNameError
from harness.parameters import complete, override, parse_assignments, parse_params, parse_value, recipe_values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1e-3", 1e-3),
        ("true", True),
        ("[0.5, 1]", [0.5, 1]),
        ("random", "random"),
        ("none", None),
        ("a b", "a b"),
        ("'7'", "7"),
    ],
)
def test_values_are_toml_where_they_are_toml_and_text_otherwise(text, value):
    assert parse_value(text) == value


def test_assignments_keep_what_follows_the_first_equals_sign():
    assert parse_assignments("--option", ["uncertain=Edema=ones", "a = 2"]) == {"uncertain": "Edema=ones", "a": 2}
    with pytest.raises(UsageError, match="write --option NAME=VALUE"):
        parse_assignments("--option", ["size"])


def test_set_wants_a_section():
    assert parse_params(["recipe.lr=0.1", "recipe.augment.flip=false"]) == {
        "recipe": {"lr": 0.1, "augment.flip": False}
    }
    with pytest.raises(UsageError, match="must begin with model"):
        parse_params(["lr=0.1"])


def build(task, width: int = 4, rate: float = 0.5, *, deep: bool = False) -> nn.Module:
    """A model's build."""
    raise NotImplementedError


MODEL = Model(name="m", build=build)


def test_parameters_are_completed_with_defaults():
    assert complete(MODEL, build, {"rate": 1}) == {"width": 4, "rate": 1, "deep": False}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"widht": 3}, "unknown parameter of model 'm' 'widht': did you mean 'width'"),
        ({"width": 1.5}, "width must be like 4, got 1.5"),
        ({"width": True}, "width must be like 4, got True"),
        ({"rate": "fast"}, "rate must be like 0.5"),
        ({"deep": 1}, "deep must be like False"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(given, says):
    with pytest.raises((UnknownNameError, UsageError), match=says):
        complete(MODEL, build, given)


def test_a_parameter_without_default_must_be_given():
    def needs(task, width):
        """Needs a width."""

    with pytest.raises(UsageError, match="needs a value for width"):
        complete(Model(name="m", build=needs), needs, {})
    assert complete(Model(name="m", build=needs), needs, {"width": 3}) == {"width": 3}


RECIPE = Recipe(name="r", load_size=256, size=224, augment=Augment(flip=True), evaluate_at="center-crop")


def test_recipe_fields_are_overridden_nested_ones_by_dotted_names():
    changed = override(
        RECIPE, {"lr": "1e-2", "augment.brightness": 0.2, "augment": {"contrast": 0.1}, "patience": None}
    )
    assert changed.lr == 0.01
    assert changed.augment == Augment(flip=True, brightness=0.2, contrast=0.1)
    assert RECIPE.augment == Augment(flip=True)


def test_load_size_follows_size_in_proportion_unless_given():
    assert (override(RECIPE, {"size": 112}).load_size, override(RECIPE, {"size": 112, "load_size": 120}).load_size) == (
        128,
        120,
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"epoch": 1}, "unknown field of recipe 'r' 'epoch': did you mean 'epochs'"),
        ({"augment.flap": True}, "did you mean 'augment.flip'"),
        ({"epochs": "many"}, "recipe.epochs: .*integer"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"optimizer": "sdg"}, "recipe.optimizer: .*'adam', 'adamw' or 'sgd'"),
        ({"lr": -1}, "lr must be a number above 0"),
        ({"load_size": 100}, "a center-crop of 224 px needs load_size"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(given, says):
    with pytest.raises((UnknownNameError, UsageError), match=says):
        override(RECIPE, given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"evaluate_at": "five-crop"}, "unknown evaluate_at of recipe 'r' 'five-crop': did you mean 'ten-crop'"),
        ({"evaluate_at": "squint"}, "'squint' .known: center-crop, flip, resize, ten-crop"),
        ({"optimizer": "sdg"}, "unknown optimizer of recipe 'r' 'sdg': did you mean 'sgd'"),
        ({"precision": "float16"}, "unknown precision of recipe 'r' 'float16'"),
        ({"micro_batch": "automatic"}, "unknown micro_batch of recipe 'r' 'automatic': did you mean 'auto'"),
    ],
)
def test_a_recipe_of_a_plugin_that_names_what_there_is_not_is_refused(given, says):
    with pytest.raises(UnknownNameError, match=says):
        Recipe(name="r", **given)


def test_a_schedule_of_an_unknown_kind_is_refused():
    with pytest.raises(UnknownNameError, match="unknown kind of the schedule 'cosin': did you mean 'cosine'"):
        Schedule(kind="cosin")  # type: ignore[arg-type]


def test_recipe_values_leave_out_the_name_and_the_space():
    values = recipe_values(RECIPE)
    assert values["augment.flip"] is True
    assert not {"name", "about", "version", "citation", "space"} & set(values)
