"""One combo, from prepared images to its record."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.board import Board, Combo
from harness.choices import Choices
from harness.components import Metric
from harness.data.boxes import Boxes
from harness.data.columns import fit_columns, table_digest
from harness.data.loading import Source
from harness.data.placement import Placed
from harness.data.prepare import Prepared
from harness.data.pretraining import PretrainingSource, unite
from harness.data.subsets import Subset
from harness.errors import ClaimLostError, DataError, StorageError, UsageError
from harness.evaluation.evaluate import Evaluation, Protocol, evaluate
from harness.evaluation.localization import NO_MAPS, NO_NETWORK, MapValues
from harness.evaluation.predictions import Predictions
from harness.evaluation.resamples import Resamples
from harness.execution.controls import predict_prevalence
from harness.execution.failures import explain_failure
from harness.execution.maps import make_maps
from harness.execution.probing import (
    assemble_probe,
    describe_probe,
    describe_probe_cost,
    describe_subset,
    list_trained,
    name_absent,
)
from harness.files import Content, is_full
from harness.metric_names import split_name
from harness.parameters import recipe_values
from harness.results.artifacts import stage
from harness.results.description import describe_evaluation, describe_notes, describe_splits
from harness.results.identity import fingerprint_test
from harness.results.layout import MAPS, PATIENTS, WEIGHTS, predictions_file
from harness.results.provenance import describe_run, scrub, scrub_paths
from harness.results.record import (
    ComboPart,
    DatasetPart,
    EfficiencyPart,
    EpochPart,
    ExecutionPart,
    FailureKind,
    FailurePart,
    PretrainingPart,
    ProvenancePart,
    Record,
    TrainingPart,
)
from harness.results.shadow import describe_training
from harness.results.store import run_folder
from harness.training import VERSION
from harness.training.build import describe_inputs, make_validation_metric, set_up
from harness.training.capture import broken_capture
from harness.training.checkpoint import Checkpoint
from harness.training.cost import EnergyMeter, count_flops
from harness.training.embedding import embed
from harness.training.engine import DEFAULT_ENGINE_OPTIONS, EngineOptions, Execution
from harness.training.fit import Epoch, Training
from harness.training.memory import DeviceData, release
from harness.training.numerics import computing
from harness.training.pace import OnSteps
from harness.training.probe import fit_probe
from harness.training.setup import Setup
from harness.training.timer import wait_for
from harness.training.weight_file import Trained, describe_network, write_weight_file

OnEpoch = Callable[[Epoch], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """One combo with all that it needs; nothing else is read."""

    board: Board
    combo: Combo
    choices: Choices
    key: str
    source: Source
    prepared: Prepared
    fingerprint: str
    protocol: Protocol
    """How its predictions are evaluated; its metrics are those of the board and of the recipe."""
    objective: Metric
    """The board's: it picks the epoch where the recipe says so."""
    device: torch.device
    engine: EngineOptions = DEFAULT_ENGINE_OPTIONS
    boxes: Boxes | None = None
    """What heat maps are held against, where the board has a metric of them."""
    prepare_seconds: float = 0.0
    """Seconds spent on decoding the images, or on opening them in the cache, for all combos of that size."""
    resume: bool = True
    """Whether an interrupted training of this combo goes on, or begins again."""
    guard: Callable[[], None] = lambda: None
    """Called before anything is written; raises `ClaimLostError` where the combo is another process's by now."""
    plugins: tuple[str, ...] = ()
    """The files given by --plugin that take part, without their folders."""
    missing: str | None = None
    """Why its initial weights are not there, in words; None where they are."""
    made_of: Mapping[str, Any] | None = None
    """What its network is made of beside code, where there is something to say."""
    seen: tuple[PretrainingSource, ...] = ()
    """What its network has seen before."""
    pretraining: Sequence[PretrainingPart] = ()
    """What of that is in the test."""
    subset: Subset | None = None
    """The training patients in use, where the recipe does not ask for all."""

    @property
    def used(self) -> Prepared:
        """The images, of which those that are not in use belong to no split."""
        return self.prepared if self.subset is None else self.subset.prepared

    @property
    def board_folder(self) -> Path:
        """Where the board lies."""
        return self.board.folder


class Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def move(self, source: str, target: str, seconds: float) -> None:
        """Count some of a phase's seconds as another's."""
        self.seconds[source] -= seconds
        self.seconds[target] = self.seconds.get(target, 0.0) + seconds


@dataclass(frozen=True, eq=False)
class Result:
    """What a combo leaves behind."""

    record: Record
    resamples: Resamples | None = None


def run_combo(job: Job, on_device: DeviceData, on_epoch: OnEpoch, on_steps: OnSteps = lambda steps: None) -> Result:
    """Train, predict and measure; whatever goes wrong with the combo becomes a failed record.

    What ends the run is raised: an interruption, `StorageError` where nothing can be written, `ClaimLostError`.
    """
    if reason_to_skip(job) is not None:
        return skip(job)
    with computing(job.device, job.choices.recipe.precision):
        result = _run(job, on_device, on_epoch, on_steps)
    if job.device.type == "cuda" or result.record.status == "failed":
        with contextlib.suppress(RuntimeError):  # a GPU after a fault
            release()  # out of reach of an exception, which holds on to the network
    return result


def _run(job: Job, on_device: DeviceData, on_epoch: OnEpoch, on_steps: OnSteps) -> Result:
    try:
        if job.combo.row.control == "prevalence":
            return _measure_prevalence(job)
        watch = Stopwatch()
        watch.seconds["prepare"] = job.prepare_seconds
        if job.choices.recipe.train in ("head", "neighbors"):
            return _probe_and_measure(job, on_device, watch, on_steps)
        with watch.phase("place"):
            placed = on_device.place(job.used, job.device, job.engine.placement)
        return _train_and_measure(job, placed, watch, on_epoch, on_steps)
    except (StorageError, ClaimLostError):
        raise
    except (Exception, SystemExit) as error:  # a combo's failure is a result; the others go on
        if is_full(error):
            raise StorageError(f"{job.combo.name}: {error}; make room") from error
        return failed_result(job, explain_failure(error, job.choices))


def skip(job: Job) -> Result:
    """A combo that cannot be run here: see `reason_to_skip`."""
    kind: FailureKind = "plugin" if job.missing is None else "data"
    failure = FailurePart(kind=kind, message=scrub(reason_to_skip(job) or ""), where="before training")
    return Result(_record(job, status="skipped", failure=failure))


def failed_result(job: Job, failure: FailurePart, provenance: ProvenancePart | None = None) -> Result:
    """A combo that came to nothing; `provenance` of the process that ran it, where that is not this one."""
    return Result(_record(job, provenance, status="failed", failure=failure))


def reason_to_skip(job: Job) -> str | None:
    """Why a combo cannot be run here, or mean anything on this data; None where it can."""
    if job.missing is not None:
        return job.missing
    loss, model, recipe = job.choices.loss, job.choices.model, job.choices.recipe
    if loss.scalar and bool(np.isnan(job.prepared.data.targets).any()):
        return f"loss '{loss.name}' reduces by itself and cannot leave out unknown targets, which this dataset has"
    if recipe.train != "all" and loss.name != "bce":
        return f"recipe '{recipe.name}' trains nothing by a loss of one's choice; name the loss 'bce' beside it"
    if model.inputs.size is not None and model.inputs.size != recipe.size:
        return f"model '{model.name}' takes images of {model.inputs.size} px only, the recipe gives {recipe.size}"
    try:
        fit_columns(job.prepared.data, model.inputs.table)
        if model.origin is not None and model.origin.require_labels is not None:
            model.origin.require_labels(job.prepared.data.labels, **job.choices.model_params)
    except DataError as error:
        return f"model '{model.name}' cannot be trained here: {error}"
    except UsageError as error:
        return f"model '{model.name}' cannot be used here: {error}"
    return None


