"""`padchest`: PadChest in its publisher's layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import (
    Data,
    DataError,
    Dataset,
    ImageFiles,
    Layout,
    UsageError,
    carve,
    choose_views,
    hookimpl,
    label_by_terms,
    list_files,
    read_table,
    suggest,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LABEL_FILE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
LAYOUT = Layout(
    dataset="padchest",
    expected=f"PadChest's layout: {LABEL_FILE} and the PNG files, in folders 0 ... 54, in images/ or beside the table",
    source="https://bimcv.cipf.es/bimcv-projects/padchest/",
    terms="PadChest's research use agreement",
)
COLUMNS = {
    "ImageID": "image",
    "ImageDir": "folder",
    "PatientID": "patient",
    "StudyID": "study",
    "Labels": "labels",
    "Projection": "view",
    "MethodLabel": "method",
    "PatientBirth": "birth",
    "StudyDate_DICOM": "date",
    "PatientSex_DICOM": "sex",
}
NEEDED = ("ImageID", "PatientID", "Labels", "Projection")
"""What every table must have; the other columns may be absent."""
FINDINGS: Mapping[str, tuple[str, ...]] = {
    "Atelectasis": (
        "atelectasis",
        "atelectasis basal",
        "laminar atelectasis",
        "lobar atelectasis",
        "round atelectasis",
        "segmental atelectasis",
        "total atelectasis",
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation", "air bronchogram"),
    "Edema": ("pulmonary edema",),
    "Effusion": (
        "pleural effusion",
        "loculated pleural effusion",
        "loculated fissural effusion",
        "hydropneumothorax",
        "empyema",
    ),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis",),
    "Hernia": ("hiatal hernia",),
    "Infiltration": (
        "infiltrates",
        "alveolar pattern",
        "ground glass pattern",
        "interstitial pattern",
        "miliary opacities",
        "reticular interstitial pattern",
        "reticulonodular interstitial pattern",
    ),
    "Mass": ("mass", "pulmonary mass"),
    "Nodule": ("nodule", "multiple nodules"),
    "Pleural_Thickening": ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
}
"""The 14 findings of ChestX-ray14, and which of PadChest's labels are taken for each: a table of this project's own.

A label stands under a finding where it names that finding or a kind of it. What merely resembles it by name does not:
`subcutaneous emphysema`, `pseudonodule`, `mediastinal mass`, `fibrotic band`, `pericardial effusion`.
"""
EXCLUDED = "exclude"
"""PadChest's own label for images that should not be used."""
NOT_FINDINGS = {"unchanged", "suboptimal study", EXCLUDED}
"""PadChest's labels that say nothing of what an image shows."""
METHODS = {"Physician", "RNN_model"}
"""Who labeled a report: a physician, or a network trained on physicians' labels."""
BLANKS = ("", "nan", "None")
OLDEST = 120
"""Years: an age above it is an error of the table, unknown."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of the label table, or some of them."""

    table: pd.DataFrame
    """One row for each image, with the columns of `COLUMNS`; None where nothing is known."""
    codes: NDArray[np.intp]
    """(N,) which of `findings` each row has."""
    findings: list[frozenset[str]]
    """The sets of labels that occur, each once."""

    def select(self, keep: NDArray[np.bool_]) -> Rows:
        """Return the rows where `keep` (N,) is true."""
        return Rows(self.table[keep].reset_index(drop=True), self.codes[keep], self.findings)


