"""How fast members are picked: 20 rows, 25,596 images, 14 labels, 20 steps; pytest tests/benchmarks -s."""

from __future__ import annotations

import numpy as np

from harness.evaluation.ensembles import Merit, select
from harness.evaluation.predictions import Predictions

ROWS, IMAGES, LABELS, STEPS = 20, 25_596, 14, 20


def test_picking_members_of_one_seed(benchmark, registry):
    draw = np.random.default_rng(0)
    targets = (draw.random((IMAGES, LABELS)) < np.linspace(0.01, 0.2, LABELS)).astype(np.float32)
    names = np.array([f"i{number}" for number in range(IMAGES)])
    shared = draw.normal(size=targets.shape) + targets

    def predict(noise: float) -> Predictions:
        logits = shared + noise * draw.normal(size=targets.shape)
        labels = tuple(f"label {number}" for number in range(LABELS))
        return Predictions(labels=labels, image=names, patient=names, logits=logits, targets=targets)

    candidates = [predict(0.5 + number / 20) for number in range(ROWS)]
    merit = Merit(metric=registry.metric("auroc"), name="auroc")
    found = benchmark.pedantic(lambda: select(candidates, "probability", merit, STEPS), rounds=2)
    assert found.values[-1] > found.values[0]
