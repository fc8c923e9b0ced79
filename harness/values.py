"""Values as plain data: what a type allows, how a given value is read, and what is said of one that does not fit."""

from __future__ import annotations

import contextlib
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal

from harness.errors import UsageError

NAMES: Mapping[Any, str] = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Path: "text",
    bool: "true or false",
    type(None): "none",
}
"""Types whose values anyone can write, and what they are in words."""
EXAMPLES: Mapping[Any, tuple[Any, Any]] = {int: (1, 2), float: (0.1, 1), bool: (True, False)}
"""Two values of types whose values are no text."""
NULL = "none"
"""What stands for no value in TOML, and is read as it."""
SEVERAL: Mapping[Any, str] = {int: "whole numbers", float: "finite numbers", str: "texts", Path: "texts"}
"""What a list or a table of them is called."""
ANYTHING = "text, a finite number, true or false, a list or a table"


class _UnfitError(Exception):
    """A value that its type does not allow."""


def read_value(what: str, hint: Any, value: Any) -> Any:
    """Read a value of an option as its type says: a whole number may stand for text, and `none` for no value.

    Raises `UsageError` that begins with `what` for a value that the type does not allow, for a number that is not
    finite or outside the range that the type is annotated with, and for a date or a time.
    """
    try:
        return _read(hint, value)
    except _UnfitError:
        raise UsageError(f"{what} must be {describe_type(hint)}, got {_show(value)}{_way_out(hint, value)}") from None


def is_plain(value: Any) -> bool:
    """Whether a value is one that JSON holds, too: no date, and no number that is not finite, anywhere in it."""
    try:
        _require_plain(value)
    except _UnfitError:
        return False
    return True


