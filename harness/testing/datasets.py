"""Checks of a dataset: what it gives, that its splits are honest, that it repeats itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from harness.components import Data
from harness.errors import DataError, HarnessError
from harness.testing.contract import ContractError, NotApplicable, Subject
from harness.testing.samples import prepared
from harness.text import agree, count

if TYPE_CHECKING:
    from harness.components import Dataset
    from harness.data.findings import Finding

MOST_IMAGES = 512
"""Images that are looked at, spread over the whole dataset; `harness data check` looks at all."""
SIZE = 64


def check_loads(subject: Subject) -> None:
    """Reads its label files: targets (N, C) float32 of 1, 0 or NaN, unique images, splits train, val and test."""
    from harness.components import SPLITS

    data = _load(subject)
    if not isinstance(data, Data):
        raise ContractError(f"load gave {type(data).__name__}", "return harness.Data")
    absent = [split for split in SPLITS if split not in set(data.table["split"])]
    if absent:
        raise ContractError(f"no image is in {', '.join(absent)}", "assign each patient to train, val or test")


def check_images_are_grey_bytes(subject: Subject) -> None:
    """Each image decodes to (H, W) uint8."""
    import numpy as np

    data = _part(subject)
    if data.encoded:
        _require([finding for finding in _findings(subject) if finding.name in ("files there", "files readable")])
        return
    for index in range(min(len(data.images), 16)):
        image = np.asarray(data.images[index])
        if image.ndim != 2 or image.dtype != np.uint8:
            raise ContractError(f"image {index} is {image.shape} {image.dtype}", "give grey images (H, W) of uint8")


def check_no_patient_is_in_two_splits(subject: Subject) -> None:
    """No patient is in two splits, which would make test results too good."""
    from harness.data.splits import leaks

    shared_patients = leaks(_data(subject).table)
    if shared_patients:
        raise ContractError(
            f"{count(len(shared_patients), 'patient')} {agree(len(shared_patients), 'is', 'are')} in more than "
            f"one split, first {', '.join(shared_patients[:3])}",
            "split by patient, not by image: harness.data.splits.carve(table['patient']) does it",
        )


def check_no_image_is_in_two_splits(subject: Subject) -> None:
    """No two images with the same pixels are in different splits (of up to 512 images)."""
    _require([finding for finding in _readable(subject) if finding.name == "images in one split"])


def check_two_loads_are_equal(subject: Subject) -> None:
    """Loaded twice, labels, table, targets and pixels are the same."""
    import numpy as np

    one, other = _data(subject), _load(subject)
    fix = "draw nothing at random without a fixed seed, and sort what the file system lists"
    if one.labels != other.labels:
        raise ContractError("two loads give other labels", fix)
    if not one.table.equals(other.table):
        raise ContractError("two loads give other tables (images, splits or patients)", fix)
    if not np.array_equal(one.targets, other.targets, equal_nan=True):
        raise ContractError("two loads give other targets", fix)
    for index in range(0, len(one.table), max(1, len(one.table) // 16)):
        first, second = one.images[index], other.images[index]
        if not np.array_equal(np.asarray(first), np.asarray(second)):
            raise ContractError(f"two loads give other images, first number {index}", fix)


def check_boxes_are_inside_their_images(subject: Subject) -> None:
    """Boxes have an extent, belong to an image and a label, and lie inside the image."""
    if _data(subject).boxes is None:
        raise NotApplicable("it has no boxes")
    _require([finding for finding in _readable(subject) if finding.name == "boxes"])


def check_says_what_it_is(subject: Subject) -> None:
    """Has labels, each with a name of its own, one line of `about`, and options that board.toml can give."""
    from harness.board_file import TestTable
    from harness.parameters import defaults

    labels = _data(subject).labels
    if not labels or len(set(labels)) != len(labels) or not all(labels):
        raise ContractError(f"its labels are {labels}", "give each column of targets a name of its own")
    taken = sorted(TestTable.model_fields.keys() & defaults(cast("Dataset", subject.component).load).keys())
    if taken:
        raise ContractError(f"its option `{taken[0]}` is a key of [[test]] in board.toml", "call it something else")
    if not subject.component.about:
        raise ContractError("it has no `about`", 'say in one line what it is: Dataset(..., about="...")')


# --- shared by the checks --------------------------------------------------------------------------------------------


def _load(subject: Subject) -> Data:
    from harness.data.loading import find_source, load

    return load(find_source(subject.offer, subject.options, subject.data_root))


def _data(subject: Subject) -> Data:
    if "data" not in subject.kept:
        try:
            subject.kept["data"] = _load(subject)
        except HarnessError:
            raise NotApplicable("it does not load") from None
    return cast(Data, subject.kept["data"])


def _part(subject: Subject) -> Data:
    """At most 512 images, spread over the whole."""
    import numpy as np

    data = _data(subject)
    keep = np.zeros(len(data.table), dtype=bool)
    keep[np.linspace(0, len(keep) - 1, min(MOST_IMAGES, len(keep))).astype(int)] = True
    return data.select(keep)


def _findings(subject: Subject) -> tuple[Finding, ...]:
    from harness.data import checks
    from harness.data.loading import find_source

    if "findings" not in subject.kept:
        part, root = _part(subject), find_source(subject.offer, subject.options, subject.data_root).root
        with prepared(part, SIZE, subject.component.name, root) as images:
            subject.kept["findings"] = checks.check(part, images)
    return cast("tuple[Finding, ...]", subject.kept["findings"])


def _readable(subject: Subject) -> tuple[Finding, ...]:
    """The findings. Raises `NotApplicable` where no image can be read, of which one check tells already."""
    try:
        return _findings(subject)
    except DataError:
        raise NotApplicable("its images cannot be read") from None


def _require(findings: list[Finding]) -> None:
    for finding in findings:
        if not finding.ok:
            seen, _, fix = finding.message.partition("; ")
            raise ContractError(f"{seen} ({', '.join(finding.examples[:2])})", fix)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_loads,
    check_says_what_it_is,
    check_no_patient_is_in_two_splits,
    check_images_are_grey_bytes,
    check_no_image_is_in_two_splits,
    check_two_loads_are_equal,
    check_boxes_are_inside_their_images,
)
