"""Which images are for training, validation and test: by a column, shares, folds or lists of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import DataError, UsageError, carve, fold, read_lines, stratify, suggest

from .lists import find_images
from .table import Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SPELLINGS = {"valid": "val", "validate": "val", "validation": "val", "training": "train", "testing": "test"}
SPLITS = ("train", "val", "test")
UNLISTED = ""
"""What stands for the split of an image that no list has."""
FORMS = (
    "split must be a column, shares (val=0.1,test=0.2), folds (folds=5,fold=0) or lists of images "
    "(train=train.txt,val=val.txt,test=test.txt), with a seed beside shares or folds"
)
ROUNDING = 1e-9


def parse_split(split: Mapping[str, Any] | str, header: list[str]) -> str | dict[str, Any]:
    """Parse a column's name, or a division: `val=0.1,test=0.2`, `folds=5,fold=0` or `train=train.txt,test=test.txt`.

    Raises `UsageError` for a division that cannot be meant.
    """
    if isinstance(split, str) and ("=" not in split or split in header):
        return split
    if isinstance(split, str):
        pairs = (part.partition("=") for part in split.split(","))
        split = {name.strip(): _parse_number(value.strip()) for name, _, value in pairs}
    given = {name: value for name, value in split.items() if name != "seed"}
    seed = split.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UsageError(f"the seed of split must be a whole number, got {seed!r}")
    if "folds" in given or "fold" in given:
        _require_folds(given)
    elif given and all(isinstance(value, str) for value in given.values()):
        _require_names(given)
        if "seed" in split:
            raise UsageError("a seed means nothing where split gives lists of images; leave it out")
        if "test" not in given:
            raise UsageError("split has no list of test images; give it, as in test=test.txt")
    else:
        _require_names(given)
        _require_shares(given)
    return dict(split)


def _parse_number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _require_names(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in SPLITS:
            raise UsageError(f"split has no part '{name}'{suggest(name, (*SPLITS, 'folds', 'fold'))}; {FORMS}")


def _require_folds(given: Mapping[str, Any]) -> None:
    folds, number = given.get("folds", ""), given.get("fold", 0)
    others = set(given) - {"folds", "fold"}
    whole = isinstance(folds, int) and isinstance(number, int)
    if others or not whole or folds < 3 or not 0 <= number < folds:
        raise UsageError(
            "split in folds must be folds=K,fold=F with K at least 3 and F from 0 to K - 1 (the test fold; the "
            f"next one is val), got {', '.join(f'{name}={value}' for name, value in given.items())}"
        )


def _require_shares(given: Mapping[str, Any]) -> None:
    if not given or not all(isinstance(value, int | float) and 0 < value < 1 for value in given.values()):
        raise UsageError(f"{FORMS}; got {', '.join(f'{name}={value}' for name, value in given.items())}")
    total = sum(given.values())
    if "train" in given and (abs(total - 1) > ROUNDING or len(given) != len(SPLITS)):
        raise UsageError(f"the shares of split must be those of train, val and test and sum to 1, got {total:g}")
    if not {"val", "test"} <= set(given):
        raise UsageError("split needs a share of val and one of test, as in val=0.1,test=0.2; the rest is train")
    if total > 1 - ROUNDING and "train" not in given:
        raise UsageError(f"val and test take {total:g} of the images, which leaves none to train on")


def choose_split(
    table: Table,
    images: pd.DataFrame,
    targets: NDArray[np.float32],
    division: Mapping[str, Any] | None,
    root: Path,
) -> tuple[pd.Series, str]:
    """Choose a split for each image, by a division, or by the `split` that images have; with what was done, in words.

    An image that no list has is `UNLISTED`.
    Raises `DataError` for lists that do not fit the images.
    """
    patients = images["patient"]
    if division and "folds" in division:
        plan = {"folds": division["folds"], "number": division.get("fold", 0), "seed": division.get("seed", 0)}
        said = f"fold {plan['number']} of {plan['folds']} is test, the next one val; by patient, seed {plan['seed']}"
        return fold(patients, targets, **plan), said
    if division and isinstance(division["test"], str):
        return _by_lists(table, images, {name: division[name] for name in SPLITS if name in division}, root)
    if division:
        shares = {name: float(division[name]) for name in SPLITS if name in division}
        shares = {"train": 1 - shares["val"] - shares["test"], **shares}
        seed = division.get("seed", 0)
        parts = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        return stratify(patients, targets, shares, seed=seed), f"by patient, labels alike: {parts}, seed {seed}"
    if "split" not in images:
        return carve(patients, val=(0,), test=(1, 2)), "carved by patient"
    return _complete(images["split"], patients, "as given")


def read_splits(table: Table, column: str) -> pd.Series:
    """Read train, val or test from a column; other spellings are understood."""
    cells = table.cells[column]
    named = cells.str.lower().replace(SPELLINGS)
    wrong = ~named.isin(SPLITS)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(
            f"{table.locate(row, column)}: a split must be train, val (valid, validation) or test, got "
            f"'{cells.iloc[row]}'; write it so, or leave the column out and have patients carved: --option split="
        )
    return named


def _complete(splits: pd.Series, patients: pd.Series, said: str) -> tuple[pd.Series, str]:
    """Carve val out of train, by patient, where there are train and test alone."""
    if set(splits) - {UNLISTED} != {"train", "test"}:
        return splits, said
    carved = splits.where((splits != "train") | (carve(patients, val=(0,)) != "val"), "val")
    return carved, f"{said}; val is carved from train, by patient"


def _by_lists(table: Table, images: pd.DataFrame, files: Mapping[str, str], root: Path) -> tuple[pd.Series, str]:
    """Choose the split that lists an image, as `find_images` finds it."""
    import pandas as pd

    names = images["image"]
    chosen: dict[str, str] = {}
    for split, file in files.items():
        path = root / Path(file).expanduser()
        lines = read_lines(path)
        found = find_images(lines, names)
        absent = [line for line, image in zip(lines, found, strict=True) if not image]
        if len(absent) == len(lines):
            raise DataError(
                f"{path} lists no image of {table.path}: it begins with '{lines[0] if lines else ''}', where "
                f"the table has '{names.iloc[0]}'; write images in both alike"
            )
        if absent:
            table.said.append(f"{file} lists {len(absent):,} images that the table has not, first '{absent[0]}'")
        for image in filter(None, found):
            if chosen.setdefault(image, split) != split:
                raise DataError(f"{path} lists '{image}', which {files[chosen[image]]} lists too; keep it in one")
    rest = UNLISTED if "train" in files else "train"
    splits = pd.Series([chosen.get(image, rest) for image in names], index=names.index, dtype=object)
    unlisted = names[splits == UNLISTED]
    if len(unlisted):
        table.said.append(f"{len(unlisted):,} images are in no list and left out, first '{unlisted.iloc[0]}'")
    return _complete(splits, images["patient"], "by lists" if "train" in files else "by lists, train is the rest")
