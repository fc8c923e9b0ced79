"""`csv`: any table of images with one column a label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Data, DataError, Dataset, UsageError, hookimpl
from harness.data.splits import carve

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

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
) -> Data:
    """Read a table with a row an image: `file` lies in the dataset's folder, image paths count from `images` there.

    `image`, `patient`, `split`, `age`, `sex` and `view` name columns (the last four may be absent); every other
    column is a label unless `labels` lists them. A label is 1, 0, blank or -1 (uncertain). `uncertain` is `ignore`
    (unknown), `ones` or `zeros`, for all labels or per label (`Edema=ones,Mass=zeros`, or a table in board.toml);
    `blank` is `ignore` or `zeros`. Without a split column patients are carved: 10 % val, 20 % test, 70 % train.

    Raises `DataError` for a missing file or column, or a value that no label can have, naming row and column.
    """
    table = _read(root / file)
    for column in (image, patient):
        if column not in table.columns:
            hint = f"; name it by --option {'image' if column == image else 'patient'}=COLUMN"
            alone = "; or patient=" + image + " where every image is a patient of its own" if column == patient else ""
            raise DataError(f"{root / file} has no column '{column}' (it has {', '.join(table.columns)}){hint}{alone}")
    optional = {"split": split, "age": age, "sex": sex, "view": view}
    there = {name: column for name, column in optional.items() if column in table.columns}
    names = _label_columns(table, labels, {image, patient, *there.values()}, root / file)
    patients = table[patient].str.strip()
    described = {
        "image": table[image].str.strip(),
        "split": _splits(table[there["split"]]) if "split" in there else carve(patients, val=(0,), test=(1, 2)),
        "patient": patients,
    }
    described |= {name: table[column] for name, column in there.items() if name != "split"}
    return Data(
        labels=tuple(names),
        images=[root / images / name for name in described["image"]],
        targets=_targets(table[names], _policies(uncertain, names), blank, root / file),
        table=_table(described),
        mirrors=mirrors,
        notes={"label_file": file, "split": "as given" if "split" in there else "carved by patient"},
    )


def _read(path: Path) -> pd.DataFrame:
    """The table as texts, blanks as empty texts."""
    import pandas as pd

    if not path.is_file():
        raise DataError(f"csv: there is no {path}; give --data-root FOLDER and --option file=NAME.csv")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no table of comma-separated values: {error}") from None
    return table.rename(columns=str.strip)


def _label_columns(table: pd.DataFrame, labels: list[str] | str, taken: set[str], path: Path) -> list[str]:
    asked = [name.strip() for name in labels.split(",") if name.strip()] if isinstance(labels, str) else list(labels)
    absent = [name for name in asked if name not in table.columns]
    if absent:
        raise DataError(f"{path} has no column for the label {', '.join(absent)} (it has {', '.join(table.columns)})")
    names = asked or [column for column in table.columns if column not in taken]
    if not names:
        raise DataError(f"{path} has no label columns; give one column a label with 1, 0, blank or -1")
    return names


def _splits(column: pd.Series) -> pd.Series:
    """train, val or test; other spellings are understood."""
    named = column.str.strip().str.lower().replace(SPELLINGS)
    wrong = named[~named.isin(("train", "val", "test"))]
    if len(wrong):
        raise DataError(
            f"csv: split must be train, val (also valid, validation) or test, got "
            f"'{column[wrong.index[0]]}' in row {wrong.index[0] + 2}"
        )
    return named


def _policies(uncertain: Mapping[str, str] | str, names: list[str]) -> dict[str, str]:
    """What -1 means, for each label."""
    if isinstance(uncertain, str) and "=" in uncertain:
        pairs = (part.partition("=") for part in uncertain.split(","))
        uncertain = {label.strip(): policy.strip() for label, _, policy in pairs}
    given: dict[str, Any] = dict.fromkeys(names, uncertain) if isinstance(uncertain, str) else dict(uncertain)
    for label, policy in given.items():
        if label not in names:
            raise UsageError(
                f"csv: uncertain names the label '{label}', which the table does not have ({', '.join(names)})"
            )
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
        text = table[name].str.strip()
        empty = text.isin(("", "nan", "NaN", "NA"))
        values = pd.to_numeric(text.where(~empty), errors="coerce").to_numpy(dtype=float)
        wrong = np.flatnonzero(~empty.to_numpy() & ~np.isin(values, (1, 0, -1)))
        if len(wrong):
            row = int(wrong[0])
            raise DataError(
                f"{path}, row {row + 2}, column '{name}': a label must be 1, 0, blank or -1, got '{text.iloc[row]}'"
            )
        values[values == -1] = means[policies[name]]
        values[empty.to_numpy()] = means[blank]
        targets[:, column] = values
    return targets


def _table(columns: dict[str, pd.Series]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(columns)
    return table.assign(age=pd.to_numeric(table["age"], errors="coerce")) if "age" in table.columns else table


@hookimpl
def harness_datasets() -> Iterable[Dataset]:
    """Tables of one's own."""
    return [Dataset(name="csv", load=load, about="your own images: a table of path, patient and one column a label")]
