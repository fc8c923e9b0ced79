"""The weight file of a finished training: a network's tensors, and beside them all that is needed to restore it.

safetensors keeps a file's metadata in no order, so that all of it stands in one entry: equal runs leave equal bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from harness.choices import Choices
from harness.components import Recipe, Task
from harness.data.columns import ColumnCode
from harness.data.prepare import Prepared
from harness.data.pretraining import PretrainingSource
from harness.errors import WeightsError
from harness.evaluation.evaluate import Evaluation
from harness.evaluation.parts import CalibrationPart, Number, Part
from harness.metric_names import DEFAULT_POLICY, split_name
from harness.training import VERSION
from harness.units import Pooling, Unit

if TYPE_CHECKING:
    from torch import Tensor, nn

HeadKind = Literal["head", "neighbors"]
"""A linear head, or the neighbors of a knn probe."""
ENTRY = "harness"
"""Under which name the metadata of a weight file hold the description."""
WAY_OUT = "train the row again: harness run BOARD --only ROW --force"


class TaskPart(Part):
    """The task that the network was built for, as `Task` has it."""

    labels: tuple[str, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    prevalence: tuple[Number, ...]
    table: tuple[str, ...] = Field(default=(), exclude_if=lambda table: not table)


class ModelPart(Part):
    """Who builds the network, and with which parameters."""

    name: str
    version: int
    code: str
    """sha256 of an external plugin's files; empty for a bundled model."""
    params: dict[str, Any]
    """Complete: defaults included."""
    found_as: str = Field(default="", exclude_if=lambda found_as: not found_as)
    """The name by which a model is found again that was made of a folder."""


class RecipePart(Part):
    """What of the recipe matters once training is over."""

    name: str
    load_size: int
    size: int
    evaluate_at: str
    precision: str
    """As the recipe has it: `auto` is decided on the device that the network is restored on."""


class PixelsPart(Part):
    """How the values of image files became the bytes that the network was trained on."""

    bits: int | None = None
    """Bits of the values in 16-bit files; None where there were none."""
    stretch: bool = False
    """Whether each image was stretched to its own range."""


class ColumnPart(Part):
    """How a column becomes numbers, as `ColumnCode` has it."""

    name: str
    texts: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0


class FrozenPart(Part):
    """The network of a probe, of which the file holds the fitted head alone: all else is built again, and checked."""

    kind: HeadKind
    layer: str
    """The layer whose place the head takes."""
    weights: str | None
    """The initial weights of all else, as `Recipe.weights` has them; None: the file holds it, too."""
    seed: int
    digest: str
    """sha256 of all else: its names and values."""


