"""Initial weights: random, published ones or a file's, and the proof that every tensor found its place."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.components import Model, Options, Task
from harness.errors import HarnessError, PluginError, WeightsError
from harness.text import agree, count
from harness.training.matching import Match, find_match, name_first
from harness.training.tensor_file import read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

PATIENCE = 2.0
"""Seconds that the hub, or the proxy before it, has to answer."""


@dataclass(frozen=True)
class Loaded:
    """What became of initial weights."""

    tensors: int
    """How many tensors found their place."""
    head: tuple[str, ...]
    """The head's tensors that stayed random, since the weights are of other labels."""
    note: str = ""
    """How the tensors of a file were placed, in one line."""


def load_initial_weights(network: nn.Module, model: Model, task: Task, weights: str, params: Options) -> Loaded:
    """Fill the network. Raises `WeightsError` where weights cannot be had, or naming the tensors that do not fit."""
    if weights == "random":
        return Loaded(0, ())
    if weights in ("imagenet", "pretrained"):
        fetched = _fetch(model, task, params)
        loaded = fill(network, fetched, len(task.labels), f"{_call(model)} of '{model.name}'", model.trunk)
        return replace(loaded, note="")
    path = Path(weights).expanduser()
    loaded = fill(network, read_tensors(path), len(task.labels), path.name, model.trunk)
    return replace(loaded, note=f"initial weights of {path.name}: {loaded.note}")


def require_published(model: Model, size: int, params: Options) -> None:
    """Raise `WeightsError` at once where a model's published weights are neither here nor to be fetched."""
    if not _hub_answers():
        _fetch(
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


def _fetch(model: Model, task: Task, params: Options) -> Mapping[str, Tensor]:
    """A model's published weights; without a cache and a network, one line at once instead of minutes of retries."""
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
                f"{_call(model)} of '{model.name}' are not in the local cache and their hub cannot be reached; "
                "connect once, or --set recipe.weights=FILE, or --set recipe.weights=random"
            ) from None
        raise WeightsError(f"{_call(model)} of '{model.name}' could not be loaded: {_reason(error)}") from error


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


def _call(model: Model) -> str:
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


def fill(network: nn.Module, given: Mapping[str, Tensor], classes: int, what: str, trunk: str = "") -> Loaded:
    """Copy tensors into the network, and prove that all of them, except a head of other labels, found their place.

    Where they do not fit the whole network, they may fit its module `trunk`. Raises `WeightsError`, and `PluginError`
    for a trunk that the network does not have.
    """
    part, prefix, labels = network, "", classes
    try:
        match = find_match(network, given, classes, what)
    except WeightsError:
        if not trunk:
            raise
        part, prefix, labels = _find_trunk(network, trunk), f"{trunk}.", 0
        match = find_match(part, given, labels, what)
    own = part.state_dict()
    broken = [
        name
        for name, tensor in match.fitting.items()
        if tensor.is_floating_point() and not tensor.isfinite().all() and own[name].isfinite().all()
    ]
    if broken:
        raise WeightsError(
            f"{what} holds NaN or infinite values in {len(broken)} of the {len(match.fitting)} tensors that fit "
            f"({name_first(broken)}), as after a training that diverged; give weights from before that"
        )
    part.load_state_dict(match.fitting, strict=False)
    return Loaded(
        len(match.fitting), tuple(prefix + name for name in match.head), _tell(match, trunk if prefix else "")
    )


def _find_trunk(network: nn.Module, trunk: str) -> nn.Module:
    try:
        return network.get_submodule(trunk)
    except AttributeError:
        names = ", ".join(name for name, _ in network.named_children())
        raise PluginError(f"the model's trunk is '{trunk}', which its network does not have; it has {names}") from None


def _tell(match: Match, trunk: str) -> str:
    """Say in one line how a file's tensors were placed."""
    parts = [
        f"{count(len(match.fitting), 'tensor')} found {agree(len(match.fitting), 'its', 'their')} place"
        + (f" in '{trunk}', all others stay random" if trunk else "")
    ]
    if match.prefix:
        parts.append(f"'{match.prefix}' stands before their names")
    if match.spelling:
        parts.append(f"they have {match.spelling}")
    if match.rivals:
        rivals = " and ".join(f"'{prefix}'" for prefix in match.rivals)
        parts.append(f"they are an average over training and go before those under {rivals}")
    if match.head_source:
        parts.append(f"the head is '{match.head_source}', with its labels in the file's order")
    if match.head:
        parts.append(f"{', '.join(match.head)} stay random")
    if match.left_out:
        parts.append(
            f"the file's other tensors are left out, {len(match.left_out)} in all ({name_first(match.left_out)})"
        )
    return "; ".join(parts)


def _reason(error: Exception) -> str:
    """The kind of an error and the first line of its message, if it has one."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
