"""How a search goes: which values are tried next, and which trials are stopped early."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

Sampler = Literal["tpe", "random", "gp"]
Pruner = Literal["hyperband", "median", "none"]


def make_sampler(name: Sampler) -> BaseSampler:
    """Make a sampler without a seed: workers of one study must not draw the same."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "random":
                return optuna.samplers.RandomSampler()
            case "gp":
                return optuna.samplers.GPSampler()
            case "tpe":  # a running trial counts as a bad one, so that workers do not all try one place
                return optuna.samplers.TPESampler(constant_liar=True)


def make_pruner(name: Pruner, epochs: int) -> BasePruner:
    """Make a pruner for trials of at most so many epochs."""
    import optuna

    match name:
        case "none":
            return optuna.pruners.NopPruner()
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
        case "hyperband":
            if epochs < 3:  # no epoch between the first and the last at which to compare
                return optuna.pruners.NopPruner()
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
