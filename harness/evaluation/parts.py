"""The parts of a record that evaluation makes: metrics, calibration, predictive values, subgroups.

Null, never NaN: JSON knows none, and what is undefined is null.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass


def _none_for_nan(value: Any) -> Any:
    """JSON knows no NaN; undefined is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_none_for_nan)]
Interval = tuple[float, float]


STRICT = ConfigDict(extra="forbid")
"""Configuration of parts that a record has by the hundred: with slots they take a tenth of a `Part`'s memory."""


class Part(BaseModel):
    """A part of a record: no unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PooledPart(Part):
    """What was scored in place of images: each study or patient once, by the pooled scores of its images."""

    unit: Literal["study", "patient"]
    pool: Literal["mean", "max"] = Field(description="how the scores of a unit's images became one")
    test: int = Field(ge=0, description="units of the test split; all numbers of labels and groups count these")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LabelValue:
    """A metric of one label on the test split."""

    value: Number
    interval: Interval | None = None
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class BaselineLabel:
    """What a map that knows nothing of the image comes to for one label."""

    value: Number
    delta: Annotated[Number, Field(description="the network minus this")]
    interval: Annotated[Interval | None, Field(description="of delta, paired over patients")] = None


class BaselinePart(Part):
    """A map that knows nothing of the image, which a heat map has to beat."""

    about: str = Field(description="what it is, in words")
    macro: Number
    delta: Number = Field(description="the network minus this, over the labels of the macro")
    interval: Interval | None = Field(default=None, description="of delta, paired over patients")
    per_label: dict[str, BaselineLabel]


class MapsPart(Part):
    """What a metric of heat maps is measured on."""

    about: str = Field(description="how the maps were made, in words")
    images: int = Field(description="images of the test split with boxes, each label's own counting as its positives")
    patients: int
    thresholds: dict[str, Number] = Field(
        default_factory=dict, description="label -> share of a map's maximum, chosen on validation's boxes"
    )
    baselines: dict[str, BaselinePart]


class MetricPart(Part):
    """A metric on the test split.

    The macro is the mean over the labels that are defined at every threshold policy and that three patients have, and
    three lack; over all that are defined where there are none of these. The macro alone ranks.
    """

    macro: Number
    interval: Interval | None = None
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
    maps: MapsPart | None = Field(
        default=None, exclude_if=lambda maps: maps is None, description="of a metric of heat maps alone"
    )


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
    ppv_interval: Interval | None = None
    npv: Annotated[Number, Field(description="chance that who is not flagged is negative")]
    npv_interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ConfusionPart:
    """Decisions on one label of the test split, by one policy's threshold, over its known targets."""

    true_positives: Annotated[int, Field(ge=0)]
    false_positives: Annotated[int, Field(ge=0)]
    false_negatives: Annotated[int, Field(ge=0)]
    true_negatives: Annotated[int, Field(ge=0)]


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
    interval: Interval | None
    p: Number = Field(
        default=None, description="of the largest gap, with the names of groups permuted over patients 1,000 times"
    )


class SubgroupPart(Part):
    """One column."""

    groups: list[GroupPart]
    gaps: dict[str, GapPart | None]
    unknown: int = Field(description="images without a value")


# --- readers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReaderValue:
    """A value with its interval over patients."""

    value: Number
    interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AgainstPart:
    """A network against a reader, or against the average reader."""

    network: Annotated[Number, Field(description="what the network has there")]
    delta: Annotated[Number, Field(description="the network minus the reader")]
    interval: Interval | None = None
    p: Number = None
    p_holm: Annotated[Number, Field(description="p adjusted for all readers; of the average reader, p")] = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReaderLabel:
    """A reader's decisions on one label."""

    positives: Annotated[int, Field(description="by the truth, among what the reader decided on")]
    negatives: int
    sensitivity: ReaderValue
    specificity: ReaderValue
    precision: ReaderValue
    f1: ReaderValue
    against: Annotated[
        dict[str, AgainstPart],
        Field(description="sensitivity: the network's at the reader's specificity; f1: at its thresholds"),
    ]


class ReaderPart(Part):
    """One reader."""

    decided: int = Field(description="units decided on in at least one label with a known truth")
    mean: dict[str, ReaderValue] = Field(description="sensitivity, specificity and f1: means over the labels used")
    against: dict[str, AgainstPart] = Field(description="as for a label, of the means")
    per_label: dict[str, ReaderLabel]


class KappaPart(Part):
    """How far readers agree beyond chance."""

    all_readers: ReaderValue = Field(description="mean over labels of Fleiss' kappa (1971)")
    per_label: dict[str, ReaderValue]
    pairs: list[tuple[str, str, Number]] = Field(description="mean over labels of Cohen's kappa (1960) of two readers")


class ReadersPart(Part):
    """A network beside a panel of readers, on what each of them decided on."""

    truth: Literal["targets", "majority", "leave-one-out"] = Field(description="what readers are held against")
    files: dict[str, str] = Field(description="reader -> digest of the file of decisions")
    seeds: int = Field(default=1, description="of the network, whose mean is held against readers")
    policy: str | None = Field(description="threshold policy of the network's F1")
    labels_used: list[str] = Field(
        description="labels of all means: enough patients of every reader have and lack them"
    )
    left_out: list[str]
    without_threshold: list[str] = Field(
        default_factory=list, description="labels left out of the network's F1: validation gave no threshold"
    )
    readers: dict[str, ReaderPart]
    average: dict[str, AgainstPart] = Field(description="against readers in general; empty with fewer than three")
    kappa: KappaPart | None = Field(description="null with a single reader")
    notes: list[str] = Field(default_factory=list)
