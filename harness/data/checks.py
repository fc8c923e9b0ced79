"""What may be wrong with a dataset, looked for before anything is trained on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.components import Data
from harness.data.splits import leaks

if TYPE_CHECKING:
    from harness.data.prepare import Prepared

SHOWN = 5
"""Examples of each kind."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    ok: bool
    message: str
    examples: tuple[str, ...] = ()

    def as_plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check(data: Data, prepared: Prepared) -> tuple[Finding, ...]:
    """Every check of a dataset: `data` is all of it, `prepared` the images that could be read."""
    return (
        _patients(data),
        _duplicates(prepared),
        _missing(data, prepared),
        _unreadable(prepared),
        _classes(data),
        _boxes(data),
        Finding("label file", ok=True, message=data.notes.get("label_file", "the dataset does not say which it is")),
    )


def _finding(name: str, examples: Sequence[str], fine: str, wrong: str) -> Finding:
    """Fine without examples, else wrong with their number and the first of them."""
    if not examples:
        return Finding(name, ok=True, message=fine)
    return Finding(name, ok=False, message=f"{len(examples):,} {wrong}", examples=tuple(examples[:SHOWN]))


def _patients(data: Data) -> Finding:
    return _finding(
        "patients in one split",
        leaks(data.table),
        "no patient stands in two splits",
        "patients stand in more than one split, so test results would be too good; split by patient",
    )


def _duplicates(prepared: Prepared) -> Finding:
    """The same pixels under two names in different splits."""
    first: dict[bytes, int] = {}
    found = []
    image, split = prepared.data.table["image"].to_numpy(), prepared.data.table["split"].to_numpy()
    for index, pixels in enumerate(prepared.images):
        twin = first.setdefault(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), index)
        if split[twin] != split[index]:
            found.append(f"{image[twin]} ({split[twin]}) = {image[index]} ({split[index]})")
    return _finding(
        "images in one split",
        found,
        "no image stands in two splits under two names",
        "images have the same pixels as one in another split; leave one of each pair out",
    )


def _missing(data: Data, prepared: Prepared) -> Finding:
    return _finding(
        "files there",
        prepared.missing,
        f"all {len(data.table):,} images have a file",
        f"of {len(data.table):,} images have no file; complete the folder, or run with allow_missing = true",
    )


def _unreadable(prepared: Prepared) -> Finding:
    examples = [f"{image}: {reason}" for image, reason in prepared.unreadable.items()]
    return _finding("files readable", examples, "every file can be decoded", "files cannot be decoded; get them again")


def _classes(data: Data) -> Finding:
    """Labels that validation cannot decide on, or test cannot measure."""
    split, found = data.table["split"].to_numpy(), []
    for name in ("val", "test"):
        targets = data.targets[split == name]
        for value, what in ((1, "positives"), (0, "negatives")):
            none = ~(targets == value).any(axis=0)
            found += [
                f"{label} has no {what} in {name}" for label, empty in zip(data.labels, none, strict=True) if empty
            ]
    return _finding(
        "labels measurable",
        found,
        "every label has positives and negatives in val and test",
        "times a label lacks a class; it is undefined there and left out of the macro",
    )


def _boxes(data: Data) -> Finding:
    """Boxes of no extent, at negative places, or of images and labels that the dataset does not have."""
    if data.boxes is None:
        return Finding("boxes", ok=True, message="the dataset has no boxes")
    boxes = data.boxes
    wrong = (boxes["width"] <= 0) | (boxes["height"] <= 0) | (boxes["x"] < 0) | (boxes["y"] < 0)
    wrong |= ~boxes["label"].isin(data.labels)
    examples = (boxes["image"][wrong] + ": " + boxes["label"][wrong]).tolist()
    return _finding(
        "boxes",
        examples,
        f"{len(boxes):,} boxes have places in their images",
        "boxes are empty, outside, or of an unknown label",
    )


def print_findings(findings: Sequence[Finding]) -> None:
    """One line a check, examples under those that found something."""
    from rich.console import Console

    console = Console()
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        console.print(f"{mark} [bold]{finding.name}[/]: ", end="")
        console.print(finding.message, markup=False, highlight=False)
        for example in finding.examples:
            console.print(f"    {example}", markup=False, highlight=False)
