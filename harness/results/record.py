"""The record: what one combo leaves behind, as a validated JSON document.

Null, never NaN; no host name, user name or absolute path. `Record.model_json_schema()` is its JSON Schema. Records of
earlier schemas are read by way of `migration`; every writer writes today's.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

SCHEMA: Literal[2] = 2

KEY = r"^[A-Za-z0-9_-]+$"
ROW = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"
"""What can be no path, whoever wrote the record."""

FailureKind = Literal[
    "out_of_memory", "timeout", "not_finite", "crashed", "plugin", "data", "interrupted"
]  # fmt: skip
Status = Literal["done", "failed", "skipped"]


def _none_for_nan(value: Any) -> Any:
    """JSON knows no NaN; undefined is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_none_for_nan)]
Interval = tuple[float, float] | None


STRICT = ConfigDict(extra="forbid")
"""Of parts that a record has by the hundred: with slots they take a tenth of a `Part`'s memory."""


class Part(BaseModel):
    """A part of a record: no unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ComboPart(Part):
    """Which combo: everything that was chosen, resolved."""

    dataset: str
    options: dict[str, Any]
    model: str
    loss: str
    recipe: str
    params: dict[str, dict[str, Any]] = Field(description="what differs from the components' defaults")
    seed: int = Field(ge=0)
    row: str = Field(pattern=ROW, description="with the seed, the name of the record's file")
    control: str | None = Field(default=None, description="what a control row checks: prevalence or shuffled")
    resolved: dict[str, Any] = Field(description="the recipe in full, and the model's and loss's parameters")


class SplitCounts(Part):
    """How much of the data a split holds."""

    images: int
    patients: int
    positives: dict[str, int]


class DatasetPart(Part):
    """The data that was used."""

    name: str
    about: str
    fingerprint: str
    labels: list[str]
    splits: dict[str, SplitCounts]
    notes: dict[str, str] = Field(default_factory=dict, description="such as the label file, or missing images")
    pixels: str | None = Field(default=None, description="digest of the prepared pixels")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LabelValue:
    """A metric of one label on the test split."""

    value: Number
    interval: Interval = None
    positives: int
    negatives: int


class MetricPart(Part):
    """A metric on the test split.

    The macro is the mean over the labels that are defined at every threshold policy and that three patients have, and
    three lack; over all that are defined where there are none of these. The macro alone ranks.
    """

    macro: Number
    interval: Interval = None
    interval_method: Literal["percentile", "logit", "squared"] = Field(
        default="percentile", description="how intervals were made from the resamples"
    )
    no_interval: str | None = Field(default=None, description="why the macro has none")
    resampled_by: Literal["weights", "counts"] = Field(
        default="counts", description="of patients; counts where a metric cannot take weights, and before schema 2"
    )
    micro: Number = Field(
        default=None, description="of all images and these labels pooled, a pair of them being a case"
    )
    weighted: Number = Field(default=None, description="mean of these labels, each weighing as many as its positives")
    per_label: dict[str, LabelValue]
    labels_used: int
    left_out: list[str] = Field(default_factory=list, description="labels that are not in the macro")
    why_left_out: str | None = Field(default=None, description="in words: too few patients, or no value")
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class BrierPart:
    """The Brier score in parts: reliability - resolution + uncertainty + within."""

    score: Number
    reliability: Number
    resolution: Number
    uncertainty: Number
    within: Annotated[Number, Field(description="what scores that differ inside a bin add")]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LabelCalibration:
    """One label's calibration on the test split."""

    slope: Annotated[Number, Field(description="what validation fitted: calibrated logit = slope * logit + intercept")]
    intercept: Number
    brier: BrierPart
    ece: Annotated[Number, Field(description="15 bins of equal width")]
    ece_mass: Annotated[Number, Field(description="15 bins that hold equally many images")]
    test_slope: Annotated[
        Number,
        Field(
            description="of the logistic regression of the test on the logits of these scores (Cox 1958); ideal is 1"
        ),
    ] = None
    test_intercept: Annotated[Number, Field(description="likewise; ideal is 0")] = None


class CalibratedPart(Part):
    """Calibration on the test split; the numbers are means over labels."""

    brier: Number
    ece: Number
    ece_mass: Number
    per_label: dict[str, LabelCalibration]


