"""A function of fixed tensors as one CUDA graph: the host launches it in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WARM_UP = 3
"""Runs before a capture, in which libraries choose and load their kernels."""
ASKING = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive")
"""Operations that wait for the device to tell a value or a size."""


class NotCapturableError(Exception):
    """What the captured function does that a graph cannot; for whoever falls back to doing without."""


def capture(
    body: Callable[[], None],
    device: torch.device,
    rewind: Callable[[], None],
    generators: Sequence[torch.Generator] = (),
) -> torch.cuda.CUDAGraph:
    """Run `body` a few times, take back by `rewind` what that did, and capture it; in the end nothing has been done.

    Random numbers go on being drawn in replays, from `generators` and the device's own. Raises what `body` raises,
    and `NotCapturableError` where only its capture fails; then, too, everything is as it was.
    """
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            body()
        rewind()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    try:
        # warmed up and captured on one stream, where autograd expects gradients; other threads may go on with theirs
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            body()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        _renew([torch.cuda.default_generators[device.index or 0], *generators])
        rewind()
        raise NotCapturableError(_first_cause(error)) from None
    return graph


def find_obstacle(body: Callable[[], None]) -> str | None:
    """Run `body` and name the first thing that it does which cannot be captured, if there is one."""
    watch = _Watch()
    with watch:
        body()
    return watch.obstacle


class _Watch(TorchDispatchMode):
    """Notes the first operation that waits for the device or copies between it and the host."""

    def __init__(self) -> None:
        super().__init__()
        self.obstacle: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.obstacle is None:
            self.obstacle = _find_fault(func.overloadpacket.__name__, args, result)
        return result


def _find_fault(name: str, args: Sequence[Any], result: Any) -> str | None:
    if name in ASKING:
        return f"it asks the device for a value ({name})"
    if name in ("index", "index_put", "index_put_") and any(_is_mask(index) for index in args[1]):
        return f"it indexes by a mask, whose size only the device knows ({name})"
    if name in ("_to_copy", "copy_"):
        devices = {tensor.device.type for tensor in (*args, result) if isinstance(tensor, torch.Tensor)}
        if len(devices) > 1:
            return f"it copies between {' and '.join(sorted(devices))} ({name})"
    return None


def _is_mask(index: object) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


def _renew(generators: Iterable[torch.Generator]) -> None:
    """A capture that broke off leaves generators believing that it goes on; give them equal states that do not."""
    for generator in generators:
        fresh = torch.Generator(generator.device).manual_seed(generator.initial_seed())
        generator.graphsafe_set_state(fresh)


def _first_cause(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
