"""From nothing to a running board on SLURM, as docs/clusters.md says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.results.store import read_records

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(300)]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
SECTION = DOCUMENT.partition("\n## SLURM\n")[2].partition("\n## ")[0]
LINES = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)[0].splitlines()
LIGHTER = "--seeds 0 --only tiny-cnn--bce* --option train=48 --option val=60 --option test=120 --set recipe.epochs=1"


def test_the_lines_of_the_document_run_a_board(slurm, finish, tmp_path):
    assert len(LINES) <= 10
    said = {}
    for line in LINES:
        words = shlex.split(line, comments=True)
        if words[0] != "harness":
            continue  # an environment of its own, which stands here already
        words += shlex.split(LIGHTER) if words[1] == "run" else []
        words += ["--on-option", "poll=1"] if "--on" in words else []
        code, printed, told = finish(*words[1:], **slurm.environment)
        assert code == 0, printed + told
        said[line] = printed + told
    (shown,) = [text for line, text in said.items() if "plugins show" in line]
    table = "".join(re.findall(r"^\| (`.*?`) \|", SECTION, re.MULTILINE))
    options = set(re.findall(r"^    (\w+) = ", shown, re.MULTILINE)) - {"shared"}
    assert set(re.findall(r"`(\w+)`", table)) == options, "the document has each option"
    assert any("submitted 1 job to slurm" in text for text in said.values())
    (record,) = read_records(tmp_path / "demo-board").records
    assert record.status == "done"