def _train_and_measure(job: Job, placed: Placed, watch: Stopwatch, on_epoch: OnEpoch, on_steps: OnSteps) -> Result:
    energy, broken = EnergyMeter(job.device), broken_capture()
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
    with watch.phase("build"):
        setup = _set_up(job, placed)
        training = Training(setup, lambda execution: _checkpoint(job, execution), on_steps)
    training.execution.notes += setup.notes
    if broken is not None:
        training.execution.notes.append(f"the capture of a CUDA graph had broken off in the same process ({broken})")
    with watch.phase("train"):
        for epoch in training.epochs():
            on_epoch(epoch)
    watch.move("train", "capture", training.execution.preparation_seconds)
    predictions = {}
    for split in ("val", "test"):
        with watch.phase(f"predict {split}"):
            predictions[split] = training.predictor.predictions(split)
            wait_for(job.device)
    maps = _explain(job, setup, watch)
    with watch.phase("evaluate"):
        evaluation = evaluate(predictions["test"], predictions["val"], job.protocol, maps)
    record = _record(
        job,
        status="done",
        **describe_evaluation(evaluation),
        training=_describe_training(job, training),
        efficiency=_describe_cost(job, training, watch, energy),
        artifacts=_save(job, _list_trained(training), setup.network, evaluation, predictions) | _save_maps(job, maps),
    )
    return Result(record, evaluation.resamples)


def _probe_and_measure(job: Job, on_device: DeviceData, watch: Stopwatch, on_steps: OnSteps) -> Result:
    """Fit a head on the embeddings of a frozen network, which is built only where they are not in the cache."""
    energy, recipe, seed = EnergyMeter(job.device), job.choices.recipe, job.combo.seed
    if job.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)

    def place() -> Placed:
        return on_device.place(job.prepared, job.device, job.engine.placement)

    remarks: list[str] = []
    with watch.phase("embed"):
        inputs = describe_inputs(job.used, recipe, job.choices.model.inputs, seed)
        embeddings = embed(
            job.choices,
            job.prepared,
            place,
            inputs,
            seed,
            job.device,
            job.engine,
            remark=remarks.append,
            on_steps=on_steps,
        )
    with watch.phase("train"):
        probe = fit_probe(recipe, job.used, embeddings, job.device)
        wait_for(job.device)
    predictions = {}
    for split in ("val", "test"):
        with watch.phase(f"predict {split}"):
            predictions[split] = probe.predictions(split)
    maps: MapValues | str = NO_MAPS
    if job.boxes is not None:
        with watch.phase("explain"):
            network, table = assemble_probe(probe, job.choices, inputs, seed)
            maps = make_maps(job.choices, job.protocol.metrics, job.boxes, place(), network, inputs[0], table)
    with watch.phase("evaluate"):
        evaluation = evaluate(predictions["test"], predictions["val"], job.protocol, maps)
    peak = torch.cuda.max_memory_allocated(job.device) if job.device.type == "cuda" else None
    record = _record(
        job,
        status="done",
        **describe_evaluation(evaluation),
        training=describe_probe(probe, recipe, job.subset, [*remarks, *(inputs[1].notes if inputs[1] else ())]),
        efficiency=describe_probe_cost(embeddings, watch.seconds, peak, energy.joules()),
        artifacts=_save(job, list_trained(probe, recipe, inputs, seed), probe.head, evaluation, predictions)
        | _save_maps(job, maps),
    )
    return Result(record, evaluation.resamples)


def _explain(job: Job, setup: Setup, watch: Stopwatch) -> MapValues | str:
    """The best weights' heat maps, where the board asks for them; else nothing is done."""
    if job.boxes is None:
        return NO_MAPS
    with watch.phase("explain"):
        network, table = setup.network, setup.table
        maps = make_maps(job.choices, job.protocol.metrics, job.boxes, setup.placed, network, setup.task, table)
        wait_for(job.device)
    return maps


def _measure_prevalence(job: Job) -> Result:
    """The control that trains nothing."""
    predictions = {split: predict_prevalence(job.used.data, split) for split in ("val", "test")}
    evaluation = evaluate(predictions["test"], predictions["val"], job.protocol, NO_NETWORK)
    record = _record(
        job, status="done", **describe_evaluation(evaluation), artifacts=_save_predictions(job, predictions)
    )
    return Result(record, evaluation.resamples)


