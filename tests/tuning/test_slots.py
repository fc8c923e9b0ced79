"""An exact number of trials, whoever runs them and whoever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from optuna.trial import Trial, TrialState

from harness.components import Choice, Float, Int
from harness.errors import UsageError
from harness.leases import identify_machine
from harness.tuning.slots import LEASED, RETRY_OF, Slots, best_of, count_trials, why_failed
from harness.tuning.space import Dimension
from harness.tuning.study import ask_values, is_default, open_study, values_of


def dead_lease():
    """What a worker of this machine leaves that has died."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return {"machine": identify_machine(), "process": process.pid, "process_started": 1.0, "beat": 3}


def take(slots) -> Trial:
    """A trial that there is room for."""
    found = slots.take()
    assert isinstance(found, Trial)
    return found


def run_all(slots, study, plan):
    """Trials until there is room for no more; gives their numbers."""
    numbers = []
    while (trial := slots.take()) is not None:
        ask_values(trial, plan)
        study.tell(trial, 0.5)
        numbers.append(trial.number)
    return numbers


def test_the_first_trial_is_the_default_with_all_its_digits(make_plan):
    plan = make_plan(defaults={"recipe.lr": 0.0123456789, "recipe.optimizer": "sgd"})
    study = open_study(plan)
    assert ask_values(take(Slots(study, 3)), plan) == plan.defaults
    assert is_default(study.trials[0])
    assert plan.explain_outside() == ""


def test_the_first_trial_is_in_the_space_though_the_default_is_not(make_plan):
    dimensions = {
        "recipe.lr": Dimension("recipe.lr", Float(1e-4, 1e-3, log=True), "--search"),
        "recipe.epochs": Dimension("recipe.epochs", Int(5, 9), "--search"),
        "recipe.batch_size": Dimension("recipe.batch_size", Choice((16, 32, 64)), "--search"),
        "recipe.optimizer": Dimension("recipe.optimizer", Choice(("adam", "sgd")), "--search"),
        "recipe.weight_decay": Dimension("recipe.weight_decay", Float(0.0, 1.0), "--search"),
        "recipe.clip": Dimension("recipe.clip", Float(1.0, 2.0), "--search"),
    }
    defaults = (0.01, 3, 40, "adamw", 0.5, None)
    nearest = (1e-3, 5, 32, "adam", 0.5, 1.0)
    plan = make_plan(dimensions=dimensions, defaults=dict(zip(dimensions, defaults, strict=True)))
    study = open_study(plan)
    trial = take(Slots(study, 3))
    assert ask_values(trial, plan) == dict(zip(dimensions, nearest, strict=True))
    assert not is_default(study.trials[0])
    said = plan.explain_outside()
    assert "recipe.lr = 0.01 is not in 0.0001 .. 0.001, log (--search), and is 0.001 in the first trial" in said
    assert "recipe.clip = none is not in 1 .. 2" in said
    assert "weight_decay" not in said


def test_a_study_has_exactly_as_many_trials_as_asked_for(make_plan):
    plan = make_plan()
    study = open_study(plan)
    assert run_all(Slots(study, 5), study, plan) == [0, 1, 2, 3, 4]
    assert Slots(study, 5).is_over()
    assert run_all(Slots(study, 5), study, plan) == []
    assert run_all(Slots(study, 7), study, plan) == [5, 6]


def test_a_trial_too_many_is_given_up_before_it_is_run(make_plan, monkeypatch):
    plan = make_plan()
    study, rival = open_study(plan), open_study(plan)
    slots = Slots(study, 2)
    asked = study.ask

    def ask_late(*arguments):
        monkeypatch.setattr(study, "ask", asked)
        run_all(Slots(rival, 2), rival, plan)  # between the look and the asking, another worker takes all the room
        return asked(*arguments)

    monkeypatch.setattr(study, "ask", ask_late)
    assert slots.take() is None
    assert len(count_trials(study).finished) == 2
    assert slots.is_over()


def test_the_trial_of_a_dead_worker_is_run_again_with_its_values_once(make_plan):
    plan = make_plan()
    study = open_study(plan)
    first = take(Slots(study, 2))
    ask_values(first, plan)
    first.set_user_attr(LEASED, dead_lease())
    slots = Slots(study, 2)
    again = take(slots)
    assert again.user_attrs[RETRY_OF] == first.number
    assert ask_values(again, plan) == values_of(study.trials[0])
    again.set_user_attr(LEASED, dead_lease())
    assert run_all(Slots(study, 2), study, plan) == [2]
    tally = count_trials(study)
    assert [trial.number for trial in tally.finished] == [1, 2]
    why = why_failed(tally.finished[0], study.user_attrs)
    assert why is not None
    assert "its worker died" in why["message"]
    assert slots.is_over()


