"""One combo, from prepared images to its record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import torch

from harness.data.placement import Placed
from harness.data.prepare import Remark
from harness.errors import ClaimLostError, StorageError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.localization import NO_MAPS, NO_NETWORK, MapValues
from harness.execution.controls import predict_prevalence
from harness.execution.failures import explain_failure
from harness.execution.job import Job, Result, find_metric, reason_to_skip
from harness.execution.job_files import list_trained_network, save, save_maps, save_predictions
from harness.execution.job_record import failed_result, make_record, skip
from harness.execution.maps import make_maps
from harness.execution.probing import (
    assemble_probe,
    describe_probe,
    describe_probe_cost,
    list_trained,
)
from harness.execution.training_parts import describe_cost, describe_fit
from harness.files import is_full
from harness.results.description import describe_evaluation
from harness.results.store import run_folder
from harness.training import VERSION
from harness.training.build import describe_inputs, make_validation_metric, set_up
from harness.training.capture import broken_capture
from harness.training.checkpoint import Checkpoint
from harness.training.cost import EnergyMeter
from harness.training.embedding import embed
from harness.training.engine import Execution
from harness.training.epoch import Epoch
from harness.training.fit import Training
from harness.training.memory import DeviceData, release
from harness.training.numerics import computing
from harness.training.pace import OnSteps
from harness.training.probe import fit_probe
from harness.training.setup import Setup
from harness.training.timer import wait_for

OnEpoch = Callable[[Epoch], None]


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


def run_combo(
    job: Job,
    on_device: DeviceData,
    on_epoch: OnEpoch,
    on_steps: OnSteps = lambda steps: None,
    note: Remark = lambda text: None,
) -> Result:
    """Train, predict and measure; whatever goes wrong with the combo becomes a failed record.

    `note` hears what a person should know meanwhile and what is nothing of the result.

    What ends the run is raised: an interruption, `StorageError` where nothing can be written, `ClaimLostError`.
    """
    if reason_to_skip(job) is not None:
        return skip(job)
    with computing(job.device, job.choices.recipe.precision):
        result = _run(job, on_device, on_epoch, on_steps, note)
    if job.device.type == "cuda" or result.record.status == "failed":
        with contextlib.suppress(RuntimeError):  # a GPU after a fault
            release()  # out of reach of an exception, which holds on to the network
    return result


def _run(job: Job, on_device: DeviceData, on_epoch: OnEpoch, on_steps: OnSteps, note: Remark) -> Result:
    try:
        if job.combo.row.control == "prevalence":
            return _measure_prevalence(job)
        watch = Stopwatch()
        watch.seconds["prepare"] = job.prepare_seconds
        if job.choices.recipe.train in ("head", "neighbors"):
            return _probe_and_measure(job, on_device, watch, on_steps, note)
        with watch.phase("place"):
            placed = on_device.place(job.used, job.device, job.engine.placement)
        return _train_and_measure(job, placed, watch, on_epoch, on_steps)
    except (StorageError, ClaimLostError):
        raise
    except (Exception, SystemExit) as error:  # a combo's failure is a result; the others go on
        if is_full(error):
            raise StorageError(f"{job.combo.name}: {error}; make room") from error
        return failed_result(job, explain_failure(error, job.choices))


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
    record = make_record(
        job,
        status="done",
        **describe_evaluation(evaluation),
        training=describe_fit(job, training),
        efficiency=describe_cost(job, training, watch.seconds, energy),
        artifacts=save(job, list_trained_network(training), setup.network, evaluation, predictions)
        | save_maps(job, maps),
    )
    return Result(record, evaluation.resamples)


def _probe_and_measure(job: Job, on_device: DeviceData, watch: Stopwatch, on_steps: OnSteps, note: Remark) -> Result:
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
            on_wait=lambda text: note(f"{job.combo.name}: {text}"),
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
    record = make_record(
        job,
        status="done",
        **describe_evaluation(evaluation),
        training=describe_probe(probe, recipe, job.subset, [*remarks, *(inputs[1].notes if inputs[1] else ())]),
        efficiency=describe_probe_cost(embeddings, watch.seconds, peak, energy.joules()),
        artifacts=save(job, list_trained(probe, recipe, inputs, seed), probe.head, evaluation, predictions)
        | save_maps(job, maps),
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
    record = make_record(
        job, status="done", **describe_evaluation(evaluation), artifacts=save_predictions(job, predictions)
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
    metrics = {name: make_validation_metric(placed, find_metric(job, name)) for name in names}
    return set_up(job.choices, job.used, placed, job.combo.seed, metrics, job.engine)
