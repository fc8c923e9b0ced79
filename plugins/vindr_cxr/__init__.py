"""`vindr-cxr`: VinDr-CXR, as PhysioNet publishes it whole and Kaggle its training part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import Data, DataError, Dataset, UnknownNameError, carve, hookimpl, locate_images

from .releases import NO_FINDING, Release, read_release

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

VOTES = {
    "majority": "a finding is present where more than half of an image's readers saw it",
    "any": "a finding is present where one of an image's readers saw it",
    "all": "a finding is present where all of an image's readers saw it",
    "mean": "in training a finding is the share of an image's readers who saw it; in val and test the majority decides",
}
DICOM = (".dicom", ".dcm")
SUFFIXES = (*DICOM, ".png", ".jpg", ".jpeg")


def load(root: Path, *, vote: Literal["majority", "any", "all", "mean"] = "majority") -> Data:
    """Read the readers' labels and boxes; no image is opened. PhysioNet's release is read where both are there.

    - `vote`: Make one label of what an image's readers saw: majority (more than half of them), any, all, or mean, their
      share, which is for training alone: val and test then have the majority.

    Three readers saw each image of the training part. Images of
    PhysioNet's test part have one reading, the consensus of five readers, which no vote changes. A blank cell is no
    vote, and a label without any vote is unknown. "No finding" is no label: it says that all others are absent.

    PhysioNet's test part is test, and val is carved by image from its training part. Kaggle's part has no split, so val
    and test are carved by image. Nothing says which images are of one patient, nor anyone's age or sex, nor the view.
    Boxes are those of the readers, so that there are often several to a finding; those of findings that the vote is
    against are left out. They are in pixels of the DICOM files: where images are other files, such as PNG, there are no
    boxes.

    Raises `DataError` where files are missing or contradict each other, `UnknownNameError` for an unknown vote.
    """
    if vote not in VOTES:
        raise UnknownNameError("vote of vindr-cxr", vote, VOTES)
    release = read_release(root)
    by_image = release.readings.groupby("image", sort=False)
    table = by_image["folder"].first().reset_index()
    table = table.assign(patient=table["image"], split=_split(table, release))
    targets = _vote(by_image[list(release.labels)].mean().to_numpy(), (table["split"] == "train").to_numpy(), vote)
    images = [path for part, rows in table.groupby("folder", sort=False) for path in _locate(root, str(part), rows)]
    boxes, box_note = _choose_boxes(release, table["image"], targets, images)
    return Data(
        labels=release.labels,
        images=images,
        targets=targets,
        table=table[["image", "split", "patient"]],
        boxes=boxes,
        patients_known=False,
        notes={
            "label_file": "; ".join(_describe(file) for file in release.files),
            "split": release.split,
            "vote": VOTES[vote],
            **_describe_readings(release, by_image.size()),
            **box_note,
        },
    )


def _split(table: pd.DataFrame, release: Release) -> pd.Series:
    """A split for each image: test is carved, too, where no image is of a published test part."""
    published = table["folder"] == "test"
    return carve(table["image"], test=() if published.any() else (1, 2)).mask(published, "test")


def _vote(share: NDArray[np.float32], in_training: NDArray[np.bool_], vote: str) -> NDArray[np.float32]:
    """Targets (N, C) from the shares of readers who saw a label (N, C), NaN where nobody voted."""
    import numpy as np

    decided = {"any": share > 0, "all": share == 1}.get(vote, share > 0.5).astype(np.float32)
    targets = np.where(in_training[:, None], share, decided) if vote == "mean" else decided
    return np.where(np.isnan(share), share, targets).astype(np.float32)


def _locate(root: Path, folder: str, rows: pd.DataFrame) -> list[Path]:
    return locate_images(root / folder, rows["image"], SUFFIXES)


def _choose_boxes(
    release: Release, names: pd.Series, targets: NDArray[np.float32], images: list[Path]
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """The boxes that fit images and targets, and what was left out."""
    import pandas as pd

    boxes = release.boxes
    if boxes is None:
        return None, {}
    other = next((image.suffix for image in images if image.suffix not in DICOM), None)
    if other:
        return None, {"boxes": f"left out: they are in pixels of the DICOM files, and there are {other} files"}
    row = pd.Index(names).get_indexer(pd.Index(boxes["image"]))
    if (row < 0).any():
        stranger = boxes["image"][row < 0].iloc[0]
        raise DataError(
            f"vindr-cxr: {int((row < 0).sum()):,} boxes are of images without labels, first {stranger}; are labels and "
            "annotations of the same release?"
        )
    against = targets[row, pd.Index(release.labels).get_indexer(pd.Index(boxes["label"]))] == 0
    note = f"of the readers, often several to a finding; {int(against.sum()):,} of {len(boxes):,} left out, which the "
    return boxes[~against].reset_index(drop=True), {"boxes": f"{note}vote is against"}


def _describe_readings(release: Release, readers: pd.Series) -> dict[str, str]:
    """How many readers an image has, and in how many readings they contradict themselves or leave cells blank."""
    readings, counts = release.readings, readers.value_counts().sort_index()
    told = [
        f"{count:,} images with {number} {'reading' if number == 1 else 'readings'}" for number, count in counts.items()
    ]
    marks = readings[list(release.labels)]
    contradictory = int(((readings[NO_FINDING] == 1) & (marks == 1).any(axis=1)).sum())
    if contradictory:
        told.append(f'{contradictory:,} readings say "{NO_FINDING}" beside a finding, and the finding counts')
    blank = int(marks.isna().sum().sum())
    if blank:
        told.append(f"{blank:,} blank cells are no vote")
    return {"readers": "; ".join(told)}


def _describe(path: Path) -> str:
    return f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """VinDr-CXR."""
    return [
        Dataset(
            name="vindr-cxr",
            load=load,
            about="VinDr-CXR: 15,000 images with three readers each; on PhysioNet 3,000 test images by consensus, too",
            citation="Nguyen et al. 2022, VinDr-CXR, Scientific Data 9:429, https://physionet.org/content/vindr-cxr/",
        )
    ]
