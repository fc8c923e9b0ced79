"""A recipe computes on its own device and in its own precision, and leaves the process as it found it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from harness.training.numerics import computing

CPU = torch.device("cpu")


def precisions() -> list[object]:
    """Of convolutions, recurrent layers and products on CUDA, by every switch that torch has."""
    backends: Any = torch.backends
    newer = [backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul]
    return [
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision(),
        *(operation.fp32_precision for operation in newer),
    ]


EXACT = [False, False, "highest", "ieee", "ieee", "ieee"]


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    yield
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.fp32_precision = "none"


def test_float32_is_no_tf32_and_other_precisions_are_as_torch_has_them():
    before = precisions()
    assert before != EXACT
    for precision in ("auto", "bf16", "fp16"):
        with computing(CPU, precision):
            assert precisions() == before
    with computing(CPU, "float32"):
        assert precisions() == EXACT
        with torch.backends.cudnn.flags(enabled=True):
            pass  # reads the older switch, and raises where it does not agree with the newer ones
        assert "tf32" not in precisions()
    assert precisions() == before


def test_what_was_set_comes_back_after_an_error():
    before = precisions()
    with pytest.raises(RuntimeError, match="in a network"), computing(CPU, "float32"):
        raise RuntimeError("in a network")
    assert precisions() == before


@pytest.mark.usefixtures("_as_it_was")
def test_what_a_plugin_has_set_comes_back():
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    before = precisions()
    with computing(CPU, "float32"):
        assert precisions() == EXACT
    assert precisions() == before


def test_its_device_is_the_current_one(monkeypatch):
    entered: list[object] = []

    @contextlib.contextmanager
    def device(given: torch.device) -> Iterator[None]:
        entered.append(given)
        yield
        entered.append("left")

    monkeypatch.setattr(torch.cuda, "device", device)
    with computing(CPU, "auto"):
        assert entered == []
    with computing(torch.device("cuda", 1), "auto"):
        assert entered == [torch.device("cuda", 1)]
    assert entered == [torch.device("cuda", 1), "left"]
