"""How steps are executed: what a user may ask for, and what came of it. None of it is a result's identity."""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.data.placement import Placement

COMPILE_PARAMETERS, COMPILE_IMAGES = 1_000_000, 1_000_000
"""compile = auto: from this many parameters, and images seen in all epochs together, on."""

Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class EngineOptions:
    """How steps are to be executed, as far as a user may ask for it."""

    compile: Compile = "auto"
    """torch.compile. auto: on CUDA, for networks and trainings that are large enough; a fixed rule, never a timing."""
    graphs: bool = True
    """Whether steps are captured in CUDA graphs where they can be."""
    placement: Placement = "auto"
    deterministic: bool = False
    """On CUDA: only operations that give the same bits each time, which are slower; some networks have none."""


DEFAULT_ENGINE_OPTIONS = EngineOptions()


@dataclass(kw_only=True)
class Execution:
    """How steps were executed, as the record says it."""

    placement: str
    precision: str
    channels_last: bool
    compiled: bool = False
    step: str = "eager"
    """`eager`, or `graph` where the whole step is one captured CUDA graph."""
    micro_batch: int | None = None
    """Images at a time, where batches are split."""
    preparation_seconds: float = 0.0
    """Seconds spent on compiling and capturing."""
    notes: list[str] = field(default_factory=list)
    """Why something is not as one would expect: a step that could not be captured, a batch that had to be split."""


def decide_compile(engine: EngineOptions, network: nn.Module, device: torch.device, images: int) -> bool:
    """Whether a network is compiled for a training that sees so many images, epochs times batches times batch size.

    `auto` is a fixed rule: on CUDA, from a million parameters and a million images on. Compiling DenseNet-121 took an
    H100 170 s, and 21 s where its code was kept from before; a captured step alone is ready after 16 s. At 224 px in
    batches of 64 the compiled step made 3,222 images a second instead of 2,095, which saves 0.17 ms an image: the 154 s
    are won back after 0.9 million images, in batches of 256 after 1.3 million. That is 12 epochs of ChestX-ray14. What
    counts is images and not steps, since large batches have few steps and gain as much.
    """
    if engine.compile != "auto":
        return engine.compile == "on"
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return device.type == "cuda" and parameters >= COMPILE_PARAMETERS and images >= COMPILE_IMAGES


def decide_graph(engine: EngineOptions, device: torch.device) -> bool:
    """Whether steps and predictions are captured in CUDA graphs, where they can be."""
    return engine.graphs and device.type == "cuda"


def set_up_process(engine: EngineOptions, cache: Path) -> None:
    """Settings of the whole process, before its first use of CUDA: memory, where compiled code is kept, determinism."""
    _keep_freed_memory()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "compiled"))
    if engine.deterministic:
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat itself
        torch.use_deterministic_algorithms(mode=True)


def _keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one: handing it back and faulting it in again costs a training on a
    CPU up to a tenth of its time, depending on how its memory happens to lie.
    """
    trim_threshold, mmap_threshold = -1, -3  # names of mallopt's parameters
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 32 * 2**20)  # the highest that there is
        libc.mallopt(trim_threshold, 2**31 - 1)
