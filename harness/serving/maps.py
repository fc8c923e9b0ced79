"""Heat maps for the app, to be laid over an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.errors import PluginError
from harness.registry import Registry
from harness.serving.explanation import make_explainer, paint
from harness.serving.rows import LoadedRow
from harness.training.attribution import Explainer
from harness.training.numerics import computing

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Drawn:
    """A heat map in colors."""

    colors: NDArray[np.uint8]
    """(F, F, 4): red, green, blue and opacity."""
    about: str
    """How it was made, or that there is nothing to see in it; for a mean of seeds, by which of them."""


def find_explainer(row: LoadedRow, registry: Registry) -> Explainer:
    """Grad-CAM, or integrated gradients for a network without a layer that has places."""
    try:
        return make_explainer(row, registry)
    except PluginError:
        return make_explainer(row, registry, "integrated-gradients")


def draw_map(
    row: LoadedRow, explainer: Explainer, pixels: NDArray[np.uint8], label: str, table: pd.DataFrame | None
) -> Drawn:
    """Where a label's logit comes from in an image (S, S) uint8, by the first seed's network.

    The strongest place is opaque and bright, and what says nothing is transparent.
    """
    encoded = row.members[0].encode(table, 1)
    with computing(row.device, "float32"):
        images = torch.from_numpy(np.array(pixels)[None]).to(row.device)
        given = None if encoded is None else torch.from_numpy(encoded).to(row.device)
        heat = explainer.explain(images, [row.labels.index(label)], given)[0].cpu().numpy()  # (F, F)
    whose = f" (seed {row.records[0].combo.seed} alone)" if len(row.members) > 1 else ""
    highest = float(heat.max())
    if not highest > 0:
        empty = np.zeros((*heat.shape, 4), dtype=np.uint8)
        return Drawn(empty, f"nothing in this image speaks for the label{whose}")
    share = heat / highest
    colors = np.rint(np.concatenate([paint(share), 255 * share[..., None]], axis=-1)).astype(np.uint8)
    how = "by Grad-CAM" if explainer.method == "grad-cam" else "by integrated gradients"
    return Drawn(colors, f"{how}{whose}")
