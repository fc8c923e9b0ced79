"""What takes the place of a frozen network's last linear layer: embeddings (B, D) to logits (B, C), in float32.

A head computes in float32 whatever the network before it computes in, so that it gives the same from stored embeddings
as behind the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.training.weight_file import HeadKind

TEMPERATURE = 0.07
"""Cosines are divided by it before they become weights: a neighbor that is nearer by 0.07 counts e times as much (as
in the evaluation of DINO, Caron et al. 2021, arXiv 2104.14294)."""
BLOCK = 16_384
"""Images of the bank that are compared at a time, so that memory is bounded."""
RAREST = 1e-6
"""Prevalence that a label is given at least, and at most below 1, so that its logit is finite."""


class LinearHead(nn.Linear):
    """A linear layer in float32."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C) of embeddings (B, D)."""
        with torch.autocast(features.device.type, enabled=False):
            return nn.functional.linear(features.float(), self.weight, self.bias)


class NeighborsHead(nn.Module):
    """The targets of the training images that are most alike, by cosine, weighted by how alike they are.

    Each label is asked of its own number of images, among those where it is known. One more neighbor with the label's
    prevalence keeps the logit finite.
    """

    bank: Tensor
    """(n, D) embeddings of the training images, of length 1."""
    targets: Tensor
    """(n, C) in 0..1; 0 where unknown."""
    known: Tensor
    """(n, C) bool."""
    asked: Tensor
    """(C,) int64, how many images each label is asked of."""

    def __init__(self, bank: Tensor, targets: Tensor, known: Tensor, asked: Tensor) -> None:
        super().__init__()
        for name, tensor in (("bank", bank), ("targets", targets), ("known", known), ("asked", asked)):
            self.register_buffer(name, tensor)
        self._groups = _group_labels(known)
        self._numbers: list[int] = asked.tolist()

    @classmethod
    def of(cls, features: Tensor, targets: Tensor, asked: int) -> NeighborsHead:
        """A head of training embeddings (n, D) and targets (n, C), NaN where unknown; every label asks as many."""
        known = ~targets.isnan()
        wanted = torch.full((targets.shape[1],), asked, device=features.device)
        return cls(nn.functional.normalize(features.float(), dim=1), targets.nan_to_num(0.0).float(), known, wanted)

    def choose(self, asked: Tensor) -> NeighborsHead:
        """The same head, in which each label asks its own number of images, (C,) int64."""
        return NeighborsHead(self.bank, self.targets, self.known, asked)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C) of embeddings (B, D)."""
        numbers = sorted(set(self._numbers))
        logits = self.ask(features, numbers)  # (G, B, C)
        return torch.stack([logits[numbers.index(one), :, label] for label, one in enumerate(self._numbers)], dim=1)

    def ask(self, features: Tensor, numbers: Sequence[int]) -> Tensor:
        """Logits (G, B, C) of embeddings (B, D), for each of G numbers of neighbors."""
        with torch.autocast(features.device.type, enabled=False):
            own = nn.functional.normalize(features.float(), dim=1)
            # not len(own), which would bind what exports a network to one number of images
            logits = own.new_zeros(len(numbers), own.shape[0], self.targets.shape[1])
            for labels, total in self._groups:
                logits[:, :, labels] = self._ask_group(own, labels, total, numbers)
            return logits

    def _ask_group(self, own: Tensor, labels: list[int], total: int, numbers: Sequence[int]) -> Tensor:
        """Logits (G, B, c) of some labels that are known of the same images, `total` in number."""
        known, targets = self.known[:, labels[0]], self.targets[:, labels]
        if total == 0:
            return own.new_zeros(len(numbers), own.shape[0], len(labels))  # a probability of one half: nobody knows
        prior = (targets.sum(0) / total).clamp(RAREST, 1 - RAREST)  # (c,), unknown targets being 0
        likeness, index = self._find_nearest(own, known, min(max(numbers), total))  # (B, K)
        weight = ((likeness - likeness[:, :1]) / TEMPERATURE).exp()
        found, of_all = (weight[..., None] * targets[index]).cumsum(1), weight.cumsum(1)  # (B, K, c), (B, K)
        logits = []
        for number in numbers:
            used = min(number, total)
            share = (found[:, used - 1] / of_all[:, used - 1, None]).clamp(0, 1)  # (B, c)
            # odds of two small sums, where the logit of a probability would round to one and be infinite
            logits.append((share * used + prior).log() - ((1 - share) * used + (1 - prior)).log())
        return torch.stack(logits)

    def _find_nearest(self, own: Tensor, known: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        """Cosines and places in the bank (B, K) of the nearest images where a label is known, the nearest first."""
        best: tuple[Tensor, Tensor] | None = None
        for first in range(0, len(self.bank), BLOCK):
            cosines = own @ self.bank[first : first + BLOCK].T  # (B, block)
            cosines = cosines.masked_fill(~known[first : first + BLOCK], -2.0)
            values, places = cosines.topk(min(wanted, cosines.shape[1]), dim=1)
            places = places + first
            if best is not None:
                values, places = torch.cat([best[0], values], dim=1), torch.cat([best[1], places], dim=1)
                values, order = values.topk(min(wanted, values.shape[1]), dim=1)
                places = places.gather(1, order)
            best = values, places
        assert best is not None
        return best


def _group_labels(known: Tensor) -> list[tuple[list[int], int]]:
    """Labels that are known (n, C) of the same images, which have the same neighbors, and how many images those are.

    Plain numbers, so that what exports a network sees no branch that depends on tensors.
    """
    _, group = known.unique(dim=1, return_inverse=True)
    counts = known.sum(0).tolist()
    groups: dict[int, list[int]] = {}
    for label, number in enumerate(group.tolist()):
        groups.setdefault(number, []).append(label)
    return [(labels, counts[labels[0]]) for labels in groups.values()]


def make_head(kind: HeadKind, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A head of its stored tensors. Raises `WeightsError` where they are not those of such a head."""
    try:
        if kind == "neighbors":
            return NeighborsHead(*(tensors[name] for name in ("bank", "targets", "known", "asked")))
        weight, bias = tensors["weight"], tensors["bias"]
    except (KeyError, IndexError) as error:
        raise WeightsError(f"the file of a probe lacks {error} of its head") from None
    head = LinearHead(weight.shape[1], weight.shape[0], device=weight.device)
    head.load_state_dict({"weight": weight, "bias": bias})
    return head
