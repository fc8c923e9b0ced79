"""References that are none of this harness's code: what torch's own modules do, and what a device's memory can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.components import Recipe
from harness.training.numerics import Numerics
from harness.training.timer import wait_for

if TYPE_CHECKING:
    from torch import Tensor

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
COPIED_BYTES, COPIES = 2**28, 20
"""Size of the copy that measures a device's bandwidth, larger than its caches, and how often it is made."""


class BareStep:
    """A training step on one constant batch by torch's own modules: network, loss, optimizer, and nothing else.

    Images (B, K, H, W) float32 and targets (B, C) are on the device of the network, which is changed in place. Numbers
    and memory layout are those that the engine chooses.
    """

    def __init__(self, network: nn.Module, images: Tensor, targets: Tensor, recipe: Recipe, numerics: Numerics) -> None:
        self.network = network.to(memory_format=numerics.layout).train()
        self.images, self.targets, self.numerics = numerics.arrange(images), targets, numerics
        self.optimizer = OPTIMIZERS[recipe.optimizer](self.network.parameters(), lr=recipe.lr, fused=True)  # type: ignore[call-arg]
        self.loss_function = nn.BCEWithLogitsLoss()

    def __call__(self) -> None:
        """Make the step."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.numerics.autocast():
            logits = self.network(self.images)
        self.loss_function(logits.float(), self.targets).backward()
        self.optimizer.step()


def count_bytes(function: Callable[[], object]) -> int:
    """Bytes of memory that a function's operations read and write, each tensor once an operation that uses it.

    Operations that only give another view of a tensor, or memory without content, move nothing. A program that fuses
    operations moves fewer bytes than this.
    """
    traffic = _Traffic()
    with traffic:
        function()
    return traffic.bytes


def measure_copying(device: torch.device) -> float:
    """Bytes a second that a device reads and writes when it copies its own memory; the fastest of several copies."""
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    fastest = float("inf")
    for _ in range(COPIES):
        wait_for(device)
        started = time.perf_counter()
        target.copy_(source)
        wait_for(device)
        fastest = min(fastest, time.perf_counter() - started)
    return 2 * COPIED_BYTES / fastest


class _Traffic(TorchDispatchMode):
    """Adds up what operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if not (func.is_view or name.startswith(("empty", "new_empty", "detach", "_unsafe_view"))):
            self.bytes += _size((args, kwargs)) + self._written(func, args, kwargs) + _size(self._made(func, result))
        return result

    @staticmethod
    def _written(func: Any, args: Any, kwargs: Any) -> int:
        """Bytes of the arguments that an operation changes in place."""
        given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs  # noqa: SLF001
        changed = [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]  # noqa: SLF001
        return _size([given[name] for name in changed if name in given])

    @staticmethod
    def _made(func: Any, result: Any) -> list[Any]:
        """What an operation gives that is not an argument of it."""
        results = result if isinstance(result, tuple | list) and len(func._schema.returns) > 1 else [result]  # noqa: SLF001
        return [one for one, said in zip(results, func._schema.returns, strict=False) if said.alias_info is None]  # noqa: SLF001


def _size(tree: object) -> int:
    """Bytes of the tensors in a tree, each once."""
    tensors = {id(leaf): leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)}.values()
    return sum(min(tensor.numel() * tensor.itemsize, tensor.untyped_storage().nbytes()) for tensor in tensors)
