"""Networks compiled by torch.compile, and what torch does silently where a compiled network would not be one."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from harness.errors import PluginError
from harness.training.memory import is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor, nn

Forward = Callable[..., "Tensor"]
"""A network: images (B, K, H, W), and rows of a table (B, F, 2) where it wants some -> logits (B, C)."""


def reset_compiler() -> None:
    """Forget the networks that this process compiled before, and refuse to go on uncompiled.

    Dynamo keeps up to 8 variants of a function. It would run the ninth network of a process uncompiled without a word;
    now it raises.
    """
    torch.compiler.reset()
    torch._dynamo.config.fail_on_recompile_limit_hit = True  # noqa: SLF001 - it is set nowhere else


def compile_network(
    network: nn.Module, attempt: Callable[[Forward], None], *, asked: bool
) -> tuple[Forward, str | None]:
    """Compile a network by running `attempt` with it once.

    Where that fails, give the network itself and the reason; raise `PluginError` where compiling was `asked` for. An
    `OutOfMemoryError` is raised as it is.
    """
    compiled: Forward = torch.compile(network, dynamic=False)
    try:
        with warnings.catch_warnings():
            # inductor's advice on float32, which is not to become a failure where warnings are errors
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
            attempt(compiled)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if asked:
            raise PluginError(f"torch.compile failed: {reason}; leave it to --compile auto, or off") from error
        return network, reason
    return compiled, None


@contextlib.contextmanager
def explain_limit() -> Iterator[None]:
    """Raise `PluginError` where a network turns out to need another variant with every call."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "FailOnRecompileLimitHit":
            raise
        raise PluginError(
            "torch.compile gave up: the network needed more than 8 compiled variants, since something in it changes "
            "from call to call; train it with --compile off"
        ) from error
