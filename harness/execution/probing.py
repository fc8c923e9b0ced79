"""What a probe leaves behind: its network, and what a record says of it, of its embeddings and of its training data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness.choices import Choices
from harness.components import Recipe, Task
from harness.data.columns import EncodedTable
from harness.data.embeddings import Embeddings
from harness.data.subsets import Subset
from harness.results.identity import NAMED_WEIGHTS
from harness.results.provenance import scrub
from harness.results.record import (
    EfficiencyPart,
    EmbeddingsPart,
    ExecutionPart,
    ProbePart,
    SubsetPart,
    TrainingPart,
)
from harness.training.embedding import build_frozen
from harness.training.probe import Probe
from harness.training.weight_file import FrozenPart, Trained

if TYPE_CHECKING:
    from torch import Tensor, nn


def assemble_probe(
    probe: Probe, choices: Choices, inputs: tuple[Task, EncodedTable | None], seed: int
) -> tuple[nn.Module, Tensor | None]:
    """The whole network of a probe, and the table that it gets beside images, on the probe's device."""
    task, encoded = inputs
    frozen = build_frozen(choices.model, choices.model_params, task, choices.recipe.weights, seed, probe.device)
    frozen.put(probe.head)
    return frozen.network, torch.from_numpy(encoded.numbers).to(probe.device) if encoded else None


def list_trained(probe: Probe, recipe: Recipe, inputs: tuple[Task, EncodedTable | None], seed: int) -> Trained:
    """What a probe leaves beside the tensors of its head."""
    task, encoded = inputs
    named = recipe.weights in NAMED_WEIGHTS
    about = probe.embeddings.manifest.about
    return Trained(
        task=task,
        recipe=recipe,
        prepared=probe.prepared,
        codes=encoded.codes if encoded else (),
        precision=about["precision"],
        frozen=FrozenPart(
            kind="head" if recipe.train == "head" else "neighbors",
            layer=about["layer"],
            weights=recipe.weights if named else str(Path(recipe.weights).expanduser().resolve()),
            seed=seed,
            digest=about["frozen"],
        ),
    )


def describe_probe(probe: Probe, recipe: Recipe, subset: Subset | None, notes: Sequence[str]) -> TrainingPart:
    """How fitting a head went; there are no epochs."""
    labels, about = probe.prepared.data.labels, probe.embeddings.manifest.about
    chosen = dict(zip(labels, map(_none_if_nan, probe.chosen), strict=True))
    losses = [loss for loss in probe.losses if not math.isnan(loss)]
    return TrainingPart(
        epochs=0,
        best_epoch=0,
        select_on="loss",
        best_value=sum(losses) / len(losses) if losses else None,
        stopped_early=False,
        execution=ExecutionPart(
            placement="embedded",
            precision=about["precision"],
            channels_last=about["channels_last"],
            compiled=False,
            step="eager",
            micro_batch=None,
            notes=[scrub(note) for note in (*about["notes"], *notes, *probe.notes)],
        ),
        history=[],
        probe=ProbePart(
            layer=about["layer"],
            width=probe.embeddings.manifest.width,
            strengths=chosen if recipe.train == "head" else {},
            neighbors={label: int(value) for label, value in chosen.items() if value is not None}
            if recipe.train == "neighbors"
            else {},
            losses=dict(zip(labels, map(_none_if_nan, probe.losses), strict=True)),
        ),
        subset=describe_subset(subset, recipe),
    )


def describe_subset(subset: Subset | None, recipe: Recipe) -> SubsetPart | None:
    """The training patients in use, where they are not all."""
    if subset is None:
        return None
    return SubsetPart(
        share=recipe.train_share,
        asked_positives=recipe.train_positives,
        patients=len(subset.patients),
        images=subset.images,
        positives=dict(subset.positives),
        digest=subset.digest,
    )


def name_absent(subset: Subset | None) -> Sequence[str]:
    """A note on labels that the training images in use do not have."""
    absent = [] if subset is None else [label for label, there in subset.positives.items() if not there]
    return [f"no training image in use has {', '.join(absent)}"] if absent else []


def describe_probe_cost(
    embeddings: Embeddings, seconds: Mapping[str, float], peak: int | None, joules: float | None
) -> EfficiencyPart:
    """What a probe cost, and what its embeddings did, which other probes share."""
    manifest = embeddings.manifest
    return EfficiencyPart(
        inference_images_per_second=manifest.count / manifest.seconds if manifest.seconds else None,
        peak_device_bytes=peak,
        parameters=manifest.about["parameters"],
        flops_per_image=manifest.about["flops"],
        seconds={name: round(value, 3) for name, value in seconds.items()},
        joules=joules,
        embeddings=[
            EmbeddingsPart(
                key=embeddings.key,
                digest=manifest.digest,
                images=manifest.count,
                seconds=round(manifest.seconds, 3),
            )
        ],
    )


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
