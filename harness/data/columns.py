"""What a dataset's table says of each image, as numbers for a network: age, sex, view.

Letters in shapes: N images, F numbers for each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.components import Data, Inputs
from harness.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MOST_TEXTS = 20
"""Different texts of a column, each of which is a number of its own; a column with more names things one by one."""


@dataclass(frozen=True)
class ColumnCode:
    """How a column becomes numbers, fitted on training images alone."""

    name: str
    texts: tuple[str, ...] = ()
    """Texts that training images have, each of which is a number: 1 where an image has it, else 0; empty for a column
    of numbers."""
    mean: float = 0.0
    """Mean of a column of numbers, over known training images."""
    scale: float = 1.0
    """Standard deviation of a column of numbers, over known training images."""

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of its numbers, such as `age`, `sex=M`; two texts need one number alone."""
        return tuple(f"{self.name}={text}" for text in self._told) or (self.name,)

    def encode(self, column: pd.Series) -> NDArray[np.float64]:
        """Numbers (N, f) of a column; NaN where a value is missing, or a text that no training image has.

        Raises `DataError` for texts where numbers were fitted.
        """
        if not self.texts:
            return ((_read_numbers(column) - self.mean) / self.scale)[:, None]
        found = _read_texts(column)
        numbers = np.stack([(found == text).astype(np.float64) for text in self._told], axis=1)
        numbers[~np.isin(found, self.texts)] = np.nan
        return numbers

    @property
    def _told(self) -> tuple[str, ...]:
        return self.texts[1:] if len(self.texts) == 2 else self.texts


@dataclass(frozen=True, eq=False)
class EncodedTable:
    """A table as a network gets it."""

    codes: tuple[ColumnCode, ...]
    numbers: NDArray[np.float32]
    """(N, F, 2): the number, 0 where it is unknown, and 1 where it is known."""
    notes: tuple[str, ...] = ()
    """What is missing, and whether rows were dealt out again, in sentences."""

    @property
    def names(self) -> tuple[str, ...]:
        """(F,) such as `age`, `sex=M`."""
        return name_numbers(self.codes)


def encode_table(data: Data, inputs: Inputs, seed: int = 0) -> EncodedTable:
    """Encode the columns that a network asks for.

    With `inputs.permuted`, rows are dealt out again among the images of a split, by the seed. Raises `DataError` for a
    column that the dataset does not have, or that says nothing.
    """
    codes = fit_columns(data, inputs.table)
    numbers, notes = apply_codes(codes, data.table), _describe(codes, data.table)
    if inputs.permuted:
        numbers = numbers[permute_rows(data.table["split"].to_numpy(dtype=str), seed)]
        notes.append(
            f"this is a control: {', '.join(inputs.table)} of images were dealt out again at random within each split"
        )
    return EncodedTable(codes, numbers, tuple(notes))


def fit_columns(data: Data, names: Sequence[str]) -> tuple[ColumnCode, ...]:
    """Fit how columns become numbers, on training images alone: a column of numbers gets mean 0 and variance 1, one of
    texts a number for each value.

    Raises `DataError` for a column that the dataset does not have, or that says nothing.
    """
    lacking = [name for name in names if name not in data.table]
    if lacking:
        raise DataError(
            f"the network wants {', '.join(names)} of each image, and the dataset's table has no column "
            f"{', '.join(lacking)}; where the dataset calls it otherwise, name it by the dataset's option "
            f"(csv: --option {lacking[0]}=COLUMN), or take another model"
        )
    training = data.table["split"].to_numpy(dtype=str) == "train"
    return tuple(_fit(data.table[name], training) for name in names)


def name_numbers(codes: Sequence[ColumnCode]) -> tuple[str, ...]:
    """Name the F numbers that columns become."""
    return tuple(name for code in codes for name in code.numbers)


def apply_codes(codes: Sequence[ColumnCode], table: pd.DataFrame) -> NDArray[np.float32]:
    """Encode a table (N, F, 2) that has all the columns. Raises `DataError` for texts where numbers were fitted."""
    numbers = np.concatenate([code.encode(table[code.name]) for code in codes], axis=1)  # (N, F)
    known = ~np.isnan(numbers)
    return np.stack([np.nan_to_num(numbers), known], axis=-1).astype(np.float32)


def permute_rows(split: NDArray[np.str_], seed: int) -> NDArray[np.intp]:
    """Choose the row (N,) that each image gets in place of its own, of the same split; one split's choice does not
    depend on what other splits there are.
    """
    rows = np.arange(len(split))
    for name in sorted(set(split.tolist())):
        own = np.flatnonzero(split == name)
        rows[own] = np.random.default_rng([seed, *name.encode()]).permutation(own)
    return rows


def table_digest(data: Data, names: Sequence[str]) -> str:
    """sha256 of what the table's columns say of images, sorted by image."""
    order = data.table["image"].astype(str).argsort(kind="stable").to_numpy()
    told: dict[str, list[float] | list[str]] = {}
    for name in names:
        if name in data.table:
            column = data.table[name].iloc[order]
            told[name] = (_read_numbers(column) if _is_numeric(column) else _read_texts(column)).tolist()
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _fit(column: pd.Series, training: NDArray[np.bool_]) -> ColumnCode:
    name = str(column.name)
    if _is_numeric(column):
        numbers = _read_numbers(column)[training]
        known = numbers[~np.isnan(numbers)]
        if not len(known):
            raise DataError(f"no training image has a known {name}, so that a network cannot learn from it")
        return ColumnCode(name, mean=float(known.mean()), scale=float(known.std()) or 1.0)
    texts = sorted({text for text in _read_texts(column)[training].tolist() if text})
    if not texts:
        raise DataError(f"no training image has a known {name}, so that a network cannot learn from it")
    if len(texts) > MOST_TEXTS:
        raise DataError(
            f"training images have {len(texts):,} different texts in the column {name}, more than {MOST_TEXTS}, so "
            "that a network cannot learn from it; write numbers without units, or fewer texts"
        )
    return ColumnCode(name, texts=tuple(texts))


def _is_numeric(column: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column.infer_objects())


def _read_numbers(column: pd.Series) -> NDArray[np.float64]:
    """A column's numbers (N,); NaN where one is missing or infinite. Raises `DataError` for texts."""
    if not _is_numeric(column) and column.notna().any():
        found = str(column[column.notna()].iloc[0])
        raise DataError(f"the column {column.name} must hold numbers, and has '{found}'")
    numbers: NDArray[np.float64] = np.array(
        column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), np.float64
    )
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _read_texts(column: pd.Series) -> NDArray[np.object_]:
    """A column's texts (N,) without spaces around them; empty where one is missing."""
    texts = column.astype(object).where(column.notna(), "").astype(str).str.strip()
    return texts.to_numpy(dtype=object)


def _describe(codes: Sequence[ColumnCode], table: pd.DataFrame) -> list[str]:
    """Say of how many images a value is missing, or one that no training image has."""
    notes, count = [], len(table)
    for code in codes:
        unknown = np.isnan(code.encode(table[code.name])).all(axis=1)
        strange = unknown & (_read_texts(table[code.name]) != "") if code.texts else np.zeros(count, dtype=bool)
        if missing := int((unknown & ~strange).sum()):
            notes.append(f"the network was not told {code.name} of {missing:,} of {count:,} images, which lack it")
        if strange.any():
            values = ", ".join(sorted(set(_read_texts(table[code.name])[strange].tolist()))[:3])
            notes.append(
                f"the network was not told {code.name} of {int(strange.sum()):,} of {count:,} images, since training "
                f"has no image with theirs ({values})"
            )
    return notes
