"""`nih-cxr14`: NIH ChestX-ray14 in NIH's own layout."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import (
    Data,
    DataError,
    Dataset,
    ImageFiles,
    UnknownNameError,
    carve,
    hookimpl,
    list_files,
    read_lines,
    read_table,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
NEEDED = ("image", "findings", "patient")
"""What every row of a label file must say."""
SPLITS = ("official", "dacnet", "lists")
LABEL_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
"""NIH's label files, newest first: that one is used where both are there."""
GENERATIONS = {1353: "of November 2017", 1431: "v2020"}
"""Images with Pneumonia in the whole file tell NIH's two generations of labels apart."""
SOURCE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
LAYOUT = (
    "expected NIH's layout: Data_Entry_2017_v2020.csv, train_val_list.txt, test_list.txt and images_001/images ... "
    f"images_012/images (or one folder images/); get it from {SOURCE}"
)
PATIENTS = 30805
"""NIH's patients are numbered from 1 to this."""
NAME_ENDS = re.compile(r"[\s,;]")
OLDEST = 120
"""Years: an age above it is a typing error, unknown."""


def load(
    root: Path,
    *,
    split: Literal["official", "dacnet", "lists"] = "official",
    label_file: str = "",
    train_list: str = "train_list.txt",
    val_list: str = "val_list.txt",
    test_list: str = "test_list.txt",
) -> Data:
    """Read NIH's label file, lists and boxes; no image is opened. Images that are not square will be squashed.

    - `split`: Use NIH's test list, with validation carved from train_val by patient (official); the split of Strick et
      al. (dacnet): 2 % of patients for test, 5.2 % of the rest for validation, by scikit-learn's train_test_split with
      seed 42; or lists of your own (lists).
    - `label_file`: Read this one of NIH's two label files. Left out, it is the later that is there.
    - `train_list`, `val_list`, `test_list`: Take this split from this file in the dataset's folder, which may end in
      `.gz`, with split=lists. An image's name begins each line, and other images are left out.

    An age above 120 years, or given in months or days, is unknown.

    Raises `DataError` where files are missing or contradict each other, `UnknownNameError` for an unknown split.
    """
    if split not in SPLITS:
        raise UnknownNameError("split of nih-cxr14", split, SPLITS)
    path = _find_label_file(root, label_file)
    entries = _read_entries(path)
    targets = _targets(entries, path)
    if split == "official":
        chosen = _official(entries, root)
    elif split == "dacnet":
        chosen = _dacnet(entries, path)
    else:
        chosen = _lists(entries, root, {"train": train_list, "val": val_list, "test": test_list})
    keep = chosen.notna()
    table = entries.assign(split=chosen)[keep].reset_index(drop=True)
    return Data(
        labels=LABELS,
        images=ImageFiles(_locate(root, table["image"].tolist())),
        targets=targets[keep.to_numpy()],
        table=table[["image", "split", "patient", "age", "sex", "view"]],
        boxes=_read_boxes(root, table["image"]),
        notes={"label_file": _describe(path, targets), "split": split},
    )


# --- label file ------------------------------------------------------------------------------------------------------


def _find_label_file(root: Path, name: str) -> Path:
    names = (str(Path(name).expanduser()),) if name else LABEL_FILES
    for candidate in names:
        if (root / candidate).is_file():
            return root / candidate
    what = f"has no {' or '.join(names)}" if root.is_dir() else "does not exist"
    raise DataError(f"nih-cxr14: the folder {root} {what}; {LAYOUT}; then give --data-root")


def _read_entries(path: Path) -> pd.DataFrame:
    """Read NIH's file with one row for each image, in its order: image, findings, patient, age, sex, view."""
    import pandas as pd

    wanted = {
        "Image Index": "image",
        "Finding Labels": "findings",
        "Patient ID": "patient",
        "Patient Age": "age",
        "Patient Gender": "sex",
        "Patient Sex": "sex",
        "View Position": "view",
    }
    # the header splits at the commas in its brackets as the rows do, so only the names of some columns are odd
    read = read_table(path, wanted=wanted, fill=True)
    table = read.columns.rename(columns=wanted)
    absent = [f"'{column}'" for column, name in wanted.items() if name in NEEDED and name not in table.columns]
    if absent:
        raise DataError(f"{path} is not NIH's label file: it has no column {' or '.join(absent)}; {LAYOUT}")
    incomplete = (table[list(NEEDED)] == "").any(axis=1)
    if incomplete.any():
        line = read.lines[int(incomplete.to_numpy().argmax())]
        raise DataError(f"{path} is not NIH's label file: line {line} lacks an image, findings or a patient; {LAYOUT}")
    table = table.reindex(columns=list(dict.fromkeys(wanted.values()))).astype(object)
    table["view"] = table["view"].where(table["view"] != "")
    table["sex"] = table["sex"].where(table["sex"] != "")
    patient = pd.to_numeric(table["patient"], errors="coerce")
    if patient.isna().any():
        raise DataError(
            f"{path} is not NIH's label file: patient '{table['patient'][patient.isna()].iloc[0]}' is no number"
        )
    age = pd.to_numeric(table["age"].astype(str).str.rstrip("Y"), errors="coerce").astype(float)
    return table.assign(patient=patient.astype(int).astype(str), age=age.where(age <= OLDEST))


