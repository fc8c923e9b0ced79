"""Parameters from the command line and from boards, checked against what components take."""

from __future__ import annotations

import math
import re
import tomllib
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import pytest
from torch import nn

from harness import Augment, Data, Dataset, Float, Int, Model, Recipe, Schedule, UsageError, bind
from harness.errors import UnknownNameError
from harness.parameters import (
    complete,
    defaults,
    find_types,
    list_fields,
    override,
    parse_assignments,
    parse_params,
    parse_value,
    recipe_values,
)
from harness.values import toml_value


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
        (".5", 0.5),
        ("5.", 5.0),
        ("True", True),
        ("FALSE", False),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2020-01-01", "2020-01-01"),
        ("nan", "nan"),
        ("-inf", "-inf"),
        ("1e999", "1e999"),
        ("[1, { a = nan }]", "[1, { a = nan }]"),
        ("1\nb = 2", "1\nb = 2"),
        ("9" * 5000, "9" * 5000),
        ("[" * 5000, "[" * 5000),
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
        ({"width": 1.5}, "width must be a whole number, got 1.5"),
        ({"width": True}, "width must be a whole number, got true"),
        ({"rate": "fast"}, "rate must be a finite number, got 'fast'$"),
        ({"deep": 1}, "deep must be true or false, got 1"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(given, says):
    with pytest.raises((UnknownNameError, UsageError), match=says):
        complete(MODEL, build, given)


def build_within(
    task, width: Annotated[int, Int(1, 8)] = 4, power: Annotated[float, Float(0, math.inf)] = 0.5
) -> nn.Module:
    """A model's build whose numbers lie within ranges."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"width": 0}, "model 'm': width must be a whole number between 1 and 8, got 0"),
        ({"width": 9}, "width must be a whole number between 1 and 8, got 9"),
        ({"width": 1.5}, "width must be a whole number between 1 and 8, got 1.5"),
        ({"width": "4"}, "width must be a whole number between 1 and 8, got '4'; write it without quotes"),
        ({"power": -0.1}, "power must be a finite number of at least 0, got -0.1"),
        ({"power": math.inf}, "power must be a finite number of at least 0, got inf"),
    ],
)
def test_a_number_outside_its_range_is_refused_with_the_range(given, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        complete(MODEL, build_within, given)
    assert complete(MODEL, build_within, {"width": 8, "power": 0}) == {"width": 8, "power": 0}


def test_numbers_of_bundled_models_and_losses_have_a_range_or_a_few_values(registry):
    found = []
    for offer in (*registry.offers["model"].values(), *registry.offers["loss"].values()):
        function = offer.component.build
        types, given = find_types(function), defaults(function)
        found += [
            f"{offer.component.name}: {name}"
            for name, value in given.items()
            if offer.component.name not in ("hf/*", "open-clip/*")  # whose folders say what there can be
            if type(value) in (int, float) and get_origin(types[name]) not in (Annotated, Literal)
        ]
    assert not found


def load(
    root: Path,
    *,
    column: str = "",
    columns: list[str] | str = "",
    shares: dict[str, float] | None = None,
    limit: int | None = None,
    pair: tuple[float, float] = (0, 1),
    many: tuple[int, ...] = (1,),
    names: list[str] | None = None,
    plain="",
    anything=None,
    **more: Any,
) -> Data:
    """A dataset's load."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"column": 2}, "2"),
        ({"columns": 2}, "2"),
        ({"columns": [1, "a"]}, ["1", "a"]),
        ({"plain": 2}, "2"),
        ({"plain": {"a": 1}}, {"a": 1}),
        ({"limit": "none"}, None),
        ({"anything": "none"}, None),
        ({"column": "none"}, "none"),
        ({"shares": {"a": 1}}, {"a": 1}),
        ({"pair": [0, 0.5]}, [0, 0.5]),
        ({"else": [1, {"a": "b"}]}, [1, {"a": "b"}]),
    ],
)
def test_a_value_is_read_as_the_type_says(given, value):
    name = next(iter(given))
    read = complete(Dataset(name="d", load=load), load, given)[name]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"column": 0.5}, "dataset 'd': column must be text, got 0.5; write it in quotes"),
        ({"column": True}, "column must be text, got true; write it in quotes"),
        ({"column": None}, "column must be text, got none"),
        ({"column": ["a"]}, "column must be text, got ['a']"),
        ({"column": date(2020, 1, 1)}, "column must be text, got 2020-01-01; write it in quotes"),
        ({"columns": {}}, "columns must be a list of texts or text, got {}"),
        ({"columns": [["a"]]}, "columns must be a list of texts or text, got [['a']]"),
        ({"limit": "1"}, "limit must be a whole number or none, got '1'; write it without quotes"),
        ({"limit": "1.5"}, "limit must be a whole number or none, got '1.5'"),
        ({"limit": 1.0}, "limit must be a whole number or none, got 1.0"),
        ({"shares": {"a": math.nan}}, "shares must be a table of finite numbers or none, got {'a': nan}"),
        ({"pair": [1]}, "pair must be a list of 2: a finite number, a finite number, got [1]"),
        ({"pair": 1}, "a finite number, got 1; write a list, such as [0.1, 1], on the command line with quotes"),
        ({"pair": "0,1"}, "[0, 1], on the command line with quotes around all of it: 'NAME=[0, 1]'"),
        ({"many": 5}, "many must be a list of whole numbers, got 5; write it as [5], on the command line"),
        ({"many": "[5,x]"}, "a list of whole numbers, got '[5,x]'; write a list, such as [1, 2], on the command line"),
        ({"names": "a, b"}, """got 'a, b'; write it as ["a", "b"], on the command line with quotes around all of it"""),
        ({"plain": True}, "plain must be text, a list or a table, got true; write it in quotes"),
        ({"anything": [math.inf]}, "a list or a table or none, got [inf]"),
        ({"else": -math.inf}, "else must be text, a finite number, true or false, a list or a table, got -inf"),
        ({"else": 10**400}, "a list or a table, got 1000"),
        ({"else": time(1, 2)}, "a list or a table, got 01:02:00; write it in quotes"),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_is_wanted(given, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        complete(Dataset(name="d", load=load), load, given)


def test_a_parameter_without_default_must_be_given():
    def needs(task, width):
        """Needs a width."""

    with pytest.raises(UsageError, match="needs a value for width"):
        complete(Model(name="m", build=needs), needs, {})
    assert complete(Model(name="m", build=needs), needs, {"width": 3}) == {"width": 3}


RECIPE = Recipe(name="r", load_size=256, size=224, augment=Augment(flip=True), evaluate_at="center-crop")


def test_recipe_fields_are_overridden_nested_ones_by_dotted_names():
    changed = override(RECIPE, {"lr": 1e-2, "augment.brightness": 0.2, "augment": {"contrast": 0.1}, "patience": None})
    assert changed.lr == 0.01
    assert changed.augment == Augment(flip=True, brightness=0.2, contrast=0.1)
    assert RECIPE.augment == Augment(flip=True)


def test_a_field_that_is_a_table_takes_names_of_a_users_own_and_is_among_the_values_only_where_it_is_set():
    changed = override(RECIPE, {"oversample": {"Hernia": 0.1}, "oversample.Pleural Thickening": 0.2})
    assert changed.oversample == {"Hernia": 0.1, "Pleural Thickening": 0.2}
    assert override(changed, {"oversample.Hernia": 0.3}).oversample == {"Hernia": 0.3, "Pleural Thickening": 0.2}
    values = recipe_values(changed)
    assert (values["oversample.Hernia"], values["oversample.Pleural Thickening"]) == (0.1, 0.2)
    assert not [name for name in recipe_values(RECIPE) if name.startswith("oversample")]
    assert parse_params(["recipe.oversample.Hernia=0.1"]) == {"recipe": {"oversample.Hernia": 0.1}}


@pytest.mark.parametrize("name", ["patience", "gradient_clip", "micro_batch", "augment.crop_scale"])
def test_a_field_without_a_value_is_written_and_read_back(name):
    recipe = override(RECIPE, {name: [0.5, 1] if name == "augment.crop_scale" else 1})
    section = tomllib.loads(f"x = {toml_value({name: None})}")["x"]
    assert recipe_values(override(recipe, section))[name] is None


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
        ({"epochs": "many"}, "recipe.epochs must be a whole number, got 'many'"),
        ({"epochs": "1"}, "recipe.epochs must be a whole number, got '1'; write it without quotes"),
        ({"epochs": True}, "recipe.epochs must be a whole number, got true"),
        ({"lr": math.nan}, "recipe.lr must be a finite number, got nan"),
        ({"lr": math.inf}, "recipe.lr must be a finite number, got inf"),
        ({"augment.flip": "yes"}, "recipe.augment.flip must be true or false, got 'yes'"),
        ({"augment.flip": "true"}, "got 'true'; write it without quotes"),
        ({"augment.flip": 1}, "recipe.augment.flip must be true or false, got 1"),
        ({"augment.crop_scale": [0.5]}, "crop_scale must be a list of 2: a finite number, a finite number or none"),
        ({"augment": 1}, "did you mean .augment.flip"),
        ({"micro_batch": "automatic"}, "micro_batch must be a whole number, 'auto' or none, got 'automatic'"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"optimizer": "sdg"}, "recipe.optimizer must be 'adam', 'adamw' or 'sgd'"),
        ({"lr": -1}, "lr must be a finite number above 0"),
        ({"load_size": 100}, "a center-crop of 224 px needs load_size"),
        ({"oversample": 0.5}, "recipe.oversample must be a table of finite numbers, got 0.5"),
        ({"oversample.Mass": "half"}, "recipe.oversample must be a table of finite numbers, got {'Mass': 'half'}"),
        ({"oversample.Mass": 1}, "oversample must be shares of an epoch above 0, in sum below 1, got {'Mass': 1.0}"),
        ({"oversample": {"Mass": 0.5, "Edema": 0.5}}, "oversample must be shares of an epoch above 0, in sum below 1"),
        ({"oversampel": 1}, "did you mean 'oversample'"),
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


