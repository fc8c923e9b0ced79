"""Parameters of components: what they are called, what they default to, and how given values are checked."""

from __future__ import annotations

import inspect
import re
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from functools import partial
from typing import Any

from harness.components import GRIDS, Component, Loss, Model, Options, Recipe
from harness.errors import UnknownNameError, UsageError
from harness.values import is_plain, read_value

SECTIONS = ("model", "loss", "recipe")
WORDS: Mapping[str, bool | None] = {"none": None, "true": True, "false": False}
"""What is no text when it is typed, in any letters."""
NUMBER = re.compile(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?")
"""A number that is none to TOML."""
WHOLE: Mapping[str, Any] = {"train": "all", "train_share": 1.0, "train_positives": None}
"""Fields of a recipe with the values that mean that all of the network and of the data is trained."""
TABLES = ("oversample",)
"""Fields of a recipe that are tables, with names that a user gives: `oversample.Hernia`."""
Params = dict[str, dict[str, Any]]
"""`{"model": {...}, "loss": {...}, "recipe": {...}}`, sections without entries left out; nested names are dotted."""


def bind(function: Callable[..., Any], **values: Any) -> Callable[..., Any]:
    """A function with these keyword arguments given, which are no parameters for a user any more.

    A family of models makes one member's `build` so, of a function that builds any of them.
    """
    bound = partial(function, **values)
    parameters = [one for name, one in inspect.signature(function).parameters.items() if name not in values]
    bound.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    bound.__name__ = function.__name__  # type: ignore[attr-defined]
    return bound


def parse_value(text: str) -> Any:
    """A value from the command line: TOML where it is TOML, otherwise the text itself; `none` is None.

    Numbers may begin or end with a point, as `.5`, and `True` is true. What is a date to TOML, or no finite number, is
    text, which no parameter takes in a number's place.
    """
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if NUMBER.fullmatch(text):
        return float(text)
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # of a whole number with thousands of digits, a ValueError
        return text
    value = parsed["value"]
    unlike = len(parsed) > 1 or not is_plain(value)
    # 0x10 or 1_000 may be a name, which 16 or 1000 would not be
    return text if unlike or (type(value) is int and str(value) != text) else value


def parse_assignments(flag: str, assignments: Iterable[str]) -> dict[str, Any]:
    """`["name=value", ...]` as a dictionary. Raises `UsageError` where an entry is not of that form."""
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{flag} {assignment}: write {flag} NAME=VALUE")
        values[name.strip()] = parse_value(value.strip())
    return values


def parse_params(assignments: Iterable[str]) -> Params:
    """`["recipe.lr=1e-3", ...]` as parameters by section. Raises `UsageError` for another section."""
    params: Params = {}
    for name, value in parse_assignments("--set", assignments).items():
        section, dot, rest = name.partition(".")
        if section not in SECTIONS or not dot:
            raise UsageError(f"--set {name}: the name must begin with model., loss. or recipe.")
        params.setdefault(section, {})[rest] = value
    return params


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one table with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def tell_params(params: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What readers are told of parameters: `width 32`, each as its component calls it."""
    return [
        f"{name} {f'{value:g}' if isinstance(value, float) else value}"
        for values in params.values()
        for name, value in values.items()
    ]


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of `build` or `load` that a user may set, with their defaults: all but the first."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p.default for p in parameters if p.kind in kinds}


def list_parameters(component: Component) -> set[str] | None:
    """Names of the parameters of a model or a loss; None where it takes any."""
    if not isinstance(component, Model | Loss):
        return None
    kinds = {parameter.kind for parameter in inspect.signature(component.build).parameters.values()}
    return None if inspect.Parameter.VAR_KEYWORD in kinds else set(defaults(component.build))


def complete(component: Component, function: Callable[..., Any], given: Options) -> dict[str, Any]:
    """All parameters of a component's function: its defaults with `given` in place of some.

    Raises `UnknownNameError` for a name that the function does not take, `UsageError` for a value that is not of the
    type that it is annotated with, or else of its default's, and for a parameter without a value.
    """
    kind = type(component).__name__.lower()
    default_values, types = defaults(function), find_types(function)
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    values = dict(default_values)
    for name, value in given.items():
        if name not in default_values and not open_ended:
            raise UnknownNameError(f"parameter of {kind} '{component.name}'", name, default_values)
        hint = types[name] if name in default_values else Any
        values[name] = read_value(f"{kind} '{component.name}': {name}", hint, value)
    absent = [name for name, value in values.items() if value is inspect.Parameter.empty]
    if absent:
        raise UsageError(f"{kind} '{component.name}' needs a value for {', '.join(absent)}")
    return values


def find_types(function: Callable[..., Any]) -> dict[str, Any]:
    """What each parameter takes: what its annotation says, or what is like its default."""
    types: dict[str, Any] = {}
    owner = inspect.unwrap(function)
    while isinstance(owner, partial):
        owner = owner.func
    names = getattr(owner, "__globals__", {})
    for name, parameter in inspect.signature(function).parameters.items():
        hint = parameter.annotation
        try:  # one by one: what another one names may be imported for type checking alone
            hint = eval(hint, names) if isinstance(hint, str) else hint  # noqa: S307 - the plugin's own code
        except (NameError, AttributeError, TypeError, SyntaxError):
            hint = inspect.Parameter.empty
        hint = _type_of(parameter.default) if hint is inspect.Parameter.empty else hint
        types[name] = hint | None if parameter.default is None else hint
    return types


def _type_of(default: Any) -> Any:
    """The type of values that are like a default; some options take text or a table."""
    if isinstance(default, str):
        return str | list | dict
    return next((kind for kind in (bool, int, float, list, tuple, dict) if isinstance(default, kind)), Any)


def override(recipe: Recipe, given: Options) -> Recipe:
    """The recipe with some fields changed; names of nested fields are dotted (`augment.flip`).

    `load_size` follows `size` in proportion where only `size` is given, so that a center crop keeps its share of the
    image. Raises `UnknownNameError` or `UsageError` for a name or a value that a recipe cannot have.
    """
    flat = flatten(given)
    if "size" in flat and "load_size" not in flat and isinstance(flat["size"], int):
        flat["load_size"] = round(recipe.load_size * flat["size"] / recipe.size)
    current_values = list_fields(recipe)
    changed: dict[str, Any] = {}
    for name, value in flat.items():
        outer, _, inner = name.partition(".")
        if name not in current_values and outer not in TABLES:
            raise UnknownNameError(f"field of recipe '{recipe.name}'", name, [*current_values, *TABLES])
        part = changed.get(outer, getattr(recipe, outer))
        if not inner:
            changed[outer] = _cast(Recipe, outer, name, value)
        elif outer in TABLES:
            changed[outer] = part | _cast(Recipe, outer, outer, {inner: value})
        else:
            changed[outer] = replace(part, **{inner: _cast(type(part), inner, name, value)})
    return replace(recipe, **changed)


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """Every training choice of a recipe that takes part, flat, with dotted names: its identity without its name.

    What says which part of the network and of the data is trained is left out where that is all of it.
    """
    idle = {name for name, user in GRIDS.items() if user != recipe.train}
    idle |= {name for name, usual in WHOLE.items() if getattr(recipe, name) == usual}
    return {name: value for name, value in list_fields(recipe).items() if name not in idle}


def list_fields(recipe: Recipe) -> dict[str, Any]:
    """Every field of a recipe that is a training choice, flat, with dotted names."""
    about = {field.name for field in fields(Component)} | {"space"}
    values = {field.name: getattr(recipe, field.name) for field in fields(recipe) if field.name not in about}
    return flatten({name: asdict(value) if is_dataclass(value) else value for name, value in values.items()})  # type: ignore[arg-type]


def _cast(owner: type, field: str, name: str, value: Any) -> Any:
    from pydantic import TypeAdapter

    hint = typing.get_type_hints(owner)[field]
    # what fits is brought into the field's own type: a list into a tuple, 1 into 1.0
    return TypeAdapter(hint).validate_python(read_value(f"recipe.{name}", hint, value))
