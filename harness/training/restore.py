"""A trained network read back from its weight file alone, and applied to images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from harness.components import Data, Model, Options, Recipe, Task
from harness.data.columns import ColumnCode, apply_codes, name_numbers
from harness.data.decoding import resize
from harness.data.grey import GreyScale
from harness.data.placement import Placed, place
from harness.data.prepare import Prepared
from harness.errors import DataError, HarnessError, PluginError, UnknownNameError, UsageError, WeightsError
from harness.evaluation.calibration import Calibration
from harness.parameters import complete, defaults, override
from harness.registry import Offer, Registry
from harness.text import agree, count
from harness.training import VERSION
from harness.training.build import build_network
from harness.training.embedding import build_frozen
from harness.training.engine import DEFAULT_ENGINE_OPTIONS, EngineOptions, Execution
from harness.training.heads import make_head
from harness.training.numerics import choose_numerics, computing
from harness.training.prediction import Predictor
from harness.training.weight_file import WAY_OUT, FrozenPart, NetworkPart, TaskPart, read_weight_file, simplify
from harness.units import Pooling, Unit

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

Thresholds = Mapping[str, Mapping[str, float | None]]
"""Policy -> label -> threshold as a score in 0..1; None where validation has none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Restored:
    """A trained network with all that is needed to apply it to images."""

    network: nn.Module
    """In evaluation mode on `device`: normalized images (B, K, size, size) float32 -> logits (B, C)."""
    device: torch.device
    task: Task
    """What it was built for: labels, the size that it is fed, mean and std of its pixels."""
    recipe: Recipe
    """How images become what it sees, and in what numbers it computes; its fields of training are not those that were
    used.
    """
    scale: GreyScale
    """How the values of image files became the bytes that it was trained on."""
    codes: tuple[ColumnCode, ...]
    """How columns of a table become what the network gets beside images; empty where it gets images alone."""
    mirrors: bool
    """Whether its dataset's images keep their labels when they are mirrored, as views of `evaluate_at` may be."""
    model: str
    """The registered model's full name."""
    found_as: str
    """The name by which the registry has it: another one where it was made of a folder."""
    params: Options
    """The model's parameters, complete."""
    harness: str
    """Version of the harness that trained it."""
    compiled: bool
    """Whether its stored predictions were made by compiled code; the same bits then take
    `EngineOptions(compile="on")`.
    """
    thresholds: Thresholds
    """Fitted on validation; the policy `0.5` needs none."""
    calibration: Mapping[str, Calibration]
    """`temperature` and `platt`, fitted on validation, for logits; NaN for labels that have none."""
    policy: str
    """The threshold policy of its board's first decision metric."""
    unit: Unit
    pool: Pooling
    """What its board scores: thresholds and calibration of studies are for the pooled scores of their images."""
    computed_in: str
    """The precision in which training predicted; empty where an older file does not say it."""
    own_decoder: bool
    """Whether its dataset's own code read the image files."""
    changes: tuple[str, ...]
    """What is not as it was in training (the model's version, its plugin's code, the engine), in words: logits may then
    differ. Empty where all is the same."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The C names, in the order of the logits' columns."""
        return self.task.labels

    def predict(
        self,
        images: NDArray[np.uint8],
        table: pd.DataFrame | None = None,
        *,
        batch: int | None = None,
        engine: EngineOptions = DEFAULT_ENGINE_OPTIONS,
    ) -> NDArray[np.float32]:
        """Logits (N, C) float32 of grey images (N, H, W) uint8; a `table`, where the network wants one, has N rows that
        say more of them, such as age. A missing value is told to the network as such.

        Images of another size than `recipe.load_size` are squashed to it.
        They are made as a run makes them: in `batch` images at a time (as many as there, unless it is given), by a CUDA
        graph where `engine` has graphs; on the same device, the images of a split give the bits that were stored.
        Compiled only where `engine` says `on`. Raises `DataError` for images of another type or shape and for a table
        that lacks a row or a column, `UsageError` for a batch below 1 and for a table where none is wanted.
        """
        if batch is not None and batch < 1:
            raise UsageError(f"batch must be at least 1, got {batch}")
        if images.dtype != np.uint8 or images.ndim != 3:
            raise DataError(f"images must be (N, H, W) uint8, got {images.shape} {images.dtype}")
        beside = self.encode(table, len(images))
        if not len(images):
            return np.empty((0, len(self.labels)), dtype=np.float32)
        placed = place(_prepare(images, self), self.device, engine.placement)
        return self._predict(placed, beside, batch, engine)

    def predict_placed(
        self, placed: Placed, table: pd.DataFrame | None = None, *, engine: EngineOptions = DEFAULT_ENGINE_OPTIONS
    ) -> NDArray[np.float32]:
        """Logits (n, C) float32 of the test split of images that are on the network's device, as `predict` makes them.

        They have the size of `recipe.load_size`; a `table` has a row for each of them, of every split.
        """
        return self._predict(placed, self.encode(table, len(placed.images)), None, engine)

    def _predict(
        self, placed: Placed, table: NDArray[np.float32] | None, batch: int | None, engine: EngineOptions
    ) -> NDArray[np.float32]:
        with computing(self.device, self.recipe.precision):
            predictor = self._make_predictor(placed, table, engine)
            if batch is not None:
                predictor.batch = batch
            return predictor.logits("test").cpu().numpy()

    def encode(self, table: pd.DataFrame | None, count: int) -> NDArray[np.float32] | None:
        """What the network gets beside `count` images, (N, F, 2); None where it gets images alone.

        Raises `DataError` for a table that lacks a row or a column, `UsageError` for one where none is wanted.
        """
        return _encode(self.codes, table, count)

    def make_predictor(
        self, images: NDArray[np.uint8], table: NDArray[np.float32] | None, engine: EngineOptions
    ) -> Predictor:
        """What predicts at least one image (N, H, W), all of them being its test split; `table` is (N, F, 2)."""
        return self._make_predictor(place(_prepare(images, self), self.device, engine.placement), table, engine)

    def _make_predictor(self, placed: Placed, table: NDArray[np.float32] | None, engine: EngineOptions) -> Predictor:
        numerics = choose_numerics(self.recipe, self.device, self.network)
        execution = Execution(
            placement="resident" if placed.resident else "streamed",
            precision=numerics.precision,
            channels_last=numerics.channels_last,
            compiled=engine.compile == "on",
        )
        told = None if table is None else torch.from_numpy(table).to(self.device)
        return Predictor(self.network, placed, self.recipe, self.task, numerics, engine, execution, told)


