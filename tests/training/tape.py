"""A tape in place of a CUDA graph: what a step did to which memory, played again without its Python.

As in a real graph, whatever Python computed is frozen: a counter, a learning rate that is bound to a name instead of
written to memory, a branch. Unlike a real one it runs on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.training.capture import WARM_UP


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class Tape(TorchDispatchMode):
    """Records every operation with its tensors, which it keeps alive as a graph keeps its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_storage(tensor) for tensor in _tensors((args, kwargs))}
        outputs = _tensors(result)
        is_view = bool(outputs) and not func._schema.is_mutable and all(_storage(out) in given for out in outputs)
        if not is_view:  # a view of memory that is written to again needs nothing
            self.operations.append((func, args, kwargs or {}, outputs))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Do the same to the same memory."""
        for func, args, kwargs, outputs in self.operations:
            given = {_storage(tensor) for tensor in _tensors((args, kwargs))}
            for old, new in zip(outputs, _tensors(func(*args, **kwargs)), strict=True):
                if _storage(old) not in given:
                    old.copy_(new)


def capture(body: Callable[[], None], device: Any, rewind: Callable[[], None], generators: Any = ()) -> Tape:
    """What `harness.training.capture.capture` does, with a tape: warm up, take back, record."""
    for _ in range(WARM_UP):
        body()
    rewind()
    tape = Tape()
    with tape:
        body()
    rewind()
    return tape
