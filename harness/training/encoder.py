"""An encoder with a linear head: what frozen encoders, probes of them and zero-shot heads are as networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import interpolate, normalize

from harness.data.prompts import Prompts
from harness.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

ALIKE = 1e-6
"""Distance of two mean directions of sentences below which a text tower does not tell them apart."""


class EncoderNetwork(nn.Module):
    """Images (B, K, H, W) -> embeddings (B, D) -> logits (B, C)."""

    def __init__(
        self,
        encoder: nn.Module,
        embed: Callable[[nn.Module, Tensor], Tensor],
        width: int,
        classes: int,
        *,
        size: int,
        filter_: str,
        unit_length: bool = False,
    ) -> None:
        """`embed(encoder, images (B, K, size, size))` gives embeddings (B, width).

        Larger images are resized to `size` by the encoder's own filter, antialiased. With `unit_length`, embeddings are
        divided by their length, as they are before they are held against texts.
        """
        super().__init__()
        self.encoder = encoder
        self.size, self.filter, self.unit_length = size, filter_, unit_length
        self._embed = embed
        self.head = nn.Linear(width, classes)

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) of images (B, K, H, W)."""
        if images.shape[-2:] != (self.size, self.size):
            smooth = self.filter != "nearest"
            images = interpolate(images, (self.size, self.size), mode=self.filter, antialias=smooth)
        found = self._embed(self.encoder, images)
        return normalize(found, dim=-1) if self.unit_length else found

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.head(self.embed(images))
        return logits


def make_zero_shot_head(
    prompts: Mapping[str, Prompts], embed_texts: Callable[[list[str]], Tensor], scale: float
) -> dict[str, Tensor]:
    """The head of an `EncoderNetwork` of unit length whose logits are (B, C), one for each label of `prompts`.

    `embed_texts` gives embeddings (n, D) of n sentences. A label's logit is `scale` times the cosine of the image with
    the mean of what says that it is present, less that with the mean of what says that it is absent.

    Raises `WeightsError` where the text tower does not tell the two apart: every image would get the same score.
    """
    with torch.inference_mode():
        rows = []
        for label, one in prompts.items():
            present, absent = (_average(embed_texts(list(texts))) for texts in (one.present, one.absent))
            if not float((present - absent).norm()) > ALIKE:
                raise WeightsError(
                    f"the text tower gives the same embedding to the sentences that say that '{label}' is present and "
                    "to those that say that it is absent, so that every image would get one score; the tokenizer may "
                    "not belong to the tower, or the sentences say the same"
                )
            rows.append(scale * (present - absent))
        weight = torch.stack(rows).clone()
    return {"head.weight": weight, "head.bias": torch.zeros(len(rows))}


def _average(texts: Tensor) -> Tensor:
    """The mean direction (D,) of texts (n, D)."""
    return normalize(normalize(texts.float(), dim=-1).mean(dim=0), dim=-1)
