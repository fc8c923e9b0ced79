"""What is searched: parameters of model, loss and recipe with the values that they may take."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.board import Row
from harness.choices import Choices, resolve
from harness.components import Choice, Float, Int, Loss, Model, Recipe
from harness.errors import UnknownNameError, UsageError
from harness.files import decode_text
from harness.parameters import SECTIONS, Params, flatten, list_fields, parse_value
from harness.registry import Registry

Values = Float | Int | Choice
IN_TRAINING_ALONE = ("model.drop_rate",)
"""What a network does only while it is trained: a probe would embed again for every value, and get the same."""


@dataclass(frozen=True)
class Dimension:
    """A parameter that is searched."""

    name: str
    """The parameter's name with its section: `recipe.lr`, `loss.gamma`, `recipe.augment.flip`."""
    values: Values
    origin: str
    """Who says so, in words."""

    def holds(self, value: object) -> bool:
        """Whether it may take that value."""
        match self.values:
            case Choice(options):
                return any(value == option and type(value) is type(option) for option in options)
            case Int(low, high):
                return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
            case Float(low, high):
                return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    def nearest(self, value: Any) -> Any:
        """Return the value that it may take nearest to that one; the first one where nothing says how near they are."""
        if isinstance(self.values, Choice):
            return min(self.values.options, key=lambda option: _distance(option, value))
        if _distance(self.values.low, value) == math.inf:
            return self.values.low
        clipped = min(max(value, self.values.low), self.values.high)
        return round(clipped) if isinstance(self.values, Int) else clipped

    def ends(self) -> tuple[object, ...]:
        """The values between which, or of which, it chooses."""
        return self.values.options if isinstance(self.values, Choice) else (self.values.low, self.values.high)

    def describe(self) -> str:
        """Return the values in words: `0.0001 .. 0.1, log`, or `one of 1, 2`."""
        if isinstance(self.values, Choice):
            return "one of " + ", ".join(map(name_value, self.values.options))
        return f"{self.values.low:g} .. {self.values.high:g}" + (", log" if self.values.log else "")

    def as_plain(self) -> dict[str, Any]:
        """Return the dimension as plain data: what two studies must have in common."""
        kind = type(self.values).__name__.lower()
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.values).items()}
        return {"type": kind, **values}


Dimensions = Mapping[str, Dimension]


def read_dimension(name: str, told: Mapping[str, Any]) -> Dimension:
    """Read a dimension from what `Dimension.as_plain` gives, with its `origin`."""
    kinds: dict[str, type[Values]] = {"float": Float, "int": Int, "choice": Choice}
    values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in told.items()}
    origin, kind = values.pop("origin"), kinds[values.pop("type")]
    return Dimension(name, kind(**values), origin)


def name_value(value: object) -> str:
    """Write a parameter's value as people write it."""
    return "none" if value is None else str(value)


def declared_space(choices: Choices) -> dict[str, Dimension]:
    """What the components themselves declare, without what does nothing where the network is not trained."""
    offered: dict[str, Model | Loss | Recipe] = {
        "model": choices.model,
        "loss": choices.loss,
        "recipe": choices.recipe,
    }
    space = {
        f"{section}.{name}": Dimension(f"{section}.{name}", values, f"{section} '{component.name}'")
        for section, component in offered.items()
        for name, values in component.space.items()
    }
    useless = () if choices.recipe.train == "all" else IN_TRAINING_ALONE
    return {name: dimension for name, dimension in space.items() if name not in useless}


def gather_space(choices: Choices, file: Path | None, searched: Sequence[str], fixed: Params) -> dict[str, Dimension]:
    """The space of a study: what components declare, or a file in its place; then `--search`; without what is fixed.

    Raises `UsageError` where nothing is left, or where a text means no range.
    """
    space = declared_space(choices) if file is None else read_space(file)
    asked = {dimension.name: dimension for dimension in map(parse_search, searched)}
    space |= asked
    for name in (f"{section}.{inner}" for section, values in fixed.items() for inner in flatten(values)):
        if name in asked:
            raise UsageError(f"--set {name} fixes what --search {name} searches; leave one of them out")
        space.pop(name, None)
    if not space:
        raise UsageError(
            "there is nothing to search: the components declare no space, or --set fixes all of it; give a range, as "
            "--search recipe.lr=1e-5..1e-3:log"
        )
    return space


