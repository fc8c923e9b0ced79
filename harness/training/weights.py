"""Initial weights: random, ImageNet's or a file's, and the proof that every tensor found its place."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch

from harness.components import Model, Options, Task
from harness.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
"""What wrappers put before a network's own tensor names."""
WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema")
"""Keys under which a checkpoint may hold the tensors."""
PATIENCE = 2.0
"""Seconds that the hub, or the proxy before it, has to answer."""


@dataclass(frozen=True)
class Loaded:
    """What became of initial weights."""

    tensors: int
    """How many tensors found their place."""
    head: tuple[str, ...]
    """The head's tensors that stayed random, since the weights are of other labels."""


def load_initial_weights(network: nn.Module, model: Model, task: Task, weights: str, params: Options) -> Loaded:
    """Fill the network. Raises `WeightsError` where weights cannot be had, or naming the tensors that do not fit."""
    if weights == "random":
        return Loaded(0, ())
    if weights == "imagenet":
        return fill(network, _fetch(model, task, params), len(task.labels), f"ImageNet weights of '{model.name}'")
    return fill(network, read_weights(Path(weights).expanduser()), len(task.labels), Path(weights).name)


def require_imagenet(model: Model, size: int, params: Options) -> None:
    """Raise `WeightsError` at once where a model's ImageNet weights are neither here nor to be fetched."""
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
    """A model's ImageNet weights; without a cache and a network, one line at once instead of minutes of retries."""
    if model.pretrained is None:
        raise WeightsError(f"model '{model.name}' has no ImageNet weights; set recipe.weights to random or to a file")
    offline = not _hub_answers()
    try:
        with _offline() if offline else contextlib.nullcontext():
            return model.pretrained(task, **params)
    except Exception as error:
        if offline and isinstance(error, OSError):
            raise WeightsError(
                f"ImageNet weights of '{model.name}' are not in the local cache and their hub cannot be reached; "
                "connect once, or --set recipe.weights=FILE, or --set recipe.weights=random"
            ) from None
        raise WeightsError(f"ImageNet weights of '{model.name}' could not be loaded: {_reason(error)}") from error


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
        raise WeightsError(f"the proxy or hub address in the environment is wrong: {error}; mend or unset it") from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch checkpoint, read without unpickling code."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path.name} holds no weights that can be read safely: {_reason(error)}") from error
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    tensors = (
        {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise WeightsError(f"{path.name} holds no tensors by name; save network.state_dict()")
    return tensors


def fill(network: nn.Module, given: Mapping[str, Tensor], classes: int, what: str) -> Loaded:
    """Copy tensors into the network, and prove that all of them, except a head of other labels, found their place."""
    own = network.state_dict()
    tensors = _adapt(network, _rename(given, own), own)
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and tensor.shape == own[name].shape}
    head = _head(network, own, fitting, classes)
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    unfilled = [name for name in own if name not in fitting and name not in head | optional]
    unused = [name for name in tensors if name not in fitting and name not in head and not _in_modules(name, head)]
    if unfilled or unused:
        raise WeightsError(_complain(what, own, tensors, unfilled, unused))
    if not fitting:
        raise WeightsError(f"{what}: not one tensor fits")
    network.load_state_dict(fitting, strict=False)
    return Loaded(len(fitting), tuple(sorted(name for name in head if name not in fitting)))


def _rename(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip wrappers' prefixes and fix the names of old DenseNets, as far as the network knows the result."""
    tensors = dict(given)
    for prefix in PREFIXES * 2:
        if any(name.startswith(prefix) for name in own):
            continue
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")
    return {old.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}


def _adapt(network: nn.Module, tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fit a stem to another number of channels and, for timm's networks, position embeddings to another size."""
    adapted = {}
    for name, tensor in tensors.items():
        target = own.get(name)
        if target is not None and target.shape != tensor.shape:
            tensor = _adapt_stem(tensor, target)  # noqa: PLW2901 - the adapted tensor takes the place
            if name.endswith("pos_embed") and hasattr(getattr(network, "patch_embed", None), "grid_size"):
                tensor = _adapt_positions(network, tensor, target)  # noqa: PLW2901 - likewise
        adapted[name] = tensor
    return adapted


def _adapt_stem(tensor: Tensor, target: Tensor) -> Tensor:
    """A first convolution for other channels, so that a grey image gives what its copies in all channels gave."""
    if (
        tensor.ndim != 4
        or target.ndim != 4
        or tensor.shape[0] != target.shape[0]
        or tensor.shape[2:] != target.shape[2:]
    ):
        return tensor
    if 1 not in (tensor.shape[1], target.shape[1]) or max(tensor.shape[1], target.shape[1]) > 4:
        return tensor
    summed = tensor.float().sum(dim=1, keepdim=True)  # (out, 1, h, w)
    return (summed.expand_as(target) / target.shape[1]).to(tensor.dtype)


def _adapt_positions(network: nn.Module, tensor: Tensor, target: Tensor) -> Tensor:
    """Resample a ViT's position embeddings to its own grid."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    grid = list(network.patch_embed.grid_size)  # type: ignore[union-attr, arg-type]
    prefix = int(getattr(network, "num_prefix_tokens", 1))
    places = tensor.shape[1] - prefix if tensor.ndim == 3 else 0  # of (1, prefix + places, width)
    if places < 1 or math.isqrt(places) ** 2 != places:
        return tensor  # of no square grid
    resampled: Tensor = resample_abs_pos_embed(tensor, new_size=grid, num_prefix_tokens=prefix)
    return resampled if resampled.shape == target.shape else tensor


def head_names(network: nn.Module, classes: int) -> set[str]:
    """Names of the tensors that make the logits, as far as they can be told; empty where they cannot."""
    return _head(network, network.state_dict(), {}, classes)


def _head(network: nn.Module, own: Mapping[str, Tensor], fitting: Mapping[str, Tensor], classes: int) -> set[str]:
    """Names of the tensors that make the logits: timm's classifier, else the last unfilled layer with a row a label."""
    config = getattr(network, "pretrained_cfg", None) or {}
    named = config.get("classifier") if isinstance(config, Mapping) else None
    if named:
        modules = [named] if isinstance(named, str) else list(named)
    else:
        rows = [
            name
            for name, tensor in own.items()
            if name not in fitting and tensor.ndim > 1 and tensor.shape[0] == classes
        ]
        modules = [rows[-1].rpartition(".")[0]] if rows else []
    return {name for name in own if any(name.startswith(f"{module}.") for module in modules)}


def _in_modules(name: str, head: set[str]) -> bool:
    """Whether a tensor belongs to a module of the head, though the network has none of that name there."""
    return any(name.rpartition(".")[0] == other.rpartition(".")[0] for other in head)


def _complain(
    what: str, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], unfilled: list[str], unused: list[str]
) -> str:
    parts = []
    if unfilled:
        parts.append(
            f"{len(unfilled)} of the network's {len(own)} tensors are not in it or differ in shape ({_first(unfilled)})"
        )
    if unused:
        parts.append(f"{len(unused)} of its {len(tensors)} tensors have no place in the network ({_first(unused)})")
    return f"{what} does not fit the network: {' and '.join(parts)}; give weights of this architecture"


def _reason(error: Exception) -> str:
    """The kind of an error and the first line of its message, if it has one."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
