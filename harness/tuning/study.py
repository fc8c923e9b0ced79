"""A study: what is searched for what, kept with its trials, so that it can only be continued as what it is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.board import Board, Row
from harness.components import Choice, Float, Int
from harness.errors import UsageError
from harness.tuning.differences import list_differences
from harness.tuning.methods import Pruner, Sampler, make_pruner, make_sampler
from harness.tuning.space import Dimension, Dimensions, name_value
from harness.tuning.storage import WAIT, answering, is_begun, open_storage

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

DEFINITION = "harness"
"""Under which a study keeps what it is."""
IS_DEFAULT = "default"
"""User attribute of the trial of the row's own parameters."""
VALUES = "values"
"""User attribute of a trial: the value of every dimension."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is searched for what."""

    name: str
    board: Board
    row: Row
    """The row before tuning, with what is fixed."""
    dimensions: Dimensions
    defaults: Mapping[str, Any]
    """The row's value of each dimension."""
    objective: str
    higher_is_better: bool
    fingerprint: str
    """The fingerprint of the data."""
    epochs: int
    """The most epochs that a trial may train."""
    sampler: Sampler = "tpe"
    pruner: Pruner = "hyperband"
    seeds: tuple[int, ...] = (0,)
    """Seeds that each trial is trained with; its value is the mean."""
    storage: str | None = None

    @property
    def first_values(self) -> dict[str, Any]:
        """The values of the first trial: the row's own, or the nearest that the space has."""
        return {
            name: self.defaults[name] if one.holds(self.defaults[name]) else one.nearest(self.defaults[name])
            for name, one in self.dimensions.items()
        }

    @property
    def outside(self) -> tuple[str, ...]:
        """The dimensions in which the row's own value lies outside the space."""
        return tuple(name for name, one in self.dimensions.items() if not one.holds(self.defaults[name]))

    def explain_outside(self) -> str:
        """Say in one line that no trial is of the default, where that lies outside the space; otherwise nothing."""
        if not self.outside:
            return ""
        values = "; ".join(
            f"{name} = {name_value(self.defaults[name])} is not in {self.dimensions[name].describe()} "
            f"({self.dimensions[name].origin}), and is {name_value(self.first_values[name])} in the first trial"
            for name in self.outside
        )
        return f"study '{self.name}': no trial has the default configuration, which lies outside the space: {values}"

    def definition(self) -> dict[str, Any]:
        """What has to be the same for a study to be continued, as plain data."""
        return {
            "dataset": {"name": self.board.dataset, "options": dict(self.board.options)},
            "fingerprint": self.fingerprint,
            "objective": self.objective,
            "model": self.row.model,
            "loss": self.row.loss,
            "recipe": self.row.recipe,
            "fixed": {section: dict(values) for section, values in self.row.params.items()},
            "space": {name: dimension.as_plain() for name, dimension in sorted(self.dimensions.items())},
            "seeds": list(self.seeds),
        }


def open_study(plan: Plan) -> optuna.Study:
    """The study of that name, made where there is none; its first trial is the default, or the nearest in its space.

    Raises `UsageError` where a study of that name is of something else, or where the storage does not answer.
    """
    import optuna

    direction: Literal["maximize", "minimize"] = "maximize" if plan.higher_is_better else "minimize"
    tools = _open_tools(plan)
    with answering(plan.storage):
        try:
            study = optuna.create_study(study_name=plan.name, direction=direction, **tools)
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(study_name=plan.name, **tools)
            _await_definition(study)
        if DEFINITION not in study.user_attrs:  # just made, or whoever made it died at once
            _require_ours(study, plan)
            study.enqueue_trial(plan.first_values, user_attrs={IS_DEFAULT: not plan.outside}, skip_if_exists=True)
            study.set_user_attr(DEFINITION, plan.definition())
        _require_same(study, plan)
    return study