def _encode(codes: tuple[ColumnCode, ...], table: pd.DataFrame | None, count: int) -> NDArray[np.float32] | None:
    """What the network gets beside `count` images; None where it gets images alone."""
    wanted = [code.name for code in codes]
    if not wanted:
        if table is not None:
            raise UsageError("this network gets images alone: leave table out")
        return None
    if table is None:
        raise UsageError(
            f"this network gets {', '.join(wanted)} beside each image: give them by table, a pandas DataFrame with a "
            "row for each image, in the images' order"
        )
    if lacking := [name for name in wanted if name not in table]:
        raise DataError(
            f"this network gets {', '.join(wanted)} beside each image, and the table has no column "
            f"{', '.join(lacking)}; add it, with missing values where nothing is known"
        )
    if len(table) != count:
        raise DataError(f"the table must have a row for each of the {count:,} images, and has {len(table):,}")
    return apply_codes(codes, table)


def _prepare(images: NDArray[np.uint8], restored: Restored) -> Prepared:
    """Images (N, H, W) as a test split without known targets, each squashed as decoding does it."""
    size, count = restored.recipe.load_size, len(images)
    if images.shape[1:] != (size, size):
        images = np.stack([resize(image, size) for image in images])
    images = np.require(images, requirements=["C", "W"])  # torch wants to be able to write; nothing does
    names = [str(number) for number in range(count)]
    data = Data(
        labels=restored.labels,
        images=images,
        targets=np.full((count, len(restored.labels)), np.nan, dtype=np.float32),
        table=pd.DataFrame({"image": names, "patient": names, "split": "test"}),
        mirrors=restored.mirrors,
    )
    return Prepared(data=data, images=images)


def restore(path: Path, registry: Registry, device: torch.device) -> Restored:
    """Build the network that a finished combo's weight file holds, by its registered model, and fill it strictly.

    No initial weights are fetched, and torch's random stream stays where it was. Raises `WeightsError` for a file that
    is not there, is damaged, says nothing beside its tensors, or does not fit; `UnknownNameError` for a model that no
    plugin offers or a parameter that it no longer takes; `PluginError` where it cannot be built.
    """
    part, tensors = read_weight_file(path)
    offer, model = _find_model(part.model.found_as or part.model.name, registry, path)
    recipe = override(Recipe(name=part.recipe.name), part.recipe.model_dump(exclude={"name"}))
    task = _read_task(part.task)
    codes = tuple(ColumnCode(**column.model_dump()) for column in part.columns)
    if name_numbers(codes) != task.table:
        raise WeightsError(
            f"{path}: its network gets {', '.join(task.table)} beside each image, and how they are made of a table is "
            f"missing; {WAY_OUT}"
        )
    params = complete(model, model.build, _revive(part.model.params, model))
    with computing(device, recipe.precision), torch.random.fork_rng(devices=[]):
        what = f"{path.name} (model '{model.name}')"
        if part.frozen is None or part.frozen.weights is None:
            network = _build(model, task, params).to(device)
            if part.frozen is not None:
                head = {name.removeprefix(f"{part.frozen.layer}."): tensor for name, tensor in tensors.items()}
                network.set_submodule(part.frozen.layer, make_head(part.frozen.kind, head).to(device))
            _load_strictly(network, tensors, what)
        else:
            network = _rebuild(model, task, params, part.frozen, tensors, device, what)
        network.to(memory_format=choose_numerics(recipe, device, network).layout)
    return Restored(
        network=network.eval(),
        device=device,
        task=task,
        recipe=recipe,
        scale=GreyScale(**part.pixels.model_dump()),
        codes=codes,
        mirrors=part.mirrors,
        model=model.name,
        found_as=part.model.found_as or model.name,
        params=params,
        harness=part.harness,
        compiled=part.compiled,
        thresholds=part.thresholds,
        calibration={method: _read_lines(lines, task.labels) for method, lines in part.calibration.items()},
        policy=part.policy,
        unit=part.unit,
        pool=part.pool,
        computed_in=part.computed_in,
        own_decoder=part.own_decoder,
        changes=_find_changes(part, offer),
    )


