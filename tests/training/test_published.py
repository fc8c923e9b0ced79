"""Published weights are fetched, or one line says at once why they cannot be had."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import torch
from torch import nn

from harness import Model, ModelOrigin, Task
from harness.errors import WeightsError
from harness.training import published
from harness.training.published import fetch_origin, fetch_published

TASK = Task(labels=("one",), channels=3, size=64, mean=(0.5,) * 3, std=(0.25,) * 3, prevalence=(0.1,))


def test_offline_one_line_says_what_to_do(registry):
    model = registry.model("chexnet")
    with pytest.raises(WeightsError, match=r"not in the local cache.*--set recipe\.weights=random"):
        fetch_published(model, TASK, {})


def test_a_broken_source_of_weights_is_not_taken_for_a_missing_connection():
    def broken(task: Task) -> dict[str, torch.Tensor]:
        raise KeyError("tag")

    model = Model(name="broken", build=lambda task: nn.Identity(), pretrained=broken)
    with pytest.raises(WeightsError, match="could not be loaded: KeyError: 'tag'"):
        fetch_published(model, TASK, {})


def test_a_hub_that_never_answers_is_given_up(monkeypatch, registry):
    asked, released = threading.Event(), threading.Event()

    def never_answer(*_, **__):
        asked.set()
        released.wait(60)
        raise OSError

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(published, "PATIENCE", 0.05)
    monkeypatch.setattr("socket.create_connection", never_answer)
    try:
        with pytest.raises(WeightsError, match="hub cannot be reached"):
            fetch_published(registry.model("chexnet"), TASK, {})
    finally:
        released.set()
    assert asked.is_set()


def test_a_proxy_that_is_down_is_told_as_no_connection(monkeypatch, registry):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert published._hub_answers()
    with pytest.raises(WeightsError, match="hub cannot be reached"):
        fetch_published(registry.model("chexnet"), TASK, {})


def test_a_proxy_with_a_wrong_port_is_one_line(monkeypatch, registry):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("https_proxy", "http://localhost:many")
    with pytest.raises(WeightsError, match="address in the environment is wrong"):
        fetch_published(registry.model("chexnet"), TASK, {})


def make_origin(fetch: Any) -> Model:
    return Model(name="some", build=lambda task: nn.Identity(), origin=ModelOrigin(describe=dict, fetch=fetch))


def refuse() -> None:
    raise WeightsError("it is gated")


def break_off() -> None:
    raise OSError("the line\nis dead")


def test_what_a_model_is_made_of_is_fetched_where_its_hub_can_be_reached_and_a_failure_is_one_line(monkeypatch):
    fetched: list[str] = []
    model = make_origin(lambda: fetched.append("it"))
    assert fetch_origin(model) is None
    assert fetched == []  # the hub is offline
    monkeypatch.setattr(published, "_hub_answers", lambda: True)
    assert fetch_origin(model) is None
    assert fetched == ["it"]
    assert fetch_origin(make_origin(refuse)) == "it is gated"
    assert fetch_origin(make_origin(break_off)) == "model 'some' could not be fetched: OSError: the line"
