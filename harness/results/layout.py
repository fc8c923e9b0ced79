"""Where everything lies in a board's folder: the one place that knows these names.

A combo is called `ROW--sSEED`, see `harness.board.combo_name`. What is under `runs/` is not committed.
"""

from __future__ import annotations

import glob
from pathlib import Path

RECORDS = "records"
ASIDE = "aside"
"""The folder in `records/` for files that are no records of the board."""
RUNS = "runs"
CLAIMS = "claims"
"""The folder in `runs/` that says which combos are being run."""
JOBS = "jobs"
"""The folder in `runs/` that says what was submitted to other machines."""
STUDIES = "studies"

RESAMPLES = "resamples.npz"
"""Under which name a record's `artifacts` hold the digest of the resamples beside it."""
WEIGHTS = "weights.safetensors"
RESUME = "resume.safetensors"
PATIENTS = "training-patients.txt"
"""The training patients in use, one a line, where they are not all; it stands among a record's artifacts."""
MAPS = "maps.npz"
"""What heat maps came to against boxes, where a board asks for it; it stands among a record's artifacts."""


def record_path(folder: Path, combo: str) -> Path:
    """Where the record of a combo lies."""
    return folder / RECORDS / f"{combo}.json"


def resamples_path(folder: Path, combo: str, test: str = "") -> Path:
    """Where the resamples of a combo lie, those of its outside test of that key where one is given.

    Not by with_suffix, which would cut a name after its last dot. No row's name has an @.
    """
    return folder / RECORDS / f"{combo}{f'@{test}' if test else ''}.npz"


def run_path(folder: Path, key: str) -> Path:
    """Where predictions, weights and checkpoint of the combo with that key lie."""
    return folder / RUNS / key


def predictions_file(split: str) -> str:
    """What a split's predictions are called in a run's folder."""
    return f"predictions-{split}.npz"


def outside_file(test: str) -> str:
    """What the predictions of the outside test of that key are called in a run's folder."""
    return f"predictions@{test}.npz"


def is_outside_file(name: str) -> bool:
    """Whether a file in a run's folder is called as the predictions of an outside test."""
    return name.startswith("predictions@") and name.endswith(".npz")


def find_outside(folder: Path, combo: str) -> tuple[Path, ...]:
    """The resamples of a combo's outside tests that lie in a board's folder, whatever its record says."""
    return tuple(sorted((folder / RECORDS).glob(f"{glob.escape(combo)}@*.npz")))


RUN_FILES = (predictions_file("val"), predictions_file("test"), WEIGHTS, PATIENTS, MAPS)
"""What a finished combo leaves in its run's folder."""


def local_path(folder: Path) -> Path:
    """Where a board notes what is true on this machine alone."""
    return folder / RUNS / "local.toml"


def claims_path(folder: Path) -> Path:
    """Where the claims of a board lie."""
    return folder / RUNS / CLAIMS


def jobs_path(folder: Path) -> Path:
    """Where a board notes what was submitted to other machines, and where their logs lie."""
    return folder / RUNS / JOBS


def token_path(folder: Path) -> Path:
    """Where the token lies by which a machine knows that it sees the same folder as another one."""
    return folder / RUNS / "folder.token"


def study_path(folder: Path, study: str, suffix: str) -> Path:
    """Where a file of a study lies: its journal or its page."""
    return folder / STUDIES / f"{study}{suffix}"
