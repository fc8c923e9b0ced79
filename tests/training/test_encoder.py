"""The head that sentences make of an encoder's text tower."""

from __future__ import annotations

import pytest
import torch

from harness import WeightsError, make_zero_shot_head
from harness.data.prompts import Prompts

MASS = {"Mass": Prompts(present=("There is a mass.",), absent=("There is no mass.",))}


def test_a_text_tower_that_does_not_tell_sentences_apart_is_refused():
    with pytest.raises(WeightsError, match="same embedding to the sentences that say that 'Mass' is present"):
        make_zero_shot_head(MASS, lambda texts: torch.ones(len(texts), 4), 10.0)


def test_a_head_is_the_scaled_difference_of_the_two_directions():
    places = {"There is a mass.": 0, "There is no mass.": 1}
    head = make_zero_shot_head(MASS, lambda texts: 3 * torch.eye(4)[[places[text] for text in texts]], 10.0)
    assert head["head.weight"].tolist() == [[10.0, -10.0, 0.0, 0.0]]
    assert head["head.bias"].tolist() == [0.0]
