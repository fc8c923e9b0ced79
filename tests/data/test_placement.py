"""Images reach the step the same way, whether they are resident or streamed, and are never copied on a CPU."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from harness import Dataset
from harness.data.loading import Source
from harness.data.placement import is_resident, place
from harness.data.prepare import Prepared, prepare

CPU = torch.device("cpu")
IMAGES = 48 * 16 * 16
"""Bytes of the images."""


@pytest.fixture
def prepared(small_data, tmp_path) -> Prepared:
    return prepare(
        Source(dataset=Dataset(name="some", load=lambda root: small_data), code="", options={}, root=tmp_path),
        small_data,
        16,
        tmp_path,
    )


def test_on_a_cpu_images_stay_the_caches_memory_map(prepared):
    placed = place(prepared, CPU)
    assert placed.resident
    assert placed.images.data_ptr() == prepared.images.ctypes.data


@pytest.mark.parametrize("size", [1, 5, 8, 24])
def test_streamed_batches_are_the_resident_ones(prepared, size):
    streamed, resident = place(prepared, CPU, "streamed"), place(prepared, CPU, "resident")
    train = resident.splits["train"]
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    seen = []
    for index, images in streamed.batches(order.split(size)):
        assert images is not None
        assert torch.equal(images, resident.images[index])
        seen.append(index)
    assert torch.equal(torch.cat(seen), order)
    assert all(images is None for _, images in resident.batches(order.split(size)))


def test_streaming_ends_when_its_reader_stops(prepared):
    placed = place(prepared, CPU, "streamed")
    batches = iter(placed.batches(placed.splits["train"].split(2)))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert list(placed.batches([])) == []


# --- on a pretended GPU ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unheld", "reserved", "allocated", "resident"),
    [
        (2 * IMAGES, 0, 0, True),
        (2 * IMAGES - 1, 0, 0, False),
        (IMAGES, 4 * IMAGES, 3 * IMAGES, True),  # an old combo's memory, which the allocator keeps for the next one
        (IMAGES, 4 * IMAGES, 3 * IMAGES + 1, False),
        (0, 2 * IMAGES, 0, True),
    ],
)
def test_images_are_resident_where_they_take_half_of_the_memory_that_can_be_had(
    prepared, monkeypatch, unheld, reserved, allocated, resident
):
    assert prepared.images.nbytes == IMAGES
    gpu = torch.device("cuda", 1)
    figures = {"mem_get_info": (unheld, 80 * 2**30), "memory_reserved": reserved, "memory_allocated": allocated}
    for name, figure in figures.items():
        monkeypatch.setattr(torch.cuda, name, {gpu: figure}.__getitem__)
    assert is_resident(prepared.images.nbytes, gpu, "auto") == resident
    assert is_resident(prepared.images.nbytes, gpu, "resident")
    assert not is_resident(prepared.images.nbytes, gpu, "streamed")


class PretendedStream:
    """Of a GPU; says in `log` what it is told, and what is copied on it."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: PretendedStream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: PretendedEvent) -> None:
        """Events are not what is looked at here."""

    def synchronize(self) -> None:
        self.log.append(f"{self.name} is waited for")


class PretendedEvent:
    def record(self, stream: PretendedStream) -> None:
        if stream.name == "copies":
            stream.log.append("a copy begins")

    def synchronize(self) -> None:
        """Nothing is asynchronous here."""


@pytest.fixture
def stream(prepared, monkeypatch):
    """Batches of 4 as a GPU would be given them, and what its streams were told."""
    log: list[str] = []
    make = torch.empty
    monkeypatch.setattr(torch, "empty", lambda shape, dtype, **_: make(shape, dtype=dtype))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: PretendedStream("copies", log))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: PretendedStream("training", log))
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "Event", PretendedEvent)
    placed = dataclasses.replace(place(prepared, CPU, "streamed"), device=torch.device("cuda"))
    return iter(placed.batches(placed.splits["train"].split(4))), log


def test_no_copy_is_under_way_when_the_buffers_go(stream):
    batches, log = stream
    assert len(list(batches)) == 6
    assert log == ["copies waits for training", *["a copy begins"] * 6, "copies is waited for"]


@pytest.mark.parametrize("seen", [1, 2, 5])
def test_no_copy_is_under_way_when_the_buffers_of_an_abandoned_epoch_go(stream, seen):
    """As after a want of memory in the middle of it: the next batch is on its way by then."""
    batches, log = stream
    for _ in range(seen):
        next(batches)
    batches.close()
    assert log == ["copies waits for training", *["a copy begins"] * (seen + 1), "copies is waited for"]


MEASURE = """
import resource, sys
import numpy as np, torch
from pathlib import Path
count, side = 112_120, 256
path = Path(sys.argv[1])
with path.open("wb") as file:
    file.truncate(count * side * side)
images = torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c", shape=(count, side, side)))
generator = torch.Generator().manual_seed(0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(6):
    (images.index_select(0, torch.randint(count, (64,), generator=generator)) / 255).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
@pytest.mark.slow
def test_seven_gigabytes_of_images_need_memory_for_the_pages_in_use_only(tmp_path):
    """112,120 images of 256 px, of which 384 are used: 25 MB of pages, and a few batches beside them."""
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "pixels.u8")], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) < 150_000, f"{int(found.stdout)} KiB"


def test_a_target_that_is_unknown_is_told_apart(prepared):
    targets = prepared.data.targets.copy()
    targets[0, 1] = np.nan
    changed = dataclasses.replace(prepared, data=dataclasses.replace(prepared.data, targets=targets))
    placed = place(changed, CPU)
    assert placed.known is not None
    assert placed.known.sum() == targets.size - 1
    assert placed.targets[0, 1] == 0
    assert place(prepared, CPU).known is None
