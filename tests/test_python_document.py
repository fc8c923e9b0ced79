"""What docs/python.md shows works as it shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[1] / "docs" / "python.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the calibrated probability of")  # a short training need not learn each finding
def test_the_examples_run_one_after_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_DEVICE", "cpu")
    printed = []
    for example in EXAMPLES:
        exec(example, {})
        printed.append(capsys.readouterr().out)
    run, score, read, use = printed
    assert re.search(r"tiny-cnn \+ bce .*partial .*0\.\d+", run)
    assert re.search(r"f1@val-f1 +0\.\d+", score)
    assert "patients are unknown" not in score
    assert "tiny-cnn--bce--demo" in read
    assert re.search(r"'Effusion': 0\.\d+", use)
