"""Heat maps for the app, to be laid over an image."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.errors import PluginError
from harness.serving.rows import LoadedRow
from harness.training.attribution import Explainer
from harness.training.numerics import computing

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

ANCHORS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A heat map in colors."""

    colors: NDArray[np.uint8]
    """(F, F, 4): red, green, blue and opacity."""
    about: str
    """How it was made, or that there is nothing to see in it."""


def make_map(row: LoadedRow, pixels: NDArray[np.uint8], label: str, table: pd.DataFrame | None) -> Drawn:
    """Where a label's logit comes from in an image (S, S) uint8, by the first seed's network.

    The strongest place is opaque and bright, and what says nothing is transparent.
    """
    explainer, encoded = _make_explainer(row), row.members[0].encode(table, 1)
    with computing(row.device, "float32"):
        images = torch.from_numpy(np.array(pixels)[None]).to(row.device)
        given = None if encoded is None else torch.from_numpy(encoded).to(row.device)
        found = explainer.explain(images, [row.labels.index(label)], given)[0].cpu().numpy()
    highest = float(found.max())
    if not highest > 0:
        return Drawn(np.zeros((*found.shape, 4), dtype=np.uint8), "nothing in this image speaks for the label")
    shares = found / highest
    places = np.linspace(0, 1, len(ANCHORS))
    channels = [np.interp(shares, places, ANCHORS[:, channel]) for channel in range(3)]
    colors = np.round(np.stack([*channels, 255 * shares], axis=-1)).astype(np.uint8)
    return Drawn(colors, "by Grad-CAM" if explainer.method == "grad-cam" else "by integrated gradients")


@functools.lru_cache(maxsize=16)
def _make_explainer(row: LoadedRow) -> Explainer:
    """Grad-CAM, or integrated gradients for a network without a layer that has places."""
    member = row.members[0]
    try:
        return Explainer.of(member.network, member.task, member.recipe, mirrors=member.mirrors)
    except PluginError:
        return Explainer.of(
            member.network, member.task, member.recipe, mirrors=member.mirrors, method="integrated-gradients"
        )
