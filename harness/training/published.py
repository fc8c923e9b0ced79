"""Published weights: whether they are here, or can be fetched. Torch is not imported: this is asked while planning."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.components import Model, Options, Task
from harness.errors import HarnessError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = 2.0
"""Seconds that the hub, or the proxy before it, has to answer."""


def require_published(model: Model, size: int, params: Options) -> None:
    """Raise `WeightsError` at once where a model's published weights are neither here nor to be fetched."""
    if not _hub_answers():
        fetch_published(
            model,
            Task(
                labels=("any",),
                channels=model.inputs.channels or 3,
                size=size,
                mean=(0.5,),
                std=(0.5,),
                prevalence=(0.5,),
            ),
            params,
        )


def fetch_published(model: Model, task: Task, params: Options) -> Mapping[str, Tensor]:
    """Get a model's published weights.

    Raises `WeightsError` where they cannot be had: without a cache and a network at once, not after minutes of retries.
    """
    if model.pretrained is None:
        raise WeightsError(f"model '{model.name}' has no published weights; set recipe.weights to random or to a file")
    if model.origin is not None:
        return model.pretrained(task, **params)  # it lies here by now
    offline = not _hub_answers()
    try:
        with _offline() if offline else contextlib.nullcontext():
            return model.pretrained(task, **params)
    except Exception as error:
        if offline and isinstance(error, OSError):
            raise WeightsError(
                f"{call_published(model)} of '{model.name}' are not in the local cache and their hub cannot be "
                "reached; connect once, or --set recipe.weights=FILE, or --set recipe.weights=random"
            ) from None
        raise WeightsError(
            f"{call_published(model)} of '{model.name}' could not be loaded: {_reason(error)}"
        ) from error


def fetch_origin(model: Model) -> str | None:
    """Bring what a model is made of from its hub, where that can be reached; gives why that failed, in one line."""
    if model.origin is None or model.origin.fetch is None or not _hub_answers():
        return None
    try:
        model.origin.fetch()
    except HarnessError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever the hub's library raises, the other rows go on
        return f"model '{model.name}' could not be fetched: {_reason(error)}"
    return None


def call_published(model: Model) -> str:
    """What a message calls them."""
    return "weights" if model.origin is not None else "ImageNet weights"


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub's library from trying, and trying again."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub_answers() -> bool:
    """Whether the weights' hub can be reached, found out within two seconds, however slowly names are resolved."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    door = _door()
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def knock() -> None:
        try:
            socket.create_connection(door, timeout=PATIENCE).close()
        except OSError:
            answers.put(False)
        else:
            answers.put(True)

    threading.Thread(target=knock, daemon=True).start()
    try:
        return answers.get(timeout=PATIENCE)
    except queue.Empty:
        return False


def _door() -> tuple[str, int]:
    """Host and port where the way to the hub begins: the proxy's where one is set, else the hub's own.

    Raises `WeightsError` for an address whose port is no number.
    """
    from huggingface_hub import constants

    first = urlsplit(constants.ENDPOINT)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(first.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(first.hostname or ""):
        first = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    try:
        return first.hostname or "", first.port or (443 if first.scheme == "https" else 80)
    except ValueError as error:
        raise WeightsError(f"the proxy or hub address in the environment is wrong: {error}; fix or unset it") from None


def _reason(error: Exception) -> str:
    """The kind of an error and the first line of its message, if it has one."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
