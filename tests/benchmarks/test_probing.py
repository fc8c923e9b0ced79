"""How long it takes to fit all labels and strengths on the embeddings of a large dataset.

On 2 cores: 86,000 x 768 embeddings, 14 labels, 8 strengths in 3.3 s, within 1.3 GB.
"""

from __future__ import annotations

import resource

import torch

from harness.components import Recipe
from harness.training.logistic import fit_heads

IMAGES, WIDTH, LABELS = 86_000, 768, 14


def test_a_linear_probe_of_a_large_dataset(benchmark):
    generator = torch.Generator().manual_seed(0)
    mixing = 0.3 * torch.randn(64, WIDTH, generator=generator)
    features = torch.randn(IMAGES, 64, generator=generator) @ mixing + 0.3 * torch.randn(IMAGES, WIDTH)
    truth = features @ (0.02 * torch.randn(WIDTH, LABELS, generator=generator)) + torch.linspace(-6, -1.5, LABELS)
    targets = (torch.rand(IMAGES, LABELS, generator=generator) < truth.sigmoid()).float()
    targets[torch.rand(IMAGES, LABELS, generator=generator) < 0.1] = torch.nan
    heads = benchmark.pedantic(fit_heads, (features, targets, Recipe(name="r", train="head").strengths), rounds=1)
    assert heads.converged.all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 2**20