def _find_model(name: str, registry: Registry, path: Path) -> tuple[Offer, Model]:
    """The model of that name. Raises `UnknownNameError`."""
    offers = registry.offers["model"]
    if name not in offers and f"{name.partition('/')[0]}/*" not in offers:
        hint = f"{path.name} was trained with it: give its plugin by --plugin FILE"
        broken = ", ".join(problem.plugin for problem in registry.problems)
        raise UnknownNameError("model", name, offers, f"{hint}; not loaded: {broken}" if broken else hint)
    offer = registry.offer("model", name)
    return offer, registry.model(name)


def _read_task(part: TaskPart) -> Task:
    prevalence = tuple(_read_number(value) for value in part.prevalence)
    return Task(**part.model_dump(exclude={"prevalence"}), prevalence=prevalence)


def _read_number(value: float | None) -> float:
    """None is NaN, which JSON does not know."""
    return math.nan if value is None else value


def _read_lines(lines: Mapping[str, tuple[float | None, float | None]], labels: tuple[str, ...]) -> Calibration:
    """Lines by label as a calibration (C,); NaN for a label without one."""
    pairs = [lines.get(label, (None, None)) for label in labels]
    slopes, intercepts = (np.array([_read_number(value) for value in values]) for values in zip(*pairs, strict=True))
    return Calibration(slopes, intercepts)


def _revive(params: Options, model: Model) -> dict[str, Any]:
    """Parameters as the model takes them: what is the default but for JSON is the default, such as a tuple."""
    usual = defaults(model.build)
    return {
        name: usual[name] if name in usual and simplify(usual[name]) == value else value
        for name, value in params.items()
    }


def _build(model: Model, task: Task, params: dict[str, Any]) -> nn.Module:
    """The network with weights of no meaning. Raises `PluginError`, whatever the model raises."""
    try:
        return build_network(model, task, params)
    except HarnessError:
        raise
    except Exception as error:
        raise PluginError(f"model '{model.name}' could not be built again: {type(error).__name__}: {error}") from error


def _rebuild(
    model: Model,
    task: Task,
    params: dict[str, Any],
    frozen: FrozenPart,
    head: Mapping[str, Tensor],
    device: torch.device,
    what: str,
) -> nn.Module:
    """The network of a probe: its frozen rest built from its own weights, with the head in its place.

    Raises `WeightsError` where the weights cannot be had or are not those that the probe was fitted on.
    """
    assert frozen.weights is not None
    built = build_frozen(model, params, task, frozen.weights, frozen.seed, device)
    if built.layer != frozen.layer or built.digest() != frozen.digest:
        raise WeightsError(
            f"{what} was fitted on a frozen network that is not the one that its weights, '{frozen.weights}', give "
            f"now: they, the model or a library have changed; {WAY_OUT}"
        )
    built.put(make_head(frozen.kind, {name: tensor.to(device) for name, tensor in head.items()}))
    return built.network


def _load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Fill every tensor of the network. Raises `WeightsError`, naming some, where names or shapes are not the same."""
    own, given = ({name: tensor.shape for name, tensor in side.items()} for side in (network.state_dict(), tensors))
    wrong = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if wrong:
        first = ", ".join(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        raise WeightsError(
            f"{what} does not fit the network that the model builds today: {count(len(wrong), 'tensor')} "
            f"{agree(len(wrong), 'is', 'are')} absent, unknown or "
            f"of another shape ({first}); bring the plugin that it was trained with, or {WAY_OUT}"
        )
    network.load_state_dict(tensors)


def _find_changes(part: NetworkPart, offer: Offer) -> tuple[str, ...]:
    """What is not as it was in training, in words."""
    changes = []
    if part.model.version != offer.component.version:
        changes.append(f"model '{part.model.name}' was of version {part.model.version}, now {offer.component.version}")
    if part.model.code != offer.code:
        changes.append(f"the code of the plugin that offers '{part.model.name}' has changed")
    if part.engine != VERSION:
        changes.append(f"the training engine was of version {part.engine}, now {VERSION}")
    return tuple(changes)
