"""Embeddings of a dataset's images: what the last linear layer of a frozen network is given of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from harness.choices import Choices
from harness.components import Model, Options, Task
from harness.data.columns import EncodedTable
from harness.data.embeddings import Embeddings, Encoder, obtain
from harness.data.placement import Placed
from harness.data.prepare import Prepared
from harness.errors import PluginError
from harness.results.identity import describe_origin, weights_identity
from harness.training.build import build_network
from harness.training.cost import count_flops
from harness.training.engine import EngineOptions, Execution
from harness.training.matching import head_modules
from harness.training.numerics import choose_numerics
from harness.training.pace import OnSteps, Pace
from harness.training.prediction import Predictor
from harness.training.setup import stream
from harness.training.task import make_example
from harness.training.weights import load_initial_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
"""Version of the embeddings, raised when the same choices give others."""
FOLDER = "embeddings"
"""Where embeddings lie in the folder of the decoded images."""
NEEDED = (
    "a probe takes the place of the last layer of a network, which must be one torch.nn.Linear that makes a logit a "
    "label of the embedding (B, D) of an image"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Frozen:
    """A network as a probe uses it: with its initial weights, in evaluation mode, on the device."""

    network: nn.Module
    layer: str
    """The path of its last linear layer, whose input is the embedding."""
    width: int
    """D, the length of an embedding."""
    note: str = ""
    """How a file of initial weights was placed, in a line."""

    def put(self, head: nn.Module) -> None:
        """Put another module in the layer's place."""
        self.network.set_submodule(self.layer, head.eval())

    def digest(self) -> str:
        """sha256 over the names and values of all tensors but those of the layer."""
        hasher = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            if not name.startswith(f"{self.layer}."):
                hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                hasher.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return hasher.hexdigest()


