"""A row as a folder for the Hugging Face hub: weights, config.json and a model card. Nothing is uploaded."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from harness.errors import UsageError
from harness.files import Content, write_folder
from harness.serving.model_card import render_card
from harness.serving.rows import LoadedRow
from harness.training.weight_file import ENTRY, read_weight_file, write_weight_file

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def write_hf(row: LoadedRow, folder: Path) -> tuple[Path, ...]:
    """Write a row of one seed: its weights, of a probe with its frozen rest, what they say as JSON, and its card.

    The files appear together or not at all. `harness predict` and `harness.load_row` read the weights. Raises
    `UsageError` for an ensemble, `StorageError` where they cannot be written.
    """
    if len(row.members) > 1:
        raise UsageError("an ensemble has no single network: export each seed by --seeds SEED")
    part, _ = read_weight_file(row.weights[0])
    if part.frozen is not None:  # whoever gets the folder may not have what the frozen rest is built from
        part = part.model_copy(update={"frozen": part.frozen.model_copy(update={"weights": None})})
    labels = part.task.labels
    config = {
        "model_type": "cxr-harness",
        "architectures": [part.model.name],
        "problem_type": "multi_label_classification",
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "image_size": part.task.size,
        "num_channels": part.task.channels,
        "harness": part.model_dump(),
    }
    weights: Content = row.weights[0].read_bytes()
    if part.frozen is not None:
        weights = partial(write_weight_file, network=row.network, about={ENTRY: part.model_dump_json()})
    contents = {
        WEIGHTS: weights,
        CONFIG: json.dumps(config, indent=2, ensure_ascii=False) + "\n",
        CARD: render_card(part, row.record, row.notes),
    }
    write_folder(folder, contents)
    return tuple(folder / name for name in contents)
