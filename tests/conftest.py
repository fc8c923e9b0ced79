"""What all tests share: one thread, no network, a registry, small datasets."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # a missing weight then fails at once

from pathlib import Path

import hypothesis
import pytest
import torch

from harness import Data
from harness.registry import Registry, load_registry

# no deadline on a busy machine; where others wait for the outcome, the same examples every time
hypothesis.settings.register_profile("harness", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("harness")

TOY = Path(__file__).parent / "fixtures" / "toy.py"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="session")
def sample() -> Path:
    """The folder with the real NIH sample, where there is one beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data" / "nih-sample"
    if not folder.is_dir():
        pytest.skip("the sample of NIH ChestX-ray14 does not lie beside the checkout")
    return folder


@pytest.fixture
def small_data() -> Data:
    """48 images of 16 px with 3 labels that can be seen: one corner each; two images a patient."""
    return load_registry([TOY]).dataset("toy").load(Path())
