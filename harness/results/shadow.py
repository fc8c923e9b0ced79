"""The shadow of pretraining: which test images, and whose, a network had seen before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.components import Data
from harness.data.loading import Source, find_source, load
from harness.data.pretraining import UNKNOWN, PretrainingSource, read_table
from harness.errors import DataError, HarnessError
from harness.registry import Registry
from harness.results.identity import fingerprint
from harness.results.provenance import scrub_paths
from harness.results.record import PretrainingPart, Record
from harness.text import count

if TYPE_CHECKING:
    import pandas as pd

DECLARED_OTHERWISE = "it does not say what its network was pretrained on as its weights declare it now"
"""Why a finished record is looked at again."""
NOT_HERE = "its list is not here"
OTHER_LIST = "the list here is not the one that it was trained on"
"""For a user's own table that has changed, or another of the same name."""
RENAMED = "they are the same images under other names"
NEVER_SAID = PretrainingPart(name=UNKNOWN, about="its record does not say", overlap="unknown")
"""For a record that says nothing, of a network that began from weights or was submitted."""


def describe_training(source: Source, options: Mapping[str, Any], data_fingerprint: str) -> PretrainingSource:
    """What a network has seen that is trained on a dataset with these options: its training and validation images."""
    given = ", ".join(f"{name} {value}" for name, value in options.items())
    return PretrainingSource(
        name=source.dataset.name + (f" with {given}" if given else ""),
        about="training and validation images of a row that the harness trained",
        dataset=source.dataset.name,
        options=dict(options),
        fingerprint=data_fingerprint,
    )


def find_shadow(
    sources: Iterable[PretrainingSource],
    tested: Source,
    data: Data,
    data_root: Path,
    registry: Registry,
    splits: Sequence[str] = ("test",),
) -> list[PretrainingPart]:
    """Hold the test images of `tested`, those of `data` in these splits, against what a network had seen.

    Label files of a source's dataset are looked for in `data_root`. Where they are not there, images of the same origin
    count as possibly seen, never as unseen.
    """
    test = data.table[data.table["split"].isin(splits)]
    parts = []
    for source in sources:
        if source.name == UNKNOWN:
            parts.append(_say(source, "unknown"))
        elif not _may_share(source, tested):
            parts.append(_say(source, "none", images=0, patients=0))
        else:
            parts.append(_compare(source, tested, test, _find_seen(source, tested, data, data_root, registry)))
    return parts


def gather_pretraining(record: Record) -> list[PretrainingPart]:
    """What a finished record says of its network's pretraining; that it says nothing, where it should have."""
    recipe = record.combo.resolved.get("recipe", {})
    began_at_random = record.external is None and recipe.get("weights", "random") == "random"
    if record.pretraining or began_at_random or record.combo.control == "prevalence":
        return record.pretraining
    return [NEVER_SAID]


def mark_shadow(pretraining: Iterable[PretrainingPart]) -> str:
    """Say of a network in a few words what it had seen, or that nobody knows; empty where the test was new to it."""
    parts = list(pretraining)
    found = {part.overlap for part in parts}
    if "shared" in found:
        people = all(part.images == 0 for part in parts if part.overlap == "shared")
        return f"has seen test {'patients' if people else 'images'}, not ranked"
    if "possible" in found:
        return "may have seen test images, not ranked"
    return "pretraining unknown" if "unknown" in found else ""


def is_told(pretraining: Sequence[PretrainingPart], told: Sequence[PretrainingPart]) -> bool:
    """Whether a record has told as much of its network's pretraining; what was counted stays, where lists are not."""

    def counts(part: PretrainingPart) -> tuple[str, int | None, int | None]:
        return part.overlap, part.images, part.patients

    held = {part.name: counts(part) for part in told}
    found = {part.name: part for part in pretraining}
    return held.keys() == found.keys() and all(
        counts(part) == held[name] or part.why.startswith(NOT_HERE) for name, part in found.items()
    )


