"""Parameters of components: what they are called, what they default to, and how given values are checked."""

from __future__ import annotations

import inspect
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

from harness.components import Component, Loss, Model, Options, Recipe
from harness.errors import UnknownNameError, UsageError

SECTIONS = ("model", "loss", "recipe")
Params = dict[str, dict[str, Any]]
"""`{"model": {...}, "loss": {...}, "recipe": {...}}`, sections without entries left out; nested names are dotted."""


def parse_value(text: str) -> Any:
    """A value from the command line: TOML where it is TOML, otherwise the text itself; `none` is None."""
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


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

    Raises `UnknownNameError` for a name that the function does not take, `UsageError` for a value of another type than
    the default's or for a parameter without a value.
    """
    kind = type(component).__name__.lower()
    default_values = defaults(function)
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    for name, value in given.items():
        if name not in default_values and not open_ended:
            raise UnknownNameError(f"parameter of {kind} '{component.name}'", name, default_values)
        _check_type(f"{kind} '{component.name}': {name}", default_values.get(name), value)
    values = default_values | dict(given)
    absent = [name for name, value in values.items() if value is inspect.Parameter.empty]
    if absent:
        raise UsageError(f"{kind} '{component.name}' needs a value for {', '.join(absent)}")
    return values


def _check_type(what: str, default: Any, value: Any) -> None:
    """Values are as wide as their defaults: a whole number where one is expected, and so on."""
    if default is None or default is inspect.Parameter.empty or value is None:
        return
    allowed: tuple[type, ...] = (type(default),)
    if isinstance(default, float):
        allowed = (float, int)
    elif isinstance(default, list | tuple):
        allowed = (list, tuple)
    elif isinstance(default, str):
        allowed = (str, int, float, list, dict)  # a name may look like a number; some options take text or a table
    if not isinstance(value, allowed) or (isinstance(value, bool) and not isinstance(default, bool)):
        raise UsageError(f"{what} must be like {default!r}, got {value!r}")


def override(recipe: Recipe, given: Options) -> Recipe:
    """The recipe with some fields changed; names of nested fields are dotted (`augment.flip`).

    `load_size` follows `size` in proportion where only `size` is given, so that a center crop keeps its share of the
    image. Raises `UnknownNameError` or `UsageError` for a name or a value that a recipe cannot have.
    """
    flat = flatten(given)
    if "size" in flat and "load_size" not in flat and isinstance(flat["size"], int):
        flat["load_size"] = round(recipe.load_size * flat["size"] / recipe.size)
    current_values = recipe_values(recipe)
    changed: dict[str, Any] = {}
    for name, value in flat.items():
        if name not in current_values:
            raise UnknownNameError(f"field of recipe '{recipe.name}'", name, current_values)
        outer, _, inner = name.partition(".")
        part = changed.get(outer, getattr(recipe, outer))
        changed[outer] = (
            replace(part, **{inner: _cast(type(part), inner, name, value)})
            if inner
            else _cast(Recipe, outer, name, value)
        )
    return replace(recipe, **changed)


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """Every training choice of a recipe, flat, with dotted names: its identity without its name."""
    about = {field.name for field in fields(Component)} | {"space"}
    values = {field.name: getattr(recipe, field.name) for field in fields(recipe) if field.name not in about}
    return flatten({name: asdict(value) if is_dataclass(value) else value for name, value in values.items()})  # type: ignore[arg-type]


def _cast(owner: type, field: str, name: str, value: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(typing.get_type_hints(owner)[field]).validate_python(value)
    except ValidationError as error:
        raise UsageError(f"recipe.{name}: {error.errors()[0]['msg'].lower()}, got {value!r}") from None
