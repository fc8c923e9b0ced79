"""Control rows: what finds nothing must score as nothing, or something leaks.

Nothing can be learned from shuffled targets, so a network that scores above one half on them has seen what it should
not. It may score below: by chance its targets go a little against something that can be seen, and AUROC does not ask
how little; and a network that learns first that labels are rare learns it by whatever is bright. Hence a shuffle a
seed, and the question whether its interval lies above one half.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.data.prepare import Prepared
from harness.evaluation.predictions import Predictions
from harness.training.setup import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.components import Data


def shuffle_targets(prepared: Prepared, seed: int) -> Prepared:
    """The same images with the targets of training and of validation each shuffled over their images; test stays."""
    data, generator = prepared.data, np.random.default_rng(stream(seed, "shuffled targets"))
    split, targets = data.table["split"].to_numpy(), data.targets.copy()
    for name in ("train", "val"):
        rows = np.flatnonzero(split == name)
        targets[rows] = data.targets[generator.permutation(rows)]
    return replace(prepared, data=replace(data, targets=targets))


def predict_prevalence(data: Data, split: str) -> Predictions:
    """The share of positives among the known training targets, for every image of a split."""
    from harness.training.prediction import make_predictions

    rows = np.flatnonzero(data.table["split"].to_numpy() == split)
    return make_predictions(data, rows, np.tile(find_prevalence(data), (len(rows), 1)))


def find_prevalence(data: Data) -> NDArray[np.float32]:
    """The logit (C,) of the share of positives among each label's known training targets."""
    from harness.training.heads import RAREST

    training = data.targets[(data.table["split"] == "train").to_numpy()].astype(np.float64)
    counts = (~np.isnan(training)).sum(axis=0)
    share = np.divide(np.nansum(training, axis=0), counts, out=np.full(len(data.labels), 0.5), where=counts > 0)
    share = share.clip(RAREST, 1 - RAREST)
    logits: NDArray[np.float32] = np.log(share / (1 - share)).astype(np.float32)
    return logits
