"""`rsna-pneumonia`: the images of RSNA's Pneumonia Detection Challenge of 2018, second stage, as Kaggle has them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import (
    Data,
    DataError,
    Dataset,
    Layout,
    TextTable,
    UsageError,
    carve,
    choose_views,
    hookimpl,
    locate_images,
    read_table,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LABEL = "Pneumonia"
"""The only label: an opacity of the lung that looks like pneumonia."""
LABEL_FILE = "stage_2_train_labels.csv"
CLASS_FILE = "stage_2_detailed_class_info.csv"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
"""RSNA's table of the image of NIH ChestX-ray14 that each image was."""
HEADERS = "kaggle_stage_2_train_images_dicom_headers.csv"
"""A table of the headers of the DICOM files, as torchxrayvision has one."""
POSITIVE_CLASS = "Lung Opacity"
"""The class of the images whose target is 1."""
BOX = ["x", "y", "width", "height"]
FRONTAL = "PA,AP"
SUFFIXES = (".dcm", ".png", ".jpg", ".jpeg")
"""How images end: as published, or as they were converted."""
NIH_IMAGE = re.compile(r"(\d{8})_\d{3}\.png")
"""How NIH names its images: the number of the patient, then that of the image."""
OLDEST = 120
"""Years: an age above it is a typing error, unknown."""
LAYOUT = Layout(
    dataset="rsna-pneumonia",
    expected=(
        f"Kaggle's layout: {LABEL_FILE}, stage_2_train_images/ID.dcm; and where you have them {CLASS_FILE}, {MAPPING} "
        f"(from RSNA) and {HEADERS}"
    ),
    source="https://www.kaggle.com/c/rsna-pneumonia-detection-challenge",
    terms="the rules of Kaggle's competition and RSNA's terms of use, which ask for attribution",
)


def load(root: Path, *, views: str = FRONTAL) -> Data:
    """Read the challenge's labels and boxes; no image is opened. The only label is `Pneumonia`.

    - `views`: Take images of these views, separated by commas, where a table of the DICOM headers tells them; `unknown`
      is one, and `all` takes every image.

    Val and test are carved, since the challenge's own test labels are not among the files. The images are NIH's: where
    RSNA's `pneumonia-challenge-dataset-mappings_2018.json` lies beside the labels, patients are NIH's, numbered as in
    `nih-cxr14`; else no patient is known, and each image counts as one. Age, sex and view stand in the DICOM headers
    alone, which are not opened for them: they are known where a table of the headers lies beside the labels, named
    `kaggle_stage_2_train_images_dicom_headers.csv`, with or without `.gz`. An age above 120 years is unknown.
    `stage_2_detailed_class_info.csv`, where it is there, must agree with the labels; its classes are counted in a note.
    Boxes are in pixels of the DICOM files: where images are other files, such as PNG, there are no boxes.

    Raises `DataError` where files are missing, damaged or contradict each other, `UsageError` for `views` that are
    asked for where nothing tells them.
    """
    path = LAYOUT.find(root, LABEL_FILE)
    rows = _read_labels(path)
    labels = rows.drop_duplicates("image", ignore_index=True)
    table = labels[["image"]].assign(patient=labels["image"])
    notes = {"label_file": f"{path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"}
    notes |= _check_classes(root, labels)
    patient = _read_patients(root, table["image"])
    if patient is not None:
        table = table.assign(patient=patient)
        notes["split"] = "val and test carved by patient, as RSNA's mapping to NIH's images tells them"
    else:
        notes["split"] = f"val and test carved by image, so that patients cross them; get {MAPPING} from RSNA"
    table = table.assign(split=carve(table["patient"], test=(1, 2)))
    headers = _read_headers(root, table["image"])
    keep, view_note = _choose_views(headers, views, root, len(table))
    table = (table if headers is None else table.join(headers))[keep].reset_index(drop=True)
    images = locate_images(root / "stage_2_train_images", table["image"], SUFFIXES)
    boxes, box_note = _choose_boxes(rows, table["image"], images)
    return Data(
        labels=(LABEL,),
        images=images,
        targets=labels["positive"].to_numpy(dtype="float32")[keep][:, None],
        table=table,
        boxes=boxes,
        patients_known=patient is not None,
        notes=notes | view_note | box_note,
    )


# --- labels and boxes ------------------------------------------------------------------------------------------------


def _read_labels(path: Path) -> pd.DataFrame:
    """Read a row for each box, and one for each image without: image, x, y, width, height, positive."""
    import pandas as pd

    table = _read(path, ("patientId", *BOX, "Target"))
    cells = table.columns
    _refuse(cells["patientId"] == "", table, path, "patientId is blank; complete the row, or leave it out")
    _refuse(~cells["Target"].isin(("0", "1")), table, path, "Target must be 0 or 1; get the file again")
    _refuse(cells.duplicated(), table, path, "this row stands in the file twice; leave one of them out")
    numbers = cells[BOX].apply(pd.to_numeric, errors="coerce")
    positive = cells["Target"] == "1"
    boxed = numbers.notna().all(axis=1) & (numbers[["width", "height"]] > 0).all(axis=1)
    _refuse(positive & ~boxed, table, path, "a Target of 1 needs a box, of four numbers; get the file again")
    _refuse(~positive & (cells[BOX] != "").any(axis=1), table, path, "a Target of 0 has no box; get the file again")
    rows: pd.DataFrame = numbers.assign(image=cells["patientId"], positive=positive)
    both = rows.groupby("image")["positive"].transform("nunique") > 1
    _refuse(both, table, path, "this image has rows with Target 1 and rows with 0; get the file again")
    return rows


