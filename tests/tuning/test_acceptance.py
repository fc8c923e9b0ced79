"""What a search is for: it finds what is better, and calls nothing better that is not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.conftest import TOY

PLUGIN = str(Path(__file__).parents[1] / "fixtures" / "search.py")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_poor_default_is_beaten_beyond_chance_in_twenty_trials(harness):
    started = time.monotonic()
    code, out, err = harness(
        *("tune", "--dataset", "phantom", "--models", "tiny-cnn", "--losses", "bce", "--recipes", "slow"),
        *("--board", "b"),
        *("--option", "train=600", "--option", "val=200", "--option", "test=400"),
        *("--trials", "20", "--confirm", "3", "--json", "--plugin", PLUGIN),
    )
    found = json.loads(out)
    print(f"\n{time.monotonic() - started:.0f} s for 20 trials and their confirmation: {found['confirmation']}")  # noqa: T201
    assert code == 0, err
    assert found["trials"]["total"] == 20
    assert found["confirmation"]["better"]
    assert found["confirmation"]["delta"] > 0.05


@pytest.mark.exhaustive
@pytest.mark.slow
def test_parameters_that_do_nothing_are_hardly_ever_called_better(harness, tmp_path):
    space = tmp_path / "space.toml"
    space.write_text("[model]\ndraw = { low = 0.0, high = 1.0 }\n")
    better, chosen = 0, 0
    for number in range(20):
        code, out, err = harness(
            *("tune", "--dataset", "toy", "--option", f"count={200 + 4 * number}", "--models", "lucky-net"),
            *(
                "--losses",
                "bce",
                "--recipes",
                "toy",
                "--set",
                "recipe.epochs=2",
                "--set",
                "recipe.lr=3e-4",
                "--board",
                f"b{number}",
            ),
            *("--sampler", "random", "--pruner", "none", "--trials", "6", "--confirm", "3", "--space", str(space)),
            *("--json", "--plugin", PLUGIN, "--plugin", str(TOY)),
        )
        assert code == 0, err
        found = json.loads(out)["confirmation"]
        chosen += found is not None
        better += found is not None and found["better"]
    print(f"\n{better} of 20 studies of nothing were called better; {chosen} had a lucky trial to confirm")  # noqa: T201
    assert chosen > 10
    assert better <= 2