class CalibrationPart(Part):
    """Calibration of the scores as they are, and after each label was fitted on validation.

    All means are over the same labels, those that are defined in all three.
    """

    labels_used: int | None = None
    left_out: list[str] = Field(default_factory=list, description="labels that are in none of the means")
    before: CalibratedPart
    temperature: CalibratedPart = Field(description="Guo et al. 2017, a temperature a label")
    platt: CalibratedPart = Field(description="Platt 1999, slope and intercept a label")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PredictivePart:
    """Predictive values of one label at a prevalence that was given: by Bayes, from sensitivity and specificity."""

    prevalence: float
    ppv: Annotated[Number, Field(description="chance that who is flagged is positive")]
    ppv_interval: Interval = None
    npv: Annotated[Number, Field(description="chance that who is not flagged is negative")]
    npv_interval: Interval = None


class GroupPart(Part):
    """Test images of one value of a column.

    A label with fewer than 10 positives or negatives, or that fewer than 3 patients have or lack, is not scored.
    """

    name: str
    images: int
    patients: int
    positives: dict[str, int]
    negatives: dict[str, int]
    macro: dict[str, Number]
    per_label: dict[str, dict[str, Number]]


class GapPart(Part):
    """How much better a macro is in the best group than in the worst, over labels scored in both."""

    best: str
    worst: str
    value: Number
    labels_used: int
    interval: Interval
    p: Number = Field(
        default=None, description="of the largest gap, with the names of groups permuted over patients 1,000 times"
    )


class SubgroupPart(Part):
    """One column."""

    groups: list[GroupPart]
    gaps: dict[str, GapPart | None]
    unknown: int = Field(description="images without a value")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EpochPart:
    """One line of the training history."""

    epoch: int
    lr: float
    train_loss: Number
    val_loss: Number
    selected_on: Annotated[Number, Field(description="value of what picks the epoch")]
    seconds: float


class ExecutionPart(Part):
    """How the training's steps were executed: chosen by fixed rules, part of no identity."""

    placement: str = Field(description="resident: images where the device reads them; streamed: batch by batch")
    precision: str = Field(description="of the forward pass: float32, bf16 or fp16")
    channels_last: bool
    compiled: bool = Field(description="by torch.compile")
    step: str = Field(description="eager, or graph: the whole step is one CUDA graph")
    micro_batch: int | None = Field(description="images at a time, where batches were split")
    notes: list[str] = Field(description="why something is not as one would expect")


class TrainingPart(Part):
    """How training went."""

    epochs: int
    best_epoch: int
    select_on: str
    best_value: Number
    stopped_early: bool
    execution: ExecutionPart
    history: list[EpochPart]


class EfficiencyPart(Part):
    """What it cost. Warm-up steps are left out of speeds, and the device is waited for."""

    train_images_per_second: Number = None
    inference_images_per_second: Number = None
    step_milliseconds: Number = Field(default=None, description="of a training step: the median")
    step_milliseconds_p95: Number = Field(default=None, description="likewise, the 95th percentile")
    peak_device_bytes: int | None = None
    parameters: int | None = None
    flops_per_image: Number = Field(default=None, description="of a forward pass; a multiplication counts as one")
    seconds: dict[str, float] = Field(
        default_factory=dict, description="by phase: place, build, capture (and compile), train, predict, evaluate"
    )
    joules: Number = Field(default=None, description="of the whole GPU while the combo ran, by NVML")


class ProvenancePart(Part):
    """Where and with what it was measured; never part of the identity."""

    harness: str
    commit: str | None
    packages: dict[str, str]
    python: str
    device: str
    threads: int | None
    cuda: str | None
    command: str
    finished: str = Field(description="UTC, ISO 8601, to the second")


class FailurePart(Part):
    """Why there is no result."""

    kind: FailureKind
    message: str
    where: str


class Record(Part):
    """One combo's result."""

    schema_: Literal[2] = Field(default=SCHEMA, alias="schema", description="raised when earlier ones need migration")
    key: str = Field(pattern=KEY, description="of every choice, the data and the versions; names the folder in runs/")
    combo: ComboPart
    external: str | None = Field(
        default=None, description="of predictions that were submitted, nothing trained here: what is said about them"
    )
    status: Status
    failure: FailurePart | None = None
    dataset: DatasetPart
    metrics: dict[str, MetricPart] = Field(default_factory=dict)
    thresholds: dict[str, dict[str, Number]] = Field(default_factory=dict, description="policy -> label -> threshold")
    predictive: dict[str, dict[str, PredictivePart]] | None = Field(
        default=None, description="policy -> label, for labels with a prevalence that the board gives"
    )
    calibration: CalibrationPart | None = None
    subgroups: dict[str, SubgroupPart] | None = Field(default=None, description="by column")
    training: TrainingPart | None = None
    efficiency: EfficiencyPart = EfficiencyPart()
    artifacts: dict[str, str] = Field(default_factory=dict, description="file name -> sha256")
    provenance: ProvenancePart

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)
