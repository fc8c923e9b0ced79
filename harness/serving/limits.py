"""What the app takes of a request, and how many it works on at once: so many bytes, so long, and in turns."""

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
    uploads: int = 4
    """Image files that are in memory at once; the others wait in their senders."""
    waiting: int = 200
    """Requests that wait for their turn; those beyond are told to come back."""
    seconds: float = 60.0
    """How long a file may take to arrive, so that a slow sender keeps nobody waiting for long."""


USUAL = AppLimits()


class RefusedError(Exception):
    """A request that is not answered: the status of HTTP, and why in a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Turns:
    """At most `places` at once, the others in the order in which they came, and no more than `waiting` of these."""

    def __init__(self, places: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(places)
        self._most, self._waiting = waiting, 0

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a place and keep it for a block. Raises `RefusedError` (503) where too many wait already."""
        if self._free.locked() and self._waiting >= self._most:
            raise RefusedError(503, f"{self._waiting} images wait already; try again in a minute.")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()


class Desk:
    """Where requests wait: a few whose files are in memory, one of which is being worked on."""

    def __init__(self, limits: AppLimits) -> None:
        self.limits = limits
        self._uploads = Turns(limits.uploads, limits.waiting)
        self._worker = ThreadPoolExecutor(1, "harness-serve")

    async def handle(self, request: Request, work: Callable[[bytes], Made]) -> Made:
        """Read a request's file when it is its turn, and do the work on it in the one thread that works.

        Raises `RefusedError` for a file that is too large (413) or slow (408), and where too many wait (503).
        """
        require_size(request, self.limits.upload)
        async with self._uploads.take():
            body = await read_body(request, self.limits)
            return await asyncio.get_running_loop().run_in_executor(self._worker, work, body)


def require_size(request: Request, most: int) -> None:
    """Raise `RefusedError` (413) for a file that says itself that it has too many bytes."""
    told = request.headers.get("content-length", "0")
    if not told.isdecimal() or int(told) > most:
        raise _too_large(most)


async def read_body(request: Request, limits: AppLimits) -> bytes:
    """A request's bytes. Raises `RefusedError` where there are too many (413) or they take too long (408)."""
    body = io.BytesIO()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                if body.tell() + len(chunk) > limits.upload:
                    raise _too_large(limits.upload)
                body.write(chunk)
    except TimeoutError:
        raise RefusedError(408, f"The file took longer than {limits.seconds:g} seconds to arrive.") from None
    return body.getvalue()  # without a copy


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"The file is larger than {most / MIB:g} MiB, which is the most that this page takes.")
