"""Checks of a metric: its direction, its range, weights, and what is undefined."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from harness.components import Metric
from harness.testing.contract import ContractError, NotApplicable, Subject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

IMAGES, LABELS = 240, 3


def check_goes_in_its_direction(subject: Subject) -> None:
    """Perfect answers are better than random ones, and random ones better than inverted ones, as it declares."""
    metric = _metric(subject)
    scores, targets = _sample(metric)
    values = [_value(subject, answers, targets).mean() for answers in (targets, scores, 1 - targets)]
    perfect, random, inverted = values if metric.higher_is_better else [-value for value in values]
    if not perfect > random > inverted:
        fix = f"declare higher_is_better={not metric.higher_is_better}, or turn compute round"
        if not perfect < random < inverted:
            fix = "let every answer count, and return NaN only where a label is undefined"
        raise ContractError(
            "perfect answers get {:.4g}, random ones {:.4g}, inverted ones {:.4g}, with higher_is_better={}".format(
                *values, metric.higher_is_better
            ),
            fix,
        )


def check_is_undefined_without_weight(subject: Subject) -> None:
    """NaN where nothing has weight; with one class alone NaN or a value in its range; never an error."""
    import numpy as np

    metric = _metric(subject)
    scores, targets = _sample(metric)
    if metric.weighted:
        nothing = _value(subject, scores, targets, np.zeros(IMAGES))
        if not np.isnan(nothing).all():
            raise ContractError(
                f"with weights that are all zero it gave {nothing[0]:g}", "return NaN where the weights sum to 0"
            )
    for only in (0.0, 1.0):
        values = _value(subject, scores, np.full_like(targets, only))
        low, high = metric.range
        if not (np.isnan(values) | ((values >= low) & (values <= high))).all():
            raise ContractError(
                f"with targets that are all {only:g} it gave {values[0]:g}, outside of its range {low:g}..{high:g}",
                "return NaN where it is undefined, or declare Metric(range=...)",
            )


def check_weights_are_repeated_rows(subject: Subject) -> None:
    """A row with weight 3 counts as three rows, also in `batched`, by which intervals are made."""
    import numpy as np

    metric = _metric(subject)
    if not metric.weighted:
        raise NotApplicable("it declares weighted=False, so rows are repeated for it")
    scores, targets = _sample(metric)
    weights = np.random.default_rng(1).integers(0, 4, IMAGES)
    rows = np.repeat(np.arange(IMAGES), weights)
    repeated = _value(subject, scores[rows], targets[rows])
    weighed = _value(subject, scores, targets, weights.astype(np.float64))
    _require_equal(repeated, weighed, "weights and repeated rows", "count each row `weights[row]` times")
    once = _value(subject, scores, targets, np.ones(IMAGES))
    _require_equal(once, _value(subject, scores, targets), "weights of one and no weights", "treat None as ones")
    if metric.batched is not None:
        rows = np.random.default_rng(2).permutation(IMAGES)
        many = np.stack([np.ones(IMAGES), weights], axis=1)[np.argsort(rows)]  # many[rows] are those of the images
        for kind in (np.float64, np.uint8):
            batched_values = metric.batched(scores, targets, rows)(many.astype(kind))
            _require_equal(np.stack([once, weighed]), batched_values, "compute and batched", "let both mean the same")


def check_depends_on_proportions_of_weights(subject: Subject) -> None:
    """Weights that are all a hundred times as large change nothing, nor do fractions of one."""
    import numpy as np

    metric = _metric(subject)
    if not metric.weighted:
        raise NotApplicable("it declares weighted=False, so rows are repeated for it")
    scores, targets = _sample(metric)
    weights = np.random.default_rng(1).integers(1, 250, IMAGES).astype(np.float64)
    plain = _value(subject, scores, targets, weights)
    for factor in (100, 1 / 128):
        _require_equal(
            plain,
            _value(subject, scores, targets, weights * factor),
            f"weights as they are and times {factor:g}",
            "use the weights' proportions alone, or declare weighted=False",
        )


def check_ranks_by_the_order_alone(subject: Subject) -> None:
    """A metric of ranks does not change under a strictly increasing map of the scores, and takes any finite ones."""
    metric = _metric(subject)
    if metric.on != "ranks":
        raise NotApplicable(f'it declares on="{metric.on}", so it gets no logits')
    scores, targets = _sample(metric)
    plain = _value(subject, scores, targets)
    for name, mapped in {"times 1000": 1000 * scores, "cubed": scores**3, "plus 60": scores + 60}.items():
        _require_equal(
            plain,
            _value(subject, mapped, targets),
            f"scores as they are and {name}",
            'rank the scores, or declare on="scores" to get probabilities',
        )


def check_does_not_depend_on_the_order(subject: Subject) -> None:
    """A label's value depends on its own column alone, and on no order of images."""
    import numpy as np

    scores, targets = _sample(_metric(subject))
    plain = _value(subject, scores, targets)
    turned = _value(subject, scores[:, ::-1].copy(), targets[:, ::-1].copy())[::-1]
    _require_equal(plain, turned, "labels in order and reversed", "treat each column on its own")
    order = np.random.default_rng(2).permutation(IMAGES)
    _require_equal(
        plain, _value(subject, scores[order], targets[order]), "images in order and shuffled", "use no row's place"
    )


def check_stays_in_its_range(subject: Subject) -> None:
    """Values lie in the declared `range`, for good, random, bad and constant answers."""
    import numpy as np

    metric = _metric(subject)
    low, high = metric.range
    scores, targets = _sample(metric)
    for answers in (targets, scores, 1 - targets, np.zeros_like(scores), np.ones_like(scores)):
        values = _value(subject, answers, targets)
        outside = values[~(np.isnan(values) | ((values >= low - 1e-9) & (values <= high + 1e-9)))]
        if len(outside):
            raise ContractError(f"it gave {outside[0]:g}, outside of {low:g}..{high:g}", "declare Metric(range=...)")


# --- shared by the checks --------------------------------------------------------------------------------------------


def _metric(subject: Subject) -> Metric:
    return cast(Metric, subject.component)


def _sample(metric: Metric) -> tuple[Array, Array]:
    """Random scores, with ties, or logits, or decisions, and targets; (240, 3), 40 % positive."""
    import numpy as np

    generator = np.random.default_rng(0)
    targets = (generator.random((IMAGES, LABELS)) < 0.4).astype(np.float64)
    scores = generator.random((IMAGES, LABELS)).round(2)
    if metric.on == "ranks":
        return 20 * (scores - 0.5), targets
    return (scores > 0.5).astype(np.float64) if metric.on == "decisions" else scores, targets


def _value(subject: Subject, scores: Array, targets: Array, weights: Array | None = None) -> Array:
    import numpy as np

    from harness.evaluation.contract import compute

    patients = np.array([f"p{row}" for row in range(len(scores))])
    return compute(_metric(subject), scores, targets, patients, weights)


def _require_equal(one: Array, other: Array, what: str, fix: str) -> None:
    import numpy as np

    if np.shape(one) != np.shape(other) or not np.allclose(one, other, equal_nan=True, rtol=1e-7, atol=1e-9):
        raise ContractError(f"{what} give {np.ravel(one)[0]:.6g} and {np.ravel(other)[0]:.6g}", fix)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_goes_in_its_direction,
    check_is_undefined_without_weight,
    check_weights_are_repeated_rows,
    check_depends_on_proportions_of_weights,
    check_ranks_by_the_order_alone,
    check_does_not_depend_on_the_order,
    check_stays_in_its_range,
)
