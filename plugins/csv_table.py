"""`csv`: any table of images with one column for each label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Data, DataError, Dataset, UsageError, carve, hookimpl, read_table, suggest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

NEEDED = ("image", "patient")
UNCERTAIN = ("ignore", "ones", "zeros")
BLANK = ("ignore", "zeros")
SPELLINGS = {"valid": "val", "validate": "val", "validation": "val", "training": "train", "testing": "test"}


def load(
    root: Path,
    *,
    file: str = "labels.csv",
    images: str = ".",
    image: str = "image",
    patient: str = "patient",
    split: str = "split",
    age: str = "age",
    sex: str = "sex",
    view: str = "view",
    labels: list[str] | str = "",
    uncertain: dict[str, str] | str = "ignore",
    blank: str = "ignore",
    mirrors: bool = True,
    subgroups: list[str] | str = "",
) -> Data:
    """Read a table, one row for each image: `file` is in the dataset's folder, image paths count from `images` there.

    `image`, `patient`, `split`, `age`, `sex` and `view` name columns (the last four may be absent); every other
    column is a label unless `labels` lists them. A label is 1, 0, blank or -1 (uncertain). `uncertain` is `ignore`
    (unknown), `ones` or `zeros`, for all labels or per label (`Edema=ones,Mass=zeros`, or a table in board.toml);
    `blank` is `ignore` or `zeros`. A split is train, val (valid, validate, validation) or test; without a split column
    patients are carved: about 10 % val, 20 % test, 70 % train. Without patients, `patient` may name the image column:
    then each image is a patient of its own. `mirrors`: whether a mirrored image keeps its labels. `subgroups` names
    further columns by whose values results are told apart, such as `site`, beside age, sex and view.

    Raises `DataError` for a missing file or column, or a value that a column cannot have, naming row and column;
    `UsageError` for an option that cannot mean anything.
    """
    path = root / file
    table, guessed = _read(path, image)
    there = _described_columns(
        table, {"image": image, "patient": patient, "split": split, "age": age, "sex": sex, "view": view}, path
    )
    groups = _split_names(subgroups)
    there |= _described_columns(table, {name: name for name in groups}, path, optional=False)
    names = _label_columns(table, labels, set(there.values()), path)
    described = _describe_images(table, there, path, groups)
    return Data(
        labels=tuple(names),
        images=[root / images / name for name in described["image"]],
        targets=_targets(table[names], _policies(uncertain, names), blank, path),
        table=described,
        subgroups=("sex", "age", "view", *groups),
        mirrors=mirrors,
        notes={"label_file": file, "split": "as given" if "split" in there else "carved by patient"}
        | ({"label_file_guessed": "; ".join(guessed)} if guessed else {}),
    )


def _read(path: Path, image: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the table as texts, blanks as empty texts, and what had to be guessed; `image` names the column of paths."""
    if not path.is_file():
        raise DataError(f"csv: there is no {path}; give --data-root FOLDER and --option file=NAME.csv")
    read = read_table(path, fill=True)
    notes, unnamed = read.notes, int((read.columns.columns == "").sum())
    if unnamed:
        notes += (f"{path}: {unnamed} columns without a name are left out",)
    table = read.columns.loc[:, read.columns.columns != ""].copy()
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise DataError(f"{path}: the column '{twice[0]}' stands in it more than once; rename or remove one of them")
    if image in table.columns:
        table[image] = table[image].str.replace("\\", "/")  # as Windows writes paths
    return table, notes


def _split_names(names: list[str] | str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)


def _described_columns(
    table: pd.DataFrame, asked: dict[str, str], path: Path, *, optional: bool = True
) -> dict[str, str]:
    """Find the columns that describe an image and that the table has; optional ones go by their own name unasked."""
    there = {name: column for name, column in asked.items() if column in table.columns}
    for name, column in asked.items():
        if name in there or (optional and name not in NEEDED and column in ("", name)):
            continue
        if not optional:
            raise DataError(f"{path} has no column '{name}' to make subgroups by (it has {', '.join(table.columns)})")
        alone = f", or {name}={asked['image']} where every image is a patient of its own" if name == "patient" else ""
        raise DataError(
            f"{path} has no column '{column}' (it has {', '.join(table.columns)}); "
            f"name it by --option {name}=COLUMN{alone}"
        )
    return there


