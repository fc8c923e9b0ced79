"""The commands of docs/clusters.md, typed as they stand, one after another."""

from __future__ import annotations

import shlex

import pytest

from harness.results.store import read_records
from tests.test_document_examples import DOCUMENTS, commands

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(400)]

SMALL = "--seeds 0 --only tiny-cnn--bce* --option train=48 --option val=60 --option test=120 --set recipe.epochs=1"
FAST = {"slurm": "--on-option poll=1", "ray": ""}


def find_section(title):
    """The text under a heading of docs/clusters.md."""
    return DOCUMENTS["docs/clusters.md"].partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def type_section(title, name, finish, folder, environment):
    typed = commands(find_section(title))
    assert 3 < len(typed) <= 10
    for command in typed:
        words = command[1:]
        if words[0] == "run":
            words += shlex.split(SMALL) + (shlex.split(FAST[name]) if "--on" in words else [])
        code, said, told = finish(*words, **environment)
        assert code == 0, said + told
    (record,) = read_records(folder / "leaderboards" / "demo").records
    assert record.status == "done"


def test_the_page_goes_from_nothing_to_a_board_on_slurm(slurm, finish, tmp_path):
    type_section("SLURM", "slurm", finish, tmp_path, slurm.environment)
