"""A function of fixed tensors as one CUDA graph: the host launches it in one go."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WARM_UP = 3
"""Runs before a capture, in which libraries choose and load their kernels."""
ASKING = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive")
"""Operations that wait for the device to tell a value or a size."""
SYNCHRONIZING = "synchronizing CUDA operation"
"""What torch says of an operation that waits for the device while that is forbidden."""

_broken: list[tuple[str, torch.cuda.CUDAGraph]] = []
"""Why each capture broke off, with its graph, which stays: torch's pinned memory may still refer to it."""


class NotCapturableError(Exception):
    """What the captured function does that a graph cannot; for whoever falls back to doing without."""


def broken_capture() -> str | None:
    """Tell why this process should make way for a new one: a capture broke off in it. None while all is well.

    Everything that torch lets us put right has been put right by then, and the training under way goes on eagerly;
    libraries below torch may still hold what they began to capture.
    """
    return _broken[0][0] if _broken else None


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Work on the one stream of this process on which things are tried, compiled and captured; on a CPU do nothing.

    It waits for what was under way before, is waited for afterwards, and is left whatever happens. Graphs are captured
    where their kernels were warmed up, and memory that one of these runs lets go is there for the next one.
    """
    if device.type != "cuda":
        yield
        return
    stream, before = _make_stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(before)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        before.wait_stream(stream)


def capture(
    body: Callable[[], None],
    device: torch.device,
    rewind: Callable[[], None],
    generators: Sequence[torch.Generator] = (),
) -> torch.cuda.CUDAGraph:
    """Run `body` a few times, take back by `rewind` what that did, and capture it; in the end nothing has been done.

    Random numbers go on being drawn in replays, from `generators` and the device's own. Raises what `body` raises,
    `OutOfMemoryError` where the capture ran out of memory, and `NotCapturableError` where only the capture fails; then,
    too, everything is as it was, and `broken_capture` tells why.
    """
    with side_stream(device):
        for _ in range(WARM_UP):
            body()
        rewind()
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        for generator in generators:
            _register(graph, generator)
        stream = torch.cuda.current_stream(device)
        try:
            # other threads may go on with theirs
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                body()
        except BaseException as error:  # noqa: BLE001 - an interruption, too, must leave nothing under way
            _broken.append((_first_cause(error), graph))
            _end_pool(device, pool)
            _settle(device, generators)
            rewind()
            raise _explain(error) from None
    return graph


def find_obstacle(body: Callable[[], object], device: torch.device) -> str | None:
    """Run `body` and name the first thing that it does which cannot be captured, if there is one.

    On CUDA, torch itself refuses whatever waits for the device, so that this does not depend on a list of operations.
    In torch 2.11 a function that a plugin compiles itself stays eager after it was first run here.
    """
    watch = _Watch()
    with side_stream(device), _forbid_waiting(device), watch:
        try:
            body()
        except RuntimeError as error:
            if SYNCHRONIZING in str(error):  # outside of any operation, such as a stream that is waited for
                watch.obstacle = watch.obstacle or "it waits for the device"
            if watch.obstacle is None:
                raise
    return watch.obstacle


class _Watch(TorchDispatchMode):
    """Notes the first operation that waits for the device or copies between it and the host."""

    def __init__(self) -> None:
        super().__init__()
        self.obstacle: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        try:
            result = func(*args, **(kwargs or {}))
        except RuntimeError as error:
            if SYNCHRONIZING in str(error):
                self.obstacle = self.obstacle or _find_fault(name, args, None) or f"it waits for the device ({name})"
            raise
        if self.obstacle is None:
            self.obstacle = _find_fault(name, args, result)
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


# --- what torch leaves to its callers --------------------------------------------------------------------------------


@functools.cache
def _make_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def _forbid_waiting(device: torch.device) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    _set_sync_debug_mode("error")
    try:
        yield
    finally:
        _set_sync_debug_mode(before)


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*prototype feature")  # it is all that we need of it
        torch.cuda.set_sync_debug_mode(mode)


def _register(graph: torch.cuda.CUDAGraph, generator: torch.Generator) -> None:
    """Let replays draw from a generator: torch 2.14 finds it by itself, and warns that it need not be told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*register_generator_state")
        graph.register_generator_state(generator)


def _end_pool(device: torch.device, pool: Any) -> None:
    """Release the memory of a capture that broke off: torch believes that it goes on, and asserts that none does."""
    try:
        torch._C._cuda_endAllocateToPool(_index(device), pool)  # noqa: SLF001 - `use_mem_pool` ends its pools so
    except RuntimeError:
        return  # it has ended: the graph releases the pool itself
    torch._C._cuda_releasePool(_index(device), pool)  # noqa: SLF001 - likewise


def _settle(device: torch.device, generators: Sequence[torch.Generator]) -> None:
    """Capture next to nothing, after which generators no longer believe that the capture which broke off goes on.

    Graphs that were captured before draw from the same states: torch 2.11 would refuse to replay them. Where even this
    fails, generators get a copy of their state, offset included, so that at least eager steps go on.
    """
    try:
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            _register(graph, generator)
        stream = torch.cuda.current_stream(device)
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            torch.zeros((), device=device)
    except RuntimeError:
        for generator in (torch.cuda.default_generators[_index(device)], *generators):
            generator.graphsafe_set_state(generator.clone_state())


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _explain(error: BaseException) -> BaseException:
    """What a broken capture means to its caller: ending it may have failed because of something else before."""
    cause = _find_cause(error)
    if isinstance(cause, torch.OutOfMemoryError) or not isinstance(cause, Exception):
        return cause
    return NotCapturableError(_first_cause(error)) if isinstance(error, RuntimeError) else error


def _find_cause(error: BaseException) -> BaseException:
    while error.__context__ is not None:
        error = error.__context__
    return error


def _first_cause(error: BaseException) -> str:
    cause = _find_cause(error)
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"
