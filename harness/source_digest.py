"""The identity of source code: a digest of what it does, to which comments, docstrings and layout are nothing."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

SILENT = ("ctx", "type_comment", "type_ignores")
"""Fields of a syntax tree that change nothing: they follow from the rest, or are comments."""


def digest_sources(files: Mapping[str, Path]) -> str:
    """Return the sha256 over source files by name: the same on every version of Python and for every layout.

    A file that this Python cannot parse counts with its bytes.
    """
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        try:
            form = "".join(_normalize(ast.parse(content))).encode()
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # all that ast.parse is known to raise
            form = content
        digest.update(f"{name}\0{len(form)}\0".encode() + form)
    return digest.hexdigest()


def _normalize(tree: ast.AST) -> Iterator[str]:
    """Give a syntax tree in pieces of ASCII, without positions and without what does nothing.

    `ast.dump` will not do: what it shows of empty fields differs between versions of Python, which also add such
    fields. Fields that are empty are left out here, so that a field of a newer version shows where it is used alone. A
    stack instead of recursion holds the longest sums.
    """
    left: list[object] = [tree]
    while left:
        item = left.pop()
        if isinstance(item, _Text):
            yield item
        elif isinstance(item, ast.Constant):
            yield f"{type(item.value).__name__} {item.value!a};"
        elif isinstance(item, ast.AST):
            fields = (part for name, value in _list_fields(item) for part in (_Text(f"{name}="), value))
            left += reversed([_Text(f"{type(item).__name__}("), *fields, _Text(")")])
        elif isinstance(item, list):
            left += reversed([_Text("["), *item, _Text("]")])
        else:
            yield f"{item!a};"


class _Text(str):
    """A piece that is given as it is."""

    __slots__ = ()


def _list_fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Give the fields of a node that say something, by name."""
    for name, value in sorted(ast.iter_fields(node), key=lambda field: field[0]):
        kept = [part for part in value if not _is_nothing(part, node)] if isinstance(value, list) else value
        if name not in SILENT and kept is not None and kept != []:
            yield name, kept


def _is_nothing(part: object, owner: ast.AST) -> bool:
    """Whether it is `pass`, `...`, a bare text such as a docstring, or the empty text that 3.12 puts into f-strings."""
    if isinstance(part, ast.Expr):
        return isinstance(part.value, ast.Constant)
    if isinstance(owner, ast.JoinedStr):
        return isinstance(part, ast.Constant) and part.value == ""
    return isinstance(part, ast.Pass)