class NetworkPart(Part):
    """What a trained network needs beside its tensors to be built and applied."""

    format: Literal[1] = 1
    harness: str
    engine: int
    model: ModelPart
    task: TaskPart
    columns: tuple[ColumnPart, ...] = Field(default=(), exclude_if=lambda columns: not columns)
    """How columns of a table become what the network gets beside images."""
    recipe: RecipePart
    pixels: PixelsPart = PixelsPart()
    mirrors: bool
    compiled: bool
    thresholds: dict[str, dict[str, Number]]
    """Policy -> label -> threshold as a score, of the policies that look at nothing but validation; a score of what the
    board scores, so that one of studies is to be held against the pooled scores of their images."""
    calibration: dict[str, dict[str, tuple[Number, Number]]]
    """`temperature` or `platt` -> label -> slope and intercept."""
    policy: str = DEFAULT_POLICY
    """The threshold policy of the board's first decision metric, by which decisions are made unless another is asked
    for."""
    unit: Unit = "image"
    pool: Pooling = "mean"
    """What the board scores, which thresholds are for."""
    computed_in: str = ""
    """The precision in which training predicted: float32, bf16 or fp16; empty in older files."""
    own_decoder: bool = False
    """Whether the dataset's own code read the image files, which may have made other pixels of them."""
    seen: tuple[PretrainingSource, ...] = Field(default=(), exclude_if=lambda seen: not seen)
    """What its network has seen: the images that it was trained on, and what its initial weights were made from. Empty
    in older files."""
    frozen: FrozenPart | None = Field(default=None, exclude_if=lambda frozen: frozen is None)
    """How the rest of a probe's network is had; None where the file holds all of it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """What a training leaves beside tensors."""

    task: Task
    recipe: Recipe
    prepared: Prepared
    codes: tuple[ColumnCode, ...] = ()
    precision: str
    compiled: bool = False
    frozen: FrozenPart | None = None


def describe_network(
    trained: Trained,
    choices: Choices,
    evaluation: Evaluation,
    metrics: Sequence[str],
    seen: tuple[PretrainingSource, ...] = (),
) -> dict[str, str]:
    """The metadata of a finished training's weight file: all that is needed to restore the network, in one entry.

    Thresholds and calibration are those of `evaluation`, without what was fitted on the test split; `metrics` are named
    as the board names them. `seen` is what the network has seen by now.
    """
    task, recipe, model, data = trained.task, trained.recipe, choices.model, trained.prepared.data
    part = NetworkPart(
        harness=importlib.metadata.version("cxr-harness"),
        engine=VERSION,
        model=ModelPart(
            name=model.name,
            version=model.version,
            code=choices.code.get("model", ""),
            params={name: simplify(value) for name, value in choices.model_params.items()},
            found_as="" if model.origin is None else model.origin.found_as,
        ),
        task=TaskPart(**vars(task)),
        columns=tuple(ColumnPart(**vars(code)) for code in trained.codes),
        recipe=RecipePart(**{name: getattr(recipe, name) for name in RecipePart.model_fields}),
        pixels=PixelsPart(**vars(trained.prepared.scale)),
        mirrors=data.mirrors,
        compiled=trained.compiled,
        thresholds={policy: by_label for policy, by_label in evaluation.thresholds.items() if policy != "oracle"},
        calibration=_gather_lines(evaluation.calibration),
        policy=_find_policy(metrics, evaluation),
        unit="image" if evaluation.pooled is None else evaluation.pooled.unit,
        pool="mean" if evaluation.pooled is None else evaluation.pooled.pool,
        computed_in=trained.precision,
        own_decoder=data.decode is not None,
        seen=seen,
        frozen=trained.frozen,
    )
    return {ENTRY: json.dumps(part.model_dump())}


def write_weight_file(path: Path, network: nn.Module, about: Mapping[str, str]) -> None:
    """Write a network's tensors to a .safetensors file, with `about` as its metadata."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    save_file(state, path, dict(about))


def read_weight_file(path: Path) -> tuple[NetworkPart, dict[str, Tensor]]:
    """Read what a weight file says, and its tensors on the CPU. Raises `WeightsError`."""
    from safetensors import SafetensorError, safe_open

    asked = f"{path.name} was to be restored as a trained network"
    if not path.is_file():
        raise WeightsError(f"{asked}, but there is no such file; give the weights.safetensors of a finished row")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(ENTRY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{asked}, but it is no whole .safetensors file ({error}); {WAY_OUT}") from error
    if text is None:
        raise WeightsError(
            f"{asked}, but it holds tensors alone: which model built it, its labels and how images are normalized are "
            f"missing; {WAY_OUT}"
        )
    try:
        return NetworkPart.model_validate(json.loads(text)), tensors
    except ValidationError as error:
        first = error.errors()[0]
        wrong = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    except ValueError as error:
        wrong = str(error)
    raise WeightsError(f"{asked}, but what it says is damaged or of a newer harness ({wrong}); {WAY_OUT}")


def read_seen(path: Path) -> tuple[PretrainingSource, ...]:
    """What the network of a weight file has seen; empty where a file does not say, as those not made here never do."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:  # no tensor is read, so that torch is not imported
            text = (file.metadata() or {}).get(ENTRY)
        return NetworkPart.model_validate_json(text).seen if text is not None else ()
    except (OSError, SafetensorError, ValueError):
        return ()  # of another format, or damaged, which is told where its tensors are read


def simplify(value: object) -> Any:
    """Return a parameter as JSON gives it back: tuples become lists."""
    return json.loads(json.dumps(value, default=str))


def _find_policy(names: Sequence[str], evaluation: Evaluation) -> str:
    """The policy of the first decision metric that a board names; the usual one where there is none, or it saw the test
    split.
    """
    for name in names:
        base, policy = split_name(name)
        if policy != "oracle" and any(measured.startswith(f"{base}@") for measured in evaluation.metrics):
            return policy or DEFAULT_POLICY
    return DEFAULT_POLICY


def _gather_lines(part: CalibrationPart | None) -> dict[str, dict[str, tuple[Number, Number]]]:
    """Method -> label -> slope and intercept."""
    methods = {} if part is None else {"temperature": part.temperature, "platt": part.platt}
    return {
        method: {label: (line.slope, line.intercept) for label, line in fitted.per_label.items()}
        for method, fitted in methods.items()
    }
