"""What makes a result the same result: the fingerprint of the data and the key of a combo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.choices import Choices
from harness.components import IMAGE_LEVEL, Data, Model
from harness.errors import HarnessError, WeightsError
from harness.files import file_digest
from harness.parameters import recipe_values

if TYPE_CHECKING:
    from harness.data.loading import Source

NAMED_WEIGHTS = ("random", "imagenet", "pretrained")
"""What `recipe.weights` may be beside a file."""


def fingerprint(data: Data) -> str:
    """sha256 of the labels and the (image, patient, split, targets) of the images in use, sorted by image.

    No pixels, so that results at 224 and 320 px are comparable.
    """
    order = data.table["image"].astype(str).argsort(kind="stable").to_numpy()
    columns = [data.table[name].astype(str).to_numpy()[order] for name in ("image", "patient", "split")]
    targets = data.targets[order]
    digest = hashlib.sha256(json.dumps(list(data.labels)).encode())
    digest.update("\n".join("\t".join(line) for line in zip(*columns, strict=True)).encode())
    soft = (targets > 0) & (targets < 1)
    codes = np.where(np.isnan(targets), 2, np.where(soft, 3, targets)).astype(np.uint8)  # 0, 1, unknown, in between
    digest.update(codes.tobytes())
    digest.update(targets[soft].astype("<f4").tobytes())  # nothing where no target is soft
    return digest.hexdigest()


def fingerprint_test(data: Data) -> str | None:
    """The fingerprint of the test's part alone, where training differs by `image_level` between data; else None."""
    if IMAGE_LEVEL not in data.notes:
        return None
    return fingerprint(data.select(data.table["split"].to_numpy() == "test"))


@dataclass(frozen=True)
class Identity:
    """What makes a combo's result the same result."""

    parts: Mapping[str, Any]
    """Every resolved choice, the data and the versions of all that takes part."""

    @property
    def key(self) -> str:
        """16 hex digits of the sha256 of all parts."""
        return _digest(self.parts)

    @property
    def digests(self) -> dict[str, str]:
        """16 hex digits for each part: they tell in what two combos differ."""
        return {name: _digest(part) for name, part in self.parts.items()}


def _digest(part: Any) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True, default=str).encode()).hexdigest()[:16]


def identify_combo(
    source: Source,
    data_fingerprint: str,
    choices: Choices,
    seed: int,
    *,
    objective: str,
    weights: str,
    engine: int,
    table: str | None = None,
    made_of: Mapping[str, Any] | None = None,
) -> Identity:
    """The identity of a combo.

    `weights` is `random`, `imagenet`, `pretrained` or the digest of a file; `objective` is the board's, which matters
    where the recipe selects on it; `table` is the digest of the columns that the network gets beside images, which are
    no part of the fingerprint; `made_of` is what `describe_origin` tells. An option of the dataset without a value
    counts as if it did not exist, so that a dataset may gain one. Other library versions, the device, metrics and
    schema are no part of the key.
    """
    recipe = recipe_values(choices.recipe) | {"weights": weights}
    for name in ("select_on", "schedule.watch"):
        if recipe[name] == "objective":
            recipe[name] = objective
    origin = {} if made_of is None else {"made_of": dict(made_of)}
    params = {name: value for name, value in choices.model_params.items() if made_of is None or name not in made_of}
    return Identity(
        {
            "engine": engine,
            "fingerprint": data_fingerprint,
            "dataset": [
                source.dataset.name,
                source.dataset.version,
                source.code,
                {name: value for name, value in source.options.items() if value is not None} | source.pixel_options,
            ],
            "model": [choices.model.name, choices.model.version, choices.code.get("model"), params],
            "loss": [choices.loss.name, choices.loss.version, choices.code.get("loss"), choices.loss_params],
            "recipe": [choices.recipe.version, choices.code.get("recipe"), recipe],
            "seed": seed,
            "control": choices.row.control,
        }
        | ({} if table is None else {"table": table})
        | origin
    )


def weights_identity(model: Model, weights: str) -> str:
    """`random`, `imagenet`, `pretrained`, or `sha256:...` of a file. Raises `WeightsError` where there are none."""
    if weights == "random":
        return weights
    if weights == "imagenet" and (model.pretrained is None or model.origin is not None):
        way_out = "pretrained" if model.pretrained is not None else "random or to a file"
        raise WeightsError(f"model '{model.name}' has no ImageNet weights; set recipe.weights to {way_out}")
    if weights == "pretrained" and model.pretrained is None:
        raise WeightsError(f"model '{model.name}' brings no weights; set recipe.weights to random or to a file")
    if weights in NAMED_WEIGHTS:
        return weights
    missing = explain_missing_weights(weights)
    if missing is not None:
        raise WeightsError(missing)
    return f"sha256:{file_digest(Path(weights).expanduser())}"


def describe_origin(choices: Choices) -> dict[str, Any] | None:
    """What a row's network is made of beside code; None where there is nothing to say.

    Raises `WeightsError` or `UsageError` where that is not here, or does not suit the recipe.
    """
    origin = choices.model.origin
    return None if origin is None else dict(origin.describe(choices.recipe, **choices.model_params))


def explain_missing_origin(choices: Choices) -> str | None:
    """Say what a row lacks to begin with: a file of initial weights, or what its model is made of; else None."""
    recipe, model = choices.recipe, choices.model
    if recipe.train == "nothing" and model.origin is None and recipe.weights in ("imagenet", "pretrained"):
        return (
            f"recipe '{recipe.name}' trains nothing, and the weights of '{model.name}' leave its head random; take an "
            "image-text encoder with model.prompts, or a recipe that trains"
        )
    missing = explain_missing_weights(recipe.weights)
    if missing is None:
        try:
            describe_origin(choices)
        except HarnessError as error:
            return str(error)
    return missing


def explain_missing_weights(weights: str) -> str | None:
    """Say that the file of initial weights is not there; None where it is, or where no file is meant."""
    if weights in NAMED_WEIGHTS or Path(weights).expanduser().is_file():
        return None
    return (
        f"recipe.weights is '{weights}': neither random nor imagenet nor pretrained, and there is no such file; bring "
        "it to where the run is started, or name another with --set recipe.weights=FILE"
    )