def _checkpoint(job: Job, execution: Execution) -> Checkpoint:
    """Where the combo's resume state lies, and what it has to have in common with this run."""
    circumstances = {
        "device": job.device.type,
        "torch": torch.__version__,
        "precision": execution.precision,
        "engine": str(VERSION),
    }
    checkpoint = Checkpoint(run_folder(job.board_folder, job.key), circumstances, job.guard)
    if not job.resume:
        checkpoint.remove()
    return checkpoint


def _set_up(job: Job, placed: Placed) -> Setup:
    recipe = job.choices.recipe
    names = {recipe.select_on, recipe.schedule.watch} - {"loss"}
    metrics = {name: make_validation_metric(placed, _metric(job, name)) for name in names}
    return set_up(job.choices, job.used, placed, job.combo.seed, metrics, job.engine)


def name_selection(job: Job) -> str:
    """The metric that picks a combo's best epoch, or `loss`."""
    chosen = job.choices.recipe.select_on
    return chosen if chosen == "loss" else _metric(job, chosen).name


def _metric(job: Job, name: str) -> Metric:
    """The metric that a recipe means by a name."""
    if name == "objective":
        return job.objective
    base = split_name(name)[0]
    return next(metric for metric in (job.objective, *job.protocol.metrics) if metric.name == base)


# --- the record ------------------------------------------------------------------------------------------------------


def _record(job: Job, provenance: ProvenancePart | None = None, **parts: object) -> Record:
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


def _describe_training(job: Job, training: Training) -> TrainingPart:
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


def _describe_cost(job: Job, training: Training, watch: Stopwatch, energy: EnergyMeter) -> EfficiencyPart:
    timings = [epoch.timing for epoch in training.history if epoch.timing is not None]
    network, placed = training.setup.network, training.setup.placed
    return EfficiencyPart(
        train_images_per_second=sum(t.images for t in timings) / sum(t.seconds for t in timings) if timings else None,
        inference_images_per_second=len(placed.splits["test"]) / watch.seconds["predict test"],
        step_milliseconds=statistics.median(t.median for t in timings) if timings else None,
        step_milliseconds_p95=statistics.median(t.p95 for t in timings) if timings else None,
        peak_device_bytes=torch.cuda.max_memory_allocated(job.device) if job.device.type == "cuda" else None,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        flops_per_image=count_flops(network, training.setup.task),
        seconds={name: round(seconds, 3) for name, seconds in watch.seconds.items()},
        joules=energy.joules(),
    )


def _save_predictions(job: Job, predictions: dict[str, Predictions]) -> dict[str, str]:
    """Stage predictions under `runs/<key>/`, until the record is written; gives each file's sha256."""
    job.guard()
    folder = run_folder(job.board_folder, job.key)
    contents: dict[str, Content] = {predictions_file(split): made.write for split, made in predictions.items()}
    if job.subset is not None:
        contents[PATIENTS] = job.subset.text
    return {name: stage(folder / name, content) for name, content in contents.items()}


def _list_trained(training: Training) -> Trained:
    """What a training by gradient leaves beside tensors."""
    setup, execution = training.setup, training.execution
    return Trained(
        task=setup.task,
        recipe=setup.recipe,
        prepared=setup.placed.prepared,
        codes=setup.codes,
        precision=execution.precision,
        compiled=execution.compiled,
    )


def _save(
    job: Job, trained: Trained, network: nn.Module, evaluation: Evaluation, predictions: dict[str, Predictions]
) -> dict[str, str]:
    """Stage predictions and weights, which can be restored, under `runs/<key>/`; gives each file's sha256.

    `network` is what was fitted: of a probe, the head alone.
    """
    folder, digests = run_folder(job.board_folder, job.key), _save_predictions(job, predictions)
    job.guard()
    own = describe_training(job.source, job.combo.options, job.fingerprint)
    about = describe_network(trained, job.choices, evaluation, job.protocol.names, unite((own, *job.seen)))
    return digests | {WEIGHTS: stage(folder / WEIGHTS, lambda path: write_weight_file(path, network, about))}


def _save_maps(job: Job, maps: MapValues | str) -> dict[str, str]:
    """Stage what heat maps came to under `runs/<key>/`; gives the file's sha256, or nothing where there are none."""
    if isinstance(maps, str):
        return {}
    job.guard()
    return {MAPS: stage(run_folder(job.board_folder, job.key) / MAPS, maps.write)}
