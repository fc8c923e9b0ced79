"""How long probes take: to fit all labels and strengths on the embeddings of a large dataset, and as a whole command.

On 2 cores: 86,000 x 768 embeddings, 14 labels, 8 strengths in 3.3 s, within 1.3 GB. A second probe of an encoder, from
the command to the page, takes some 2.5 times what `import torch` takes alone.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.components import Recipe
from harness.training.logistic import fit_heads

IMAGES, WIDTH, LABELS = 86_000, 768, 14
PROBE = (
    *("-m", "harness", "run", "--dataset", "phantom", "--models", "chexnet", "--losses", "bce"),
    *("--set", "recipe.weights=random", "--set", "recipe.size=64", "--recipes"),
)


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the images of phantom lie embedded, by a first probe."""
    made: Path = tmp_path_factory.mktemp("probes")
    run(made, *PROBE, "linear-probe", "--board", "first")
    return made


def run(folder: Path, *arguments: str) -> None:
    environment = os.environ | {"HARNESS_CACHE_DIR": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize(
    "command",
    [("-c", "import torch"), (*PROBE, "knn", "--board", "second")],
    ids=["importing torch alone", "the whole command"],
)
def test_a_second_probe_of_an_encoder(benchmark, folder, command):
    def forget() -> None:
        shutil.rmtree(folder / "second", ignore_errors=True)

    benchmark.pedantic(run, (folder, *command), setup=forget, rounds=3)
