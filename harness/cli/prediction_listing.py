"""What `harness predict` prints: a table for each image, or one JSON document."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness.cli.output import open_output, say
from harness.cli.tables import print_piece

if TYPE_CHECKING:
    from harness.serving.rows import LoadedRow
    from harness.serving.scores import ImageScores

DECIDED = {1.0: "yes", 0.0: "no"}


def print_parts(row: LoadedRow, policy: str | None, parts: Iterable[ImageScores]) -> None:
    """Print a table for each image as it comes: the likeliest label first."""
    chosen, thresholds = policy or row.fitted.policy, row.thresholds(policy)
    say(f"{row.name}: decisions at the thresholds of {chosen}, which are for the probability before calibration")
    console = open_output()
    for part in parts:
        for number, image in enumerate(part.image):
            if image in part.gaps:
                continue
            table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
            table.add_column(image, overflow="fold")
            for name in ("probability", "threshold", "present", "calibrated"):
                table.add_column(name, justify="right")
            for column in sorted(range(len(row.labels)), key=lambda one: -part.probability[number, one]):
                table.add_row(
                    row.labels[column],
                    _format(part.probability[number, column]),
                    _format(thresholds[column]),
                    DECIDED.get(float(part.decisions[number, column]), ""),
                    _format(part.calibrated[number, column]),
                )
            console.print()
            console.print(table)


def print_plain(row: LoadedRow, policy: str | None, parts: Iterable[ImageScores]) -> None:
    """Print one JSON document, an image at a time, so that memory does not grow with their number."""
    thresholds = dict(zip(row.labels, map(_plain, row.thresholds(policy)), strict=True))
    head = {
        "row": row.name,
        "seeds": [record.combo.seed for record in row.records],
        "labels": list(row.labels),
        "policy": policy or row.fitted.policy,
        "thresholds": thresholds,
        "notes": list(row.notes),
    }
    print_piece(json.dumps(head)[:-1] + ', "images": [')
    before = "\n"
    for part in parts:
        for number, image in enumerate(part.image):
            print_piece(f"{before}{json.dumps(_describe(row, part, number, image))}")
            before = ",\n"
    print_piece("\n]}\n")


def _describe(row: LoadedRow, part: ImageScores, number: int, image: str) -> dict[str, Any]:
    """One image as plain data: its scores by label, or why it has none."""
    if image in part.gaps:
        return {"image": image, "problem": part.gaps[image]}
    kinds = {
        "logit": part.logits,
        "probability": part.probability,
        "calibrated": part.calibrated,
        "decision": part.decisions,
    }
    return {
        "image": image,
        "labels": {
            label: {kind: _plain(values[number, column]) for kind, values in kinds.items()}
            for column, label in enumerate(row.labels)
        },
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _format(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