def test_an_interrupted_trial_is_given_back_however_often(make_plan):
    plan = make_plan()
    study = open_study(plan)
    for _ in range(3):
        trial = take(Slots(study, 1))
        assert ask_values(trial, plan)["recipe.lr"] == 0.01
        Slots(study, 1).give_back(trial.number)
    assert run_all(Slots(study, 1), study, plan) == [3]
    assert is_default(study.trials[3])


def test_a_trial_that_is_held_is_given_back_unless_it_came_to_its_end(make_plan):
    plan = make_plan()
    study = open_study(plan)
    slots = Slots(study, 2)
    for end in (KeyboardInterrupt, RuntimeError):
        trial = take(slots)
        with pytest.raises(end), slots.hold(trial):
            raise end
    trial = take(slots)
    with slots.hold(trial):
        study.tell(trial, 0.5)
    tally = count_trials(study)
    assert [len(group) for group in (tally.finished, tally.running, tally.waiting)] == [1, 0, 0]
    assert run_all(slots, study, plan) == [3]


def test_what_was_ended_on_purpose_is_given_back_and_nothing_of_others(make_plan):
    study = open_study(make_plan())
    mine, other = take(Slots(study, 2)), take(Slots(study, 2))
    other.set_user_attr(LEASED, {"machine": "elsewhere", "process": os.getpid(), "process_started": 1, "beat": 0})
    Slots(study, 2).give_back_of(os.getpid())
    assert [trial.number for trial in count_trials(study).running] == [other.number]
    assert study.trials[mine.number].state == TrialState.FAIL


def test_a_study_does_not_name_the_host(make_plan):
    study = open_study(make_plan())
    take(Slots(study, 1))
    assert set(study.trials[0].user_attrs[LEASED]) == {"machine", "process", "process_started", "beat"}


@pytest.mark.parametrize("url", [None, pytest.param("sqlite", marks=pytest.mark.slow)])
def test_threads_that_share_a_study_neither_lose_nor_double_a_trial(make_plan, tmp_path, url):
    for name in ("a", "b", "c", "d"):
        share_a_study(make_plan(name=name, sampler="random", storage=url and f"sqlite:///{tmp_path / 'study.db'}"))


def share_a_study(plan):
    """Three workers of one study, that all begin with one waiting trial."""
    open_study(plan)
    numbers: list[int] = []

    def work():
        study = open_study(plan)
        numbers.extend(run_all(Slots(study, 12), study, plan))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == len(set(numbers)) == 12
    assert len(count_trials(open_study(plan)).finished) == 12


def test_the_best_of_equals_is_the_earliest_and_direction_counts(make_plan):
    study = open_study(make_plan())
    for value in (0.2, 0.9, 0.9, 0.1):
        study.tell(study.ask(), value)
    study.tell(study.ask(), state=TrialState.FAIL)
    found = [best_of(study.trials, higher_is_better=higher) for higher in (True, False)]
    assert [trial and trial.number for trial in found] == [1, 3]
    assert best_of([], higher_is_better=True) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "auprc"}, "objective was auroc, now auprc"),
        ({"fingerprint": "g"}, "fingerprint was"),
        ({"seeds": (0, 1)}, "--seeds-per-trial was"),
        (
            {"dimensions": {"recipe.lr": Dimension("recipe.lr", Float(1.0, 2.0), "")}},
            "searched in 0.0001 .. 0.1, log, now searched in 1.0 .. 2.0",
        ),
    ],
)
def test_a_study_of_something_else_is_not_continued(make_plan, changes, message):
    plan = make_plan()
    open_study(plan)
    with pytest.raises(UsageError, match=message):
        open_study(make_plan(**changes))
    open_study(plan)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://x", "unknown kind of storage"),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/x", r"u:\*\*\*@127.0.0.1:1/x does not answer"),
        ("sqlite:////nowhere/at/all.db", "does not answer"),
        ("words", "unknown kind of storage"),
    ],
)
def test_a_storage_that_does_not_answer_is_named_without_its_password(make_plan, url, message):
    with pytest.raises(UsageError, match=message) as error:
        open_study(make_plan(storage=url))
    assert "secret" not in str(error.value)


def test_a_damaged_journal_is_named(make_plan):
    plan = make_plan()
    open_study(plan)
    path = plan.board.folder / "studies" / "s.journal"
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(UsageError, match=r"s\.journal|does not answer"):
        open_study(plan)
