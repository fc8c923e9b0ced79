"""Embeddings in the cache, beside the decoded images that they were made from: each image once, as a memory map.

A folder holds the embeddings of all images by one encoder: `embeddings.f32`, (N, D) float32 in the images' order, and a
manifest with a digest of each chunk. They are written chunk by chunk; interrupted work goes on after the last chunk
that is still what its digest says. Processes take turns by a lock, and whoever opens finished embeddings checks all of
them. The folder lies in that of the decoded images, with which it is kept and removed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.errors import StorageError
from harness.files import storage_problem, sweep, write_atomically
from harness.locks import hold_lock

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUES, MANIFEST, UNFINISHED = "embeddings.f32", "manifest.json", "unfinished.json"
CHUNK = 4096
"""Images whose embeddings are written together."""


class Encoder(Protocol):
    """What makes embeddings."""

    @property
    def width(self) -> int:
        """D."""
        ...

    @property
    def about(self) -> Mapping[str, Any]:
        """What is to be known of the encoder, as plain data that is the same whenever it is the same encoder."""
        ...

    def embed(self, first: int, last: int) -> NDArray[np.float32]:
        """Embed images first..last, (last - first, D)."""
        ...


@dataclass(frozen=True)
class EmbeddingsManifest:
    """What is said of embeddings, finished or not."""

    count: int
    width: int
    about: dict[str, Any]
    seconds: float = 0.0
    """Seconds that making them has taken, by all processes that were at work."""
    chunks: list[str] = field(default_factory=list)
    """The digest of each chunk that is there."""

    @property
    def digest(self) -> str:
        """sha256 over the digests of all chunks."""
        return hashlib.sha256("".join(self.chunks).encode()).hexdigest()

    @property
    def done(self) -> int:
        """Images whose embeddings are there."""
        return min(self.count, len(self.chunks) * CHUNK)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The embeddings of all images of a dataset by one encoder."""

    key: str
    """What they depend on, as 16 hex digits."""
    values: NDArray[np.float32]
    """(N, D) memory map, in the order of the images."""
    manifest: EmbeddingsManifest


def obtain(
    folder: Path,
    count: int,
    begin: Callable[[], Encoder],
    remark: Callable[[str], None] = lambda text: None,
    advance: Callable[[int], None] = lambda done: None,
    on_wait: Callable[[str], None] | None = None,
) -> Embeddings:
    """Open the embeddings of `count` images in a folder that is called by their key, or make them.

    `begin` gives the encoder, which is asked for only where something is to be made; `remark` hears of damage,
    `advance` how many images are done, and `on_wait`, once, which process is waited for. Raises `StorageError` where
    the cache cannot be read or written.
    """
    found, damage = _open(folder, count)
    if found is not None:
        return found
    # waiting is no remark: remarks come into the record, and which process came first is nothing of the result
    with hold_lock(folder / "lock", f"the embeddings in {folder}", on_wait, "choose another --cache-dir"):
        found, damage = _open(folder, count)  # another process may have been at work
        if found is not None:
            return found
        if damage is not None:
            remark(f"the embeddings in {folder} are damaged: {damage}; they are made again")
        sweep([folder])
        try:
            _make(folder, count, begin(), advance)
        except OSError as error:
            reason = storage_problem(error)
            if reason is None:
                raise
            raise StorageError(f"cannot write {folder}: {reason}; choose another --cache-dir") from None
        found, damage = _open(folder, count)
    if found is None:
        raise StorageError(f"the embeddings in {folder} are not what was written: {damage}; choose another --cache-dir")
    return found


def _open(folder: Path, count: int) -> tuple[Embeddings | None, str | None]:
    """Finished embeddings, or what is wrong with them; neither where there are none."""
    manifest = _read(folder / MANIFEST)
    if not (folder / MANIFEST).exists():
        return None, None
    if manifest is None or manifest.count != count or manifest.done != count:
        return None, "their manifest is not what was written"
    sound = _count_sound(folder, manifest)
    if sound < len(manifest.chunks):
        return None, f"those of the images from {sound * CHUNK:,} on are not what was written"
    # copy-on-write, so that torch takes it for writable; nothing writes
    values = np.memmap(folder / VALUES, dtype=np.float32, mode="c", shape=(count, manifest.width))
    return Embeddings(folder.name, values, manifest), None


def _read(path: Path) -> EmbeddingsManifest | None:
    """What a manifest says; None where there is none or it is damaged."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        seal = plain.pop("seal")
        return EmbeddingsManifest(**plain) if seal == _seal(plain) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(path: Path, manifest: EmbeddingsManifest) -> None:
    plain = asdict(manifest)
    write_atomically(path, json.dumps({**plain, "seal": _seal(plain)}, indent=1))


def _seal(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _count_sound(folder: Path, manifest: EmbeddingsManifest) -> int:
    """How many chunks are what their digests say, up to the first that is not.

    Read, not mapped: what a disk cannot read is then an error, where a memory map would kill the process.
    """
    size = CHUNK * manifest.width * 4
    try:
        with (folder / VALUES).open("rb") as file:
            for number, digest in enumerate(manifest.chunks):
                rows = min(CHUNK, manifest.count - number * CHUNK)
                content = file.read(size)
                if len(content) != rows * manifest.width * 4 and number == len(manifest.chunks) - 1:
                    content = content[: rows * manifest.width * 4]
                if _digest(content) != digest:
                    return number
    except OSError:
        return 0
    return len(manifest.chunks)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _make(folder: Path, count: int, encoder: Encoder, advance: Callable[[int], None]) -> None:
    """Write embeddings chunk by chunk, after those of an interrupted run, and the manifest at last."""
    unfinished = folder / UNFINISHED
    manifest = EmbeddingsManifest(count, encoder.width, dict(encoder.about))
    before = _read(unfinished)
    (folder / MANIFEST).unlink(missing_ok=True)
    if before is not None and replace(before, seconds=0.0, chunks=[]) == manifest:
        manifest = replace(before, chunks=before.chunks[: _count_sound(folder, before)])
    with (folder / VALUES).open("r+b" if manifest.chunks else "wb") as file:
        file.truncate(manifest.done * encoder.width * 4)
        file.seek(0, 2)
        while manifest.done < count:
            started = time.perf_counter()
            values = encoder.embed(manifest.done, min(count, manifest.done + CHUNK))
            content = np.ascontiguousarray(values, dtype=np.float32).tobytes()
            file.write(content)
            file.flush()
            seconds = manifest.seconds + time.perf_counter() - started
            manifest = replace(manifest, seconds=seconds, chunks=[*manifest.chunks, _digest(content)])
            _write(unfinished, manifest)
            advance(manifest.done)
    _write(folder / MANIFEST, manifest)
    unfinished.unlink(missing_ok=True)
