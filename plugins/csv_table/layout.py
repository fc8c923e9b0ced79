"""Which files a dataset of the Hugging Face hub consists of on disk, and which split each is of."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from harness import DataError, Layout

from .splits import SPELLINGS, SPLITS

LAYOUT = Layout(
    dataset="folder",
    expected="parquet files such as data/train-00000-of-00003.parquet, or metadata.csv (.jsonl, .parquet) with a "
    "column file_name beside images in folders such as train and test",
    source="the Hugging Face hub by `hf download OWNER/NAME --repo-type dataset --local-dir DIR`",
    terms="those on the dataset's own page",
)
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
SPLIT = re.compile(rf"(?<![a-z])({'|'.join(sorted({*SPELLINGS, *SPLITS}, key=len, reverse=True))})(?![a-z])")
"""A split within a name in small letters, not as a part of a word."""
DEPTH = 3
"""Levels of folders in which files are looked for."""


def find_tables(root: Path) -> tuple[list[Path], list[Path]]:
    """Find the metadata files of image folders, or else the parquet files that hold images: each sorted by path.

    Raises `DataError` where there are none, or where they seem to be of several datasets.
    """
    metadata = [path for name in METADATA for path in _find(root, name)]
    if metadata:
        kinds = sorted({path.name for path in metadata})
        if len(kinds) > 1:
            raise DataError(f"folder: {root} has {' and '.join(kinds)}; keep the one that describes its images")
        return metadata, []
    parquet = _find(root, "*.parquet")
    if not parquet:
        what = "has no parquet or metadata file" if root.is_dir() else "does not exist"
        raise DataError(f"folder: the folder {root} {what}; {LAYOUT.explain()}; then give --data-root DIR")
    homes = {path.parent.parent if SPLIT.search(path.parent.name.lower()) else path.parent for path in parquet}
    if len(homes) > 1:
        names = ", ".join(str(home.relative_to(root)) for home in sorted(homes))
        raise DataError(
            f"folder: {root} has parquet files in several folders ({names}), which may be several configurations of a "
            "dataset; name one of them by --data-root"
        )
    return [], parquet


def _find(root: Path, name: str) -> list[Path]:
    """Find files by name in a folder and those below it, but hidden ones, such as the hub's own cache."""
    found = (path for depth in range(DEPTH) for path in root.glob("*/" * depth + name))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def find_split(path: PurePosixPath | Path) -> str:
    """Find the split that a path within the dataset names, the file before its folders; empty where it names none."""
    for part in (path.stem, *reversed(path.parent.parts)):
        match = SPLIT.search(part.lower())
        if match:
            return SPELLINGS.get(match[1], match[1])
    return ""
