"""Heads of probes: neighbors are those that a search by hand finds, and all is computed in float32."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.errors import WeightsError
from harness.training import heads
from harness.training.heads import TEMPERATURE, LinearHead, NeighborsHead, make_head


@pytest.fixture
def bank():
    """70 embeddings with 3 labels, the second of which is unknown of every third image; and 5 that ask."""
    generator = torch.Generator().manual_seed(0)
    features, asking = torch.randn(70, 6, generator=generator), torch.randn(5, 6, generator=generator)
    targets = (torch.rand(70, 3, generator=generator) < 0.3).float()
    targets[::3, 1] = torch.nan
    return features, targets, asking


def ask_by_hand(features, targets, asking, number):
    """Logits (B, C), label by label."""
    bank = features / features.norm(dim=1, keepdim=True)
    own = asking / asking.norm(dim=1, keepdim=True)
    logits = np.zeros((len(own), targets.shape[1]))
    for row in range(len(own)):
        for label in range(targets.shape[1]):
            known = ~targets[:, label].isnan()
            likeness, values = (bank[known] @ own[row]).numpy().astype(float), targets[known, label].numpy()
            nearest = np.argsort(-likeness)[:number]
            weight = np.exp(likeness[nearest] / TEMPERATURE)
            share = (weight * values[nearest]).sum() / weight.sum()
            probability = (share * len(nearest) + values.mean()) / (len(nearest) + 1)
            logits[row, label] = math.log(probability / (1 - probability))
    return logits


@pytest.mark.parametrize("number", [1, 7, 1000])
@pytest.mark.parametrize("block", [16, 16_384])
def test_neighbors_are_those_of_a_search_by_hand_among_the_images_where_a_label_is_known(
    bank, number, block, monkeypatch
):
    monkeypatch.setattr(heads, "BLOCK", block)
    features, targets, asking = bank
    found = NeighborsHead.of(features, targets, number)(asking)
    np.testing.assert_allclose(found.numpy(), ask_by_hand(features, targets, asking, number), atol=1e-4)


def test_each_label_asks_its_own_number_of_neighbors(bank):
    features, targets, asking = bank
    head = NeighborsHead.of(features, targets, 3)
    several = head.ask(asking, [3, 10])
    mixed = head.choose(torch.tensor([10, 3, 10]))(asking)
    assert torch.equal(mixed, torch.stack([several[1, :, 0], several[0, :, 1], several[1, :, 2]], dim=1))


def test_a_label_of_no_positives_or_of_nothing_known_has_a_finite_logit(bank):
    features, targets, asking = bank
    targets[:, 0], targets[:, 1] = 0, torch.nan
    found = NeighborsHead.of(features, targets, 5)(asking)
    assert found.isfinite().all()
    assert not found[:, 1].any()


def test_a_label_that_every_known_training_image_has_gets_a_finite_logit_of_many_neighbors(bank):
    features, targets, asking = bank
    targets[:, 0] = 1
    logits = NeighborsHead.of(features, targets, 60)(asking)[:, 0]
    assert logits.isfinite().all()
    assert (logits > 10).all()


@pytest.mark.parametrize("kind", ["head", "neighbors"])
def test_a_head_is_the_same_once_it_was_stored_and_computes_in_float32_under_autocast(bank, kind):
    features, targets, asking = bank
    head = LinearHead(6, 3) if kind == "head" else NeighborsHead.of(features, targets, 5)
    again = make_head(kind, head.state_dict())
    with torch.no_grad():
        expected = head(asking)
        with torch.autocast("cpu", torch.bfloat16):
            found = again(asking)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_a_stored_head_that_lacks_a_tensor_is_refused():
    with pytest.raises(WeightsError, match="lacks 'bias' of its head"):
        make_head("head", {"weight": torch.zeros(2, 3)})
