"""Executors that break the contract are told what is wrong, by the check meant for it."""

from __future__ import annotations

import concurrent.futures

import pytest

from harness.components import Executor
from harness.errors import UsageError
from harness.registry import Offer
from harness.testing.contract import Outcome, Subject
from harness.testing.examine import checks_of


class Right:
    """Threads; the wrong ones below differ in one thing."""

    def __init__(self) -> None:
        self.capacity: object = 2
        self.threads = concurrent.futures.ThreadPoolExecutor(2)

    def submit(self, function, /, *arguments):
        return self.threads.submit(function, *arguments)

    def close(self):
        self.threads.shutdown(wait=False, cancel_futures=True)


class Endless(Right):
    def __init__(self) -> None:
        super().__init__()
        self.capacity = 0


class Forgetful(Right):
    def submit(self, function, /, *arguments):
        return super().submit(str, "something else")


class Misleading(Right):
    def explain(self, error):
        return "bad luck"


class Nameless(Right):
    def find(self, job):
        return None


def look(open_engine, check: str) -> Outcome:
    executor = Executor(name="mine", open=open_engine)
    subject = Subject(kind="executor", offer=Offer(executor, "mine.py", "local"))
    (found,) = [one for one in checks_of("executor") if one.name == check]
    return found(subject)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("engine", "check", "seen"),
    [
        (Endless, "opens and closes", "capacity is 0"),
        (Forgetful, "gives what a function returns", "came back as ['something else', 'something else']"),
        (Forgetful, "gives what a function raises", "a function raised ValueError, and result() gave 'something else'"),
        (Misleading, "gives what a function raises", "explain gave 'bad luck'"),
        (Nameless, "finds again", "its futures have job = None"),
        (object, "opens and closes", "opened object, which has no submit()"),
    ],
)
def test_what_is_wrong_is_said(engine, check, seen):
    outcome = look(lambda needs: engine(), check)
    assert outcome.status == "failed"
    assert seen in outcome.seen
    assert outcome.fix


@pytest.mark.parametrize("check", ["opens and closes", "gives what a function returns", "gives what a function raises"])
def test_what_the_wrong_ones_are_made_of_is_right(check):
    assert look(lambda needs: Right(), check).status == "passed"


def test_an_executor_that_is_not_for_this_machine_is_passed_over(tmp_path):
    def open_nothing(needs):
        raise UsageError("there is no scheduler here")

    outcome = look(open_nothing, "opens and closes")
    assert (outcome.status, outcome.seen) == ("skipped", "there is no scheduler here")
    assert not list(tmp_path.iterdir())
