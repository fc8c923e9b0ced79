"""Checks of a recipe: every field and the space are valid, and a short training runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from harness.components import Recipe
from harness.testing.contract import ContractError, Subject, corners
from harness.testing.samples import make_task, placed

SIZE = 32


def check_every_field_is_valid(subject: Subject) -> None:
    """Every field has a value of its type, as if it were set on the command line."""
    from harness.choices import resolve_metrics
    from harness.errors import HarnessError
    from harness.parameters import list_fields, override
    from harness.registry import load_registry

    recipe = _recipe(subject)
    try:
        override(recipe, list_fields(recipe))
    except HarnessError as error:
        raise ContractError(str(error), "fix that field") from None
    registry = load_registry(subject.files)
    for field, name in (("select_on", recipe.select_on), ("schedule.watch", recipe.schedule.watch)):
        try:
            resolve_metrics([name] if name not in ("loss", "objective") else [], registry)
        except HarnessError as error:
            raise ContractError(f"{field}: {error}", "give loss, objective or a metric's name") from None


def check_space_names_fields(subject: Subject) -> None:
    """Every name in `space` is a field, and the recipe is valid at both ends of the space."""
    from harness.errors import HarnessError
    from harness.parameters import override

    recipe = _recipe(subject)
    for values in corners(recipe.space):
        try:
            override(recipe, values)
        except HarnessError as error:
            raise ContractError(f"at an end of `space`: {error}", "fix that entry of `space`") from None


def check_a_short_training_runs(subject: Subject) -> None:
    """One epoch of a small network on 32 images of 32 px, with everything else as the recipe says, stays finite."""
    import torch

    from harness.components import Loss
    from harness.registry import load_registry
    from harness.testing.networks import build_seeded
    from harness.training.engine import EngineOptions
    from harness.training.fit import Training
    from harness.training.objective import make_objective
    from harness.training.setup import Setup, ValidationMetric

    check_every_field_is_valid(subject)
    if _recipe(subject).train != "all":
        _check_probe(subject)
        return
    recipe, task = _short(_recipe(subject)), make_task(size=SIZE)
    bce = Loss(name="bce", build=lambda task: torch.nn.BCEWithLogitsLoss(reduction="none"))
    device = torch.device(subject.device)
    network = build_seeded(load_registry().model("tiny-cnn"), task).to(device)
    metric = ValidationMetric(lambda logits: float(logits.mean()))
    metrics = dict.fromkeys((recipe.select_on, recipe.schedule.watch), metric)
    with placed(recipe.load_size, subject.device) as images:
        objective = make_objective(bce, task, {}, device)
        setup = Setup(
            network=network,
            objective=objective,
            placed=images,
            recipe=recipe,
            task=task,
            seed=0,
            validation_metrics=metrics,
            engine=EngineOptions(),
        )
        epochs = list(Training(setup).epochs())
    if not all(math.isfinite(epoch.train_loss) for epoch in epochs):
        raise ContractError("the training loss is not finite", "lower lr, or clip the gradient")


def _check_probe(subject: Subject) -> None:
    """A head that is fitted on embeddings is fitted on random ones, and scores are finite."""
    import numpy as np
    import torch

    from harness.data.embeddings import Embeddings, EmbeddingsManifest
    from harness.data.subsets import draw_subset
    from harness.training.probe import fit_probe

    recipe = _recipe(subject)
    if recipe.train == "nothing":
        return
    with placed(SIZE, subject.device) as images:
        count = len(images.prepared.images)
        values = np.random.default_rng(0).normal(size=(count, 16)).astype(np.float32)
        subset = draw_subset(images.prepared, recipe, "sample", seed=0)
        used = images.prepared if subset is None else subset.prepared
        embeddings = Embeddings("sample", values, EmbeddingsManifest(count, 16, {}))
        logits = fit_probe(recipe, used, embeddings, torch.device(subject.device)).logits("val")
    if not bool(logits.isfinite().all()):
        raise ContractError("scores on validation are not finite", "give other strengths or numbers of neighbors")


def _recipe(subject: Subject) -> Recipe:
    return cast(Recipe, subject.component)


def _short(recipe: Recipe) -> Recipe:
    """One epoch, small images in the same proportion to each other, random weights; the samples have other labels."""
    load_size = max(SIZE, round(recipe.load_size * SIZE / recipe.size))
    small = replace(recipe, epochs=1, size=SIZE, load_size=load_size, oversample={})
    return replace(small, weights="random", freeze_epochs=min(1, recipe.freeze_epochs))


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_every_field_is_valid,
    check_space_names_fields,
    check_a_short_training_runs,
)
