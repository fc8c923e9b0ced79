"""MIMIC-CXR-JPG in PhysioNet's own layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import Data, DataError, ImageFiles, Layout, UnknownNameError, choose_views, take_uncertain

from .observations import LABELS, NO_FINDING, choose_labels, read_observations, take_blank
from .sheets import Sheet, read_sheet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LABELERS = ("chexpert", "negbio")
NAME = "mimic-cxr-2.0.0-{}.csv"
"""A table of the set; PhysioNet has each with `.gz` after its name."""
LAYOUT = Layout(
    dataset="mimic-cxr-jpg",
    expected=(
        "PhysioNet's layout: mimic-cxr-2.0.0-chexpert.csv.gz (or -negbio), mimic-cxr-2.0.0-metadata.csv.gz, "
        "mimic-cxr-2.0.0-split.csv.gz and files/p10/p10000032/s50414267/IMAGE.jpg"
    ),
    source="https://physionet.org/content/mimic-cxr-jpg/",
    terms="PhysioNet's credentialed health data license, for which one needs an account and training",
)
SPLITS = {"train": "train", "validate": "val", "test": "test"}
STUDY = ("subject_id", "study_id")


def load(
    root: Path,
    *,
    labeler: Literal["chexpert", "negbio"] = "chexpert",
    views: list[str] | str = "PA,AP",
    labels: list[str] | str = "",
    uncertain: dict[str, str | float] | str | float = "ignore",
    uncertain_test: dict[str, str] | str = "ignore",
    blank: Literal["ignore", "zeros"] = "ignore",
) -> Data:
    """Read PhysioNet's tables of labels, images and split; no image is opened. Images that are not square will be
    squashed.

    - `labeler`: Take the labels that this program found in the reports. An image has those of its study; images of
      studies without labels are left out and counted.
    - `views`: Take images of these views, as the metadata's ViewPosition names them (PA, AP, LATERAL, LL, ...; unknown
      where it is blank), or all. Others are counted.
    - `labels`: Take these observations as labels, separated by commas. Left out, all 13 are taken.
    - `uncertain`: In training, read -1 as `ignore` (unknown), `ones`, `zeros` or a number between 0 and 1 (a soft
      target), for all labels or for each, as in `Edema=ones,Fracture=0.6`.
    - `uncertain_test`: In val and test, read -1 as unknown (ignore), as `ones` or as `zeros`.
    - `blank`: Read what a report does not mention as unknown (ignore) or as 0 (zeros).

    `No Finding` is no label: where it is 1, other blank observations are 0, but for Support Devices, which may be there
    without a finding. In board.toml, `uncertain` and `uncertain_test` may be tables.

    The split is PhysioNet's own, whose `validate` is val.

    Raises `DataError` where files, columns or an image's split are missing, or a cell cannot be read, naming its line;
    `UnknownNameError` for an unknown labeler or label; `UsageError` for an option that cannot mean anything.
    """
    if labeler not in LABELERS:
        raise UnknownNameError("labeler of mimic-cxr-jpg", labeler, LABELERS)
    names = choose_labels(labels, "mimic-cxr-jpg")
    observed = _read(root, labeler, (*STUDY, NO_FINDING, *LABELS))
    table = _describe_images(_read(root, "metadata", ("dicom_id", *STUDY, "ViewPosition")))
    division = _read(root, "split", ("dicom_id", "split"))
    table["split"], not_described = _find_splits(division, table)
    table, values, not_labeled = _find_labels(observed, table, names)
    keep, not_taken = choose_views(table["view"], views, "mimic-cxr-jpg")
    table, values = table[keep].reset_index(drop=True), values[keep]
    values, not_mentioned = take_blank(values, blank, "mimic-cxr-jpg")
    targets, not_certain = take_uncertain(
        values, table["split"], names, training=uncertain, test=uncertain_test, dataset="mimic-cxr-jpg"
    )
    notes = {"label_file": observed.describe(), "split": f"official: {division.describe()}"}
    return Data(
        labels=names,
        images=ImageFiles(_locate(root, table)),
        targets=targets,
        table=table[["image", "split", "patient", "study", "view"]],
        notes=notes | not_described | not_labeled | not_taken | not_mentioned | not_certain,
    )


# --- tables ----------------------------------------------------------------------------------------------------------


def _read(root: Path, name: str, needed: tuple[str, ...]) -> Sheet:
    """Read a table of the set, whose ids must be whole numbers since folders are called by them."""
    sheet = read_sheet(LAYOUT.find(root, NAME.format(name)), LAYOUT, needed)
    for column in (name for name in STUDY if name in sheet.cells):
        sheet.refuse(~sheet.cells[column].str.fullmatch(r"\d+"), column, "is no whole number, as every id is")
    return sheet


def _name_studies(sheet: Sheet) -> pd.Series:
    """The study of each row, with its patient: `p10000032/s50414267`."""
    return "p" + sheet.cells["subject_id"] + "/s" + sheet.cells["study_id"]


def _describe_images(sheet: Sheet) -> pd.DataFrame:
    """What the metadata say of each image: image, patient, study, view."""
    import pandas as pd

    images = sheet.cells["dicom_id"]
    sheet.refuse(images == "", "dicom_id", "is blank, but every image has an id")
    sheet.refuse(images.duplicated(), "dicom_id", "stands in the file more than once; keep one row of each image")
    view = sheet.cells["ViewPosition"].str.upper()
    known = {"image": images, "patient": sheet.cells["subject_id"], "study": _name_studies(sheet)}
    return pd.DataFrame({**known, "view": view.where(view != "")}).astype(object)


def _find_splits(sheet: Sheet, table: pd.DataFrame) -> tuple[pd.Series, dict[str, str]]:
    """Train, val or test for each image of the table, and a note that counts images which only the split knows."""
    import pandas as pd

    images, splits = sheet.cells["dicom_id"], sheet.cells["split"]
    sheet.refuse(~splits.isin(list(SPLITS)), "split", f"is none of {', '.join(SPLITS)}")
    sheet.refuse(images.duplicated(), "dicom_id", "stands in the file more than once; keep one row of each image")
    place = pd.Index(images).get_indexer(pd.Index(table["image"]))
    if (place < 0).any():
        first = table["image"][place < 0].iloc[0]
        raise DataError(
            f"{sheet.path}: {int((place < 0).sum()):,} of {len(table):,} images of the metadata are not in it, first "
            f"'{first}'; take all tables from one version of the set"
        )
    named = splits.astype(object).map(SPLITS)
    others = len(images) - len(table)
    note = f"{others:,} of {len(images):,} images of the split are not in the metadata and left out"
    return (
        pd.Series(named.to_numpy()[place], index=table.index, dtype=object),
        {"images without metadata": note} if others else {},
    )


def _find_labels(
    sheet: Sheet, table: pd.DataFrame, labels: tuple[str, ...]
) -> tuple[pd.DataFrame, NDArray[np.float32], dict[str, str]]:
    """The images whose study has labels, with values (N, C), and a note that counts the others."""
    import pandas as pd

    studies = _name_studies(sheet)
    sheet.refuse(studies.duplicated(), "study_id", "stands in the file more than once; keep one row of each study")
    row = pd.Index(studies).get_indexer(pd.Index(table["study"]))
    labeled = row >= 0
    if not labeled.any():
        raise DataError(
            f"{sheet.path} has labels of none of the {len(table):,} images of the metadata; take all tables from one "
            "version of the set"
        )
    values = read_observations(sheet, labels)[row[labeled]]
    count = int((~labeled).sum())
    note = f"{count:,} of {len(table):,} images, of studies without labels, are left out"
    return table[labeled].reset_index(drop=True), values, {"images without labels": note} if count else {}


def _locate(root: Path, table: pd.DataFrame) -> list[str]:
    """Where each image lies: files/p10/p10000032/s50414267/IMAGE.jpg."""
    return [
        f"{root}/files/{study[:3]}/{study}/{image}.jpg"
        for study, image in zip(table["study"], table["image"], strict=True)
    ]
