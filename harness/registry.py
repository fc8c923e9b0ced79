"""The catalogue of everything that plugins offer, loaded so that a broken plugin harms nothing but itself."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, cast

import pluggy

from harness import components, hookspecs
from harness.components import KINDS, Component, Dataset, Executor, Kind, Loss, Metric, Model, Observer, Recipe
from harness.errors import HarnessError, PluginError, UnknownNameError, UsageError, suggest
from harness.source_digest import digest_sources

ENTRY_POINTS = "harness"
HOOKS: Mapping[str, Kind] = {
    "harness_datasets": "dataset",
    "harness_models": "model",
    "harness_losses": "loss",
    "harness_metrics": "metric",
    "harness_recipes": "recipe",
    "harness_observers": "observer",
    "harness_executors": "executor",
}


@dataclass(frozen=True)
class Offer:
    """One component, and who offers it."""

    component: Component
    plugin: str
    """Module of the plugin, or the file's path as given."""
    origin: str
    """`bundled`, `installed` or `local`."""
    code: str = ""
    """Digest of what an external plugin's source does: part of a result's identity. Empty for a bundled one."""


@dataclass(frozen=True)
class Problem:
    """A plugin that could not be used, wholly or in part, and what to do about it."""

    plugin: str
    message: str


@dataclass(frozen=True)
class Registry:
    """The immutable catalogue; look components up by kind and name."""

    offers: Mapping[Kind, Mapping[str, Offer]]
    problems: tuple[Problem, ...] = ()

    def offer(self, kind: Kind, name: str) -> Offer:
        """The offer of that name; a member of a family (`timm/resnet18`) is resolved to its full name.

        Raises `UnknownNameError`, with the nearest name, where there is none.
        """
        offers = self.offers[kind]
        if name in offers and not name.endswith("/*"):
            return offers[name]
        family = offers.get(f"{name.split('/', 1)[0]}/*") if "/" in name and kind == "model" else None
        if family is not None and isinstance(family.component, Model) and family.component.resolve is not None:
            return Offer(family.component.resolve(name), family.plugin, family.origin, family.code)
        hint = "" if not self.problems else f"not loaded: {', '.join(p.plugin for p in self.problems)}"
        raise UnknownNameError(kind, name, offers, hint)

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name."""
        return cast(Dataset, self.offer("dataset", name).component)

    def model(self, name: str) -> Model:
        """The model of that name."""
        return cast(Model, self.offer("model", name).component)

    def loss(self, name: str) -> Loss:
        """The loss of that name."""
        return cast(Loss, self.offer("loss", name).component)

    def metric(self, name: str) -> Metric:
        """The metric of that name."""
        return cast(Metric, self.offer("metric", name).component)

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name."""
        return cast(Recipe, self.offer("recipe", name).component)

    def observer(self, name: str) -> Observer:
        """The observer of that name."""
        return cast(Observer, self.offer("observer", name).component)

    def executor(self, name: str) -> Executor:
        """The executor of that name."""
        return cast(Executor, self.offer("executor", name).component)


@dataclass(frozen=True)
class _Plugin:
    """A module that was imported, not yet asked for what it offers."""

    name: str
    origin: str
    module: ModuleType


