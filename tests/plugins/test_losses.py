"""Losses equal their formulas, stay finite, and cost less for right answers."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from harness import HarnessError, Task

TASK = Task(labels=("a", "b", "c"), channels=1, size=8, mean=(0.5,), std=(0.25,), prevalence=(0.1, 0.4, float("nan")))
NAMES = ["bce", "weighted-bce", "focal", "asymmetric"]


def build(registry, name, **params):
    return registry.loss(name).build(TASK, **params)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(64, 3, generator=generator)
    return logits, (torch.rand(64, 3, generator=generator) < 0.4).float()


def test_bce_is_minus_the_log_of_the_truths_probability(registry, batch):
    logits, targets = (value.double() for value in batch)
    scores = torch.sigmoid(logits)
    expected = -torch.log(torch.where(targets == 1, scores, 1 - scores))
    torch.testing.assert_close(build(registry, "bce")(logits, targets), expected)


def test_weighted_bce_weighs_classes_by_the_share_of_the_other(registry, batch):
    logits, targets = batch
    plain = build(registry, "bce")(logits, targets)
    found = build(registry, "weighted-bce")(logits, targets) / plain
    for label, prevalence in enumerate((0.1, 0.4, 0.5)):
        positive = targets[:, label] == 1
        torch.testing.assert_close(found[positive, label], torch.full((int(positive.sum()),), 1 - prevalence))
        torch.testing.assert_close(found[~positive, label], torch.full((int((~positive).sum()),), prevalence))


@pytest.mark.parametrize("weights", [[2.0, 0.5, 3], {"c": 3, "a": 2.0, "b": 0.5}])
def test_given_weights_are_those_of_positives_as_torch_has_them(registry, batch, weights):
    expected = torch.nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.tensor([2.0, 0.5, 3.0]))(*batch)
    torch.testing.assert_close(build(registry, "weighted-bce", weights=weights)(*batch), expected)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1.0, 2.0], "give a list of 3 numbers, for a, b, c"),
        (2.0, "give a list of 3 numbers"),
        ("balanced", "give a list of 3 numbers"),
        ({"a": 1.0, "b": 2.0}, "has no weight for c"),
        ({"a": 1.0, "b": 2.0, "see": 3.0}, "unknown label in loss.weights 'see'"),
        ([1.0, 0.0, 2.0], "of b is 0.0; give a number above 0"),
        ([1.0, -1, 2.0], "of b is -1"),
        ([1.0, float("nan"), 2.0], "of b is nan"),
        ([1.0, True, 2.0], "of b is True"),
        (["1", 1, 1], "of a is '1'"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(registry, weights, says):
    with pytest.raises(HarnessError, match=says):
        build(registry, "weighted-bce", weights=weights)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_focal_equals_the_papers_form_and_torchvisions(registry, batch, alpha, gamma):
    logits, targets = batch
    found = build(registry, "focal", alpha=alpha, gamma=gamma)(logits, targets)
    plain = build(registry, "bce")(logits.double(), targets.double())
    torch.testing.assert_close(found, (alpha * (1 - torch.exp(-plain)) ** gamma * plain).float(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        found, alpha * sigmoid_focal_loss(logits, targets, alpha=-1, gamma=gamma), rtol=1e-4, atol=1e-6
    )


def test_asymmetric_equals_its_equations(registry, batch):
    logits, targets = (value.double() for value in batch)
    found = build(registry, "asymmetric", gamma_negative=4.0, gamma_positive=1.0, clip=0.05)(logits, targets)
    scores = torch.sigmoid(logits)
    shifted = (scores - 0.05).clamp(min=0)
    positive = -((1 - scores) ** 1.0) * torch.log(scores)
    negative = -(shifted**4.0) * torch.log(1 - shifted)
    torch.testing.assert_close(found, torch.where(targets == 1, positive, negative))


def test_asymmetric_without_focus_or_shift_is_bce(registry, batch):
    found = build(registry, "asymmetric", gamma_negative=0.0, gamma_positive=0.0, clip=0.0)(*batch)
    torch.testing.assert_close(found, build(registry, "bce")(*batch))


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_stay_finite_at_extreme_logits(registry, name):
    logits = torch.tensor([[-100.0, 0.0, 100.0]] * 2, requires_grad=True)
    for target in (0.0, 1.0):
        values = build(registry, name)(logits, torch.full((2, 3), target))
        assert values.shape == (2, 3)
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        assert values.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0])
def test_focusing_losses_stay_finite_with_a_small_gamma(registry, gamma):
    focused = [
        build(registry, "focal", gamma=gamma),
        *(
            build(registry, "asymmetric", gamma_negative=gamma, gamma_positive=gamma, clip=clip)
            for clip in (0.0, 0.05, 0.5)
        ),
    ]
    for loss in focused:
        for target in (0.0, 1.0):
            logits = torch.tensor([[-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4]], requires_grad=True)
            values = loss(logits, torch.full_like(logits, target))
            (gradient,) = torch.autograd.grad(values.sum(), logits)
            assert values.isfinite().all()
            assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_reads_no_value_back_from_the_device(registry, name):
    """Tensors without content: whatever a captured graph could not hold raises here."""
    loss = build(registry, name)
    loss = loss.to("meta") if isinstance(loss, torch.nn.Module) else loss
    empty = torch.empty(5, 3, device="meta")
    assert loss(empty, empty).shape == (5, 3)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences(registry, name):
    generator = torch.Generator().manual_seed(1)
    logits = (2 * torch.randn(6, 3, generator=generator)).double().requires_grad_()
    targets = (torch.rand(6, 3, generator=generator) < 0.5).double()
    loss = build(registry, name)
    loss = loss.double() if isinstance(loss, torch.nn.Module) else loss
    assert torch.autograd.gradcheck(lambda values: loss(values, targets), logits)


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_cost_less_than_wrong_ones(registry, name):
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    loss = build(registry, name)
    right, wrong = loss(4 * (2 * targets - 1), targets), loss(-4 * (2 * targets - 1), targets)
    assert (right < wrong).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_a_batch_does_not_matter(registry, batch, name):
    logits, targets = batch
    loss = build(registry, name)
    torch.testing.assert_close(loss(logits, targets).flip(0), loss(logits.flip(0), targets.flip(0)))