def describe_type(hint: Any) -> str:
    """Say in words what a type allows."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return _enumerate([repr(part) for part in parts])
    if origin is Annotated:
        return " ".join([describe_type(parts[0]), *(_describe_range(*ends) for ends in _list_ranges(parts))])
    if _is_union(hint):
        return _enumerate([describe_type(part) for part in parts])
    kind = _kind_of(hint)
    if kind is tuple and parts and parts[-1] is not Ellipsis:
        return f"a list of {len(parts)}: {', '.join(describe_type(part) for part in parts)}"
    if _is_list(kind):
        return f"a list of {SEVERAL[parts[0]]}" if parts and parts[0] in SEVERAL else "a list"
    if _is_table(kind):
        return f"a table of {SEVERAL[parts[1]]}" if len(parts) > 1 and parts[1] in SEVERAL else "a table"
    return NAMES.get(kind, ANYTHING)


def _read(hint: Any, value: Any) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if not any(value == part and type(value) is type(part) for part in parts):
            raise _UnfitError
        return value
    if origin is Annotated:
        read = _read(parts[0], value)
        if not all(low <= read <= high for low, high in _list_ranges(parts)):
            raise _UnfitError
        return read
    if _is_union(hint):
        return _read_union(parts, value)
    kind = _kind_of(hint)
    if kind in NAMES:
        return _read_plain(kind, value)
    if _is_list(kind):
        return _read_list(kind, parts, value)
    if _is_table(kind):
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise _UnfitError
        return {name: _read(parts[1] if len(parts) > 1 else Any, part) for name, part in value.items()}
    return _require_plain(value)  # a type of the plugin's own, or none that it says: it has to look itself


def _list_ranges(parts: Sequence[Any]) -> list[tuple[float, float]]:
    """Lowest and highest value of each range in an annotation, such as `Float(0, 1)`."""
    return [(part.low, part.high) for part in parts[1:] if hasattr(part, "low") and hasattr(part, "high")]


def _describe_range(low: float, high: float) -> str:
    return f"of at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"


def _read_union(parts: Sequence[Any], value: Any) -> Any:
    """The first that a value fits as it stands, before the first that it can be read as."""
    if type(None) in parts and (value is None or value == "none"):  # as which TOML, that has no null, writes it
        return None
    read = []
    for part in parts:
        try:
            read.append(_read(part, value))
        except _UnfitError:
            continue
    if not read:
        raise _UnfitError
    return next((one for one in read if type(one) is type(value)), read[0])


def _read_plain(kind: Any, value: Any) -> Any:
    if kind in (str, Path) and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a name may look like a number
    allowed = {float: (int, float), Path: (str, Path)}.get(kind, (kind,))
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise _UnfitError
    return _require_plain(value) if kind is not Path else value


def _read_list(kind: Any, parts: Sequence[Any], value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise _UnfitError
    each = list(parts) if kind is tuple and parts and parts[-1] is not Ellipsis else [*parts[:1], Any][:1] * len(value)
    if len(each) != len(value):
        raise _UnfitError
    return type(value)(_read(part, item) for part, item in zip(each, value, strict=True))


def _require_plain(value: Any) -> Any:
    """The value itself. Raises `_UnfitError` for what JSON does not hold, such as a date or NaN."""
    if isinstance(value, list | tuple):
        return type(value)(_require_plain(item) for item in value)
    if isinstance(value, Mapping):
        return {name: _require_plain(item) for name, item in value.items()}
    if isinstance(value, date | time) or (isinstance(value, int | float) and not _is_finite(value)):
        raise _UnfitError
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that is larger than any float
        return False


def _kind_of(hint: Any) -> Any:
    """The class of a type, without what it holds."""
    return typing.get_origin(hint) or hint


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _is_list(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Sequence) and not issubclass(kind, str | bytes)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _allows(hint: Any, kind: type) -> bool:
    if typing.get_origin(hint) is Annotated:
        return _allows(typing.get_args(hint)[0], kind)
    return hint is kind or (_is_union(hint) and kind in typing.get_args(hint))


def _enumerate(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _show(value: Any) -> str:
    """A value as TOML has it, or nearly; long ones are cut."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, date | time) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _way_out(hint: Any, value: Any) -> str:
    """What to do about a value that only its quotes, their absence, or the lack of brackets make unfit."""
    if isinstance(value, str):
        wanted = [kind for kind in (int, float) if _allows(hint, kind)]
        if (wanted and _is_number(value, wanted[-1])) or (_allows(hint, bool) and value in ("true", "false")):
            return "; write it without quotes"
    if isinstance(value, date | time) or (isinstance(value, bool | float) and _allows(hint, str)):
        return "; write it in quotes"
    for kind in () if isinstance(value, list | tuple) else _find_lists(hint):
        for words, items in (("write it as", _split(value)), ("write a list, such as", _make_example(kind))):
            with contextlib.suppress(_UnfitError):
                listed = toml_value(_read(kind, items))
                return f"; {words} {listed}, on the command line with quotes around all of it: 'NAME={listed}'"
    return ""


def _find_lists(hint: Any) -> list[Any]:
    """The types of lists that a type allows."""
    return [one for one in (typing.get_args(hint) if _is_union(hint) else [hint]) if _is_list(_kind_of(one))]


def _split(value: Any) -> list[Any]:
    """What may be meant by a value in the place of a list: its parts between commas, without brackets."""
    if not isinstance(value, str):
        return [value]
    return [_read_number(part.strip()) for part in value.strip("[]()").split(",")]


def _make_example(kind: Any) -> list[Any]:
    """Two items of a type of lists, or as many as it has."""
    parts = [part for part in typing.get_args(kind) if part is not Ellipsis] or [str]
    each = parts if len(parts) > 1 else parts * 2
    return [EXAMPLES.get(part, ("a", "b"))[place % 2] for place, part in enumerate(each)]


def _read_number(text: str) -> Any:
    """The number that a text is, or the text."""
    return json.loads(text) if _is_number(text, float) else text


def _is_number(text: str, kind: type) -> bool:
    try:
        number = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(number, int if kind is int else int | float) and _is_finite(number)


def toml_key(name: str) -> str:
    """A key, quoted where TOML wants it."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def toml_value(value: Any) -> str:
    """A value as TOML on one line. TOML has no null: None is written as the text that is read as it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if value is None:
        return toml_value(NULL)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