def read_space(path: Path) -> dict[str, Dimension]:
    """A space from a TOML file.

        [recipe]
        lr = { low = 1e-5, high = 1e-3, log = true }
        batch_size = [16, 32, 64]

    Raises `UsageError` that names the file and what is wrong in it.
    """
    try:
        tables = tomllib.loads(decode_text(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"--space {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of a whole number with thousands of digits, a plain ValueError
        raise UsageError(f"--space {path} is not TOML: {error}") from None
    dimensions = {}
    for section, values in tables.items():
        if section not in SECTIONS or not isinstance(values, dict):
            raise UnknownNameError(f"table of {path}", section, SECTIONS)
        for name, value in _leaves(values):
            full = f"{section}.{name}"
            dimensions[full] = Dimension(full, _read_values(f"{path}: {full}", value), path.name)
    return dimensions


def parse_search(text: str) -> Dimension:
    """`recipe.lr=1e-5..1e-3:log` or `loss.gamma=1,2,5`. Raises `UsageError` for anything else."""
    name, equals, given = text.partition("=")
    what = f"--search {text}"
    if not equals or name.partition(".")[0] not in SECTIONS or not name.partition(".")[2]:
        raise UsageError(f"{what}: write --search recipe.lr=1e-5..1e-3:log or --search loss.gamma=1,2,5")
    low, dots, rest = given.partition("..")
    if not dots:
        options = [parse_value(part.strip()) for part in given.split(",") if part.strip()]
        return Dimension(name, _read_values(what, options), "--search")
    high, _, scale = rest.partition(":")
    if scale not in ("", "log", "linear"):
        raise UsageError(f"{what}: after the range comes :log or nothing, got :{scale}")
    ends = {"low": parse_value(low.strip()), "high": parse_value(high.strip()), "log": scale == "log"}
    return Dimension(name, _read_values(what, ends), "--search")


def require_space(dimensions: Dimensions, row: Row, registry: Registry, build: Callable[[Choices], object]) -> None:
    """Refuse a name that the components do not have, and values that they do not allow.

    Every end of every dimension is tried in its component; what a model or a loss does not declare itself is built.
    Raises `UnknownNameError` or `UsageError`.
    """
    choices = resolve(row, registry)
    declared = declared_space(choices)
    names = [f"{section}.{name}" for section, values in base_values(choices).items() for name in values]
    for name, dimension in dimensions.items():
        if name not in names:
            raise UnknownNameError("parameter to search", name, names)
        for value in dimension.ends():
            try:
                tried = resolve(with_values(row, {name: value}), registry)
                if dimension != declared.get(name) and not name.startswith("recipe."):
                    build(tried)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything for what it does not allow
                raise UsageError(f"{name} = {name_value(value)} ({dimension.origin}) is not allowed: {error}") from None


def base_values(choices: Choices) -> dict[str, dict[str, Any]]:
    """Every parameter of the row that is tuned, by section, with its value before tuning."""
    return {
        "model": choices.model_params,
        "loss": choices.loss_params,
        "recipe": list_fields(choices.recipe),
    }


def default_values(dimensions: Dimensions, choices: Choices) -> dict[str, Any]:
    """Return the row's value of each dimension."""
    values = base_values(choices)
    return {name: values[name.partition(".")[0]][name.partition(".")[2]] for name in dimensions}


def with_values(row: Row, values: Mapping[str, Any]) -> Row:
    """The row with other parameters; their names carry their sections."""
    params = {section: dict(flatten(row.params.get(section, {}))) for section in SECTIONS}
    for name, value in values.items():
        section, _, inner = name.partition(".")
        params[section][inner] = value
    return replace(row, params={section: given for section, given in params.items() if given})


def _distance(one: Any, other: Any) -> float:
    """Between two numbers; endless where either is none."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return math.inf if not numbers or math.isnan(one - other) else abs(one - other)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted names down to what describes values: a list, or a table with `low`."""
    for name, value in values.items():
        if isinstance(value, dict) and "low" not in value and "high" not in value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _read_values(what: str, given: Any) -> Values:
    """A range or a list of options. Raises `UsageError` for anything else."""
    if isinstance(given, list):
        if len(given) < 2 or any(isinstance(option, list | dict) for option in given):
            raise UsageError(f"{what}: give at least two values to choose from; a single one is fixed by --set")
        return Choice(tuple(given))
    if not isinstance(given, dict) or not {"low", "high"} <= set(given) <= {"low", "high", "log"}:
        raise UsageError(f"{what}: give a range {{ low = 1e-5, high = 1e-3, log = true }} or a list, got {given!r}")
    low, high, log = given["low"], given["high"], given.get("log", False)
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        raise UsageError(f"{what}: the ends of a range must be numbers, got {low!r} and {high!r}")
    if not low < high:
        raise UsageError(f"{what}: low must be below high, got {low:g} and {high:g}")
    if log and not low > 0:
        raise UsageError(f"{what}: a logarithmic range begins above 0, got {low:g}")
    return (
        Int(low, high, log) if isinstance(low, int) and isinstance(high, int) else Float(float(low), float(high), log)
    )


def study_name(row: Row) -> str:
    """What a study is called where nobody says: its row."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", row.name)
