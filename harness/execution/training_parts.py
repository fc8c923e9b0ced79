"""What the record of a training by gradient says of it: its epochs, how it was carried out, and what it cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import torch

from harness.execution.job import Job, name_selection
from harness.execution.probing import describe_subset, name_absent
from harness.results.provenance import scrub
from harness.results.record import EfficiencyPart, EpochPart, ExecutionPart, TrainingPart
from harness.training.cost import EnergyMeter, count_flops
from harness.training.fit import Training


def describe_fit(job: Job, training: Training) -> TrainingPart:
    """What became of a training by gradient: its epochs, and how it was carried out."""
    history = training.history
    best = max((epoch for epoch in history if epoch.best), key=lambda epoch: epoch.number, default=None)
    execution = training.execution
    return TrainingPart(
        epochs=len(history),
        best_epoch=0 if best is None else best.number,
        select_on=name_selection(job),
        best_value=None if best is None else best.value,
        stopped_early=len(history) < job.choices.recipe.epochs,
        execution=ExecutionPart(
            placement=execution.placement,
            precision=execution.precision,
            channels_last=execution.channels_last,
            compiled=execution.compiled,
            step=execution.step,
            micro_batch=execution.micro_batch,
            notes=[scrub(note) for note in (*execution.notes, *name_absent(job.subset))],
        ),
        history=[
            EpochPart(
                epoch=epoch.number,
                lr=epoch.lr,
                train_loss=epoch.train_loss,
                val_loss=epoch.val_loss,
                selected_on=epoch.value,
                seconds=round(epoch.seconds, 3),
            )
            for epoch in history
        ],
        subset=describe_subset(job.subset, job.choices.recipe),
    )


def describe_cost(job: Job, training: Training, seconds: Mapping[str, float], energy: EnergyMeter) -> EfficiencyPart:
    """What a training by gradient cost; `seconds` are those of each phase."""
    timings = [epoch.timing for epoch in training.history if epoch.timing is not None]
    network, placed = training.setup.network, training.setup.placed
    return EfficiencyPart(
        train_images_per_second=sum(t.images for t in timings) / sum(t.seconds for t in timings) if timings else None,
        inference_images_per_second=len(placed.splits["test"]) / seconds["predict test"],
        step_milliseconds=statistics.median(t.median for t in timings) if timings else None,
        step_milliseconds_p95=statistics.median(t.p95 for t in timings) if timings else None,
        peak_device_bytes=torch.cuda.max_memory_allocated(job.device) if job.device.type == "cuda" else None,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        flops_per_image=count_flops(network, training.setup.task),
        seconds={name: round(value, 3) for name, value in seconds.items()},
        joules=energy.joules(),
    )
