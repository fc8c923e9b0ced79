"""Verbs about datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.option_values import find_cache
from harness.cli.options import (
    CacheDir,
    DataRoot,
    DatasetName,
    DatasetOptions,
    Json,
    Plugins,
)
from harness.cli.output import say
from harness.cli.verbs.shared import open_registry, open_source
from harness.components import LARGEST_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.components import Data
    from harness.data.cached_sets import CachedSet
    from harness.data.loading import Source
    from harness.data.prepare import Prepared


def list_datasets(plugin: Plugins = None, as_json: Json = False) -> None:
    """List the datasets with their options."""
    from harness.cli import catalogue, component_listing, tables

    registry = open_registry(plugin)
    if as_json:
        listed = catalogue.listing(registry)["components"]
        tables.print_json({"datasets": [component for component in listed if component["kind"] == "dataset"]})
    else:
        component_listing.print_datasets(registry)


def describe_dataset(
    name: DatasetName,
    options: DatasetOptions = None,
    data_root: DataRoot = Path("data"),
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Count images, patients and positives in each split. Only label files are read."""
    from harness.cli import tables
    from harness.data import loading, statistics

    data = loading.load(open_source(name, options, data_root, plugin))
    described = statistics.describe(data)
    if as_json:
        tables.print_json(statistics.as_plain(described))
    else:
        tables.print_statistics(name, described)


def match_datasets(
    name: Annotated[str, typer.Argument(metavar="A", help="This is the dataset that a network is trained on.")],
    other: Annotated[str, typer.Argument(metavar="B", help="This is the dataset that it is tested on.")],
    data_root: DataRoot = Path("data"),
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Show which labels of two datasets mean the same, what is merged, and what cannot be compared.

    Public sets need no data for this: their labels stand in a table of terms. Label files of others are read.
    """
    from dataclasses import asdict

    from harness.cli import tables
    from harness.data.terms import match_labels, read_terms

    registry = open_registry(plugin)

    def find_labels(dataset: str) -> list[str]:
        registry.dataset(dataset)  # a name that nothing has is refused before anything is read
        own = read_terms().labels.get(dataset)
        return list(own if own is not None else _load(dataset, data_root, plugin).labels)

    found = match_labels(name, other, find_labels(name), find_labels(other))
    if as_json:
        matches = [asdict(match) for match in found.matches]
        tables.print_json({"dataset": name, "other": other, "labels": matches, "unused": found.unused})
    else:
        tables.print_matches(name, other, found)


def _load(name: str, data_root: Path, plugin: list[Path] | None) -> Data:
    from harness.data import loading

    return loading.load(open_source(name, None, data_root, plugin))


def check_dataset(
    name: DatasetName,
    options: DatasetOptions = None,
    data_root: DataRoot = Path("data"),
    cache_dir: CacheDir = None,
    load_size: Annotated[
        int, typer.Option(min=8, max=LARGEST_SIZE, help="Compare images at this height and width in pixels.")
    ] = 224,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Look for leaks, duplicates, damaged files and labels that cannot be evaluated.

    The exit code is 1 if something is wrong. Every decoded image in the cache is compared with its digest, and all are
    decoded again if one has changed.
    """
    from dataclasses import replace

    from harness.cli import tables
    from harness.data import checks, loading

    source = open_source(name, options, data_root, plugin)
    data = loading.load(source)
    lenient = replace(source, allow_missing=True, unreadable_limit=1.0)
    prepared = _prepare(lenient, data, load_size, cache_dir, check_all=True)
    findings = checks.check(data, prepared)
    if as_json:
        tables.print_json({"findings": [finding.as_plain() for finding in findings]})
    else:
        tables.print_findings(findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def prepare_dataset(
    name: DatasetName,
    options: DatasetOptions = None,
    data_root: DataRoot = Path("data"),
    cache_dir: CacheDir = None,
    load_size: Annotated[
        int, typer.Option(min=8, max=LARGEST_SIZE, help="Decode images to this height and width in pixels.")
    ] = 224,
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Decode a dataset's images once, before a run needs them."""
    from harness.cli import tables
    from harness.cli.terminal import NOTED
    from harness.data import loading
    from harness.data.decoding import describe_values
    from harness.data.prepare import describe_left_out
    from harness.text import count

    source = open_source(name, options, data_root, plugin)
    prepared = _prepare(source, loading.load(source), load_size, cache_dir)
    summary = {
        "dataset": name,
        "images": len(prepared.data.table),
        "load_size": load_size,
        "missing": len(prepared.missing),
        "unreadable": dict(prepared.unreadable),
        "bits": prepared.scale.bits,
        "stretch": prepared.scale.stretch,
        "digest": prepared.digest,
    }
    if as_json:
        tables.print_json(summary)
        return
    say(f"{count(len(prepared.data.table), 'image')} of {name} at {load_size} px")
    if (values := describe_values(prepared.data, prepared.scale)) is not None:
        say(values)
    if (left_out := describe_left_out(prepared)) is not None:
        say(NOTED, f" {left_out}")


def clean_cache(
    cache_dir: CacheDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove everything that is not in use without asking.")] = False,
    as_json: Json = False,
) -> None:
    """List the decoded images in the cache, and remove them after asking.

    Sizes and the time since the last use are shown. Images that a running process uses stay. Removed images are decoded
    again when they are needed.
    """
    from harness.cli import tables
    from harness.data.cached_sets import list_sets, remove_set

    cache = find_cache(cache_dir)
    sets, removed = list_sets(cache), []
    if not as_json:
        _print_sets(sets, cache)
    for one in sets:
        if not one.in_use and (yes or (not as_json and typer.confirm(f"remove {one.path.name}?"))):
            if remove_set(one):
                removed.append(one)
            elif not as_json:
                say(f"{one.path.name} is now in use and stays")
    if as_json:
        listed = [
            {"name": s.path.name, "bytes": s.size, "unused_s": s.unused, "in_use": s.in_use, "removed": s in removed}
            for s in sets
        ]
        tables.print_json({"cache": str(cache), "sets": listed})


def _print_sets(sets: Sequence[CachedSet], cache: Path) -> None:
    from rich.filesize import decimal

    from harness.text import count, describe_seconds

    for one in sets:
        days = one.unused / 86400
        since = f"{days:.0f} days" if days >= 2 else describe_seconds(one.unused)
        state = "in use" if one.in_use else f"unused for {since}"
        say(f"{decimal(one.size):>9}  {one.path.name}: {state}")
    total = decimal(sum(one.size for one in sets))
    say(f"{total} in {count(len(sets), 'set')} of {cache}" if sets else f"no decoded images are in {cache}")


def _prepare(
    source: Source,
    data: Data,
    load_size: int,
    cache_dir: Path | None,
    *,
    check_all: bool = False,
) -> Prepared:
    from harness.cli.terminal import Display
    from harness.data.prepare import prepare
    from harness.execution.events import Noted, Preparing

    with Display() as display:
        return prepare(
            source,
            data,
            load_size,
            find_cache(cache_dir),
            lambda done, total: display(Preparing(source.dataset.name, done, total)),
            lambda text: display(Noted(text)),
            check_all=check_all,
        )
