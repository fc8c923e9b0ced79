"""Heat maps for the app, to be laid over an image."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.serving.rows import LoadedRow
from harness.training.attribution import Explainer
from harness.training.numerics import computing

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

ANCHORS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float64)


def make_map(row: LoadedRow, pixels: NDArray[np.uint8], label: str, table: pd.DataFrame | None) -> NDArray[np.uint8]:
    """Red, green, blue and opacity (F, F, 4) uint8 of where a label's logit comes from in an image (S, S) uint8.

    The first seed's network is asked. The strongest place is opaque and bright, and what says nothing transparent;
    where nothing speaks for the label, all of it is.
    """
    member = row.members[0]
    encoded = member.encode(table, 1)
    with computing(row.device, "float32"):
        images = torch.from_numpy(np.array(pixels)[None]).to(row.device)
        given = None if encoded is None else torch.from_numpy(encoded).to(row.device)
        found = _make_explainer(row).explain(images, [row.labels.index(label)], given)[0].cpu().numpy()
    highest = float(found.max())
    shares = found / highest if highest > 0 else np.zeros_like(found)
    places = np.linspace(0, 1, len(ANCHORS))
    channels = [np.interp(shares, places, ANCHORS[:, channel]) for channel in range(3)]
    return np.round(np.stack([*channels, 255 * shares], axis=-1)).astype(np.uint8)


@functools.lru_cache(maxsize=16)
def _make_explainer(row: LoadedRow) -> Explainer:
    member = row.members[0]
    return Explainer.of(member.network, member.task, member.recipe, mirrors=member.mirrors)