def load_registry(files: Sequence[Path] = ()) -> Registry:
    """Load bundled plugins, installed ones (entry-point group `harness`) and local `files`, in that order.

    Nothing that a plugin does wrong is raised; it is found in `Registry.problems`. Only a local file that does not
    exist raises `UsageError`, since it is the caller's mistake.
    """
    offers: dict[Kind, dict[str, Offer]] = {kind: {} for kind in KINDS}
    problems: list[Problem] = []
    manager = pluggy.PluginManager("harness")
    manager.add_hookspecs(hookspecs)
    for name, origin, load in (*_bundled(), *_installed(), *_local(files)):
        try:
            plugin = _Plugin(name, origin, load())
            offered = _ask(manager, plugin)
        except (PluginError, HarnessError) as error:
            problems.append(Problem(name, str(error)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's module raises, the others go on
            problems.append(Problem(name, _explain_import(error)))
        else:
            code = "" if origin == "bundled" else _digest(plugin.module)
            for kind, component in offered:
                first = offers[kind].setdefault(component.name, Offer(component, name, origin, code))
                if first.component is not component:
                    taken = (
                        f"offers the {kind} '{component.name}', which {first.plugin} offers already; rename one of them"
                    )
                    problems.append(Problem(name, taken))
    ordered = {kind: MappingProxyType(dict(sorted(by_name.items()))) for kind, by_name in offers.items()}
    return Registry(MappingProxyType(ordered), tuple(problems))


def ask_alone(plugin: str, file: Path | None = None) -> list[str]:
    """Import one plugin, by its module or from `file`, and call its hooks; gives the hooks that do not say what they
    offer: without a docstring, and with a component without `about`.
    """
    manager = pluggy.PluginManager("harness")
    manager.add_hookspecs(hookspecs)
    module = importlib.import_module(plugin.partition(":")[0]) if file is None else _import_file(file)
    offered = _ask(manager, _Plugin(plugin, "", module))
    silent = {kind for kind, component in offered if not component.about}
    return [
        hook for hook, kind in HOOKS.items() if kind in silent and not (getattr(module, hook, None) or hook).__doc__
    ]


_Source = tuple[str, str, Any]


def _bundled() -> Iterator[_Source]:
    package = importlib.import_module("harness.plugins")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        full = f"{package.__name__}.{module.name}"
        yield full, "bundled", lambda full=full: importlib.import_module(full)


def _installed() -> Iterator[_Source]:
    for point in sorted(
        importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)
    ):
        yield point.value, "installed", point.load


def _local(files: Iterable[Path]) -> Iterator[_Source]:
    for file in files:
        if not file.is_file():
            raise UsageError(f"--plugin {file}: there is no such file")
        yield str(file), "local", lambda file=file: _import_file(file)


def _import_file(file: Path) -> ModuleType:
    """Import a file under a name of its own, so that it can neither shadow nor be shadowed."""
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"harness_local_{file.stem}_{digest}", file)
    if spec is None or spec.loader is None:
        raise PluginError("is no Python file; give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _ask(manager: pluggy.PluginManager, plugin: _Plugin) -> list[tuple[Kind, Component]]:
    """Call a plugin's hooks and check what they give, raising `PluginError` at the first thing that is wrong."""
    _check_markers(plugin.module)
    try:
        manager.register(plugin.module, name=plugin.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        manager.unregister(name=plugin.name)
        raise PluginError(_explain(plugin.module, error)) from None
    offered: list[tuple[Kind, Component]] = []
    for hook, kind in HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is plugin.module:
                offered += [(kind, component) for component in _call(hook, kind, implementation.function)]
    return offered


def _call(hook: str, kind: Kind, function: Any) -> list[Component]:
    try:
        offered = function()
        listed = list(offered) if isinstance(offered, Iterable) else None
    except TypeError as error:
        raise PluginError(f"{hook}() raised TypeError: {error}{_suggest_field(error)}; fix it") from error
    except HarnessError as error:
        raise PluginError(f"{hook}(): {error}; fix it") from error
    except Exception as error:
        raise PluginError(f"{hook}() raised {type(error).__name__}: {error}; fix it") from error
    if listed is None:
        raise PluginError(f"{hook}() gave {type(offered).__name__}; return a list of {KINDS[kind].__name__} objects")
    for component in listed:
        if not isinstance(component, KINDS[kind]):
            raise PluginError(f"{hook}() must give {KINDS[kind].__name__} objects, gave {type(component).__name__}")
    return listed


def _suggest_field(error: TypeError) -> str:
    """Suggest the nearest field for one that a component does not have."""
    match = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    kind = getattr(components, match[1], None) if match else None
    return suggest(match[2], (f.name for f in fields(kind))) if match and is_dataclass(kind) else ""


def _explain_import(error: BaseException) -> str:
    """Why a plugin does not import, in one line, and what to do."""
    said = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        return f'ends the program while it is imported (SystemExit: {said}); put that under if __name__ == "__main__":'
    if isinstance(error, ModuleNotFoundError):
        return f"does not import: {said}; install it, or remove its import"
    return f"does not import: {type(error).__name__}: {said}; fix or remove it"


def _check_markers(module: ModuleType) -> None:
    """A hook without its marker would be dead in silence."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if (
            name.startswith("harness_")
            and function.__module__ == module.__name__
            and not hasattr(function, "harness_impl")
        ):
            raise PluginError(f"has a function {name} that is not marked; put @harness.hookimpl above it")


def _explain(module: ModuleType, error: pluggy.PluginValidationError) -> str:
    """Say which hook is misspelt, or which argument, and what is right."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if not hasattr(function, "harness_impl"):
            continue
        if name not in HOOKS:
            return f"has a hook '{name}', which does not exist{suggest(name, HOOKS)}"
        arguments = list(inspect.signature(function).parameters)
        if arguments:
            return (
                f"{name}({', '.join(arguments)}) takes arguments, but hooks are called without; remove {arguments[0]}"
            )
    return str(error)


def _digest(module: ModuleType) -> str:
    """Digest an external plugin's code: its file, whatever it is called, or every .py of its package by its place."""
    package = module.__name__.split(".")[0]
    file = Path(getattr(sys.modules.get(package, module), "__file__", None) or module.__file__ or "")
    if file.name != "__init__.py":
        return digest_sources({"": Path(module.__file__ or file)})
    return digest_sources({path.relative_to(file.parent).as_posix(): path for path in file.parent.rglob("*.py")})
