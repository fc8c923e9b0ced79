"""`nih-cxr14`: NIH ChestX-ray14 in NIH's own layout."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from harness import Data, DataError, Dataset, hookimpl
from harness.data.splits import carve
from harness.errors import UnknownNameError

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
SPLITS = ("official", "dacnet", "lists")
LABEL_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
"""Newest first: the later one is used where both are there."""
GENERATIONS = {1353: "November 2017", 1431: "later (v2020)"}
"""Images with Pneumonia in the whole file tell NIH's two generations of labels apart."""
SOURCE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
LAYOUT = (
    "expected NIH's layout: Data_Entry_2017_v2020.csv, train_val_list.txt, test_list.txt and images_001/images ... "
    f"images_012/images (or one folder images/); get it from {SOURCE}"
)
OLDEST = 120
"""Years: an age above it is a typing error, unknown."""


class Files(Sequence[Path]):
    """Paths of images, made when they are asked for: 112,120 at once would take a noticeable part of a second."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        return Files(self.paths[index]) if isinstance(index, slice) else Path(self.paths[index])


def load(
    root: Path,
    *,
    split: str = "official",
    label_file: str = "",
    train_list: str = "train_list.txt",
    val_list: str = "val_list.txt",
    test_list: str = "test_list.txt",
) -> Data:
    """Read NIH's label file, lists and boxes; no image is opened. Images that are not square are squashed later.

    `split`: `official` (NIH's test list; validation carved from train_val by patient), `dacnet` (the split of Strick
    et al.: 2 % of patients for test, 5.2 % of the rest for validation, scikit-learn's train_test_split with seed 42)
    or `lists` (files of image names `train_list`, `val_list`, `test_list`; other images are left out).
    `label_file` names one of NIH's two label files; by default the later one that is there.

    Raises `DataError` where files are missing or contradict each other.
    """
    if split not in SPLITS:
        raise UnknownNameError("split of nih-cxr14", split, SPLITS)
    path = _find_label_file(root, label_file)
    entries = _read_entries(path)
    chosen = (
        {"official": _official, "dacnet": _dacnet}[split](entries, root)
        if split != "lists"
        else _lists(entries, root, {"train": train_list, "val": val_list, "test": test_list})
    )
    entries = entries.assign(split=chosen)
    entries = entries[entries["split"].notna()].reset_index(drop=True)
    return Data(
        labels=LABELS,
        images=Files(_locate(root, entries["image"].tolist())),
        targets=_targets(entries["findings"], path),
        table=entries[["image", "split", "patient", "age", "sex", "view"]],
        boxes=_read_boxes(root),
        notes={"label_file": _describe(path, entries["findings"]), "split": split},
    )


# --- label file ------------------------------------------------------------------------------------------------------


def _find_label_file(root: Path, name: str) -> Path:
    names = (name,) if name else LABEL_FILES
    for candidate in names:
        if (root / candidate).is_file():
            return root / candidate
    what = f"has no {' or '.join(names)}" if root.is_dir() else "does not exist"
    raise DataError(f"nih-cxr14: the folder {root} {what}; {LAYOUT}; then give --data-root")


def _read_entries(path: Path) -> pd.DataFrame:
    """One row an image, in the order of NIH's file: image, findings, patient, age, sex, view."""
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
    # the bracketed cells of the header hold commas, so it has as many cells as the rows, but odd names
    table = pd.read_csv(path, usecols=lambda column: column in wanted, dtype=str, index_col=False).rename(
        columns=wanted
    )
    absent = {"image", "findings", "patient"} - set(table.columns)
    if absent:
        raise DataError(f"{path} has no column for {', '.join(sorted(absent))}; it is not NIH's label file; {LAYOUT}")
    table = table.reindex(columns=["image", "findings", "patient", "age", "sex", "view"])
    age = pd.to_numeric(table["age"].str.rstrip("Y"), errors="coerce")
    return table.assign(patient=table["patient"].str.lstrip("0"), age=age.where(age <= OLDEST))


def _targets(findings: pd.Series, path: Path) -> NDArray[np.float32]:
    """(N, 14) from texts such as `Effusion|Mass` or `No Finding`."""
    import numpy as np

    codes, distinct = findings.factorize()
    column = {label: index for index, label in enumerate(LABELS)}
    rows = np.zeros((len(distinct), len(LABELS)), dtype=np.float32)
    for row, text in enumerate(distinct):
        for name in text.split("|"):
            if name in column:
                rows[row, column[name]] = 1
            elif name != "No Finding":
                raise DataError(f"{path} holds the finding '{name}', which is none of the 14; is it NIH's file?")
    return np.asarray(rows[codes])


def _describe(path: Path, findings: pd.Series) -> str:
    """The label file by name, generation and digest."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    count = int(findings.str.contains("Pneumonia", regex=False).sum())
    generation = GENERATIONS.get(count) or ("later (v2020)" if "v2020" in path.name else "generation unknown")
    return f"{path.name}, {generation}, sha256 {digest}"


# --- splits ----------------------------------------------------------------------------------------------------------


def _official(entries: pd.DataFrame, root: Path) -> pd.Series:
    lists = {name: _read_list(root / f"{name}_list.txt", entries) for name in ("train_val", "test")}
    carved = carve(entries["patient"])
    return carved.mask(entries["image"].isin(lists["test"]), "test").where(
        entries["image"].isin(lists["train_val"]) | entries["image"].isin(lists["test"])
    )


def _dacnet(entries: pd.DataFrame, root: Path) -> pd.Series:
    """As the paper's script splits patients, whatever files are there: by the unique ids in the file's order."""
    from sklearn.model_selection import train_test_split

    patients = entries["patient"].astype(int).unique()
    rest, test = train_test_split(patients, test_size=0.02, random_state=42)
    _, val = train_test_split(rest, test_size=0.052, random_state=42)
    names = {str(p): "test" for p in test} | {str(p): "val" for p in val}
    return entries["patient"].map(lambda patient: names.get(patient, "train"))


def _lists(entries: pd.DataFrame, root: Path, files: dict[str, str]) -> pd.Series:
    import pandas as pd

    split: dict[str, str] = {}
    for name, file in files.items():
        for image in _read_list(root / file, entries):
            if split.setdefault(image, name) != name:
                raise DataError(
                    f"nih-cxr14: {image} stands in the {split[image]} list and in the {name} list; mend the lists"
                )
    return pd.Series(entries["image"].map(split))


def _read_list(path: Path, entries: pd.DataFrame) -> set[str]:
    """The image names of a list; what follows a name on its line is not read."""
    if not path.is_file():
        raise DataError(f"nih-cxr14: there is no {path}; {LAYOUT}")
    names = {line.split()[0].rpartition("/")[2] for line in path.read_text().splitlines() if line.strip()}
    unknown = sorted(names - set(entries["image"]))
    if unknown:
        raise DataError(
            f"{path.name}: {len(unknown):,} of {len(names):,} images have no row in the label file, "
            f"first {', '.join(unknown[:3])}"
        )
    return names


# --- images and boxes ------------------------------------------------------------------------------------------------


def _locate(root: Path, images: list[str]) -> list[str]:
    """Where each image lies; one that is nowhere gets the place where it would be looked for."""
    parts = sorted(str(folder) for folder in root.glob("images_*/images") if folder.is_dir())
    folders = [*parts, *(str(folder) for folder in (root / "images", root) if folder.is_dir())]
    found: dict[str, str] = {}
    for folder in folders:
        with os.scandir(folder) as entries:
            found |= {entry.name: entry.path for entry in entries if entry.name.endswith(".png")}
    default = root / "images"
    return [found.get(name) or str(default / name) for name in images]


def _read_boxes(root: Path) -> pd.DataFrame | None:
    """NIH's boxes in pixels of the original image; its 'Infiltrate' is Infiltration."""
    import pandas as pd

    path = root / "BBox_List_2017.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(
        path, usecols=range(6), header=0, names=["image", "label", "x", "y", "width", "height"], index_col=False
    )
    return table.assign(label=table["label"].replace("Infiltrate", "Infiltration"))


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