def _targets(entries: pd.DataFrame, path: Path) -> NDArray[np.float32]:
    """(N, 14) from texts such as `Effusion|Mass` or `No Finding`."""
    import numpy as np

    codes, distinct = entries["findings"].factorize()
    column = {label: index for index, label in enumerate(LABELS)}
    rows = np.zeros((len(distinct), len(LABELS)), dtype=np.float32)
    unknown: dict[str, None] = {}
    for row, text in enumerate(distinct):
        for name in text.split("|"):
            if name in column:
                rows[row, column[name]] = 1
            elif name != "No Finding":
                unknown[name] = None
    if unknown:
        raise DataError(
            f"{path} holds {len(unknown):,} findings that are none of NIH's 14, first {_first(unknown)}; {LAYOUT}"
        )
    return np.asarray(rows[codes])


def _describe(path: Path, targets: NDArray[np.float32]) -> str:
    """The label file by name, generation and digest; `targets` of all its rows."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    generation = GENERATIONS.get(int(targets[:, LABELS.index("Pneumonia")].sum()), "unknown")
    return f"{path.name}, generation {generation}, sha256 {digest}"


def _first(names: Iterable[str], count: int = 3) -> str:
    return ", ".join(itertools.islice(names, count))


# --- splits ----------------------------------------------------------------------------------------------------------


def _official(entries: pd.DataFrame, root: Path) -> pd.Series:
    """NIH's two lists, validation carved from the first."""
    listed = _lists(entries, root, {"train_val": "train_val_list.txt", "test": "test_list.txt"})
    return listed.mask(listed == "train_val", carve(entries["patient"]))


def _dacnet(entries: pd.DataFrame, path: Path) -> pd.Series:
    """The paper's patients, whichever of them the label file holds (scripts/dacnet.py of dstrick17/DacNet)."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(1, PATIENTS + 1), test_size=0.02, random_state=42)
    train, val = train_test_split(rest, test_size=0.052, random_state=42)
    names = {str(p): name for name, group in (("train", train), ("val", val), ("test", test)) for p in group}
    split = entries["patient"].map(names)
    if split.isna().any():
        stranger = entries["patient"][split.isna()].iloc[0]
        raise DataError(
            f"{path}: patient {stranger} is none of NIH's 1 to {PATIENTS}; split=dacnet is for NIH's patients"
        )
    return split


def _lists(entries: pd.DataFrame, root: Path, files: dict[str, str]) -> pd.Series:
    """For each image the list that it stands in, NaN for one that stands in none."""
    lists = {name: _read_list(root / Path(file).expanduser(), entries) for name, file in files.items()}
    for (one, images), (other, others) in itertools.combinations(lists.items(), 2):
        both = sorted(images & others)
        if both:
            raise DataError(
                f"nih-cxr14: images in both {files[one]} and {files[other]}: {len(both):,}, first {_first(both)}; "
                "an image belongs to one list"
            )
    return entries["image"].map({image: name for name, images in lists.items() for image in images})


def _read_list(path: Path, entries: pd.DataFrame) -> set[str]:
    """The image names of a list; what follows a name on its line (labels, in the 70/10/20 lists) is not read."""
    packed = path.with_name(f"{path.name}.gz")
    path = packed if packed.is_file() and not path.is_file() else path
    if not path.is_file():
        raise DataError(f"nih-cxr14: there is no {path}; {LAYOUT}")
    names = {NAME_ENDS.split(line, 1)[0].replace("\\", "/").rpartition("/")[2] for line in read_lines(path)}
    unknown = sorted(names.difference(entries["image"]))
    if unknown:
        raise DataError(
            f"{path}: {len(unknown):,} of {len(names):,} images have no row in the label file, "
            f"first {_first(unknown)}; are list and label file of the same data?"
        )
    return names


# --- images and boxes ------------------------------------------------------------------------------------------------


def _locate(root: Path, images: list[str]) -> list[str]:
    """Where each image lies; one that is nowhere gets the place where it would be looked for."""
    found = list_files((root, root / "images", *sorted(root.glob("images_*")), *sorted(root.glob("images_*/images"))))
    expected = str(root / "images")
    return [found.get(name) or f"{expected}{os.sep}{name}" for name in images]


def _read_boxes(root: Path, images: pd.Series) -> pd.DataFrame | None:
    """NIH's boxes of `images` in pixels of its PNG files; its 'Infiltrate' is Infiltration."""
    path = root / "BBox_List_2017.csv"
    if not path.is_file():
        return None
    columns = ["image", "label", "x", "y", "width", "height"]
    # its header splits at the commas in its brackets, so that rows end early
    table = read_table(path, fill=True).columns.iloc[:, : len(columns)]
    try:
        table = table.set_axis(columns, axis=1).astype(dict.fromkeys(columns[2:], float))
    except ValueError as error:
        raise DataError(f"{path} is not NIH's list of boxes: {error}") from None
    table = table.assign(label=table["label"].replace("Infiltrate", "Infiltration"))
    return table[table["image"].isin(images)].reset_index(drop=True)


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """NIH ChestX-ray14."""
    return [
        Dataset(
            name="nih-cxr14",
            load=load,
            about="NIH ChestX-ray14: 112,120 images of 30,805 patients, 14 findings mined from reports",
            citation=f"Wang et al. 2017, ChestX-ray8, CVPR; images by the NIH Clinical Center, {SOURCE}",
        )
    ]