def join_study(plan: Plan) -> optuna.Study:
    """The study that another process has made, of which this one is a worker. Makes none.

    Raises `UsageError` where there is none in the storage that is seen from here, or where it is of something else.
    """
    study = find_study(plan)
    if study is None:
        raise UsageError(
            f"the study '{plan.name}' is not in the storage that is seen from here; keep it where all workers "
            "reach it: in the board's folder on a shared disk, or on a server by --storage"
        )
    return study


def find_study(plan: Plan) -> optuna.Study | None:
    """The study where it was made already; makes none.

    Raises `UsageError` where a study of that name is of something else, or where the storage does not answer.
    """
    import optuna

    if not is_begun(plan.storage, plan.board.folder, plan.name):
        return None
    tools = _open_tools(plan)
    with answering(plan.storage):
        try:
            study = optuna.load_study(study_name=plan.name, **tools)
        except KeyError:
            return None
        if DEFINITION not in study.user_attrs:  # another program's, or whoever made it died at once
            return None
        _require_same(study, plan)
    return study


def _open_tools(plan: Plan) -> dict[str, Any]:
    return {
        "storage": open_storage(plan.storage, plan.board.folder, plan.name),
        "sampler": make_sampler(plan.sampler),
        "pruner": make_pruner(plan.pruner, plan.epochs),
    }


def ask_values(trial: optuna.Trial, plan: Plan) -> dict[str, Any]:
    """The value of every dimension for a trial; the default trial has the row's own with all their digits."""
    values = {name: _suggest(trial, one) for name, one in plan.dimensions.items()}
    if trial.user_attrs.get(IS_DEFAULT):
        values = {name: plan.defaults[name] for name in values}
    trial.set_user_attr(VALUES, values)
    return values


def values_of(trial: FrozenTrial) -> dict[str, Any]:
    """The value of every dimension that a trial was run with; empty where it has come to nothing yet."""
    return dict(trial.user_attrs.get(VALUES, trial.params))


def is_default(trial: FrozenTrial) -> bool:
    """Whether it is of the row's own parameters."""
    return bool(trial.user_attrs.get(IS_DEFAULT))


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    """A value with as many digits as a person would type, so that the row that is printed is what was trained."""
    match dimension.values:
        case Float(low, high, log):
            return min(max(float(f"{trial.suggest_float(dimension.name, low, high, log=log):.4g}"), low), high)
        case Int(low, high, log):
            return trial.suggest_int(dimension.name, low, high, log=log)
        case Choice(options):
            return trial.suggest_categorical(dimension.name, options)


def distributions(dimensions: Dimensions) -> dict[str, BaseDistribution]:
    """The space as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    def convert(values: Float | Int | Choice) -> BaseDistribution:
        match values:
            case Float(low, high, log):
                return FloatDistribution(low, high, log=log)
            case Int(low, high, log):
                return IntDistribution(low, high, log=log)
            case Choice(options):
                return CategoricalDistribution(options)

    return {name: convert(dimension.values) for name, dimension in dimensions.items()}


def _await_definition(study: optuna.Study) -> None:
    """Another process may be making it at this moment."""
    until = time.monotonic() + WAIT
    while DEFINITION not in study.user_attrs and time.monotonic() < until:
        time.sleep(0.1)


def _require_same(study: optuna.Study, plan: Plan) -> None:
    stored, wanted = study.user_attrs[DEFINITION], json.loads(json.dumps(plan.definition(), default=str))
    differences = list_differences(stored, wanted)
    if differences:
        raise UsageError(
            f"the study '{plan.name}' is of something else: {'; '.join(differences)}. Continue it as it was, or begin "
            f"one of another name: --study {plan.name}-2"
        )


def _require_ours(study: optuna.Study, plan: Plan) -> None:
    """Refuse a study that another program keeps in the same storage: its trials mean something else."""
    from optuna.trial import TrialState

    if any(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False)):
        raise UsageError(
            f"the study '{plan.name}' in this storage has trials, but was not made by harness tune; begin one of "
            f"another name: --study {plan.name}-2"
        )
