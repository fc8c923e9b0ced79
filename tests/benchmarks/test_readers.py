"""How fast readers stand beside networks: 500 studies, 10 systems, 8 readers; pytest tests/benchmarks -s."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from harness.evaluation.bootstrap import draw_resamples
from harness.evaluation.panel import Panel
from harness.evaluation.predictions import Predictions
from harness.scoring.beside_readers import compare_systems

STUDIES, SYSTEMS, READERS, LABELS, RESAMPLES = 500, 10, 8, 14, 1_000


def make_case() -> tuple[dict[str, list[Predictions]], Panel]:
    draw = np.random.default_rng(0)
    labels = tuple(f"label {number}" for number in range(LABELS))
    names = np.array([f"s{number:03d}" for number in range(STUDIES)])
    targets = (draw.random((STUDIES, LABELS)) < np.linspace(0.05, 0.4, LABELS)).astype(np.float32)

    def predict(skill: float) -> Predictions:
        logits = skill * targets + draw.normal(size=targets.shape) - 1
        return Predictions(labels=labels, image=names, patient=names, logits=logits, targets=targets)

    decisions = (1.5 * targets + draw.normal(size=(READERS, STUDIES, LABELS)) > 1).astype(np.float32)
    readers = tuple(f"reader {number}" for number in range(READERS))
    systems = {f"system {number}": [predict(1 + number / 10)] for number in range(SYSTEMS)}
    return systems, Panel(names=readers, labels=labels, decisions=decisions)


def test_ten_systems_beside_eight_readers(benchmark):
    systems, panel = make_case()
    test = systems["system 0"][0]
    resampling = draw_resamples(test.patient, RESAMPLES, seed="benchmark")

    def ours():
        return compare_systems(systems, {}, panel, resampling)

    parts = ours()
    start, few = time.perf_counter(), 20
    found = []
    for number in range(few):  # one label of one reader and one system; the others cost the same
        weights = resampling.weights[number, resampling.locate(test.patient)].astype(float)
        truth, decided = test.targets[:, 0], panel.decisions[0, :, 0]
        alarms = weights[(truth == 0) & (decided == 1)].sum() / weights[truth == 0].sum()
        x, y, _ = roc_curve(truth, test.logits[:, 0], sample_weight=weights, drop_intermediate=False)
        found.append(np.interp(alarms, x, y))
    loop = (time.perf_counter() - start) / few * RESAMPLES * SYSTEMS * READERS * LABELS
    against = parts["system 0"].readers["reader 0"].per_label["label 0"].against["sensitivity"]
    assert against.network == pytest.approx(np.mean(found), abs=0.15)
    benchmark.pedantic(ours, rounds=3)
    print(f"\nreaders: a loop over scikit-learn's curves would take {loop:.0f} s")
    if benchmark.stats is not None:
        mine = median(benchmark.stats.stats.data)
        print(f"readers: {mine:.2f} s, {loop / mine:.0f} times less")
