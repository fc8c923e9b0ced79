"""Which of a file's tensors belong where in a network: under which prefix, by whose names, and what is left out.

Names decide, not a list of words: tensors fit under a prefix such as `state_dict/module.` where every tensor of the
network, except its head, is there under that prefix with its shape, and nothing else is there but a head.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from harness.errors import WeightsError
from harness.text import agree
from harness.training.adaptation import adapt
from harness.training.spellings import list_spellings
from harness.training.tensor_file import LEVEL

if TYPE_CHECKING:
    from torch import Tensor, nn

AVERAGED = re.compile(r"(?<![a-z])(ema|swa|averaged?|avg|shadow)(?![a-z])", re.IGNORECASE)
"""What a prefix says of weights that are an average over training."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Match:
    """A way to place a file's tensors in a network."""

    prefix: str
    """What stands before the network's names in the file."""
    spelling: str
    """Whose names they are, in words; empty for the network's own."""
    fitting: Mapping[str, Tensor]
    """Tensors by the network's names."""
    head: tuple[str, ...]
    """The head's tensors that stay random, since the file's head is of other labels, or not there."""
    unfilled: tuple[str, ...]
    """The network's tensors that have nothing to fill them."""
    unused: tuple[str, ...]
    """The file's tensors under the prefix that have no place."""
    left_out: tuple[str, ...]
    """The file's tensors beside, and those of its head that are not used."""
    rivals: tuple[str, ...] = ()
    """Prefixes of weights that would have fitted, too, but are no average."""
    head_source: str = ""
    """The file's layer that fills the head, where it has another name."""

    @property
    def is_complete(self) -> bool:
        """Whether every tensor that has to be filled is, and every one under the prefix is of use."""
        return bool(self.fitting) and not self.unfilled and not self.unused


def find_match(network: nn.Module, given: Mapping[str, Tensor], classes: int, what: str) -> Match:
    """Find where all of a network's tensors are in a file, whatever stands before their names and beside them.

    Zero `classes` are those of a trunk, which has no head. Of several sets that fit, the one whose prefix says that it
    is an average over training is taken. Raises `WeightsError` where none fits, naming tensors, or several do.
    """
    own = network.state_dict()
    best: Match | None = None
    for spelling in list_spellings(network):
        names = {spelling.spell(name): name for name in own}
        prefixes = _find_prefixes(given, names)
        matches = []
        for prefix in prefixes:
            inside = _find_inside(given, prefix, prefixes, names)
            placed = _place(network, own, {name: given[whole] for name, whole in inside.items()}, classes)
            matches.append(_describe(placed, prefix, spelling.about, inside, given))
        complete = [match for match in matches if match.is_complete]
        if complete:
            return _choose(complete, what)
        best = max([*([best] if best else []), *matches], key=lambda match: len(match.fitting), default=None)
    raise WeightsError(_complain(what, own, given, best))


def head_names(network: nn.Module, classes: int) -> set[str]:
    """Names of the tensors that make the logits, as far as they can be told; empty where they cannot."""
    modules = head_modules(network, classes)
    return {name for name in network.state_dict() if _is_in(name, modules)}


def head_modules(network: nn.Module, classes: int) -> list[str]:
    """Paths of the modules that make the logits, as far as they can be told."""
    return _head_modules(network, network.state_dict(), {}, classes)


# --- which tensors are looked at -------------------------------------------------------------------------------------


