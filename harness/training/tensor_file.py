"""A file of tensors that was made anywhere: what it holds by name, or what it is instead."""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

LEVEL = "/"
"""Stands between the name of a mapping inside a checkpoint and the names that it holds: `state_dict/conv1.weight`."""
CONVERT = "convert them to a torch state dict under the network's tensor names"
FETCH = "fetch the file itself again"
BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (
        rb"version https://git-lfs",
        "a pointer of Git LFS to the weights, not the weights: run git lfs pull where it lies",
    ),
    (
        rb"(\.\./)*\.git/annex/|/annex/objects/",
        "a pointer of git-annex to the weights: run git annex get where it lies",
    ),
    (rb"(\xef\xbb\xbf)?\s*<", f"a web page or a server's message in place of the weights (often a log-in): {FETCH}"),
    (rb"\x89HDF\r\n", f"an HDF5 file, as Keras saves weights: {CONVERT}"),
    (rb"....TFL3", f"a TensorFlow Lite model: {CONVERT}"),
    (rb"GGUF", f"a GGUF file: {CONVERT}"),
    (rb"\x08[\x01-\x20](\x12|:|B)", f"an ONNX model: {CONVERT}"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|.{257}ustar", "an archive: unpack it and give the file of weights in it"),
    (rb"\x93NUMPY", f"a NumPy array: {CONVERT}"),
    (rb"\s*[{\[]", "a text file, such as an index or a configuration: give the file of weights that lies beside it"),
)
"""How files begin that hold no weights for torch, and what they are."""
MEMBERS: tuple[tuple[str, str], ...] = (
    (
        r"(^|/)constants\.pkl$",
        "a TorchScript program, which is code: save torch.jit.load(...).state_dict() instead",
    ),
    (r"(^|/)archive_format$", "a program of torch.export: save torch.export.load(...).state_dict instead"),
    (r"\.weights\.h5$", f"a Keras model: {CONVERT}"),
    (r"\.npy$", f"an archive of NumPy arrays: {CONVERT}"),
)
"""Names inside zip files that are no checkpoint of torch."""

CONVERSION = (
    'import torch; keep = lambda part: keep(part.state_dict()) if hasattr(part, "state_dict") else '
    "{{str(name): keep(value) for name, value in part.items()}} if isinstance(part, dict) else "
    "part if isinstance(part, torch.Tensor) else 0; "
    'torch.save(keep(torch.load({0}, "cpu", weights_only=False)), {1})'
)
"""A program that keeps a checkpoint's tensors, and those of networks in it, by name."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file or of a torch checkpoint, without unpickling code.

    Those of mappings inside a checkpoint get names such as `state_dict/conv1.weight`. What the file is, its content
    says, not its suffix. Raises `WeightsError`, which says what it is where it holds no tensors.
    """
    try:
        beginning = _read_beginning(path)
    except OSError as error:
        raise WeightsError(f"the weights {path.name} cannot be read: {error.strerror}; give another file") from error
    if len(beginning) > 8 and beginning[8:9] == b"{" and not zipfile.is_zipfile(path):
        return _read_safetensors(path, beginning)
    found = _name_kind(path, beginning)
    if found is not None:
        raise WeightsError(f"{path.name} holds no weights that can be read: it is {found}")
    try:
        with path.open("rb") as file:  # by its name, torch would go by its suffix
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(_explain(path, error)) from error
    tensors: dict[str, Tensor] = {}
    for name, tensor in _walk(content):
        if name in tensors:
            raise WeightsError(f"{path.name} holds two tensors by the name {name}; save network.state_dict() alone")
        tensors[name] = tensor
    if not tensors:
        raise WeightsError(f"{path.name} holds no tensors by name; save network.state_dict()")
    return tensors


def _read_beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _read_safetensors(path: Path, beginning: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except Exception as error:
        length, size = int.from_bytes(beginning[:8], "little"), path.stat().st_size
        if length < size and (wanted := _find_end(path, length)) > size:
            raise WeightsError(
                f"{path.name} holds no weights that can be read: it is a .safetensors file that was cut off, {size:,} "
                f"of its {wanted:,} bytes are there: {FETCH}"
            ) from error
        raise WeightsError(
            f"{path.name} holds no weights that can be read: it begins as a .safetensors file, but is damaged: {FETCH}"
        ) from error
    if not tensors:
        raise WeightsError(f"{path.name} holds no tensors by name; save network.state_dict()")
    return tensors


def _find_end(path: Path, length: int) -> int:
    """Find how many bytes a .safetensors file should have by its header of `length` bytes; 0 where that is damaged."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(8 + length)[8:])
        return 8 + length + max(int(part["data_offsets"][1]) for name, part in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return 0


def _name_kind(path: Path, beginning: bytes) -> str | None:
    """What a file is that holds no weights for torch, and what to do about it; None where it may hold some."""
    if not beginning:
        return f"empty, 0 bytes: {FETCH}"
    if not beginning.strip(b"\0"):
        return f"a file of zeros, as an interrupted copy leaves: {FETCH}"
    if beginning.startswith(b"PK\x03\x04"):
        return _name_archive(path)
    return next((kind for start, kind in BEGINNINGS if re.match(start, beginning, re.DOTALL)), None)


def _name_archive(path: Path) -> str | None:
    """Likewise, of a zip file: a checkpoint of torch has a `data.pkl`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return f"a torch checkpoint that was cut off, its end is missing: {FETCH}"
    for member, kind in MEMBERS:
        if any(re.search(member, name) for name in names):
            return kind
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return None
    return f"an archive ({', '.join(names[:3])}): unpack it and give the file of weights in it"


def _walk(content: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Give every tensor inside mappings, lists and tuples, by its whole name."""
    if isinstance(content, torch.Tensor):
        yield name, content
    elif isinstance(content, Mapping | list | tuple):
        pairs = content.items() if isinstance(content, Mapping) else enumerate(content)
        for key, part in pairs:
            yield from _walk(part, f"{name}{LEVEL}{key}" if name else str(key))


def _explain(path: Path, error: Exception) -> str:
    """Say why torch does not read a file, in one line; of foreign objects, which they are and how to do without."""
    why = f"{path.name} holds no weights that can be read safely"
    foreign = sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
    if not foreign:
        return (
            f"{why}: torch raised {type(error).__name__}, so that it is damaged or of another kind; {FETCH}, or save "
            "network.state_dict() by torch.save"
        )
    program = CONVERSION.format(json.dumps(path.name), json.dumps(f"tensors-of-{path.name}"))
    return (
        f"{why}: beside tensors it holds {', '.join(foreign)}, and reading that runs code. Where you trust whoever "
        f"made it and have what it is of, convert it once, in its folder: python -c {shlex.quote(program)}"
    )
