"""CheXpert in Stanford's own layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import Data, DataError, ImageFiles, Layout, UnknownNameError, carve, choose_views, take_uncertain

from .observations import LABELS, NO_FINDING, choose_labels, read_observations, take_blank
from .sheets import Sheet, read_sheet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LAYOUT = Layout(
    dataset="chexpert",
    expected=(
        "Stanford's layout: train.csv, valid.csv, test_labels.csv and the folders train/, valid/ and test/ with "
        "patient00001/study1/view1_frontal.jpg in them, in the folder itself or in CheXpert-v1.0-small/ or "
        "CheXpert-v1.0/ there"
    ),
    source="https://stanfordmlgroup.github.io/competitions/chexpert/",
    terms="Stanford's research use agreement, which is shown there",
)
FILES = {"train": ("train.csv",), "valid": ("valid.csv",), "test": ("test_labels.csv", "test.csv")}
"""Label files of each part; those of test come from a later release."""
PARTS = {"official": ("train", "valid", "test"), "valid": ("train", "valid"), "carved": ("train",)}
"""What each split needs."""
INSTEAD = {"valid": "carved, which needs train.csv alone", "test": "valid, which takes valid.csv for test"}
"""The split that does without a part."""
DESCRIBED = ("Sex", "Age", "Frontal/Lateral", "AP/PA", NO_FINDING)
"""Columns that train.csv and valid.csv have, and the test set may lack."""
SPLITS = {
    "official": "train.csv is train, valid.csv is val and {test} is test, both labeled by radiologists",
    "valid": "valid.csv, labeled by radiologists, is test; val is carved from train.csv by patient",
    "carved": "val and test are carved from train.csv by patient, about 10 % and 20 %; all labels are from reports",
}
SEXES = {"Male": "M", "Female": "F", "Unknown": None, "": None}
AXES = ("AP", "PA", "LL", "RL")
"""What AP/PA may say of an image from the front; the last two are patients lying on their side."""
FRONTAL, LATERAL = "FRONTAL", "LATERAL"
"""The view of an image from the front where nothing tells AP from PA, as in the test set; and from the side."""
OLDEST = 120
"""Years: an age above it, or of 0, is unknown."""
PLACE = r"^(?:.*/)?((train|valid|test)/(patient\d+)/(study\d+)/[^/]*_(frontal|lateral)\.\w+)$"
"""What a path says: where the image lies, its part, patient, study and side."""


def load(
    root: Path,
    *,
    split: Literal["official", "valid", "carved"] = "official",
    views: list[str] | str = "PA,AP,FRONTAL",
    labels: list[str] | str = "",
    uncertain: dict[str, str | float] | str | float = "ignore",
    uncertain_test: dict[str, str] | str = "ignore",
    blank: Literal["ignore", "zeros"] = "ignore",
) -> Data:
    """Read Stanford's label files; no image is opened. Images that are not square will be squashed.

    - `split`: Take train.csv as train, valid.csv as val and test_labels.csv as test (official); valid.csv as test, with
      val carved from train.csv by patient, where the test set is not there (valid); or carve val and test from
      train.csv by patient, so that results rest on labels from reports (carved).
    - `views`: Take images of these views: PA, AP, FRONTAL (from the front, where nothing tells PA from AP, as in the
      whole test set), LL, RL, LATERAL, or all. Others are counted.
    - `labels`: Take these observations as labels, separated by commas. Left out, all 13 are taken.
    - `uncertain`: In training, read -1 as `ignore` (unknown), `ones`, `zeros` or a number between 0 and 1 (a soft
      target), for all labels or for each, as in `Edema=ones,Fracture=0.6`.
    - `uncertain_test`: In val and test, read -1 as unknown (ignore), as `ones` or as `zeros`.
    - `blank`: Read what a report does not mention as unknown (ignore) or as 0 (zeros).

    `No Finding` is no label: where it is 1, other blank observations are 0, but for Support Devices, which may be there
    without a finding. In board.toml, `uncertain` and `uncertain_test` may be tables.

    Raises `DataError` where files or columns are missing, or a cell cannot be read, naming its line; `UnknownNameError`
    for an unknown split or label; `UsageError` for an option that cannot mean anything.
    """
    if split not in SPLITS:
        raise UnknownNameError("split of chexpert", split, SPLITS)
    names = choose_labels(labels, "chexpert")
    home = _find_home(root)
    sheets = _read_sheets(home, split)
    table, values = _read_parts(sheets, names)
    table["split"] = _choose_split(table, split)
    keep, not_taken = choose_views(table["view"], views, "chexpert")
    table, values = table[keep].reset_index(drop=True), values[keep]
    _require_test(table, split, views)
    values, not_mentioned = take_blank(values, blank, "chexpert")
    targets, not_certain = take_uncertain(
        values, table["split"], names, training=uncertain, test=uncertain_test, dataset="chexpert"
    )
    notes = {
        "label_file": "; ".join(sheet.describe() for sheet in sheets.values()),
        "split": f"{split}: {SPLITS[split].format(test=sheets['test'].path.name if 'test' in sheets else '')}",
    }
    return Data(
        labels=names,
        images=ImageFiles(_locate(root, home, table)),
        targets=targets,
        table=table[["image", "split", "patient", "study", "age", "sex", "view"]],
        notes=notes | not_taken | not_mentioned | not_certain,
    )


# --- label files -----------------------------------------------------------------------------------------------------


def _find_home(root: Path) -> Path:
    """The folder that holds train.csv: `root`, or one of the publisher's name in it."""
    if any((root / name).is_file() for name in ("train.csv", "train.csv.gz")):
        return root
    found = sorted({path.parent for path in root.glob("CheXpert-v1.0*/train.csv*")})
    if len(found) > 1:
        raise DataError(
            f"chexpert: the folder {root} holds several copies, {' and '.join(folder.name for folder in found)}; give "
            "one of them as --data-root"
        )
    return found[0] if found else LAYOUT.find(root, "train.csv").parent