def _describe_images(table: pd.DataFrame, there: dict[str, str], path: Path, groups: list[str]) -> pd.DataFrame:
    """The columns `image`, `split`, `patient` and those that are known of `age`, `sex`, `view` and further groups."""
    import pandas as pd

    for name in NEEDED:
        blank = table[there[name]] == ""
        if blank.any():
            raise DataError(f"{path}, row {_row(blank)}, column '{there[name]}': blank, but every image needs one")
    known = {name: table[column].where(table[column] != "") for name, column in there.items()}
    if "split" in there:
        known["split"] = _splits(table[there["split"]], path)
    else:
        known["split"] = carve(known["patient"], val=(0,), test=(1, 2))
    if "age" in there:
        known["age"] = pd.to_numeric(known["age"], errors="coerce").astype(float)
    if "sex" in there:
        known["sex"] = known["sex"].str[:1].str.upper().where(lambda letter: letter.isin(("M", "F")))
    return pd.DataFrame(
        {name: known[name] for name in ("image", "split", "patient", "age", "sex", "view", *groups) if name in known}
    )


def _row(wrong: pd.Series) -> int:
    """The first row that is wrong, counted as a text editor does: the header is row 1."""
    return int(wrong.to_numpy().argmax()) + 2


def _label_columns(table: pd.DataFrame, labels: list[str] | str, taken: set[str], path: Path) -> list[str]:
    asked = _split_names(labels)
    absent = [name for name in asked if name not in table.columns]
    if absent:
        raise DataError(f"{path} has no column for the label {', '.join(absent)} (it has {', '.join(table.columns)})")
    names = asked or [column for column in table.columns if column not in taken]
    if not names:
        raise DataError(f"{path} has no label columns; give one column a label with 1, 0, blank or -1")
    return names


def _splits(column: pd.Series, path: Path) -> pd.Series:
    """train, val or test; other spellings are understood."""
    named = column.str.lower().replace(SPELLINGS)
    wrong = ~named.isin(("train", "val", "test"))
    if wrong.any():
        raise DataError(
            f"{path}, row {_row(wrong)}, column '{column.name}': a split must be train, val (valid, validation) "
            f"or test, got '{column[wrong].iloc[0]}'"
        )
    return named


def _policies(uncertain: Mapping[str, str] | str, names: list[str]) -> dict[str, str]:
    """What -1 means, for each label."""
    if isinstance(uncertain, str) and "=" in uncertain:
        pairs = (part.partition("=") for part in uncertain.split(","))
        uncertain = {label.strip(): policy.strip() for label, _, policy in pairs}
    given = dict.fromkeys(names, uncertain) if isinstance(uncertain, str) else dict(uncertain)
    for label, policy in given.items():
        if label not in names:
            raise UsageError(f"csv: uncertain names '{label}', which is none of the labels{suggest(label, names)}")
        if policy not in UNCERTAIN:
            raise UsageError(f"csv: uncertain must be {', '.join(UNCERTAIN)}, got '{policy}'")
    return dict.fromkeys(names, "ignore") | given


def _targets(table: pd.DataFrame, policies: dict[str, str], blank: str, path: Path) -> NDArray[np.float32]:
    """(N, C) from the texts of the label columns."""
    import numpy as np
    import pandas as pd

    if blank not in BLANK:
        raise UsageError(f"csv: blank must be {' or '.join(BLANK)}, got '{blank}'")
    means = {"ignore": np.nan, "ones": 1.0, "zeros": 0.0}
    targets = np.empty(table.shape, dtype=np.float32)
    for column, name in enumerate(table.columns):
        text = table[name]
        empty = text.isin(("", "nan", "NaN", "NA"))
        values = pd.to_numeric(text.where(~empty), errors="coerce").to_numpy(dtype=float, copy=True)
        wrong = np.flatnonzero(~empty.to_numpy() & ~np.isin(values, (1, 0, -1)))
        if len(wrong):
            raise DataError(
                f"{path}, row {wrong[0] + 2}, column '{name}': a label must be 1, 0, blank or -1, "
                f"got '{text.iloc[wrong[0]]}'; list the columns that are labels by --option labels=NAME,NAME"
            )
        values[values == -1] = means[policies[name]]
        values[empty.to_numpy()] = means[blank]
        targets[:, column] = values
    return targets


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """Tables of one's own."""
    return [Dataset(name="csv", load=load, about="your own images: a table of path, patient and one column a label")]
