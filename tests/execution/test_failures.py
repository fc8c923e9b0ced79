"""Kinds of failure are declared once, and a worker's death is of one of them."""

from __future__ import annotations

from typing import get_args

import pytest

from harness.execution.failures import KINDS, explain_death, may_pass
from harness.execution.supervision import Death
from harness.results.record import FailureKind, FailurePart


def test_every_kind_that_a_record_may_have_is_declared_once():
    assert sorted(kind.name for kind in KINDS) == sorted(get_args(FailureKind))


@pytest.mark.parametrize(
    ("death", "kind"),
    [
        (Death("timeout", "took more than 1 s"), "timeout"),
        (Death("out_of_memory", "held too much"), "out_of_memory"),
        (Death("killed", "from outside"), "interrupted"),
        (Death("signal", "SIGSEGV"), "crashed"),
        (Death("exit", "exit code 1", 1), "crashed"),
    ],
)
def test_a_workers_death_is_told_as_a_failure_of_its_kind(death, kind):
    failure = explain_death(death, "after epoch 1 of 3")
    assert (failure.kind, failure.message, failure.where) == (kind, death.reason, "after epoch 1 of 3")


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_only_what_else_ran_on_the_machine_may_pass(kind):
    passing = may_pass(FailurePart(kind=kind, message="it failed", where="before training"))
    assert passing == (kind in {"crashed", "interrupted", "out_of_memory", "timeout"})
