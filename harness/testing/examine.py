"""From a name, a file or a package to the outcomes of all checks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.components import Component, Kind, Metric
from harness.errors import UnknownNameError, UsageError
from harness.registry import Offer, Registry, load_registry
from harness.testing.contract import Check, ContractError, Outcome, Subject

MODULES: Mapping[str, str] = {
    "model": "models",
    "loss": "losses",
    "metric": "metrics",
    "metric of heat maps": "map_metrics",
    "dataset": "datasets",
    "recipe": "recipes",
    "observer": "observers",
    "executor": "executors",
    "hook": "hooks",
}


def checks_of(kind: Kind | str) -> tuple[Check, ...]:
    """The checks of a kind (`model`, ..., `hook`, or `metric of heat maps`), in the order in which they are made."""
    module = importlib.import_module(f"harness.testing.{MODULES[kind]}")
    return tuple(Check.of(function) for function in module.CHECKS)


def find_subjects(target: str | Path, files: Sequence[Path] = (), **settings: Any) -> tuple[Subject, ...]:
    """What `target` stands for: a component's name, a plugin's file, or an installed package or module.

    `settings` are further fields of `Subject`. Raises `UnknownNameError` where it stands for nothing; a plugin that
    could not be loaded is a subject whose only check tells why.
    """
    file = Path(target)
    if file.suffix == ".py":
        if not file.is_file():
            raise UsageError(f"{file}: there is no such file")
        others = [other for other in files if other.resolve() != file.resolve()]
        bundled = _bundled_module(file)
        if bundled:
            return _of_plugins(
                load_registry(others), lambda plugin: plugin == bundled, tuple(others), settings, bundled
            )
        all_files = (file, *others)
        registry = load_registry(all_files)
        return _of_plugins(registry, lambda plugin: plugin == str(file), all_files, settings, str(target))
    registry = load_registry(files)
    name = str(target)
    named = _of_name(registry, name)
    if named:
        return tuple(Subject(kind=kind, offer=offer, files=tuple(files), **settings) for kind, offer in named)
    if _is_plugin(registry, name):
        return _of_plugins(registry, lambda plugin: _belongs(plugin, name), tuple(files), settings, name)
    _refuse_path(file)
    offered_names = [offered for offers in registry.offers.values() for offered in offers]
    hint = f"for the file here: harness check {name}.py" if Path(f"{name}.py").is_file() else ""
    raise UnknownNameError("component, file or package", name, offered_names, hint)


def examine(target: str | Path, files: Sequence[Path] = (), **settings: Any) -> Iterator[Outcome]:
    """Make every check of what `target` stands for, one after another."""
    for subject in find_subjects(target, files, **settings):
        for check in _checks(subject):
            yield check(subject)


def parametrize(*targets: str | Path, **settings: Any) -> Callable[..., None]:
    """A test for pytest with a named case for each check, to be given a name that begins with `test_`."""
    import pytest

    cases = [
        pytest.param(subject, check, id=f"{subject.kind} {subject.component.name}: {check.name}")
        for target in targets
        for subject in find_subjects(target, **settings)
        for check in _checks(subject)
    ]

    @pytest.mark.parametrize(("subject", "check"), cases)
    def test_contract(subject: Subject, check: Check) -> None:
        outcome = check(subject)
        if outcome.status == "skipped":
            pytest.skip(outcome.seen)
        assert outcome.status == "passed", outcome.message

    return test_contract


def _checks(subject: Subject) -> tuple[Check, ...]:
    if "problem" in subject.kept:
        return (Check.of(check_loads_without_a_problem),)
    on_maps = isinstance(subject.component, Metric) and subject.component.on == "maps"
    return checks_of("metric of heat maps" if on_maps else subject.kind)


def check_loads_without_a_problem(subject: Subject) -> None:
    """The plugin imports, its hooks exist, and no name of it is taken."""
    seen, _, fix = str(subject.kept["problem"]).rpartition("; ")
    if not seen:
        seen, fix = fix, "fix the plugin as the message says"
    raise ContractError(seen, fix)


def _of_plugins(
    registry: Registry, belongs: Callable[[str], bool], files: tuple[Path, ...], settings: dict[str, Any], target: str
) -> tuple[Subject, ...]:
    """The components of plugins, their hooks, and their problems."""
    problem_subjects: list[Subject] = []
    for problem in registry.problems:
        if belongs(problem.plugin):
            subject = Subject(
                kind="hook", offer=Offer(_named(problem.plugin), problem.plugin, "local"), files=files, **settings
            )
            subject.kept["problem"] = problem.message
            problem_subjects.append(subject)
    offers = [(kind, o) for kind, os in registry.offers.items() for o in os.values() if belongs(o.plugin)]
    plugins = {offer.plugin: offer.origin for _, offer in offers}
    hooks = [
        Subject(kind="hook", offer=Offer(_named(p), p, origin), files=files, **settings)
        for p, origin in plugins.items()
    ]
    subjects = [
        Subject(kind=kind, offer=offer, files=files, **settings) for kind, offer in offers if not _is_family(offer)
    ]
    if not problem_subjects and not subjects and not hooks:
        raise UsageError(f"{target} offers nothing; give it a hook, as `harness new model my-net` writes one")
    return (*problem_subjects, *hooks, *subjects)


def _refuse_path(path: Path) -> None:
    """Raise `UsageError` for what is a path, and none of a plugin's file."""
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder; give a plugin's file in it, or install the package (pip install --editable {path}) "
            "and give its name"
        )
    if path.exists():
        raise UsageError(f"{path} is no Python file; give one that ends in .py")
    if path.is_absolute() or path.name != str(path):
        raise UsageError(f"{path}: there is no such file")


def _bundled_module(file: Path) -> str:
    """The module that a bundled plugin's file is, or an empty text."""
    package = importlib.import_module("harness.plugins")
    return f"{package.__name__}.{file.stem}" if str(file.resolve().parent) in package.__path__ else ""


def _named(plugin: str) -> Component:
    """A plugin's name as a component has it."""
    return Component(name=Path(plugin).name.replace(":", ".").replace(" ", "_"))


def _is_family(offer: Offer) -> bool:
    return offer.component.name.endswith("/*")


def _of_name(registry: Registry, name: str) -> list[tuple[Kind, Offer]]:
    """Components of that name, of whatever kind; a member of a family too."""
    named_offers: list[tuple[Kind, Offer]] = [(kind, os[name]) for kind, os in registry.offers.items() if name in os]
    family = f"{name.partition('/')[0]}/*"
    if not named_offers and family in registry.offers["model"]:
        named_offers.append(("model", registry.offer("model", name)))
    return [(kind, offer) for kind, offer in named_offers if not _is_family(offer)]


def _is_plugin(registry: Registry, name: str) -> bool:
    plugins = {offer.plugin for offers in registry.offers.values() for offer in offers.values()}
    return any(_belongs(plugin, name) for plugin in plugins | {problem.plugin for problem in registry.problems})


def _belongs(plugin: str, name: str) -> bool:
    """Whether a plugin's module is of that package, whose name may be written with hyphens."""
    wanted = name.replace("-", "_")
    return plugin.replace("-", "_") == wanted or plugin.startswith((f"{wanted}.", f"{wanted}:"))
