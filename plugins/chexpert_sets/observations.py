"""The observations of CheXpert's labeler: their names, and what blank and uncertain ones are taken for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import UnknownNameError, UsageError

from .sheets import Sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_FINDING = "No Finding"
"""No label: it is 1 or blank, and blank in some rows that have no other finding, so that its negatives are unknown."""
DEVICES = "Support Devices"
"""The one observation that may be present where there is no finding."""
LABELS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    DEVICES,
)
VALUES = {"1.0": 1.0, "0.0": 0.0, "-1.0": -1.0, "1": 1.0, "0": 0.0, "-1": -1.0, "": math.nan}
BLANK = {"ignore": math.nan, "zeros": 0.0}
"""What an observation is taken for that a report does not mention."""


def choose_labels(asked: Sequence[str] | str, dataset: str) -> tuple[str, ...]:
    """Return the labels that are asked for, a list or names between commas; all 13 where none is.

    Raises `UnknownNameError` for a label that there is not.
    """
    names = [name.strip() for name in asked.split(",")] if isinstance(asked, str) else list(asked)
    names = [name for name in dict.fromkeys(names) if name]
    for name in names:
        if name == NO_FINDING:
            raise UsageError(
                f"{dataset}: '{NO_FINDING}' is no label, since a blank one does not say that there is a finding; it is "
                "used to tell which other observations are absent"
            )
        if name not in LABELS:
            raise UnknownNameError(f"label of {dataset}", name, LABELS)
    return tuple(names) or LABELS


def read_observations(sheet: Sheet, labels: Sequence[str]) -> NDArray[np.float32]:
    """Values (N, C): 1, 0, -1 for uncertain, NaN where a report does not mention the observation.

    Where `No Finding` is 1, what is not mentioned is 0, but for support devices. Raises `DataError` for other values.
    """
    import numpy as np

    known = "1.0, 0.0, -1.0 (uncertain) and blank"
    values = np.stack([sheet.read_values(label, VALUES, known) for label in labels], axis=1)
    if NO_FINDING in sheet.cells:
        healthy = sheet.read_values(NO_FINDING, VALUES, known) == 1
        finding = np.array([label != DEVICES for label in labels])
        values[healthy[:, None] & finding & np.isnan(values)] = 0
    return values


def take_blank(values: NDArray[np.float32], blank: str, dataset: str) -> tuple[NDArray[np.float32], dict[str, str]]:
    """Values (N, C) without what blank ones are taken for, `ignore` or `zeros`; and a note that counts them.

    Raises `UsageError` for anything else.
    """
    import numpy as np

    if blank not in BLANK:
        raise UsageError(f"{dataset}: blank must be {' or '.join(BLANK)}, got '{blank}'")
    unmentioned = np.isnan(values)
    if not unmentioned.any():
        return values, {}
    taken = "unknown" if blank == "ignore" else "taken for 0"
    note = f"{int(unmentioned.sum()):,} of {values.size:,} are not mentioned in the report and {taken}"
    return np.where(unmentioned, np.float32(BLANK[blank]), values), {"blank labels": note}
