"""Initial weights: random, published ones or a file's, and the proof that every tensor found its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.components import Model, Options, Task
from harness.errors import PluginError, WeightsError
from harness.text import agree, count
from harness.training.matching import Match, find_match, name_first
from harness.training.published import call_published, fetch_published
from harness.training.tensor_file import read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn


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
        fetched = fetch_published(model, task, params)
        loaded = fill(network, fetched, len(task.labels), f"{call_published(model)} of '{model.name}'", model.trunk)
        return replace(loaded, note="")
    path = Path(weights).expanduser()
    loaded = fill(network, read_tensors(path), len(task.labels), path.name, model.trunk)
    return replace(loaded, note=f"initial weights of {path.name}: {loaded.note}")


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
