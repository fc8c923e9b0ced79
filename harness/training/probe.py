"""Probes: a head fitted on the stored embeddings of a frozen network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from harness.components import Recipe
from harness.data.embeddings import Embeddings
from harness.data.prepare import Prepared
from harness.evaluation.predictions import Predictions
from harness.training.heads import LinearHead, NeighborsHead
from harness.training.logistic import fit_heads
from harness.training.prediction import make_predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

ALIKE = "every image is given the same score, as the training images in use do not differ in"
"""The note on labels that there is nothing to learn about."""
BATCH = 1024
"""Embeddings that a head is given at a time."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """A fitted head, and what it was fitted on."""

    head: nn.Module
    """Embeddings (B, D) to logits (B, C), on the device."""
    embeddings: Embeddings
    prepared: Prepared
    device: torch.device
    chosen: tuple[float, ...]
    """(C,) the strength of each label's penalty, or how many neighbors it asks; NaN where a label has none."""
    losses: tuple[float, ...]
    """(C,) the loss on validation by which that was chosen; NaN where no target is known there."""
    notes: tuple[str, ...]
    """What is not as one would expect, in a line each."""

    def logits(self, split: str) -> Tensor:
        """(n, C) float32 on the device, of a split's images in their order."""
        return self._apply(_find_rows(self.prepared, split))

    def predictions(self, split: str) -> Predictions:
        """What the probe says of every image of a split."""
        rows = _find_rows(self.prepared, split)
        return make_predictions(self.prepared.data, rows, self._apply(rows).cpu().numpy())

    @torch.no_grad()
    def _apply(self, rows: NDArray[np.intp]) -> Tensor:
        parts = np.array_split(rows, max(1, -(-len(rows) // BATCH)))
        return torch.cat([self.head(_take(self.embeddings, part, self.device)) for part in parts])


def fit_probe(recipe: Recipe, prepared: Prepared, embeddings: Embeddings, device: torch.device) -> Probe:
    """Fit the head that a recipe asks for on the training images, and choose by validation what it leaves open.

    Each label gets the strength, or the number of neighbors, with the lowest mean loss (cross-entropy) on validation.
    The loss is what the fit minimizes, uses every image and is there for a label of one positive, where AUROC would
    choose by chance. A label that validation tells nothing about takes what is best for the others on average.
    """
    data, rows = prepared.data, _find_rows(prepared, "train")
    targets = torch.tensor(data.targets[rows], device=device)
    features = _take(embeddings, rows, device)
    val = _find_rows(prepared, "val")
    shown, wanted = _take(embeddings, val, device), torch.tensor(data.targets[val], device=device)
    fit = _fit_linear if recipe.train == "head" else _fit_neighbors
    head, chosen, losses, notes = fit(recipe, features, targets, shown, wanted)
    told = (targets > 0).any(0) & (targets < 1).any(0)  # what is unknown is neither
    alike = [name for name, is_told in zip(data.labels, told.tolist(), strict=True) if not is_told]
    if alike:
        notes = (f"{ALIKE} {', '.join(alike)}", *notes)
    return Probe(
        head=head.eval(),
        embeddings=embeddings,
        prepared=prepared,
        device=device,
        chosen=tuple(chosen.tolist()),
        losses=tuple(losses.tolist()),
        notes=notes,
    )


Fit = tuple[nn.Module, "Tensor", "Tensor", tuple[str, ...]]
"""Head, chosen (C,), losses on validation (C,), notes."""


def _fit_linear(recipe: Recipe, features: Tensor, targets: Tensor, shown: Tensor, wanted: Tensor) -> Fit:
    heads = fit_heads(features, targets, recipe.strengths)
    logits = torch.stack(
        [shown @ weight.T + bias for weight, bias in zip(heads.weight, heads.bias, strict=True)]
    )  # (S, n, C)
    strengths = torch.tensor(recipe.strengths, dtype=torch.float64, device=features.device)
    place, losses = _choose(logits, wanted, int(strengths.argmax()))
    labels = torch.arange(len(place), device=features.device)
    head = LinearHead(features.shape[1], len(place), device=features.device).requires_grad_(requires_grad=False)
    head.load_state_dict({"weight": heads.weight[place, labels], "bias": heads.bias[place, labels]})
    unfinished = int((~heads.converged[place, labels]).sum())
    notes = (f"the fit of {unfinished} labels stopped before its minimum",) if unfinished else ()
    return head, torch.where(heads.fitted, strengths[place], torch.nan), losses, notes


def _fit_neighbors(recipe: Recipe, features: Tensor, targets: Tensor, shown: Tensor, wanted: Tensor) -> Fit:
    numbers = sorted(recipe.neighbors)
    head = NeighborsHead.of(features, targets, numbers[-1])
    logits = torch.cat([head.ask(part, numbers) for part in shown.split(BATCH)], dim=1)  # (G, n, C)
    place, losses = _choose(logits, wanted, len(numbers) - 1)
    asked = torch.tensor(numbers, device=features.device)[place]
    return head.choose(asked), asked, losses, ()


def _choose(logits: Tensor, targets: Tensor, cautious: int) -> tuple[Tensor, Tensor]:
    """Which of G ways to predict each label is best on validation, (C,), and its mean loss there.

    `logits` are (G, n, C), `targets` (n, C) with NaN where unknown; `cautious` is taken where nothing is known at all.
    """
    known = ~targets.isnan()
    values = nn.functional.binary_cross_entropy_with_logits(
        logits.double(), targets.nan_to_num(0.0).double().expand_as(logits), reduction="none"
    )
    losses = (values * known).sum(1) / known.sum(0)  # (G, C), NaN for a label that is known nowhere
    told = known.any(0)
    common = int(losses[:, told].mean(1).argmin()) if bool(told.any()) else cautious
    place = torch.where(told, losses.nan_to_num(torch.inf).argmin(0), common)
    return place, losses.gather(0, place[None])[0]


def _find_rows(prepared: Prepared, split: str) -> NDArray[np.intp]:
    """The places (n,) of a split's images."""
    return np.flatnonzero(prepared.data.table["split"].to_numpy() == split)


def _take(embeddings: Embeddings, rows: NDArray[np.intp], device: torch.device) -> Tensor:
    """Embeddings (n, D) of some images, on the device."""
    return torch.from_numpy(embeddings.values[rows]).to(device)
