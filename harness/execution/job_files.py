"""The files that a combo leaves beside its record, staged until that is written."""

from __future__ import annotations

from torch import nn

from harness.data.pretraining import unite
from harness.evaluation.evaluate import Evaluation
from harness.evaluation.localization import MapValues
from harness.evaluation.predictions import Predictions
from harness.execution.job import Job
from harness.files import Content
from harness.results.artifacts import stage
from harness.results.layout import MAPS, PATIENTS, WEIGHTS, predictions_file
from harness.results.shadow import describe_training
from harness.results.store import run_folder
from harness.training.fit import Training
from harness.training.weight_file import Trained, describe_network, write_weight_file


def save_predictions(job: Job, predictions: dict[str, Predictions]) -> dict[str, str]:
    """Stage predictions under `runs/<key>/`, until the record is written; gives each file's sha256."""
    job.guard()
    folder = run_folder(job.board_folder, job.key)
    contents: dict[str, Content] = {predictions_file(split): made.write for split, made in predictions.items()}
    if job.subset is not None:
        contents[PATIENTS] = job.subset.text
    return {name: stage(folder / name, content) for name, content in contents.items()}


def list_trained_network(training: Training) -> Trained:
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


def save(
    job: Job, trained: Trained, network: nn.Module, evaluation: Evaluation, predictions: dict[str, Predictions]
) -> dict[str, str]:
    """Stage predictions and weights, which can be restored, under `runs/<key>/`; gives each file's sha256.

    `network` is what was fitted: of a probe, the head alone.
    """
    folder, digests = run_folder(job.board_folder, job.key), save_predictions(job, predictions)
    job.guard()
    own = describe_training(job.source, job.combo.options, job.fingerprint)
    about = describe_network(trained, job.choices, evaluation, job.protocol.names, unite((own, *job.seen)))
    return digests | {WEIGHTS: stage(folder / WEIGHTS, lambda path: write_weight_file(path, network, about))}


def save_maps(job: Job, maps: MapValues | str) -> dict[str, str]:
    """Stage what heat maps came to under `runs/<key>/`; gives the file's sha256, or nothing where there are none."""
    if isinstance(maps, str):
        return {}
    job.guard()
    return {MAPS: stage(run_folder(job.board_folder, job.key) / MAPS, maps.write)}