def test_what_is_trained_is_among_the_values_only_where_it_is_not_all():
    later = {"train", "strengths", "neighbors", "train_share", "train_positives"}
    assert not later & recipe_values(RECIPE).keys()
    assert later <= list_fields(RECIPE).keys()
    probe = Recipe(name="p", train="head", train_share=0.1)
    assert later & recipe_values(probe).keys() == {"train", "strengths", "train_share"}
    assert later & recipe_values(Recipe(name="k", train="neighbors")).keys() == {"train", "neighbors"}
    assert override(probe, {"strengths": [0.1, 1]}).strengths == (0.1, 1.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": "head", "lr": 1e-3}, "lr can do nothing where train is 'head'"),
        ({"train": "head", "augment": Augment(flip=True)}, "augment can do nothing where train is 'head'"),
        ({"train": "neighbors", "strengths": (1.0,)}, "strengths can do nothing where train is 'neighbors'"),
        ({"neighbors": (5,)}, "neighbors can do nothing where train is 'all'"),
        ({"train": "neighbors", "evaluate_at": "flip"}, "neighbors are asked for one view of an image"),
        ({"train": "head", "strengths": ()}, "strengths must be different finite numbers above 0"),
        ({"train_share": 0.0}, "train_share must be above 0 and at most 1"),
        ({"train_positives": 0}, "train_positives must be at least 1"),
    ],
)
def test_a_recipe_refuses_what_its_way_to_train_makes_no_use_of(changes, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        Recipe(name="r", **changes)


def test_a_recipe_that_trains_nothing_by_gradient_has_no_epochs():
    assert [Recipe(name="r", train=train).epochs for train in ("all", "head", "neighbors", "nothing")] == [10, 0, 0, 0]


def test_what_a_family_gives_to_a_members_build_is_no_parameter_for_a_user():
    def build(task, width: int = 8, *, member: str) -> Any:
        return task, width, member

    build_one = bind(build, member="one")
    model = Model(name="m", build=build_one)
    assert complete(model, build_one, {"width": 4}) == {"width": 4}
    assert build_one("task", width=4) == ("task", 4, "one")
    with pytest.raises(UnknownNameError, match="'member'"):
        complete(model, build_one, {"member": "two"})
