"""The record of a combo: what was asked for. Whole records of combos that were skipped or have failed."""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness.data.columns import table_digest
from harness.execution.job import Job, Result, reason_to_skip
from harness.parameters import recipe_values
from harness.results.description import describe_notes, describe_splits
from harness.results.identity import fingerprint_test
from harness.results.provenance import describe_run, scrub, scrub_paths
from harness.results.record import ComboPart, DatasetPart, FailureKind, FailurePart, ProvenancePart, Record


def skip(job: Job) -> Result:
    """A combo that cannot be run here: see `reason_to_skip`."""
    kind: FailureKind = "plugin" if job.missing is None else "data"
    failure = FailurePart(kind=kind, message=scrub(reason_to_skip(job) or ""), where="before training")
    return Result(make_record(job, status="skipped", failure=failure))


def failed_result(job: Job, failure: FailurePart, provenance: ProvenancePart | None = None) -> Result:
    """A combo that came to nothing; `provenance` of the process that ran it, where that is not this one."""
    return Result(make_record(job, provenance, status="failed", failure=failure))


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
