"""`csv`: any table of images with one column for each label, or one column of findings. `folder`: such a table, and its
images, as the Hugging Face hub lays them out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from harness import Data, Dataset, hookimpl

from . import folder as hub_folder
from .reading import Asked, make_data
from .table import read


def load(
    root: Path,
    *,
    file: str = "labels.csv",
    images: str = ".",
    image: str = "image",
    patient: str = "patient",
    split: dict[str, Any] | str = "split",
    age: str = "age",
    sex: str = "sex",
    view: str = "view",
    labels: list[str] | str = "",
    findings: str = "",
    separator: str = "|",
    uncertain: dict[str, str | float] | str | float = "ignore",
    uncertain_test: dict[str, str] | str | None = None,
    blank: Literal["ignore", "zeros"] = "ignore",
    duplicates: Literal["refuse", "first", "vote"] = "refuse",
    mirrors: bool = True,
    subgroups: list[str] | str = "",
    study: str | None = None,
) -> Data:
    r"""Read a table of images with one row for each image. What was found rather than named is said.

    - `file`: Read this table in the dataset's folder.
    - `images`: Take image paths from this folder, counted from the dataset's folder.
    - `image`: Take image paths from this column. Without it, usual names such as Path or Image Index are tried.
    - `patient`: Take patients from this column, or from a pattern in one, as in `Path:(patient\d+)`. Name the image
      column if no patient is known; then each image is a patient of its own, and intervals are over images.
    - `split`: Take train, val and test from this column, or divide: `val=0.1,test=0.2,seed=0` by shares,
      `folds=5,fold=0,seed=0` for cross-validation, or `val=val.txt,test=test.txt` by lists. No patient is divided.
    - `age`, `sex`, `view`: Take it from this column. An empty name asks for none.
    - `labels`: Take these columns as labels, separated by commas. Left out, every other column with a value is a label.
    - `findings`: Take labels from this column, which lists the findings of an image, such as `Edema|Mass`.
    - `separator`: Separate the findings of an image by this text.
    - `uncertain`: In training, read -1 as `ignore` (unknown), `ones`, `zeros` or a number between 0 and 1 (a soft
      target), for all labels or for each, as in `Edema=ones,Mass=0.6`.
    - `uncertain_test`: In val and test, read -1 as `ones` or `zeros`. Left out, uncertain labels are unknown there.
    - `blank`: Read blank cells as unknown (ignore) or as 0 (zeros).
    - `duplicates`: For an image in several rows: refuse them, keep the first, or vote, where a tie is unknown.
    - `mirrors`: Say whether a mirrored image keeps its labels.
    - `subgroups`: Compare results by these further columns, separated by commas, beside age, sex and view.
    - `study`: Take studies from this column, or from a pattern in one, as in `Path:(.*study\d+)`. Left out, it is a
      column `study` if there is one, and an empty name asks for none.

    Columns that are not named are found by what they are usually called (`subject_id`, `fold`, `Gender`, `View
    Position`, ...). A column whose name says that it is no label (`Follow-up #`, `study_id`) is none. A label is 1, 0,
    -1 (uncertain) or blank, or true, false, yes, no, positive, negative. In board.toml, `split`, `uncertain` and
    `uncertain_test` may be tables.

    A split is train, val (valid, validate, validation) or test; where a table has only train and test, val is carved
    from train. Without a split column patients are carved: about 10 % val, 20 % test, 70 % train. Of lists, train is
    the rest unless it has one, and val is carved from train unless it has one. A study is of one patient.

    Raises `DataError` for a missing file or column, or a value that a column cannot have, naming line and column;
    `UsageError` for an option that cannot mean anything.
    """
    asked = Asked(
        image=image,
        patient=patient,
        split=split,
        age=age,
        sex=sex,
        view=view,
        labels=labels,
        findings=findings,
        separator=separator,
        uncertain=uncertain,
        uncertain_test=uncertain_test,
        blank=blank,
        duplicates=duplicates,
        mirrors=mirrors,
        subgroups=subgroups,
        study=study,
    )
    folder = root / Path(images).expanduser()
    return make_data(
        read(root / Path(file).expanduser()),
        asked,
        lambda names: [folder / name for name in names],
        dataset="csv",
        root=root,
        notes={"label_file": file},
    )


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """Tables of one's own, and folders of the Hugging Face hub."""
    return [
        Dataset(
            name="csv", load=load, about="your own images: a table with a path, a patient and a column for each label"
        ),
        Dataset(name="folder", load=hub_folder.load, about=hub_folder.ABOUT),
    ]
