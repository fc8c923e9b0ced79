"""What the registry holds, for people and as plain data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from harness.cli.parameter_listing import describe_fields, describe_function
from harness.components import (
    KINDS,
    Choice,
    Component,
    Dataset,
    Executor,
    Float,
    Int,
    Kind,
    Loss,
    Metric,
    Model,
    Observer,
    Recipe,
)
from harness.data.loading import CORE_ABOUT, CORE_OPTIONS, CORE_TYPES
from harness.errors import UnknownNameError
from harness.execution.engines import SHARED
from harness.parameters import defaults
from harness.registry import Offer, Registry
from harness.values import describe_type


def listing(registry: Registry) -> dict[str, Any]:
    """Every component - kind, name, where from, one line, a dataset's own options - and every problem."""
    components = [
        {"kind": kind, "name": name, "from": _origin(offer), "about": offer.component.about}
        | ({"options": list(defaults(offer.component.load))} if isinstance(offer.component, Dataset) else {})
        for kind in KINDS
        for name, offer in registry.offers[kind].items()
    ]
    return {"components": components, "problems": [asdict(problem) for problem in registry.problems]}


def details(registry: Registry, name: str) -> list[dict[str, Any]]:
    """Everything about each component of that name: a loss and a recipe may share one.

    Raises `UnknownNameError` with the nearest name of any kind.
    """
    kinds: list[Kind] = [kind for kind in KINDS if name in registry.offers[kind]]
    if not kinds and "/" in name:
        kinds = ["model"]
    if not kinds:
        names = {offered for offers in registry.offers.values() for offered in offers}
        raise UnknownNameError("component", name, names)
    return [_describe(kind, registry.offers[kind].get(name) or registry.offer(kind, name)) for kind in kinds]


def describe_shared() -> dict[str, dict[str, Any]]:
    """Describe the option that every executor has."""
    about = "Whether its machines see the board's folder; if not, results come back in bytes."
    return {SHARED: {"type": describe_type(bool), "default": True, "about": about}}


def describe_core() -> dict[str, dict[str, Any]]:
    """Describe the options that every dataset has."""
    return {
        name: {"type": describe_type(CORE_TYPES[name]), "default": default, "about": CORE_ABOUT[name]}
        for name, default in CORE_OPTIONS.items()
    }


def _describe(kind: Kind, offer: Offer) -> dict[str, Any]:
    component = offer.component
    described: dict[str, Any] = {
        "kind": kind,
        "name": component.name,
        "from": _origin(offer),
        "about": component.about,
        "version": component.version,
        "citation": component.citation,
    }
    function = _function(component)
    if function is not None:
        # annotations are texts, which inspect would quote; ranges stand beside the parameters
        signature = re.sub(r"""(: |-> )(['"])(.*?)\2(?=[ ,)]|$)""", r"\1\3", str(inspect.signature(function)))
        signature = re.sub(r"Annotated\[(\w+), [^]]*\]", r"\1", signature)
        described["signature"] = f"{function.__name__}{signature}"
        described["parameters"] = describe_function(function)
    if isinstance(component, Dataset):
        described["parameters"] |= describe_core()
        described["drawn"] = component.drawn
    if isinstance(component, Executor):
        described["parameters"] |= describe_shared()
    if isinstance(component, Recipe):
        described["parameters"] = describe_fields(component)
    if isinstance(component, Model | Loss | Recipe):
        described["space"] = {name: _range(spec) for name, spec in component.space.items()}
    if isinstance(component, Model):
        described |= {"inputs": asdict(component.inputs), "trunk": component.trunk}
    if isinstance(component, Metric):
        described |= {"on": component.on, "higher_is_better": component.higher_is_better, "range": component.range}
    if isinstance(component, Metric | Observer):
        del described["parameters"]
    return described


def _function(component: Component) -> Callable[..., Any] | None:
    match component:
        case Dataset():
            return component.load
        case Model() | Loss():
            return component.build
        case Metric():
            return component.compute
        case Observer():
            return component.watch
        case Executor():
            return component.open
    return None


def _range(spec: Float | Int | Choice) -> dict[str, Any]:
    return {"type": type(spec).__name__.lower(), **asdict(spec)}


def _origin(offer: Offer) -> str:
    return "bundled" if offer.origin == "bundled" else f"{offer.origin}: {offer.plugin}"
