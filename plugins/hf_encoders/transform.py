"""The image transform of an encoder, from the library's words to those of the harness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import WeightsError

TRANSFORM, PROCESSOR = "preprocessor_config.json", "processor_config.json"
"""Files that say it; the latter holds it beside other things."""
FILTER_NAMES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""Pillow's numbers of filters, as transforms name them."""


def parse_transform(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A transform in the library's words as mean, std, size and filter; a rescaling becomes part of mean and std."""
    mean, std = (said.get(key) or default for key, default in (("image_mean", [0.0]), ("image_std", [1.0])))
    if not said.get("do_normalize", True):
        mean, std = [0.0], [1.0]
    elif "image_mean" not in said or "image_std" not in said:
        raise WeightsError(f"{TRANSFORM} of model '{name}' lacks image_mean or image_std; bring the model's own file")
    scale = 255 * (said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0)
    crops = said.get("do_center_crop", "crop_size" in said) and said.get("crop_size")
    side = find_side(said["crop_size"] if crops else said.get("size"))
    if side is None:
        raise WeightsError(f"{TRANSFORM} of model '{name}' gives no square size; bring the model's own file")
    return {
        "mean": [round(value / scale, 9) for value in mean],
        "std": [round(value / scale, 9) for value in std],
        "size": side,
        "filter": FILTER_NAMES.get(said.get("resample", 2), str(said.get("resample"))),
    }


def find_side(size: Any) -> int | None:
    """The side of a square in pixels, however it is written."""
    if isinstance(size, Mapping):
        sides = {side for key in ("height", "width", "shortest_edge") if (side := size.get(key)) is not None}
        return int(sides.pop()) if len(sides) == 1 else None
    return size if isinstance(size, int) else None
