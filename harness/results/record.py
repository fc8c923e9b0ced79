"""The record: what one combo leaves behind, as a validated JSON document.

Null, never NaN; no host name, user name or absolute path. `Record.model_json_schema()` is its JSON Schema. Records of
earlier schemas are read by way of `migration`; every writer writes today's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from harness.board import Ensemble, combo_name
from harness.board_file import Averaging
from harness.evaluation.parts import (
    STRICT,
    CalibrationPart,
    ConfusionPart,
    MetricPart,
    Number,
    Part,
    PooledPart,
    PredictivePart,
    ReadersPart,
    SubgroupPart,
)
from harness.results.layout import predictions_file
from harness.units import Pooling, Unit, tell_units

SCHEMA: Literal[2] = 2
EMBED = "embed"
"""The phase in which a probe has embeddings made, or reads those that are there."""

KEY = r"^[A-Za-z0-9_-]+$"
ROW = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"
"""Names of rows: such a name can be no path, whoever wrote the record."""

FailureKind = Literal[
    "out_of_memory", "timeout", "not_finite", "crashed", "plugin", "data", "interrupted"
]  # fmt: skip
Status = Literal["done", "failed", "skipped"]


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
    made_of: dict[str, Any] | None = Field(
        default=None,
        exclude_if=lambda made_of: made_of is None,
        description="of a model that is made of published files: library, image transform, digests",
    )

    @property
    def name(self) -> str:
        """The row's name and the seed, by which the record is called."""
        return combo_name(self.row, self.seed)


class SplitCounts(Part):
    """How much of the data a split holds."""

    images: int
    patients: int
    positives: dict[str, int]
    left_out: int = Field(default=0, description="images of the split that have no file or could not be decoded")

    @property
    def whole(self) -> int:
        """How many images the split has where none is left out."""
        return self.images + self.left_out


class DatasetPart(Part):
    """The data that was used."""

    name: str
    about: str
    fingerprint: str
    test_fingerprint: str | None = Field(
        default=None,
        exclude_if=lambda fingerprint: fingerprint is None,
        description="of the test's part alone, where the same test is measured after training on other images",
    )
    labels: list[str]
    splits: dict[str, SplitCounts]
    notes: dict[str, str] = Field(default_factory=dict, description="such as the label file, or missing images")
    pixels: str | None = Field(default=None, description="digest of the prepared pixels")
    table: str | None = Field(
        default=None,
        exclude_if=lambda table: table is None,
        description="digest of the columns that the network was given beside images",
    )

    @property
    def draw(self) -> str:
        """What resamples are drawn by: they are of the same patients wherever this is the same."""
        return self.test_fingerprint or self.fingerprint


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


class ProbePart(Part):
    """What was fitted on the embeddings of a frozen network, and what validation chose."""

    layer: str = Field(description="of the network whose place the fitted head takes; its input is the embedding")
    width: int = Field(description="numbers in an embedding")
    strengths: dict[str, Number] = Field(
        default_factory=dict,
        exclude_if=lambda strengths: not strengths,
        description="label -> strength of its L2 penalty; null: it has no positives or no negatives to learn from",
    )
    neighbors: dict[str, int] = Field(
        default_factory=dict,
        exclude_if=lambda neighbors: not neighbors,
        description="label -> how many of the nearest training images it is asked of",
    )
    losses: dict[str, Number] = Field(description="label -> mean loss on validation, by which that was chosen")


class SubsetPart(Part):
    """The training patients in use, where they are not all: drawn from the data's fingerprint and the seed."""

    share: float = Field(description="of the training patients that was asked for")
    asked_positives: int | None = Field(default=None, description="patients with each label that were asked for")
    patients: int
    images: int
    positives: dict[str, int] = Field(description="label -> images in use that have it")
    digest: str = Field(description="sha256 of the patients in use, sorted, each on a line of its own")


class TrainingPart(Part):
    """How training went."""

    epochs: int
    best_epoch: int
    select_on: str
    best_value: Number
    stopped_early: bool
    execution: ExecutionPart
    history: list[EpochPart]
    probe: ProbePart | None = Field(default=None, exclude_if=lambda probe: probe is None)
    subset: SubsetPart | None = Field(default=None, exclude_if=lambda subset: subset is None)