def _choose_boxes(
    rows: pd.DataFrame, names: pd.Series, images: list[Path]
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """The boxes of these images, and why there are none."""
    other = next((image.suffix for image in images if image.suffix != SUFFIXES[0]), None)
    if other:
        return None, {"boxes": f"left out: they are in pixels of the DICOM files, and there are {other} files"}
    boxes = rows[rows["positive"] & rows["image"].isin(names)].assign(label=LABEL)
    return boxes[["image", "label", *BOX]].reset_index(drop=True), {}


# --- tables that may be there ----------------------------------------------------------------------------------------


def _check_classes(root: Path, labels: pd.DataFrame) -> dict[str, str]:
    """A note that counts the classes of the images, which must agree with their labels."""
    path = _find(root, CLASS_FILE)
    if path is None:
        return {}
    classes = _read(path, ("patientId", "class")).columns.drop_duplicates().set_index("patientId")["class"]
    _require_rows(path, labels["image"], classes.index)
    repeated = classes.index.duplicated()
    if repeated.any():
        raise DataError(f"{path}: image {classes.index[repeated][0]} has two classes; get the file again")
    of_images = classes[labels["image"]]
    differ = (of_images == POSITIVE_CLASS).to_numpy() != labels["positive"].to_numpy()
    if differ.any():
        image = labels["image"][differ].iloc[0]
        raise DataError(
            f"{path}: {int(differ.sum()):,} images contradict {LABEL_FILE}, first {image}, whose class is "
            f"'{classes[image]}': Target 1 is {POSITIVE_CLASS}; are both files of stage 2?"
        )
    return {"classes": ", ".join(f"{name} {count:,}" for name, count in of_images.value_counts().items())}


def _read_patients(root: Path, names: pd.Series) -> pd.Series | None:
    """NIH's patient of each image, numbered as NIH's label files do; None where RSNA's mapping is not there."""
    path = root / MAPPING
    if not path.is_file():
        return None
    try:
        entries: Any = json.loads(path.read_bytes())
        source = {str(entry["subset_img_id"]): str(entry["img_id"]) for entry in entries}
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} is not RSNA's mapping, a list of objects with subset_img_id and img_id ({type(error).__name__}: "
            f"{error}); get it again, or remove it"
        ) from None
    _require_rows(path, names, source)
    found = {name: NIH_IMAGE.fullmatch(source[name]) for name in names}
    for name, match in found.items():
        if match is None:
            raise DataError(f"{path}: '{source[name]}' of image {name} is no name of NIH's, such as 00000001_000.png")
    return names.map({name: str(int(match[1])) for name, match in found.items() if match})


def _read_headers(root: Path, names: pd.Series) -> pd.DataFrame | None:
    """Age, sex and view of each image; None where there is no table of headers."""
    import pandas as pd

    path = _find(root, HEADERS)
    if path is None:
        return None
    table = _read(path, ("PatientID", "PatientAge", "PatientSex", "ViewPosition"))
    cells = table.columns
    _refuse(cells["PatientID"].duplicated(), table, path, "this image has two rows; leave one of them out")
    _require_rows(path, names, cells["PatientID"])
    cells = cells.set_index("PatientID").loc[names].reset_index(drop=True)
    age = pd.to_numeric(cells["PatientAge"].str.rstrip("Y"), errors="coerce").astype(float)
    sex, view = (cells[name].where(cells[name] != "") for name in ("PatientSex", "ViewPosition"))
    return pd.DataFrame({"age": age.where(age <= OLDEST), "sex": sex, "view": view})


def _choose_views(
    headers: pd.DataFrame | None, views: str, root: Path, count: int
) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """Which of `count` images are taken, (N,), and a note on the others; all where nothing tells their views."""
    import numpy as np

    if headers is not None:
        return choose_views(headers["view"], views, LAYOUT.dataset)
    if views not in (FRONTAL, "all"):
        raise UsageError(
            f"rsna-pneumonia: views={views} cannot be chosen, since nothing in {root} tells the views; leave the "
            f"option out, or lay {HEADERS} beside the labels"
        )
    return np.ones(count, dtype=bool), {}


def _find(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)


def _read(path: Path, names: Iterable[str]) -> TextTable:
    """Read these columns of a table. Raises `DataError` where one is absent."""
    names = list(names)
    read = read_table(path, wanted=names)
    absent = [name for name in names if name not in read.columns]
    if absent:
        raise DataError(f"{path} has no column {', '.join(absent)}; {LAYOUT.explain()}")
    return TextTable(read.columns[names], read.lines)


def _refuse(wrong: pd.Series, table: TextTable, path: Path, says: str) -> None:
    """Raise `DataError` for the first row that is wrong."""
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        cells = ", ".join(table.columns.iloc[row])
        raise DataError(f"{path}, line {table.lines[row]} ({cells}): {says}")


def _require_rows(path: Path, names: pd.Series, there: Collection[str]) -> None:
    """Raise `DataError` where a file says nothing of some of the images."""
    absent = names[~names.isin(list(there))]
    if len(absent):
        raise DataError(
            f"{path} lacks {len(absent):,} images of {LABEL_FILE}, first {absent.iloc[0]}; are both files of stage 2? "
            "Get it whole, or remove it"
        )


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """RSNA Pneumonia Detection Challenge."""
    return [
        Dataset(
            name="rsna-pneumonia",
            load=load,
            about="RSNA Pneumonia Detection Challenge 2018, stage 2: 26,684 of NIH's images, 6,012 with boxes",
            citation=f"Shih et al. 2019, Radiology: Artificial Intelligence 1(1); images by the NIH, {LAYOUT.source}",
        )
    ]
