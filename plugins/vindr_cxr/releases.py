"""The label files of both releases of VinDr-CXR, and the boxes in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import DataError, Layout, TextTable, read_table, suggest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

KAGGLE_LABELS = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD", "Infiltration"),
    *("Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    "Pulmonary fibrosis",
)
"""The 14 findings of Kaggle's part, in the order of its class numbers."""
PHYSIONET_LABELS = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis"),
    "Other diseases",
)
"""The 22 findings and 5 diagnoses of PhysioNet's release."""
NO_FINDING = "No finding"
ALIASES = {"other disease": "Other diseases"}
"""What PhysioNet's test files call a label that its training files call otherwise."""
MARKS = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "": float("nan")}
"""What a cell of PhysioNet's tables says; a blank one is no vote."""
CORNERS = ("x_min", "y_min", "x_max", "y_max")
LAYOUT = Layout(
    dataset="vindr-cxr",
    expected=(
        "PhysioNet's layout (annotations/image_labels_train.csv, annotations/image_labels_test.csv, train/ID.dicom, "
        "test/ID.dicom) or Kaggle's (train.csv, train/ID.dicom)"
    ),
    source=(
        "https://physionet.org/content/vindr-cxr/ or "
        "https://www.kaggle.com/c/vinbigdata-chest-xray-abnormalities-detection"
    ),
    terms="PhysioNet's credentialed access and data use agreement, or the rules of Kaggle's competition",
)


@dataclass(frozen=True, eq=False)
class Release:
    """What one release says."""

    labels: tuple[str, ...]
    readings: pd.DataFrame
    """One row for each reader of an image: `image`, `reader`, `folder` (train or test), and each label and `No finding`
    as 1, 0, or NaN where the cell is blank."""
    boxes: pd.DataFrame | None
    files: tuple[Path, ...]
    """The label files."""
    split: str
    """Where its splits come from, in words."""


def read_release(root: Path) -> Release:
    """Read PhysioNet's release, or Kaggle's where that one alone is there.

    Raises `DataError` where files are missing, damaged or contradict each other.
    """
    path = LAYOUT.find(root, "annotations/image_labels_train.csv", "train.csv")
    return _read_kaggle(path) if path.name.startswith("train.csv") else _read_physionet(root, path)


def _read_kaggle(path: Path) -> Release:
    """Read train.csv, in which each row is what one reader saw: a finding with its box, or nothing."""
    import numpy as np

    read = read_table(path)
    table = _name_columns(read, path, ("image_id", "class_name", "rad_id", *CORNERS))
    _require_filled(table, ["image_id", "class_name", "rad_id"], read, path)
    repeated = table.duplicated().to_numpy()
    if repeated.any():
        raise DataError(f"{_place(path, read, repeated)}: this row stands in the file twice; leave one of them out")
    classes = _name_classes(table["class_name"], KAGGLE_LABELS, read, path)
    by_reader = table.groupby(["image_id", "rad_id"], sort=False)
    columns = [*KAGGLE_LABELS, NO_FINDING]
    marks = np.zeros((by_reader.ngroups, len(columns)), dtype=np.float32)
    marks[by_reader.ngroup(), classes.map({name: place for place, name in enumerate(columns)})] = 1
    readings = table[["image_id", "rad_id"]].drop_duplicates(ignore_index=True).set_axis(["image", "reader"], axis=1)
    readings = readings.assign(folder="train", **dict(zip(columns, marks.T, strict=True)))
    boxes = _read_boxes(table.assign(class_name=classes), read, path)
    return Release(
        KAGGLE_LABELS, readings, boxes, (path,), "val and test carved by image: Kaggle's part has labels of one split"
    )


def _read_physionet(root: Path, train: Path) -> Release:
    """Read the labels of both parts, and their boxes where they are there."""
    import pandas as pd

    files = (train, LAYOUT.find(root, "annotations/image_labels_test.csv"))
    parts = [_read_labels(file, folder) for file, folder in zip(files, ("train", "test"), strict=True)]
    both = sorted(set(parts[0]["image"]) & set(parts[1]["image"]))
    if both:
        raise DataError(f"{files[1]}: {len(both):,} images stand in {train.name}, too, first {both[0]}; get both again")
    boxes = [
        _read_physionet_boxes(file)
        for name in ("annotations_train.csv", "annotations_test.csv")
        for file in (root / "annotations" / name, root / "annotations" / f"{name}.gz")
        if file.is_file()
    ]
    return Release(
        labels=PHYSIONET_LABELS,
        readings=pd.concat(parts, ignore_index=True),
        boxes=pd.concat(boxes, ignore_index=True) if boxes else None,
        files=files,
        split="test as PhysioNet publishes it, val carved by image from its training part",
    )