def build_frozen(model: Model, params: Options, task: Task, weights: str, seed: int, device: torch.device) -> Frozen:
    """Build a network with its initial weights; torch's random stream stays where it was.

    Raises `WeightsError` where the weights cannot be had, `PluginError` where no linear layer makes the logits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "network"))
        network = build_network(model, task, dict(params))
        loaded = load_initial_weights(network, model, task, weights, params)
    network = network.to(device).eval()  # its weights keep their gradients, by which heat maps find their layer
    layer, width = find_last_layer(network, task, device)
    return Frozen(network=network, layer=layer, width=width, note=loaded.note)


def find_last_layer(network: nn.Module, task: Task, device: torch.device) -> tuple[str, int]:
    """The path of the linear layer that makes a network's logits, and D, the length of its input.

    Raises `PluginError` where they are not made by one linear layer from one embedding (B, D) an image.
    """
    paths = head_modules(network, len(task.labels))
    if len(paths) != 1:
        raise PluginError(f"{NEEDED}; this network has {'none' if not paths else ', '.join(paths)}")
    layer = network.get_submodule(paths[0])
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    handle = layer.register_forward_hook(lambda module, given, made: seen.append((given[0], made)))
    try:
        with torch.no_grad():
            logits = network(*make_example(task, 2, device))
    finally:
        handle.remove()
    if (
        not isinstance(layer, nn.Linear)
        or len(seen) != 1
        or seen[0][0].ndim != 2
        or not torch.equal(seen[0][1], logits)
    ):
        raise PluginError(f"{NEEDED}; its layer '{paths[0]}', a {type(layer).__name__}, does something else")
    return paths[0], layer.in_features


def embed(
    choices: Choices,
    prepared: Prepared,
    place: Callable[[], Placed],
    inputs: tuple[Task, EncodedTable | None],
    seed: int,
    device: torch.device,
    engine: EngineOptions,
    *,
    remark: Callable[[str], None] = lambda text: None,
    on_steps: OnSteps = lambda steps: None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> Embeddings:
    """The embeddings of all images of a dataset by a row's network, from the cache or made now.

    `place` brings the images to the device, where they are needed; `inputs` is what `describe_inputs` says. With
    several views of an image (`Recipe.evaluate_at`), its embedding is their mean: a linear layer makes the mean of the
    views' logits of it. `on_wait` hears, once, which process is waited for. Raises as `build_frozen` and `obtain` do.
    """
    assert prepared.folder is not None  # only what serving makes of single images lies in no cache
    task, encoded = inputs
    key = _identify(choices, prepared, task, encoded, seed, device)
    pace = Pace(1, len(prepared.images), on_steps)

    def begin() -> Encoder:
        frozen = build_frozen(choices.model, choices.model_params, task, choices.recipe.weights, seed, device)
        return _Encoder(frozen, choices, place(), task, encoded, engine)

    return obtain(prepared.folder / FOLDER / key, len(prepared.images), begin, remark, pace.tick, on_wait)


class _Encoder:
    """A frozen network that embeds images of the dataset by their places."""

    def __init__(
        self,
        frozen: Frozen,
        choices: Choices,
        placed: Placed,
        task: Task,
        encoded: EncodedTable | None,
        engine: EngineOptions,
    ) -> None:
        recipe, device, network = choices.recipe, placed.device, frozen.network
        numerics = choose_numerics(recipe, device, network)
        self.device, self.width = device, frozen.width
        self.about: dict[str, Any] = {
            "layer": frozen.layer,
            "frozen": frozen.digest(),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "flops": count_flops(network, task),
            "precision": numerics.precision,
            "channels_last": numerics.channels_last,
            "notes": [frozen.note] if frozen.note else [],
        }
        network.to(memory_format=numerics.layout)
        frozen.put(nn.Identity())
        execution = Execution(
            placement="resident" if placed.resident else "streamed",
            precision=numerics.precision,
            channels_last=numerics.channels_last,
        )
        table = torch.from_numpy(encoded.numbers).to(device) if encoded else None
        self.predictor = Predictor(network, placed, recipe, task, numerics, engine, execution, table, frozen.width)

    def embed(self, first: int, last: int) -> NDArray[np.float32]:
        """Embed images first..last, (last - first, D).

        Raises `PluginError` where a number is not finite, so that nothing of it comes into the cache.
        """
        index = torch.arange(first, last, device=self.device)
        values = self.predictor.logits_at(index)
        broken = int((~values.isfinite().all(dim=1)).sum())
        if broken:
            raise PluginError(
                f"the embeddings of {broken:,} of {last - first:,} images hold NaN or infinite values; look at the "
                "network's weights and its precision (--set recipe.precision=float32)"
            )
        return values.cpu().numpy()


def _identify(
    choices: Choices, prepared: Prepared, task: Task, encoded: EncodedTable | None, seed: int, device: torch.device
) -> str:
    """What embeddings depend on, as 16 hex digits: the network, its weights, and what it is shown.

    The seed matters where weights are drawn by it. The device matters where it decides the precision.
    """
    model, recipe = choices.model, choices.recipe
    weights = weights_identity(model, recipe.weights)
    drawn = weights == "random" or (weights.startswith("sha256:") and bool(model.trunk))
    made_of = describe_origin(choices) or {}
    params = {name: value for name, value in choices.model_params.items() if name not in made_of}
    table = None if encoded is None else hashlib.sha256(encoded.numbers.tobytes()).hexdigest()
    identity = {
        "version": VERSION,
        "model": [model.name, model.version, choices.code.get("model"), params],
        "made_of": made_of,
        "weights": weights,
        "drawn": [seed, len(task.labels)] if drawn else None,
        "shown": [recipe.load_size, recipe.evaluate_at, prepared.data.mirrors, task.size, task.channels],
        "normalized": [task.mean, task.std],
        "precision": "float32" if recipe.precision == "float32" else f"{recipe.precision} on {device.type}",
        "pixels": prepared.digest,
        "images": hashlib.sha256("\n".join(prepared.data.table["image"].astype(str)).encode()).hexdigest(),
        "table": table,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]
