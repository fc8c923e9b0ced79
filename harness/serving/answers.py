"""What the app says of rows, and of one image by a row: plain data for the page, with null where nothing is known.

Probabilities and thresholds are put on one scale, the calibrated one where validation could fit it, so that one can be
drawn on the other.
"""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.components import LEAK
from harness.data.splits import UNKNOWN
from harness.evaluation.predictions import make_scores
from harness.metric_names import explain_policies
from harness.results.shadow import gather_pretraining, mark_shadow
from harness.scoring.rows import SEPARATOR
from harness.serving.rows import LoadedRow
from harness.serving.scores import ImageScores, invert
from harness.text import count, name_seeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

KNOWN = {1.0: "present", 0.0: "absent"}
"""What a known target means."""


# --- a row -----------------------------------------------------------------------------------------------------------


def describe_rows(rows: Sequence[LoadedRow], policy: str | None) -> list[dict[str, Any]]:
    """What is known of rows before they are applied to an image; where two have a title, it says their place, too."""
    said = [describe_row(row, policy) for row in rows]
    titles = Counter(one["title"] for one in said)
    for place, one in enumerate(said):
        if titles[one["title"]] > 1:
            one["title"] = f"{place + 1}: {_name_folder(rows[place])}{one['title']}"
    return said


def describe_row(row: LoadedRow, policy: str | None) -> dict[str, Any]:
    """What is known of a row before it is applied to an image."""
    policy = policy or row.fitted.policy
    return {
        "title": title_row(row),
        "about": _tell_origin(row),
        "notes": [f"{note[:1].upper()}{note[1:]}." for note in _list_notes(row)],
        "policy": explain_policies([f"f1@{policy}"]).get(policy, policy),
        "columns": [{"name": code.name, "texts": list(code.texts)} for code in row.members[0].codes],
    }


def _list_notes(row: LoadedRow) -> list[str]:
    """What has to be known of a row's answers, and of its AUROC where its test was not new to it."""
    notes, record = list(row.notes), row.record
    if record is None:
        return notes
    if len(row.members) > 1:  # no AUROC is shown
        return notes
    if LEAK in record.dataset.notes:
        notes.append(f"its AUROC is too good, since the splits leak: {record.dataset.notes[LEAK]}")
    mark = mark_shadow(gather_pretraining(record)).removesuffix(", not ranked")
    if mark:
        whose = "the network" if mark.startswith(("has", "may")) else "its"
        notes.append(f"its AUROC may be too good: {whose} {mark.replace('pretraining', 'pretraining is')}")
    return notes


def title_row(row: LoadedRow) -> str:
    """What a row is called on the page: its name without the board, and the seed of several; or its model."""
    if not row.records:
        return f"{row.members[0].model} from a weight file"
    name = row.name.rpartition(SEPARATOR)[2]
    if len(row.members) > 1:
        return f"{name}, mean of {len(row.members)} seeds"
    return f"{name}, seed {row.records[0].combo.seed}" if len(row.measured) > 1 else name


def _name_folder(row: LoadedRow) -> str:
    """The name of a row's board with what stands between it and the row; empty for a weight file."""
    folder = Path(row.name.rpartition(SEPARATOR)[0]).name
    return f"{folder}{SEPARATOR}" if row.records else ""


def _tell_origin(row: LoadedRow) -> str:
    """Sentences about model, data and seed."""
    member, record = row.members[0], row.record
    seen = f"{member.model}, which looks at {member.recipe.size} x {member.recipe.size} grey pixels."
    if record is None:
        return f"{seen} The weight file does not say on which data it was trained, so that AUROC is unknown."
    test = record.dataset.splits["test"]
    patients = "unknown patients" if UNKNOWN in record.dataset.notes else count(test.patients, "patient")
    seeds = name_seeds([one.combo.seed for one in row.records])
    among = f", of the {len(row.measured)} that it has" if len(row.measured) > len(row.records) else ""
    trained = f"{seen} Trained on {record.dataset.name} with {seeds}{among}"
    if len(row.members) > 1:
        return f"{trained}. Their probabilities are averaged, and the AUROC of that is unknown; each seed has its own."
    return f"{trained}; AUROC is of its {count(test.images, 'test image')} of {patients}."


# --- an image by a row -----------------------------------------------------------------------------------------------


def describe_image(
    row: LoadedRow, scores: ImageScores, policy: str | None, known: Mapping[str, float] | None
) -> list[dict[str, Any]]:
    """What a row says of a single image, label by label; `known` targets are those of an image of a dataset."""
    thresholds = row.thresholds(policy)
    calibration = row.fitted.calibration
    on_scale = make_scores(calibration.apply(invert(thresholds)))  # (C,)
    said = []
    for place, label in enumerate(row.labels):
        calibrated = float(scores.calibrated[0, place])
        fitted = not math.isnan(calibrated)
        reversed_ = fitted and calibration.slope[place] <= 0
        value = calibrated if fitted else float(scores.probability[0, place])
        threshold = float("nan") if reversed_ else float(on_scale[place] if fitted else thresholds[place])
        decision = float(scores.decisions[0, place])
        said.append(
            {
                "label": label,
                "probability": value,
                "calibrated": fitted,
                "threshold": _or_none(threshold),
                "reached": None if math.isnan(decision) else bool(decision),
                "decision": tell_decision(decision, value, threshold, reversed_=reversed_),
                "prevalence": _or_none(row.members[0].task.prevalence[place]),
                "auroc": find_auroc(row, label),
                "known": None if known is None else KNOWN.get(known.get(label, math.nan), "unknown"),
            }
        )
    return said


def tell_decision(decision: float, value: float, threshold: float, *, reversed_: bool = False) -> str:
    """A decision in words: `above its threshold 0.310`."""
    if math.isnan(decision):
        return "no threshold: validation could not fit one"
    where = "above" if decision else "below"
    if reversed_:
        return f"its score is {where} the threshold, but calibration reverses this label"
    shown = f"{threshold:.3f}"
    return f"{'just ' if shown == f'{value:.3f}' else ''}{where} its threshold {shown}"


def find_auroc(row: LoadedRow, label: str) -> dict[str, Any] | None:
    """A label's AUROC on the test split by the record, with its interval; None where no record says it."""
    part = row.record.metrics.get("auroc") if row.record and len(row.members) == 1 else None  # a mean has none
    one = part.per_label.get(label) if part else None
    if one is None or one.value is None:
        return None
    return {"value": one.value, "interval": one.interval, "positives": one.positives}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


# --- pictures --------------------------------------------------------------------------------------------------------


def make_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of grey (H, W) or colored (H, W, 4) uint8."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def as_address(png: bytes) -> str:
    """A PNG as an address that holds it whole."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