def is_declared(sources: Iterable[PretrainingSource], told: Iterable[PretrainingPart]) -> bool:
    """Whether a record has told of these sources and no others."""
    return {scrub_paths(source.name) for source in sources} == {part.name for part in told}


# --- whose images they are -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a network has seen of a dataset, by names."""

    images: pd.Series
    patients: pd.Series | None
    """None where nobody's are known, or where equal ids may be of different people."""


def _is_loose(source: PretrainingSource, tested: Source) -> bool:
    """Whether nothing tells where the images of one of both are from: a user's own, or a dataset that nobody knows."""
    table, names = read_table(), {source.dataset, tested.dataset.name}
    return not names.isdisjoint(table.any_images) or (len(names) > 1 and not names <= table.datasets)


def _may_share(source: PretrainingSource, tested: Source) -> bool:
    """Whether a source and a test may have images in common, by what datasets they are of."""
    name = tested.dataset.name
    if not source.dataset:
        return False
    if source.dataset == name:  # images that are drawn again from another seed are others, whatever their names
        seeds = (options.get("seed", 0) for options in (source.options, tested.options))
        return not tested.dataset.drawn or len(set(seeds)) == 1
    return not tested.dataset.drawn and (read_table().share_images(source.dataset, name) or _is_loose(source, tested))


def _find_seen(
    source: PretrainingSource, tested: Source, data: Data, data_root: Path, registry: Registry
) -> _Seen | str:
    """What a source consists of, by its own list or by label files; why that is not known, where these are not here."""
    if source.images:
        return _find_listed(source, tested, data)
    try:
        listed = load(find_source(registry.offer("dataset", source.dataset), source.options, data_root))
    except DataError:
        return NOT_HERE
    except HarnessError as error:
        return f"{NOT_HERE} ({error})"
    if source.dataset in read_table().any_images and source.fingerprint not in ("", fingerprint(listed)):
        return OTHER_LIST
    table = listed.table[listed.table["split"].isin(source.splits)]
    same_people = listed.patients_known and data.patients_known and not _is_loose(source, tested)
    return _Seen(table["image"], table["patient"] if same_people else None)


def _find_listed(source: PretrainingSource, tested: Source, data: Data) -> _Seen | str:
    """What a list of names consists of, with the patients of all images of their dataset, in whatever split."""
    of_test = source.dataset == tested.dataset.name
    table = load(tested).table if of_test else data.table
    mine = table[table["image"].astype(str).isin(source.images)]
    if of_test and mine.empty and not _is_loose(source, tested):
        return f"none of its {count(len(source.images), 'name')} is that of an image of {source.dataset}"
    return _Seen(mine["image"], mine["patient"])


# --- what they share -------------------------------------------------------------------------------------------------


def _compare(source: PretrainingSource, tested: Source, test: pd.DataFrame, seen: _Seen | str) -> PretrainingPart:
    """Count the images and patients of the test that were seen."""
    renamed, loose = read_table().share_images(source.dataset, tested.dataset.name), _is_loose(source, tested)
    if isinstance(seen, str):
        return _say(source, "unknown" if loose else "possible", why=seen)
    if renamed and (seen.patients is None or source.images):
        return _say(source, "possible", why=f"{RENAMED}, and nothing tells which is which")
    images = test["image"].astype(str).isin(seen.images.astype(str))
    known = images if seen.patients is None else images | test["patient"].astype(str).isin(seen.patients.astype(str))
    people = int(test["patient"][known].nunique())
    if not people:
        return _say(source, "none", images=0, patients=0, why="by names of images alone" if loose else "")
    if renamed:
        return _say(source, "shared", patients=people, why=f"{RENAMED}, so that patients alone are counted")
    return _say(source, "shared", images=int(images.sum()), patients=people)


def _say(
    source: PretrainingSource,
    overlap: Literal["none", "shared", "possible", "unknown"],
    *,
    images: int | None = None,
    patients: int | None = None,
    why: str = "",
) -> PretrainingPart:
    name, about, why = map(scrub_paths, (source.name, source.about, why))
    return PretrainingPart(name=name, about=about, overlap=overlap, images=images, patients=patients, why=why)