def _read_labels(path: Path, folder: str) -> pd.DataFrame:
    """Read a table with a column of 1 and 0 for each label; the consensus of the test part names no reader."""
    read = read_table(path)
    columns = [*PHYSIONET_LABELS, NO_FINDING]
    table = _name_columns(read, path, ("image_id", *(("rad_id",) if folder == "train" else ()), *columns))
    if "rad_id" not in table:
        table = table.assign(rad_id="consensus")
    _require_filled(table, ["image_id", "rad_id"], read, path)
    repeated = table.duplicated(["image_id", "rad_id"]).to_numpy()
    if repeated.any():
        raise DataError(f"{_place(path, read, repeated)}: this image and reader have two rows; leave one of them out")
    wrong = ~table[columns].isin(list(MARKS))
    if wrong.any(axis=None):
        name = wrong.any().idxmax()
        cell = table[name][wrong[name]].iloc[0]
        raise DataError(f"{_place(path, read, wrong[name].to_numpy())}: {name} must be 1, 0 or blank, got '{cell}'")
    marks: pd.DataFrame = table[columns].apply(lambda column: column.map(MARKS)).astype("float32")
    return marks.assign(image=table["image_id"], reader=table["rad_id"], folder=folder)


def _read_physionet_boxes(path: Path) -> pd.DataFrame:
    read = read_table(path)
    table = _name_columns(read, path, ("image_id", "class_name", *CORNERS))
    classes = _name_classes(table["class_name"], PHYSIONET_LABELS, read, path)
    return _read_boxes(table.assign(class_name=classes), read, path)


def _read_boxes(table: pd.DataFrame, read: TextTable, path: Path) -> pd.DataFrame:
    """Boxes of the rows that have a finding and a box, as `Data.boxes` holds them."""
    import pandas as pd

    cells = table[list(CORNERS)]
    corners = cells.apply(pd.to_numeric, errors="coerce")
    # tables that others have made of it give "No finding" a box of one pixel, as the competition's submissions did
    boxed = (cells != "").any(axis=1) & (table["class_name"] != NO_FINDING)
    wrong = (boxed & corners.isna().any(axis=1)).to_numpy()
    if wrong.any():
        got = ", ".join(cells[wrong].iloc[0])
        raise DataError(
            f"{_place(path, read, wrong)}: a box must be four numbers {', '.join(CORNERS)}, got {got}; get it again"
        )
    boxes = pd.DataFrame({"image": table["image_id"], "label": table["class_name"]}).assign(
        x=corners["x_min"],
        y=corners["y_min"],
        width=corners["x_max"] - corners["x_min"],
        height=corners["y_max"] - corners["y_min"],
    )
    return boxes[boxed].reset_index(drop=True)


# --- cells -----------------------------------------------------------------------------------------------------------


def _name_columns(read: TextTable, path: Path, names: Iterable[str]) -> pd.DataFrame:
    """The columns of these names, whatever their case. Raises `DataError` where one is absent."""
    there = {_fold(column): place for place, column in enumerate(read.columns.columns)}
    absent = [name for name in names if _fold(name) not in there]
    if absent:
        raise DataError(f"{path} has no column {', '.join(absent)}; {LAYOUT.explain()}")
    kept = {name: there[_fold(name)] for name in (*names, "rad_id") if _fold(name) in there}
    return read.columns.iloc[:, list(kept.values())].set_axis(list(kept), axis=1)


def _name_classes(cells: pd.Series, labels: tuple[str, ...], read: TextTable, path: Path) -> pd.Series:
    """Labels by the names that a table has for them, `No finding` among them."""
    known = {_fold(label): label for label in (*labels, NO_FINDING)}
    names = cells.map({cell: known.get(_fold(cell)) for cell in cells.unique()})
    if names.isna().any():
        cell = cells[names.isna()].iloc[0]
        raise DataError(
            f"{_place(path, read, names.isna().to_numpy())}: '{cell}' is none of the release's {len(labels)} labels"
            f"{suggest(cell, known.values())}"
        )
    return names


def _fold(name: str) -> str:
    return ALIASES.get(name.lower(), name).lower()


def _require_filled(table: pd.DataFrame, names: list[str], read: TextTable, path: Path) -> None:
    for name in names:
        blank = (table[name] == "").to_numpy()
        if blank.any():
            raise DataError(f"{_place(path, read, blank)}: {name} is blank; complete the row, or leave it out")


def _place(path: Path, read: TextTable, rows: NDArray[np.bool_]) -> str:
    """The file and the line of the first of these rows."""
    return f"{path}, line {read.lines[int(rows.argmax())]}"
