"""What may be wrong with a dataset, looked for before anything is trained on it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from harness.components import IMAGE_LEVEL, Data
from harness.data.findings import Finding, judge
from harness.data.headers import find_sizes
from harness.data.image_checks import check_images
from harness.data.splits import NO_PATIENTS, find_alike_patients, leaks
from harness.text import count

if TYPE_CHECKING:
    from harness.data.prepare import Prepared


def check(data: Data, prepared: Prepared) -> tuple[Finding, ...]:
    """Every check of a dataset: `data` is all of it, `prepared` the images that could be read."""
    return (
        _patients(data),
        _spellings(data),
        _repeated(data),
        _duplicates(prepared),
        _missing(data, prepared),
        _unreadable(prepared),
        *check_images(prepared),
        _classes(prepared.data),
        _boxes(data),
        Finding("label file", ok=True, message=_describe_file(data)),
    )


def _describe_file(data: Data) -> str:
    """Return the label file's name, and what was guessed of it."""
    known = (data.notes.get(note, "") for note in ("label_file", "label_file_guessed"))
    return "; ".join(text for text in known if text) or "the dataset does not say which it is"


def _patients(data: Data) -> Finding:
    if not data.patients_known:
        return Finding("patients in one split", ok=True, message=NO_PATIENTS)
    if IMAGE_LEVEL in data.notes:
        return Finding("patients in one split", ok=True, message=f"image_level is set: {data.notes[IMAGE_LEVEL]}")
    return judge(
        "patients in one split",
        leaks(data.table),
        "no patient stands in two splits",
        "patient",
        "in more than one split, so that test results would be too good; split by patient",
    )


def _spellings(data: Data) -> Finding:
    """Patients of two splits whose ids differ in zeros, case, `.0` or a suffix alone."""
    return judge(
        "patients told apart",
        find_alike_patients(data.table) if data.patients_known else [],
        "no two patients of different splits are called alike",
        "pair",
        "of patients in different splits who may be one, written differently; where they are, give them one id",
    )


def _repeated(data: Data) -> Finding:
    """Images that several rows of the label file are about."""
    return judge(
        "images in one row",
        data.repeated,
        "no image stands in two rows of the label file",
        "image",
        "in more than one row of the label file, of which only the first is looked at; keep one row each, "
        "or say by the dataset's option what becomes of them, where it has one (csv: duplicates)",
    )


def _duplicates(prepared: Prepared) -> Finding:
    """The same pixels under two names in different splits."""
    first: dict[bytes, int] = {}
    pairs = []
    image, split = prepared.data.table["image"].to_numpy(), prepared.data.table["split"].to_numpy()
    for index, pixels in enumerate(prepared.images):
        twin = first.setdefault(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), index)
        if split[twin] != split[index]:
            pairs.append(f"{image[twin]} ({split[twin]}) = {image[index]} ({split[index]})")
    return judge(
        "images in one split",
        pairs,
        "no image stands in two splits under two names",
        "image",
        "with the same pixels as one in another split; leave one of each pair out",
    )


def _missing(data: Data, prepared: Prepared) -> Finding:
    return judge(
        "files there",
        prepared.missing,
        "every image has a file",
        "image",
        f"of {len(data.table):,} without a file; complete the folder, or run with allow_missing = true",
    )


def _unreadable(prepared: Prepared) -> Finding:
    examples = [f"{image}: {reason}" for image, reason in prepared.unreadable.items()]
    return judge(
        "files readable",
        examples,
        "every file can be decoded",
        "file",
        "that cannot be decoded; get every one again, or run with allow_missing = true",
    )


def _classes(data: Data) -> Finding:
    """Labels that validation cannot decide on, or test cannot measure."""
    split, lacking = data.table["split"].to_numpy(), []
    for name in ("val", "test"):
        targets = data.targets[split == name]
        for value, what in ((1, "positives"), (0, "negatives")):
            none = ~(targets == value).any(axis=0)
            lacking += [
                f"{label} has no {what} in {name}" for label, empty in zip(data.labels, none, strict=True) if empty
            ]
    return judge(
        "labels measurable",
        lacking,
        "every label has positives and negatives in val and test",
        "pair",
        "of label and split without positives or negatives, left out of averages; choose another split",
    )


def _boxes(data: Data) -> Finding:
    """Boxes of no extent, over the edge of their image, of an unknown image or label, or at a negative label."""
    import pandas as pd

    boxes = data.boxes
    if boxes is None:
        return Finding("boxes", ok=True, message="the dataset has no boxes")
    sizes = find_sizes(data, set(boxes["image"]))
    size = np.array([sizes.get(image, (np.nan, np.nan)) for image in boxes["image"]]).reshape(-1, 2)
    right, bottom = boxes["x"] + boxes["width"], boxes["y"] + boxes["height"]
    row = pd.Index(data.table["image"]).get_indexer(pd.Index(boxes["image"]))
    column = pd.Index(data.labels).get_indexer(pd.Index(boxes["label"]))
    problems = {
        "is of an image that the dataset does not have": row < 0,
        "is of a label that the dataset does not have": column < 0,
        "is empty": ~((boxes["width"] > 0) & (boxes["height"] > 0)),
        # a comparison with an unknown size is false; half a pixel is rounding
        "is over the edge": (boxes[["x", "y"]].min(axis=1) < -0.5)
        | (right > size[:, 0] + 0.5)
        | (bottom > size[:, 1] + 0.5),
        "is where the label is negative": (row >= 0) & (column >= 0) & (data.targets[row, column] == 0),
    }
    problematic = [
        f"{image}: the box of {label} {problem}"
        for problem, wrong in problems.items()
        for image, label in zip(boxes["image"][wrong], boxes["label"][wrong], strict=True)
    ]
    return judge(
        "boxes",
        problematic,
        f"{count(len(boxes), 'box', 'boxes')} fit labels and images (of {int((~np.isnan(size[:, 0])).sum()):,} "
        "the image's size is known)",
        "box",
        "not fitting image or label, so that measurements by boxes would be wrong; fix the file of boxes",
        plural="boxes",
    )
