"""What each parameter of a component is: its type, its default, and the sentence that its author wrote about it.

The sentence of a parameter of `load` or `build` is an item of the function's docstring, "- `gamma`: Focus on hard
images by this power."; that of a recipe's field is the docstring under the field.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache, partial
from typing import Any

from harness.components import Recipe
from harness.parameters import TABLES, defaults, find_types, list_fields
from harness.values import describe_type

ITEM = re.compile(r"^- ((?:`\w+`(?:, )?)+): (.*?)(?=\n\s*\n|\n- |\Z)", re.MULTILINE | re.DOTALL)


def describe_function(function: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """Describe the parameters of `load` or `build` that a user may set: name -> type, default, about."""
    types, sentences = find_types(function), find_sentences(function)
    return {
        name: {"type": describe_type(types[name]), "default": _plain(default), "about": sentences.get(name, "")}
        for name, default in defaults(function).items()
    }


def describe_fields(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Describe every training choice of a recipe, nested ones with dotted names: name -> type, default, about."""
    values = list_fields(recipe) | {name: None for name in TABLES if not getattr(recipe, name)}
    return {
        name: {"type": _type_of(name), "default": value, "about": _sentence_of(name)} for name, value in values.items()
    }


def find_sentences(function: Callable[..., Any]) -> dict[str, str]:
    """The sentences about parameters in a function's docstring, by parameter."""
    owner = inspect.unwrap(function)
    while isinstance(owner, partial):
        owner = owner.func
    items = ITEM.findall(inspect.getdoc(owner) or "")
    return {name: _join(text) for names, text in items for name in re.findall(r"`(\w+)`", names)}


def _plain(default: Any) -> Any:
    return None if default is inspect.Parameter.empty else default


def _join(text: str) -> str:
    return " ".join(text.split())


def _type_of(name: str) -> str:
    owner, field = _owner_of(name)
    return describe_type(typing.get_type_hints(owner)[field])


def _sentence_of(name: str) -> str:
    owner, field = _owner_of(name)
    return _sentences_of_class(owner).get(field, "")


def _owner_of(name: str) -> tuple[type, str]:
    """The class that has a field, and what it is called there: `augment.flip` is `flip` of `Augment`."""
    outer, _, inner = name.partition(".")
    hint = typing.get_type_hints(Recipe)[outer]
    return (hint, inner) if inner and isinstance(hint, type) and is_dataclass(hint) else (Recipe, outer)


@cache
def _sentences_of_class(owner: type) -> Mapping[str, str]:
    """The docstrings under the fields of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: _join(text.value.value)
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