class EmbeddingsPart(Part):
    """The embeddings that a probe was fitted on. They are made once, for all probes with the same key."""

    key: str = Field(description="of all that they depend on: images, network, weights and what it is shown")
    digest: str = Field(description="sha256 of what was stored")
    images: int
    seconds: float = Field(description="that making them took, whoever did it")


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
        default_factory=dict,
        description="by phase: place, build, capture (and compile), embed, train, predict, evaluate",
    )
    joules: Number = Field(default=None, description="of the whole GPU while the combo ran, by NVML")
    embeddings: list[EmbeddingsPart] = Field(
        default_factory=list,
        exclude_if=lambda embeddings: not embeddings,
        description="of a probe; of an ensemble those of its members, each once. A probe's own phase embed is what its "
        "combo spent on having them",
    )


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
    plugins: list[str] = Field(
        default_factory=list, description="files given by --plugin whose components took part, without their folders"
    )
    data_root: bool = Field(default=False, description="whether the data lay in a folder that --data-root names")
    finished: str = Field(description="UTC, ISO 8601, to the second")


class SubmissionPart(Part):
    """What is known of predictions that were made elsewhere, beside what is said about them."""

    source: str | None = Field(default=None, description="where they are published: address and commit")
    license: str | None = None
    trained_on: str | None = Field(default=None, description="images that the network was trained on")
    image_size: int | None = Field(default=None, description="pixels of a side, as the network reads an image")
    subgroups_left_out: list[str] = Field(
        default_factory=list, description="columns by which its predictions cannot be told apart"
    )


class MemberPart(Part):
    """A row whose predictions are part of an ensemble."""

    row: str = Field(pattern=ROW)
    key: str = Field(pattern=KEY, description="of its record of the same seed")
    weight: int = Field(ge=1, description="how often it counts")


class EnsemblePart(Part):
    """What a row is made of whose predictions are an average of other rows' predictions."""

    rows: list[str] = Field(description="names of rows or globs, as board.toml has them")
    average: Averaging
    greedy: int | None = Field(default=None, ge=1, description="steps by which members were picked on validation")
    metric: str | None = Field(default=None, description="what they were picked by, on validation")
    values: list[Number] = Field(
        default_factory=list, description="what that came to on validation after each step; the best one is kept"
    )
    candidates: list[str] = Field(description="the rows that could be members")
    members: list[MemberPart] = Field(description="the rows that are members")

    @property
    def definition(self) -> Ensemble:
        """The same as board.toml asks for it."""
        return Ensemble(rows=tuple(self.rows), average=self.average, greedy=self.greedy)


class PretrainingPart(Part):
    """Images that the network had seen before, or where it was submitted at all, held against the test images."""

    name: str = Field(description="of the table of pretraining, or what a weight file calls it; unknown: nobody says")
    about: str = Field(default="", description="what it is, in a sentence")
    overlap: Literal["none", "shared", "possible", "unknown"] = Field(
        description="none or shared: it was counted, or nothing can be shared; possible: the images are of one origin, "
        "and their list was not there; unknown: nothing tells"
    )
    images: int | None = Field(default=None, ge=0, description="test images that were seen; null: not counted")
    patients: int | None = Field(default=None, ge=0, description="test patients who were seen; null: not counted")
    why: str = Field(default="", description="why something was not counted, in words")


class FailurePart(Part):
    """Why there is no result."""

    kind: FailureKind
    message: str
    where: str


class OutsideLabel(Part):
    """What stands for a label in the dataset of an outside test."""

    others: list[str] = Field(
        description="the other dataset's labels that stand for it, merged where there are several; empty: there is none"
    )
    known: int = Field(default=0, description="images of the outside test whose target is known")
    left_out: int = Field(default=0, description="images whose target is uncertain or unknown")
    positives: int = 0
    caution: str = Field(default="", description="what to know before numbers of the two datasets are compared")
    reason: str = Field(default="", description="why there is none")


