"""What makes a result the same result."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import Dataset, ModelOrigin, Recipe
from harness.board import Row
from harness.choices import Choices, resolve
from harness.data.loading import Source
from harness.errors import WeightsError
from harness.results.identity import (
    describe_origin,
    explain_missing_origin,
    fingerprint,
    identify_combo,
    weights_identity,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(48)))
def test_the_order_of_images_does_not_matter(small_data, order):
    shuffled = dataclasses.replace(
        small_data,
        images=small_data.images[order],
        targets=small_data.targets[order],
        table=small_data.table.iloc[order].reset_index(drop=True),
    )
    assert fingerprint(shuffled) == fingerprint(small_data)


def change_target(data):
    data.targets[3, 1] = 1 - data.targets[3, 1]
    return data


def forget_target(data):
    data.targets[3, 1] = np.nan
    return data


def move_image(data):
    data.table.loc[0, "split"] = "val"
    return data


@pytest.mark.parametrize(
    "change",
    [
        change_target,
        forget_target,
        move_image,
        lambda data: data.select(np.arange(48) != 5),
        lambda data: dataclasses.replace(data, labels=("first", "second", "other")),
    ],
)
def test_targets_splits_images_and_labels_do(small_data, change):
    before = fingerprint(small_data)
    assert fingerprint(change(small_data)) != before


def test_pixels_do_not(small_data):
    assert fingerprint(dataclasses.replace(small_data, images=small_data.images // 2)) == fingerprint(small_data)


BASE = Row(model="tiny-cnn", loss="focal", recipe="demo")


def key(registry, row=BASE, seed=0, source=None, data="f", objective="auroc", weights="random", engine=1):
    dataset = Dataset(name="some", load=lambda root: None)  # type: ignore[arg-type,return-value]
    source = source or Source(dataset=dataset, code="", options={"size": 64}, root=Path())
    return identify_combo(
        source, data, resolve(row, registry), seed, objective=objective, weights=weights, engine=engine
    ).key


def test_a_key_is_repeatable_and_moves_with_every_choice(registry):
    other = Source(dataset=Dataset(name="some", load=lambda root: None), code="", options={"size": 32}, root=Path())  # type: ignore[arg-type,return-value]
    newer = dataclasses.replace(other, options={"size": 64}, dataset=dataclasses.replace(other.dataset, version=2))
    variants: list[dict[str, Any]] = [
        {},
        {"row": Row(model="chexnet", loss="focal", recipe="demo")},
        {"row": Row(model="tiny-cnn", loss="bce", recipe="demo")},
        {"row": Row(model="tiny-cnn", loss="focal", recipe="demo", params={"loss": {"gamma": 1.0}})},
        {"row": Row(model="tiny-cnn", loss="focal", recipe="demo", params={"model": {"width": 8}})},
        {"row": Row(model="tiny-cnn", loss="focal", recipe="demo", params={"recipe": {"augment.flip": False}})},
        {"row": Row(model="tiny-cnn", loss="focal", recipe="demo", params={"recipe": {"oversample": {"Mass": 0.5}}})},
        {"row": Row(model="tiny-cnn", loss="focal", recipe="demo", params={"recipe": {"oversample": {"Edema": 0.5}}})},
        {"row": Row(model="tiny-cnn", loss="focal", recipe="demo", params={"recipe": {"oversample": {"Mass": 0.6}}})},
        {"seed": 1},
        {"data": "g"},
        {"objective": "auprc"},
        {"weights": "sha256:1"},
        {"engine": 2},
        {"source": other},
        {"source": newer},
        {"source": dataclasses.replace(other, bits=12)},
        {"source": dataclasses.replace(other, stretch=True)},
    ]
    keys = [key(registry, **variant) for variant in variants]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key(registry)


def test_a_parameter_given_at_its_default_changes_nothing(registry):
    assert key(registry, Row(model="tiny-cnn", loss="focal", recipe="demo", params={"loss": {"gamma": 2.0}})) == key(
        registry
    )


def test_the_objective_does_not_matter_where_the_recipe_selects_by_itself(registry):
    row = Row(model="tiny-cnn", loss="focal", recipe="demo", params={"recipe": {"select_on": "loss"}})
    assert key(registry, row, objective="auprc") == key(registry, row)


def test_a_timm_name_means_its_full_name(registry):
    assert key(registry, Row(model="timm/resnet18", loss="bce", recipe="demo")) == key(
        registry, Row(model="timm/resnet18.a1_in1k", loss="bce", recipe="demo")
    )


def test_an_external_plugins_code_is_part_of_the_key(registry):
    choices = resolve(BASE, registry)
    source = Source(dataset=Dataset(name="some", load=lambda root: None), code="", options={}, root=Path())  # type: ignore[arg-type,return-value]
    keys = {
        identify_combo(
            source, "f", dataclasses.replace(choices, code=code), 0, objective="auroc", weights="random", engine=1
        ).key
        for code in ({}, {"model": "1"}, {"model": "2"}, {"loss": "1"})
    }
    assert len(keys) == 4


def test_an_option_that_a_dataset_gains_without_a_value_changes_no_key(registry):
    source = Source(dataset=Dataset(name="some", load=lambda root: None), code="", options={"size": 64}, root=Path())  # type: ignore[arg-type,return-value]
    gained = dataclasses.replace(source, options={"size": 64, "study": None})
    assert key(registry, source=gained) == key(registry, source=source)
    assert key(registry, source=dataclasses.replace(source, options={"size": 64, "study": "s"})) != key(registry)


def test_a_study_is_no_part_of_the_fingerprint(small_data):
    told = dataclasses.replace(small_data, table=small_data.table.assign(study=small_data.table["patient"]))
    assert fingerprint(told) == fingerprint(small_data)


def test_weights_are_identified_by_their_files_digest(tmp_path, registry):
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    model = registry.model("chexnet")
    assert weights_identity(model, str(path)) == f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    assert (weights_identity(model, "random"), weights_identity(model, "imagenet")) == ("random", "imagenet")
    with pytest.raises(WeightsError, match="there is no such file"):
        weights_identity(model, "imagnet")
    with pytest.raises(WeightsError, match="has no ImageNet weights"):
        weights_identity(registry.model("tiny-cnn"), "imagenet")
    with pytest.raises(WeightsError, match="brings no weights; set recipe"):
        weights_identity(registry.model("tiny-cnn"), "pretrained")
    assert weights_identity(model, "pretrained") == "pretrained"


def make_of(origin: ModelOrigin, registry, **params: Any) -> Choices:
    choices = resolve(Row(model="tiny-cnn", loss="bce", recipe="demo", params={"model": params}), registry)
    return dataclasses.replace(choices, model=dataclasses.replace(choices.model, origin=origin))


def test_what_a_model_is_made_of_is_part_of_the_key_and_stands_for_parameters_of_its_names(registry):
    source = Source(dataset=Dataset(name="some", load=lambda root: None), code="", options={}, root=Path())  # type: ignore[arg-type,return-value]
    plain = resolve(Row(model="tiny-cnn", loss="bce", recipe="demo"), registry)
    assert describe_origin(plain) is None

    def find(width: int, made_of: dict[str, Any]) -> str:
        choices = make_of(ModelOrigin(describe=lambda recipe, **params: made_of), registry, width=width)
        told = describe_origin(choices)
        return identify_combo(source, "f", choices, 0, objective="auroc", weights="random", engine=1, made_of=told).key

    keys = {find(16, {"library": "one 1.0"}), find(16, {"library": "one 1.1"}), find(8, {"library": "one 1.0"})}
    keys.add(identify_combo(source, "f", plain, 0, objective="auroc", weights="random", engine=1).key)
    assert len(keys) == 4
    assert find(16, {"width": "sha256:of it"}) == find(8, {"width": "sha256:of it"})


def test_what_a_model_lacks_or_a_recipe_does_not_suit_is_told_in_a_sentence(registry):
    def refuse(recipe: Recipe, **params: Any) -> dict[str, Any]:
        raise WeightsError(f"it is not here for {recipe.name} with {params['width']}")

    assert explain_missing_origin(make_of(ModelOrigin(describe=refuse), registry, width=8)) == (
        "it is not here for demo with 8"
    )
    assert explain_missing_origin(resolve(Row(model="tiny-cnn", loss="bce", recipe="demo"), registry)) is None


def test_weights_that_are_not_imagenets_are_not_called_so(registry):
    model = dataclasses.replace(registry.model("chexnet"), origin=ModelOrigin(describe=lambda recipe, **params: {}))
    with pytest.raises(WeightsError, match=r"has no ImageNet weights; set recipe\.weights to pretrained"):
        weights_identity(model, "imagenet")
