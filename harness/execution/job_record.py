"""The record of a combo: what was asked for, what it cost, and what came of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping

import torch

from harness.data.columns import table_digest
from harness.execution.job import Job, name_selection
from harness.execution.probing import (
    describe_subset,
    name_absent,
)
from harness.parameters import recipe_values
from harness.results.description import describe_notes, describe_splits
from harness.results.identity import fingerprint_test
from harness.results.provenance import describe_run, scrub, scrub_paths
from harness.results.record import (
    ComboPart,
    DatasetPart,
    EfficiencyPart,
    EpochPart,
    ExecutionPart,
    ProvenancePart,
    Record,
    TrainingPart,
)
from harness.training.cost import EnergyMeter, count_flops
from harness.training.fit import Training


def make_record(job: Job, provenance: ProvenancePart | None = None, **parts: object) -> Record:
    """The record of a combo, with the parts that are given; `provenance` of another process, where that ran it."""
    combo, choices = job.combo, job.choices
    made = provenance or describe_run(job.device)
    took_part = {"plugins": list(job.plugins), "data_root": not job.source.dataset.drawn}
    resolved = {"model": choices.model_params, "loss": choices.loss_params, "recipe": recipe_values(choices.recipe)}
    return Record(
        key=job.key,
        combo=ComboPart(
            dataset=combo.dataset,
            options=dict(combo.options),
            model=choices.model.name,
            loss=choices.loss.name,
            recipe=choices.recipe.name,
            params={section: _published(values) for section, values in combo.row.params.items()},
            seed=combo.seed,
            row=combo.row.name,
            control=combo.row.control,
            resolved={section: _published(values) for section, values in resolved.items()},
            made_of=None if job.made_of is None else _published(job.made_of),
        ),
        dataset=_describe_data(job),
        pretraining=list(job.pretraining),
        provenance=made.model_copy(update=took_part),
        **parts,
    )


def _published(values: Mapping[str, object]) -> dict[str, object]:
    """Values as JSON has them, without folders of this machine: a weight file is known by its digest in the key."""
    plain = json.loads(json.dumps(dict(values), default=str))
    return {name: scrub_paths(value) if isinstance(value, str) else value for name, value in plain.items()}


def _describe_data(job: Job) -> DatasetPart:
    data, prepared = job.prepared.data, job.prepared
    return DatasetPart(
        name=job.source.dataset.name,
        about=job.source.dataset.about,
        fingerprint=job.fingerprint,
        test_fingerprint=fingerprint_test(data),
        labels=list(data.labels),
        splits=describe_splits(data, prepared.left_out),
        notes=describe_notes(prepared),
        pixels=prepared.digest,
        table=table_digest(data, columns) if (columns := job.choices.model.inputs.table) else None,
    )


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