def _find_prefixes(given: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """What stands before more than half as many of the network's names as the most common prefix; that one first."""
    counts: Counter[str] = Counter()
    for name in given:
        for start in (0, *(mark.end() for mark in re.finditer(rf"[.{LEVEL}]", name))):
            if name[start:] in names:
                counts[name[:start]] += 1
    most = max(counts.values(), default=0)
    return sorted((prefix for prefix in counts if 2 * counts[prefix] > most), key=lambda name: (-counts[name], name))


def _find_inside(
    given: Iterable[str], prefix: str, prefixes: Iterable[str], names: Mapping[str, str]
) -> dict[str, str]:
    """The network's name, or the file's after the prefix -> the whole name, of what stands under the prefix.

    Mappings inside are left out, and so is another set of the network's tensors.
    """
    longer = tuple(other for other in prefixes if other != prefix and other.startswith(prefix))
    inside = {name.removeprefix(prefix): name for name in given if name.startswith(prefix)}
    return {
        names.get(name, name): whole
        for name, whole in inside.items()
        if name in names or (LEVEL not in name and not whole.startswith(longer))
    }


# --- where they belong -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, kw_only=True)
class _Placed:
    """What became of tensors, by the network's names where it has them."""

    fitting: Mapping[str, Tensor]
    sources: Mapping[str, str]
    """Tensors of the network's head -> those of the file's that fill them by another name."""
    head: tuple[str, ...]
    unfilled: tuple[str, ...]
    unused: tuple[str, ...]
    dropped: tuple[str, ...]
    """Tensors of the file's head that are not used, and vectors of one number a label."""


def _place(network: nn.Module, own: Mapping[str, Tensor], inside: Mapping[str, Tensor], classes: int) -> _Placed:
    """Place tensors by name and shape, and tell which have no place."""
    adapted = {name: adapt(network, name, tensor, own[name]) for name, tensor in inside.items() if name in own}
    fitting = {name: tensor for name, tensor in adapted.items() if tensor.shape == own[name].shape}
    modules = _head_modules(network, own, fitting, classes)
    head = {name for name in own if _is_in(name, modules)}
    others = {name: tensor for name, tensor in inside.items() if name not in fitting}
    layer, rows = None, classes
    if classes == 0 or not head <= fitting.keys():
        layer = _find_layer(own, head, others, modules)
    sources: dict[str, str] = {}
    if layer is not None:
        modules, rows = [*modules, layer], len(others[f"{layer}.weight"])
        named = {name: f"{layer}.{name.rpartition('.')[2]}" for name in head}
        if all(source in others and others[source].shape == own[name].shape for name, source in named.items()):
            sources = named
    fitting |= {name: others.pop(source) for name, source in sources.items()}
    dropped = tuple(name for name in others if _is_in(name, modules) or others[name].shape == (rows,))
    return _Placed(
        fitting=fitting,
        sources=sources,
        head=tuple(sorted(head - fitting.keys())),
        unfilled=tuple(n for n in own if n not in fitting and n not in head and not n.endswith("num_batches_tracked")),
        unused=tuple(name for name in others if name not in dropped),
        dropped=dropped,
    )


def _find_layer(
    own: Mapping[str, Tensor], head: set[str], others: Mapping[str, Tensor], modules: list[str]
) -> str | None:
    """Find the head of the file by another name than the network's: its one linear layer without a place.

    It stands inside the network's head (`classifier.0`) or is as wide (`fc`); beside a trunk it may be of any width.
    """
    linear = [
        name
        for name, tensor in others.items()
        if name.endswith(".weight") and tensor.ndim > 1 and tensor[0].numel() == tensor.shape[1]
    ]
    if len(linear) != 1:
        return None
    widths = {own[name].shape[1] for name in head if own[name].ndim > 1}
    is_head = not head or _is_in(linear[0], modules) or others[linear[0]].shape[1] in widths
    return linear[0].removesuffix(".weight") if is_head else None


def _head_modules(
    network: nn.Module, own: Mapping[str, Tensor], fitting: Mapping[str, Tensor], classes: int
) -> list[str]:
    """Modules that make the logits: timm's classifier, else the last unfilled layer with a row a label."""
    config = getattr(network, "pretrained_cfg", None) or {}
    named = config.get("classifier") if isinstance(config, Mapping) else None
    if named:
        return [named] if isinstance(named, str) else list(named)
    rows = [
        name for name, tensor in own.items() if name not in fitting and tensor.ndim > 1 and tensor.shape[0] == classes
    ]
    return [rows[-1].rpartition(".")[0]] if rows else []


def _is_in(name: str, modules: Iterable[str]) -> bool:
    """Whether a tensor stands inside one of the modules."""
    return any(name.startswith(f"{module}.") for module in modules)


# --- what is said of it ----------------------------------------------------------------------------------------------


def _describe(placed: _Placed, prefix: str, spelling: str, inside: Mapping[str, str], given: Iterable[str]) -> Match:
    """Say how a file's tensors were placed, those of no place by their whole names."""
    used = {inside[placed.sources.get(name, name)] for name in placed.fitting}
    unused = tuple(inside[name] for name in placed.unused)
    layers = {inside[source].rpartition(".")[0] for source in placed.sources.values()}
    return Match(
        prefix=prefix,
        spelling=spelling,
        fitting=placed.fitting,
        head=placed.head,
        unfilled=placed.unfilled,
        unused=unused,
        left_out=tuple(name for name in given if name not in used and name not in unused),
        head_source="".join(layers),
    )


def _choose(matches: list[Match], what: str) -> Match:
    """The match where all others hold the same values, or the average over training where there is one."""
    first = matches[0]
    if all(_are_equal(first, other) for other in matches[1:]):
        return first
    averaged = [match for match in matches if AVERAGED.search(match.prefix)]
    if averaged and all(_are_equal(averaged[0], other) for other in averaged[1:]):
        return replace(averaged[0], rivals=tuple(match.prefix for match in matches if match not in averaged))
    prefixes = " and ".join(f"'{match.prefix}'" for match in matches)
    raise WeightsError(
        f"{what} holds {len(matches)} sets of tensors that fit the network, under {prefixes}, and not one alone is an "
        "average over training by its name; save the one that is meant alone and give that file"
    )


def _are_equal(one: Match, other: Match) -> bool:
    return one.fitting.keys() == other.fitting.keys() and all(
        torch.equal(tensor, other.fitting[name]) for name, tensor in one.fitting.items()
    )


def _complain(what: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor], match: Match | None) -> str:
    """Say why not even the best match is one."""
    unfilled, unused = (match.unfilled, match.unused) if match else (tuple(own), tuple(given))
    under = f" under '{match.prefix}'" if match and match.prefix else ""
    parts = []
    if unfilled:
        parts.append(
            f"{len(unfilled)} of the network's {len(own)} tensors {agree(len(unfilled), 'is', 'are')} not in "
            f"it{under} or "
            f"{agree(len(unfilled), 'differs', 'differ')} in shape "
            f"({name_first(unfilled)})"
        )
    if unused:
        parts.append(
            f"{len(unused)} of its {len(given)} tensors {agree(len(unused), 'has', 'have')} no place in the "
            f"network ({name_first(unused)})"
        )
    if not parts:
        return f"{what}: not one tensor fits"
    return f"{what} does not fit the network: {' and '.join(parts)}; give weights of this architecture"


def name_first(names: Iterable[str]) -> str:
    """Name the first three."""
    listed = list(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
