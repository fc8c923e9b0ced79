"""Files that appear whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from harness.errors import StorageError
from harness.leases import Owner, identify_machine

TEMPORARY = ".tmp-"
"""How the names of files begin that are being written."""
OWNED = re.compile(re.escape(TEMPORARY) + r"([0-9a-f]{16})-(\d+)-")
"""How a temporary file's name says which machine's process writes it."""
LONGEST = 40
"""Characters of a name that its temporary file has, too: names have an end at 255."""
OLD = 24 * 3600.0
"""Seconds after which a temporary file is left over, if it cannot be told whether its writer lives."""
STORAGE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG,
}  # fmt: skip
"""Errors of a place that cannot be written, whatever is written."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks, by which a text file tells its encoding."""


Content = bytes | str | Callable[[Path], None]
"""What is written, or a function that writes it to the path that it is given."""


def write_atomically(path: Path, content: Content) -> None:
    """Write a file beside its place, then rename it: a reader sees the old content or the new, never a part.

    A process that is killed leaves at most a file for `sweep` to find. Raises `StorageError` where the folder cannot be
    written.
    """
    with write_beside(path, content) as temporary, _explain(path):
        temporary.replace(path)


@contextlib.contextmanager
def write_beside(path: Path, content: Content) -> Iterator[Path]:
    """Write a temporary file for the block to rename; it is gone in the end where it was not."""
    temporary = path.with_name(make_temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; choose a folder that can be written") from None
    try:
        with _explain(path):
            _fill(temporary, content)
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_folder(folder: Path, contents: Mapping[str, Content]) -> None:
    """Write files, named by their places within a folder: all of them, or none.

    A new folder appears with all of them. One that is there keeps its other files. Raises `StorageError` where it
    cannot be written.
    """
    place = folder if folder.is_dir() else folder.parent
    staged = place / make_temporary_name(folder.name)
    try:
        with _explain(folder):
            for name, content in contents.items():
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                _fill(staged / name, content)
            _move(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _move(staged: Path, place: Path) -> None:
    """Rename a file, or a folder whole; where there is such a folder, what it holds."""
    if staged.is_dir() and place.is_dir():
        for one in sorted(staged.iterdir()):
            _move(one, place / one.name)
    else:
        staged.replace(place)


def _fill(path: Path, content: Content) -> None:
    """Write a file until it is on the disk."""
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with path.open("rb+") as written:
        os.fsync(written.fileno())
    path.chmod(0o666 & ~_umask())  # content may have made the file itself


@contextlib.contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Raise `StorageError` for what goes wrong because of the place."""
    try:
        yield
    except Exception as error:
        reason = storage_problem(error)
        if reason is None:
            raise
        raise StorageError(f"cannot write {path}: {reason}; make room or choose another folder") from None


def storage_problem(error: BaseException) -> str | None:
    """Why a place cannot be written, where that is what an error means; libraries put the number into their text."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (match := re.search(r"os error (\d+)", str(error))):
        number = int(match[1])
    return os.strerror(number) if number in STORAGE else None


def is_full(error: BaseException) -> bool:
    """Whether an error means that there is no space left."""
    return storage_problem(error) in {os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT)}


def sweep(folders: Iterable[Path]) -> list[Path]:
    """Remove what killed processes were about to rename in some folders; what is being written now stays."""
    swept = []
    for path in find_left(folders):
        with contextlib.suppress(OSError):
            path.unlink()
            swept.append(path)
    return swept


def find_left(folders: Iterable[Path]) -> Iterator[Path]:
    """Find what killed processes were about to rename in some folders.

    A file stays while its writer may live. Whether a process of this machine does can be told; of all others nothing is
    known, and their files are left over after a day.
    """
    for folder in folders:
        for path in sorted(folder.glob(f"{TEMPORARY}*")):
            with contextlib.suppress(OSError):
                writer, is_old = _find_writer(path), time.time() - path.lstat().st_mtime > OLD
                if writer.is_dead() or (is_old and not writer.is_here()):
                    yield path


def make_temporary_name(name: str) -> str:
    """Make a new name for what this process is about to rename to `name`; its end is the same."""
    machine = identify_machine() or "unknown"
    return f"{TEMPORARY}{machine}-{os.getpid()}-{secrets.token_hex(4)}-{name[-LONGEST:]}"


def _find_writer(path: Path) -> Owner:
    """Find in the name of a temporary file who writes it."""
    match = OWNED.match(path.name)
    return Owner(match[1], int(match[2])) if match else Owner()


def _open_at_once(path: Path) -> IO[bytes]:
    """A file opened without waiting for whoever writes to it, which a pipe would, and without following a link."""
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123


def read_regular(path: Path, most: int) -> bytes:
    """Read an ordinary file of at most so many bytes, without ever waiting for it.

    Raises `OSError` for anything else, whose `strerror` says what it is: a link, a folder, a pipe, a device, too large.
    """
    _require_regular(os.lstat(path), most)  # a device is not even opened
    with _open_at_once(path) as file:
        _require_regular(os.fstat(file.fileno()), most)  # it may have been replaced meanwhile
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most / 2**20:g} MiB")
    return content


def _require_regular(about: os.stat_result, most: int) -> None:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = stat.S_IFMT(about.st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {kinds.get(kind, 'a device')}, no ordinary file")
    if about.st_size > most:
        raise OSError(errno.EFBIG, f"it is larger than {most / 2**20:g} MiB")


def decode_text(content: bytes) -> str:
    """Decode a file's bytes by its byte order mark, without one as UTF-8; every line ends as on Unix.

    Windows writes UTF-16 with such a mark; where it was lost, the zeros of plain letters still show the order. Raises
    `UnicodeError` whose text names the line that is no text.
    """
    mark, encoding = next(((m, e) for m, e in MARKS if content.startswith(m)), (b"", _guess_encoding(content)))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].decode(encoding, "replace").count("\n") + 1
        wrong = f"line {line} is no {encoding.upper()}: byte 0x{error.object[error.start]:02X}"
        raise UnicodeError(f"{wrong}; save the file as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UnicodeError(f"line {line} holds a NUL character; the file is damaged or no text: write it again")
    return text


def _guess_encoding(content: bytes) -> str:
    """Tell UTF-16 without a mark, where every other of the first bytes is zero, from UTF-8."""
    head = content[:64]
    if len(head) >= 4 and not any(head[1::2]) and all(head[::2]):
        return "utf-16-le"
    return "utf-16-be" if len(head) >= 4 and not any(head[::2]) and all(head[1::2]) else "utf-8"


def file_digest(path: Path) -> str:
    """The sha256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let one process at a time through a block that reads a file and writes it again.

    The others wait; such a block is short. Where the file system has no locks nobody waits. Raises `StorageError` where
    the file's folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; choose a folder that can be written") from None
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _umask() -> int:
    """The process's umask; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
