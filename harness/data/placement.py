"""Images and targets where the training step wants them: on the device whole, or streamed to it batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from harness.components import SPLITS, Data
from harness.data.prepare import Prepared

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.5
"""The share of a GPU's free memory that images may take; the rest is the network's."""

Placement = Literal["auto", "resident", "streamed"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Placed:
    """A prepared dataset on its device."""

    prepared: Prepared
    device: torch.device
    images: Tensor
    """(N, S, S) uint8: on the device where `resident`, else the cache's memory map."""
    targets: Tensor
    """(N, C) float32 on the device, unknown as 0."""
    known: Tensor | None
    """(N, C) float32 on the device, 1 where the target is known; None where all are."""
    splits: Mapping[str, Tensor]
    """Indices (n,) int64 on the device of each split's images; a split without images is absent."""
    resident: bool
    """Whether a step takes its images from `images` by itself; on a CPU the memory map is where it has to be."""

    @property
    def data(self) -> Data:
        """The labels and the table, which are the same at every size."""
        return self.prepared.data

    def batches(self, indices: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Each batch's indices (B,), and where the images are streamed the images (B, S, S) too, on the device.

        Streamed images are overwritten two batches later.
        """
        if self.resident:
            return ((index, None) for index in indices)
        return _stream(self, list(indices))


def place(prepared: Prepared, device: torch.device, placement: Placement = "auto") -> Placed:
    """Bring a dataset to the device: all of it where half of the free memory suffices, else batch by batch.

    On a CPU nothing is copied: the images stay the cache's memory map.
    """
    images = torch.from_numpy(prepared.images)
    resident = is_resident(images.nbytes, device, placement)
    targets = torch.tensor(prepared.data.targets)
    unknown = targets.isnan()  # (N, C)
    split = prepared.data.table["split"].to_numpy()
    return Placed(
        prepared=prepared,
        device=device,
        images=images.to(device) if resident else images,
        targets=targets.nan_to_num(0.0).to(device),
        known=(~unknown).float().to(device) if bool(unknown.any()) else None,
        splits={name: torch.from_numpy(np.flatnonzero(split == name)).to(device) for name in SPLITS if name in split},
        resident=resident,
    )


def is_resident(images: int, device: torch.device, placement: Placement) -> bool:
    """Whether so many bytes of images are to lie on the device."""
    if placement != "auto":
        return placement == "resident"
    return device.type == "cpu" or images <= SHARE * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU that this process can have: what nobody holds, and what its allocator keeps of what was freed."""
    unheld, _ = torch.cuda.mem_get_info(device)
    return int(unheld + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


# --- streaming -------------------------------------------------------------------------------------------------------


class _Slot:
    """One of two batches under way: a pinned buffer in host memory and its copy on the device."""

    def __init__(self, placed: Placed, batch: int) -> None:
        shape = (batch, *placed.images.shape[1:])
        self.cuda = placed.device.type == "cuda"
        self.host = torch.empty(shape, dtype=torch.uint8, pin_memory=self.cuda)
        self.device = torch.empty(shape, dtype=torch.uint8, device=placed.device) if self.cuda else self.host
        self.arrived = torch.cuda.Event() if self.cuda else None
        self.used = torch.cuda.Event() if self.cuda else None

    def fill(self, images: Tensor, index: Tensor, stream: torch.cuda.Stream | None) -> Tensor:
        """Gather images at `index` (host memory) and begin to copy them; waits for the buffers' last use."""
        count = len(index)
        if self.arrived is not None:
            self.arrived.synchronize()  # the last copy out of the pinned buffer is over
        torch.index_select(images, 0, index, out=self.host[:count])
        if stream is not None and self.arrived is not None and self.used is not None:
            with torch.cuda.stream(stream):
                stream.wait_event(self.used)
                self.device[:count].copy_(self.host[:count], non_blocking=True)
                self.arrived.record(stream)
        return self.device[:count]


def _stream(placed: Placed, indices: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, each gathered by a thread and copied on a stream of its own while the one before is trained on."""
    if not indices:
        return
    hosted = torch.cat(indices).cpu().split([len(index) for index in indices])  # one copy to the host for all
    stream = torch.cuda.Stream(placed.device) if placed.device.type == "cuda" else None
    slots = [_Slot(placed, max(map(len, indices))) for _ in range(2)]
    if stream is not None:  # the buffers' memory may have been another's, for which the device still works
        stream.wait_stream(torch.cuda.current_stream(placed.device))
    try:
        yield from _gather(placed, indices, hosted, slots, stream)
    finally:
        if stream is not None:  # whoever stops early leaves a copy under way into a buffer that is about to be freed
            stream.synchronize()


def _gather(
    placed: Placed,
    indices: list[Tensor],
    hosted: Sequence[Tensor],
    slots: Sequence[_Slot],
    stream: torch.cuda.Stream | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    with ThreadPoolExecutor(1) as gatherer:

        def submit(number: int) -> Future[Tensor] | None:
            if number == len(indices):
                return None
            return gatherer.submit(slots[number % 2].fill, placed.images, hosted[number], stream)

        coming = submit(0)
        for number, index in enumerate(indices):
            assert coming is not None
            images, slot = coming.result(), slots[number % 2]
            coming = submit(number + 1)
            if slot.arrived is not None and slot.used is not None:
                current = torch.cuda.current_stream(placed.device)
                current.wait_event(slot.arrived)
                yield index, images
                slot.used.record(current)
            else:
                yield index, images
