"""Plans of studies: what is asked reaches another machine as text, and means the same there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.board import Row
from harness.components import Choice, Float, Int
from harness.errors import UnknownNameError, UsageError
from harness.registry import load_registry
from harness.tuning.planning import as_plain, draw_up, read_plan
from harness.tuning.space import Dimension
from harness.tuning.study import join_study, open_study
from tests.conftest import TOY

SPACE = {
    "recipe.lr": Dimension("recipe.lr", Float(1e-4, 1e-1, log=True), "recipe 'toy'"),
    "recipe.epochs": Dimension("recipe.epochs", Int(2, 7), "--search"),
    "recipe.optimizer": Dimension("recipe.optimizer", Choice(("adam", "sgd", None)), "space.toml"),
}


@pytest.fixture
def context(make_plan) -> Any:
    """What a plan needs of a worker's context."""
    return SimpleNamespace(
        board=make_plan().board,
        registry=load_registry([TOY]),
        objective=SimpleNamespace(higher_is_better=True),
        fingerprint=lambda row: "f",
    )


def test_a_plan_is_the_same_after_it_was_sent_as_text(context):
    row = Row(model="toy-net", loss="bce", recipe="toy", params={"recipe": {"augment": {"flip": True}}})
    asked: Any = {"name": "s", "objective": "f1@0.5", "sampler": "random", "pruner": "none", "storage": "grpc://h:1"}
    plan = draw_up(context, row, SPACE, seeds=(0, 1), **asked)
    assert plan.epochs == 7
    assert read_plan(json.loads(json.dumps(as_plain(plan))), context) == plan


def test_a_worker_joins_the_study_that_there_is_and_makes_none(make_plan, context):
    plan = make_plan()
    with pytest.raises(UsageError, match="the study 's' is not in the storage that is seen from here"):
        join_study(plan)
    made = open_study(plan)
    assert join_study(plan).study_name == made.study_name
    with pytest.raises(UsageError, match="the data of 'toy' have changed"):
        join_study(make_plan(fingerprint="g"))


def test_a_plan_of_a_component_that_is_not_here_is_refused_by_name(context):
    told = as_plain(draw_up(context, Row(model="toy-net", loss="bce", recipe="toy"), SPACE, **_asked()))
    other = cast("dict[str, Any]", json.loads(json.dumps(told).replace("toy-net", "elsewhere")))
    with pytest.raises(UnknownNameError, match="unknown model 'elsewhere'"):
        read_plan(other, context)


def _asked() -> Any:
    return {
        "name": "s", "objective": "auroc", "sampler": "tpe", "pruner": "hyperband", "seeds": (0,), "storage": None,
    }  # fmt: skip


def test_a_file_that_was_moved_is_no_storage(make_plan, tmp_path: Path):
    plan = make_plan(storage=f"journal://{tmp_path / 'there.journal'}")
    open_study(plan)
    (tmp_path / "there.journal").rename(tmp_path / "gone.journal")
    with pytest.raises(UsageError, match="is not in the storage that is seen from here"):
        join_study(plan)
