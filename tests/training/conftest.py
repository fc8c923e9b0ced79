"""A small dataset placed on the CPU, and its task."""

from __future__ import annotations

import pytest
import torch

from harness import Dataset, Inputs, Recipe
from harness.data.loading import Source
from harness.data.placement import Placed, place
from harness.data.prepare import Prepared, prepare


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(name="r", lr=1e-2, epochs=2, batch_size=8, load_size=16, size=16, precision="float32")


@pytest.fixture
def prepared(small_data, tmp_path) -> Prepared:
    source = Source(dataset=Dataset(name="some", load=lambda root: small_data), code="", options={}, root=tmp_path)
    return prepare(source, small_data, 16, tmp_path)


@pytest.fixture
def placed(prepared) -> Placed:
    return place(prepared, torch.device("cpu"))


@pytest.fixture
def task(prepared, recipe):
    from harness.training.task import make_task

    return make_task(prepared, recipe, Inputs())
