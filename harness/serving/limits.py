"""What the app takes of a request, and of how many at once: so many bytes, so long, and in turns."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from starlette.requests import Request

Made = TypeVar("Made")
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class AppLimits:
    """What the app takes at most."""

    upload: int = 64 * MIB
    """Bytes of an image file: twice what a large radiograph has."""
    pixels: int = 2**25
    """Pixels of an image, such as 5,792 x 5,792. Decoding DICOM takes about 25 bytes for each of them."""
    memory: int = 192 * MIB
    """Bytes of the image files that are in memory at once, three of the largest; the others wait in their senders."""
    waiting: int = 100
    """Requests that wait for memory; those beyond are told to come back."""
    seconds: float = 60.0
    """How long a file may take to arrive, a connection may be idle, and an answer may take to be fetched."""
    patience: float = 5.0
    """How long each further MiB of a file may take, so that a slow sender keeps nobody waiting for long."""
    connections: int = 200
    """Connections that are open at once; beyond, the one that has been idle longest is closed."""


USUAL = AppLimits()


class RefusedError(Exception):
    """A request that is not answered: the status of HTTP, and why in a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Room:
    """Memory for files, which are let in in the order in which they came, and no more than `waiting` wait for it."""

    def __init__(self, size: int, waiting: int) -> None:
        self._free = size
        self._most, self._waiting = waiting, 0
        self._first, self._freed = asyncio.Lock(), asyncio.Event()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Wait for so many bytes and keep them for a block. Raises `RefusedError` (503) where too many wait already."""
        if self._waiting >= self._most and (self._first.locked() or size > self._free):
            raise RefusedError(503, f"{self._waiting} images wait already; try again in a minute.")
        self._waiting += 1
        try:
            async with self._first:  # its turns are in order: the first waits for room, the others for the first
                while size > self._free:
                    self._freed.clear()
                    await self._freed.wait()
                self._free -= size
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free += size
            self._freed.set()


class Desk:
    """Where requests wait: until there is memory for their files, then until one that is whole is worked on."""

    def __init__(self, limits: AppLimits) -> None:
        self.limits = limits
        self._room = Room(max(limits.memory, limits.upload), limits.waiting)
        self._worker = ThreadPoolExecutor(1, "harness-serve")

    async def handle(self, request: Request, work: Callable[[bytes], Made]) -> Made:
        """Read a request's file when there is memory for it, and do the work on it in the one thread that works.

        Raises `RefusedError` for a file that is too large (413) or slow (408), and where too many wait (503).
        """
        async with self._room.take(find_size(request, self.limits.upload)):
            body = await read_body(request, self.limits)
            return await asyncio.get_running_loop().run_in_executor(self._worker, work, body)


def find_size(request: Request, most: int) -> int:
    """The most bytes that a request's file may have. Raises `RefusedError` (413) where it says that it has too many."""
    told = request.headers.get("content-length", str(most))  # one that comes in pieces does not say it
    if not told.isdecimal() or int(told) > most:
        raise _too_large(most)
    return int(told)


async def read_body(request: Request, limits: AppLimits) -> bytes:
    """A request's bytes. Raises `RefusedError` where there are too many (413) or they take too long (408)."""
    body, clock, counted = io.BytesIO(), asyncio.get_running_loop().time, 0
    end = clock() + limits.seconds
    try:
        async with asyncio.timeout_at(min(end, clock() + limits.patience)) as deadline:
            async for chunk in request.stream():
                if body.tell() + len(chunk) > limits.upload:
                    raise _too_large(limits.upload)
                body.write(chunk)
                if body.tell() >= counted + MIB:
                    counted = body.tell()
                    deadline.reschedule(min(end, clock() + limits.patience))
    except TimeoutError:
        raise RefusedError(
            408,
            f"The file took too long to arrive: a MiB may take {limits.patience:g} seconds, and all of it "
            f"{limits.seconds:g}. Send it again over a faster connection.",
        ) from None
    return body.getvalue()  # without a copy


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"The file is larger than {most / MIB:g} MiB, which is the most that this page takes.")