class OutsidePart(Part):
    """What a row's network is worth on another dataset, by thresholds and calibration of its own validation."""

    dataset: str
    options: dict[str, Any]
    splits: list[str] = Field(description="of the other dataset, whose images are the test")
    key: str = Field(
        default="", description="of the other dataset and its version, its images, labels and targets, and the weights"
    )
    status: Status
    failure: FailurePart | None = None
    data: DatasetPart | None = Field(default=None, description="its test images alone, with the labels that are used")
    labels: dict[str, OutsideLabel] = Field(
        default_factory=dict, description="each label of the row's own dataset: what stands for it, or why nothing does"
    )
    unused: list[str] = Field(default_factory=list, description="the other dataset's labels that stand for none")
    notes: list[str] = Field(default_factory=list, description="what is not as one would expect, such as an overlap")
    pooled: PooledPart | None = None
    metrics: dict[str, MetricPart] = Field(default_factory=dict)
    thresholds: dict[str, dict[str, Number]] = Field(default_factory=dict)
    confusion: dict[str, dict[str, ConfusionPart]] = Field(default_factory=dict)
    predictive: dict[str, dict[str, PredictivePart]] | None = None
    calibration: CalibrationPart | None = None
    subgroups: dict[str, SubgroupPart] | None = None
    labels_resampled: str | None = None
    pretraining: list[PretrainingPart] = Field(
        default_factory=list, exclude_if=lambda pretraining: not pretraining, description="what the network had seen"
    )
    artifacts: dict[str, str] = Field(default_factory=dict, description="resamples.npz and predictions -> sha256")
    provenance: ProvenancePart


class Record(Part):
    """One combo's result."""

    schema_: Literal[2] = Field(default=SCHEMA, alias="schema", description="raised when earlier ones need migration")
    key: str = Field(pattern=KEY, description="of every choice, the data and the versions; names the folder in runs/")
    combo: ComboPart
    external: str | None = Field(
        default=None, description="of predictions that were submitted, nothing trained here: what is said about them"
    )
    submission: SubmissionPart | None = Field(default=None, description="what else is known of such predictions")
    ensemble: EnsemblePart | None = Field(
        default=None,
        exclude_if=lambda ensemble: ensemble is None,
        description="of a row that is made of other rows' stored predictions, nothing trained for it",
    )
    status: Status
    failure: FailurePart | None = None
    dataset: DatasetPart
    pooled: PooledPart | None = Field(
        default=None,
        exclude_if=lambda pooled: pooled is None,
        description="what was scored, where that is not each image",
    )
    metrics: dict[str, MetricPart] = Field(default_factory=dict)
    thresholds: dict[str, dict[str, Number]] = Field(default_factory=dict, description="policy -> label -> threshold")
    confusion: dict[str, dict[str, ConfusionPart]] = Field(
        default_factory=dict,
        exclude_if=lambda confusion: not confusion,
        description="policy -> label -> decisions that are right and wrong; absent in older records",
    )
    predictive: dict[str, dict[str, PredictivePart]] | None = Field(
        default=None, description="policy -> label, for labels with a prevalence that the board gives"
    )
    calibration: CalibrationPart | None = None
    subgroups: dict[str, SubgroupPart] | None = Field(default=None, description="by column")
    readers: ReadersPart | None = Field(
        default=None, exclude_if=lambda readers: readers is None, description="beside people who read the same"
    )
    outside: dict[str, OutsidePart] = Field(
        default_factory=dict,
        exclude_if=lambda outside: not outside,
        description="key of an outside test -> what the row is worth on it",
    )
    labels_resampled: str | None = Field(
        default=None, description="metric whose single labels were resampled; null where that was not noted"
    )
    pretraining: list[PretrainingPart] = Field(
        default_factory=list,
        exclude_if=lambda pretraining: not pretraining,
        description="what the network had seen before; absent where nothing, and in older records",
    )
    training: TrainingPart | None = None
    efficiency: EfficiencyPart = EfficiencyPart()
    artifacts: dict[str, str] = Field(default_factory=dict, description="file name -> sha256")
    provenance: ProvenancePart

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    @property
    def is_trained(self) -> bool:
        """Whether its network was trained here: it was neither submitted nor is it an ensemble."""
        return self.external is None and self.ensemble is None

    @property
    def unit(self) -> Unit:
        """What was scored."""
        return "image" if self.pooled is None else self.pooled.unit

    @property
    def pool(self) -> Pooling:
        """How the scores of a unit's images became one; the mean of a single image is its own."""
        return "mean" if self.pooled is None else self.pooled.pool

    @property
    def scored(self) -> str:
        """What was scored, in words: `images`, or `studies (mean of their images' scores)`."""
        return tell_units(self.unit, self.pool)

    @property
    def is_without_validation(self) -> bool:
        """Whether predictions were submitted without those of validation, so that nothing could be fitted on it.

        So it is with an ensemble that has such a member.
        """
        return not self.is_trained and predictions_file("val") not in self.artifacts