def _read_sheets(home: Path, split: str) -> dict[str, Sheet]:
    """Read the label files that a split needs, by part."""
    sheets = {}
    for part in PARTS[split]:
        try:
            path = LAYOUT.find(home, *FILES[part])
        except DataError as error:
            raise DataError(f"{error}; or do without it by --option split={INSTEAD[part]}") from None
        needed = ("Path", *LABELS) if part == "test" else ("Path", *DESCRIBED, *LABELS)
        sheets[part] = read_sheet(path, LAYOUT, needed, DESCRIBED)
    return sheets


def _read_parts(sheets: dict[str, Sheet], labels: tuple[str, ...]) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    """What is known of the images of all parts, and values (N, C) of their labels."""
    import numpy as np
    import pandas as pd

    tables = [_describe_images(sheet, part) for part, sheet in sheets.items()]
    values = [read_observations(sheet, labels) for sheet in sheets.values()]
    return pd.concat(tables, ignore_index=True), np.concatenate(values)


def _describe_images(sheet: Sheet, part: str) -> pd.DataFrame:
    """What a label file says of each image beside its labels: image, part, patient, study, age, sex, view."""
    import numpy as np

    paths = sheet.cells["Path"].str.replace("\\", "/", regex=False)
    table = paths.str.extract(PLACE).set_axis(["image", "part", "patient", "study", "side"], axis=1)
    sheet.refuse(
        table["image"].isna(),
        "Path",
        "does not name patient, study and view as in train/patient00001/study1/view1_frontal.jpg",
    )
    sheet.refuse(table["part"] != part, "Path", f"does not lie in {part}/, as all images of this file do")
    sheet.refuse(table["image"].duplicated(), "Path", "stands in the file more than once; keep one row of each image")
    table["study"] = table["patient"] + "/" + table["study"]
    table["view"] = _find_views(sheet, table["side"])
    table["age"], table["sex"] = np.nan, None
    if "Age" in sheet.cells:
        table["age"] = _read_ages(sheet)
    if "Sex" in sheet.cells:
        sheet.refuse(~sheet.cells["Sex"].isin(list(SEXES)), "Sex", "is none of Male, Female, Unknown and blank")
        table["sex"] = sheet.cells["Sex"].astype(object).map(SEXES)
    return table


def _find_views(sheet: Sheet, side: pd.Series) -> pd.Series:
    """The view of each image, by columns where they are there, else by its file's name."""
    if "Frontal/Lateral" in sheet.cells:
        given = sheet.cells["Frontal/Lateral"]
        sheet.refuse(~given.isin(["Frontal", "Lateral"]), "Frontal/Lateral", "is neither Frontal nor Lateral")
        side = given.str.lower()
    view = side.astype(object).map({"frontal": FRONTAL, "lateral": LATERAL})
    if "AP/PA" in sheet.cells:
        axis = sheet.cells["AP/PA"]
        sheet.refuse(~axis.isin([*AXES, ""]), "AP/PA", f"is none of {', '.join(AXES)} and blank")
        view = view.mask((view == FRONTAL) & (axis != ""), axis.astype(object))
    return view


def _read_ages(sheet: Sheet) -> pd.Series:
    import pandas as pd

    given = sheet.cells["Age"]
    ages = pd.to_numeric(given, errors="coerce").astype(float)
    sheet.refuse(ages.isna() & (given != ""), "Age", "is no number of years")
    return ages.where((ages > 0) & (ages <= OLDEST))


# --- splits and images -----------------------------------------------------------------------------------------------


def _choose_split(table: pd.DataFrame, split: str) -> pd.Series:
    """Train, val or test for each image."""
    if split == "official":
        return table["part"].map({"train": "train", "valid": "val", "test": "test"})
    if split == "carved":
        return carve(table["patient"], val=(0,), test=(1, 2))
    return carve(table["patient"], val=(0,)).mask(table["part"] == "valid", "test")


def _require_test(table: pd.DataFrame, split: str, views: list[str] | str) -> None:
    """Refuse views that leave nothing of the official test set."""
    if split == "official" and not (table["split"] == "test").any():
        asked = views if isinstance(views, str) else ",".join(views)
        raise DataError(
            f"chexpert: views={asked} leaves no image of the test set, where nothing tells PA from AP; add {FRONTAL}, "
            "or take split=valid or split=carved"
        )


def _locate(root: Path, home: Path, table: pd.DataFrame) -> list[str]:
    """Where each image lies: each part in the folder of the label files, or else beside them."""
    folders = (home, root, *sorted(root.glob("CheXpert-v1.0*")))
    places = {
        part: str(next((folder for folder in folders if (folder / part).is_dir()), home))
        for part in ("train", "valid", "test")
    }
    return [f"{places[part]}/{image}" for part, image in zip(table["part"], table["image"], strict=True)]