def load(
    root: Path,
    *,
    labels: list[str] | str = "usual",
    fewest: int = 100,
    views: list[str] | str = "PA,AP",
    labeled_by: Literal["all", "Physician", "RNN_model"] = "all",
    unclear: Literal["leave-out", "keep"] = "leave-out",
) -> Data:
    """Read PadChest's label table; no image is opened. Images that are not square will be squashed.

    There is no official split: patients are carved, about 10 % val, 20 % test, 70 % train.

    - `labels`: Take the 14 findings of ChestX-ray14, each made of PadChest's labels (usual); PadChest's own labels that
      enough images have (all); or a list of names of either kind. A finding that an image's list lacks is absent.
    - `fewest`: With labels=all, take labels that at least this many of the chosen images have.
    - `views`: Take images of these projections, separated by commas: PA, AP, AP_horizontal (lying down), L, COSTAL,
      EXCLUDE, unknown, or all. Others are counted.
    - `labeled_by`: Take images whose report was labeled by hand (Physician), by a network (RNN_model), or all.
    - `unclear`: Leave out or keep images that PadChest labels `exclude`, and those without another label than
      `unchanged` or `suboptimal study`.

    Images without any label say nothing of findings, and are always left out. The table `FINDINGS` of this module makes
    the usual findings. The notes count what is left out.

    The age is the year of the study less that of birth. Sex is M, F or unknown.

    Raises `DataError` where the table is missing, is another one or holds what it cannot; `UsageError` for a value that
    an option cannot have; `UnknownNameError` for a label that no image has.
    """
    _require("labeled_by", labeled_by, ("all", *sorted(METHODS)))
    _require("unclear", unclear, ("leave-out", "keep"))
    path = LAYOUT.find(root, LABEL_FILE)
    rows, notes = _leave_out(_read(path), keep_unclear=unclear == "keep")
    if labeled_by != "all":
        by_them = (rows.table["method"] == labeled_by).to_numpy(dtype=bool)
        notes["labeled by"] = f"{labeled_by}: {int((~by_them).sum()):,} of {len(by_them):,} images are left out"
        rows = rows.select(by_them)
        if not by_them.any():
            raise DataError(f"{path}: no image has MethodLabel {labeled_by}; give labeled_by=all")
    of_view, told = choose_views(rows.table["view"], views, "padchest")
    rows = rows.select(of_view)
    names, targets = label_by_terms(
        rows.findings,
        rows.codes,
        labels,
        usual=FINDINGS,
        fewest=fewest,
        no_labels=NOT_FINDINGS,
        dataset="padchest",
    )
    table = rows.table.assign(split=carve(rows.table["patient"], test=(1, 2)), age=_find_ages(rows.table))
    kept = ["image", "split", "patient", *(["study"] if table["study"].notna().all() else []), "age", "sex", "view"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Data(
        labels=names,
        images=ImageFiles(_locate(root, table)),
        targets=targets,
        table=table[kept],
        notes={"label_file": f"{path.name}, sha256 {digest}", "split": "carved by patient"} | notes | told,
    )


def _require(option: str, value: str, possible: Sequence[str]) -> None:
    if value not in possible:
        raise UsageError(f"padchest: {option} must be {', '.join(possible)}, got '{value}'{suggest(value, possible)}")


# --- the label table -------------------------------------------------------------------------------------------------


def _read(path: Path) -> Rows:
    """Read the table. Raises `DataError` where it is another one, or a row lacks an image or a patient."""
    read = read_table(path, wanted=COLUMNS)
    absent = [f"'{name}'" for name in NEEDED if name not in read.columns]
    if absent:
        raise DataError(f"{path} is not PadChest's table: it has no column {' or '.join(absent)}; {LAYOUT.explain()}")
    codes, texts = read.columns["Labels"].factorize()
    findings = []
    for code, text in enumerate(texts):
        labels = _parse(text)
        if labels is None:
            line = read.lines[int((codes == code).argmax())]
            raise DataError(
                f"{path}, line {line}: Labels must be a list such as ['normal', 'nodule'], got '{text[:80]}'; get the "
                f"table again from {LAYOUT.source}"
            )
        findings.append(labels)
    table = read.columns.rename(columns=COLUMNS).reindex(columns=list(COLUMNS.values())).astype(object)
    table = table.where(~table.isin(BLANKS) & table.notna(), None)
    _require_rows(table, read.lines, path)
    return Rows(_clean(table), codes, findings)


def _parse(text: str) -> frozenset[str] | None:
    """Parse a list of labels, such as `['normal', ' nodule', '']`; None where it is none.

    Blanks around labels are dropped, and so are blank labels: 350 spellings in PadChest's table become 193 labels.
    """
    if text in BLANKS:
        return frozenset()
    try:
        labels = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return None
    return frozenset(label.strip() for label in labels) - {""}


def _require_rows(table: pd.DataFrame, lines: list[int], path: Path) -> None:
    """Refuse rows without an image or a patient, two rows about an image, and labels of an unknown origin."""
    for column, name in (("image", "ImageID"), ("patient", "PatientID")):
        blank = table[column].isna()
        if blank.any():
            line = lines[int(blank.to_numpy().argmax())]
            raise DataError(f"{path}, line {line}: no {name}, but every image needs one; complete or remove the row")
    again = table["image"].duplicated()
    if again.any():
        row = int(again.to_numpy().argmax())
        raise DataError(
            f"{path}, line {lines[row]}: the image '{table['image'].iloc[row]}' has a row before; {int(again.sum()):,} "
            "rows are such; keep one row for each image"
        )
    strange = table["method"].notna() & ~table["method"].isin(METHODS)
    if strange.any():
        row = int(strange.to_numpy().argmax())
        raise DataError(
            f"{path}, line {lines[row]}: MethodLabel must be {' or '.join(sorted(METHODS))}, got "
            f"'{table['method'].iloc[row]}'; get the table again from {LAYOUT.source}"
        )


def _clean(table: pd.DataFrame) -> pd.DataFrame:
    """Make sexes and views what the harness calls them, and studies of one patient each."""
    sex = table["sex"].where(table["sex"].isin(("M", "F")), None)
    view = table["view"].where(table["view"] != "UNK", None)
    pairs = table[["study", "patient"]].drop_duplicates()
    shared = table["study"].isin(pairs["study"][pairs["study"].duplicated()])
    study = table["study"].mask(shared, table["patient"] + "/" + table["study"])
    return table.assign(sex=sex, view=view, study=study)


def _find_ages(table: pd.DataFrame) -> pd.Series:
    """Ages in whole years; NaN where a date is missing or the age is impossible."""
    import pandas as pd

    year = pd.to_numeric(table["date"].str[:4], errors="coerce").astype(float)
    age = year - pd.to_numeric(table["birth"], errors="coerce").astype(float)
    return age.where((age >= 0) & (age <= OLDEST))


# --- which images, and where they lie ---------------------------------------------------------------------------------


def _leave_out(rows: Rows, *, keep_unclear: bool) -> tuple[Rows, dict[str, str]]:
    """Leave out images whose labels say nothing of findings, and say how many."""
    import numpy as np

    said = {
        "without labels": [not labels for labels in rows.findings],
        f"labeled {EXCLUDED}": [EXCLUDED in labels for labels in rows.findings],
        "with nothing but unchanged or suboptimal study": [
            bool(labels) and EXCLUDED not in labels and labels <= NOT_FINDINGS for labels in rows.findings
        ],
    }
    reasons = {what: np.array(by_set, dtype=bool)[rows.codes] for what, by_set in said.items()}
    if keep_unclear:
        reasons = {"without labels": reasons["without labels"]}
    keep = ~np.logical_or.reduce(list(reasons.values()))
    if not keep.any():
        raise DataError("padchest: no image has a label that says what it shows; is this the whole table?")
    told = ", ".join(f"{int(those.sum()):,} {what}" for what, those in reasons.items() if those.any())
    return rows.select(keep), {"left out": told} if told else {}


def _locate(root: Path, table: pd.DataFrame) -> list[str]:
    """Where each image lies; one that is nowhere gets the place that its ImageDir names."""
    folders = sorted({folder for folder in table["folder"].unique() if folder})
    parents = (root, root / "images")
    found = list_files((*parents, *(parent / folder for parent in parents for folder in folders)))
    return [
        found.get(image) or str(root / (folder or "images") / image)
        for image, folder in zip(table["image"], table["folder"], strict=True)
    ]


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """PadChest."""
    return [
        Dataset(
            name="padchest",
            load=load,
            about="PadChest: 160,861 images of 67,625 patients, labeled by physicians and a network",
            citation=f"Bustos et al. 2020, PadChest, Medical Image Analysis; {LAYOUT.source}",
        )
    ]
