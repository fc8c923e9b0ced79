"""How fast resampled patients are, on a test set of the official split's size: pytest tests/benchmarks -s.

Times are printed beside what they are meant to be on two cores; none fails a test.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from harness.evaluation.bootstrap import draw_resamples, resample
from harness.evaluation.comparison import System, compare_pairs
from harness.evaluation.intervals import find_interval

IMAGES, LABELS, PATIENTS, RESAMPLES = 25_596, 14, 2_797, 1_000
REFERENCE = {"auroc": roc_auc_score, "auprc": average_precision_score, "f1": f1_score}


def make_case():
    """Scores of distinct values, targets of rare findings (N, C), patients (N,)."""
    generator = np.random.default_rng(0)
    of = np.append(np.arange(PATIENTS), generator.integers(0, PATIENTS, IMAGES - PATIENTS))
    targets = (generator.random((IMAGES, LABELS)) < np.linspace(0.01, 0.2, LABELS)).astype(np.float32)
    logits = (generator.normal(-1, 1, targets.shape) + targets).astype(np.float32)
    return 1 / (1 + np.exp(-logits.astype(float))), targets, np.array([f"p{n:05}" for n in np.sort(of)])


@pytest.mark.parametrize("name", REFERENCE)
def test_a_thousand_resamples(registry, benchmark, name):
    scores, targets, patients = make_case()
    metric = registry.metric(name)
    given = (scores >= 0.4).astype(float) if metric.on == "decisions" else scores

    def ours():
        return resample(metric, given, targets, patients, draw_resamples(patients, RESAMPLES, seed="benchmark"))

    values = ours()
    resampling = draw_resamples(patients, RESAMPLES, seed="benchmark")
    start = time.perf_counter()
    few = 2
    for number in range(few):
        weights = resampling.weights[number][resampling.locate(patients)].astype(float)
        for label in range(LABELS):
            theirs = REFERENCE[name](targets[:, label], given[:, label], sample_weight=weights)
            assert values[number, label] == pytest.approx(theirs, abs=1e-12)
    loop = (time.perf_counter() - start) * RESAMPLES / few
    benchmark.pedantic(ours, rounds=5)
    print(f"\n{name}: scikit-learn's loop would take {loop:.0f} s; meant: at most 0.25 s, 150 times less")
    if benchmark.stats is not None:
        mine = median(benchmark.stats.stats.data)
        print(f"{name}: {mine:.3f} s, {loop / mine:.0f} times less")


FIRST = """
import time
start = time.perf_counter()
import numpy as np
import harness.evaluation.bootstrap as bootstrap
from harness.registry import load_registry
import harness.evaluation.kernels
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
metric = load_registry().metric("auroc")
imported, before = time.perf_counter() - start, peak()
generator = np.random.default_rng(0)
targets = (generator.random(({images}, {labels})) < 0.05).astype(np.float32)
scores = generator.random(targets.shape)
patients = np.array([f"p{{n:05}}" for n in generator.integers(0, {patients}, {images})])
start = time.perf_counter()
bootstrap.resample(metric, scores, targets, patients, bootstrap.draw_resamples(patients, {resamples}, seed="s"))
called = time.perf_counter() - start
grown = peak() - before
print(f"first call: {{imported:.2f}} s of imports, {{called:.2f}} s with compilation (meant: at most 5 s together); "
      f"{{grown:.0f}} MB above the imports (meant: at most 300)")
"""


def test_the_first_call_in_a_new_process(tmp_path, monkeypatch):
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read where Linux tells it")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    code = FIRST.format(images=IMAGES, labels=LABELS, patients=PATIENTS, resamples=RESAMPLES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print("\n" + done.stdout.strip())


def test_eight_systems_of_five_seeds_compared_by_the_command_line(tmp_path):
    """From files to verdicts, in a new process."""
    _, targets, patients = make_case()
    generator = np.random.default_rng(1)
    shared = {"labels": np.array([f"label {n}" for n in range(LABELS)]), "patient": patients, "targets": targets}
    shared["image"] = np.array([f"image {n:05}" for n in range(IMAGES)])
    base = generator.normal(-1, 1, targets.shape) + targets
    for system in range(8):
        (tmp_path / str(system)).mkdir()
        for seed in range(5):
            logits = (base + generator.normal(0, 0.3 + 0.02 * system, targets.shape)).astype(np.float32)
            np.savez(tmp_path / str(system) / f"{seed}.npz", **shared, logits=logits)
    code = "import sys; from harness.cli.main import main; sys.argv[0] = 'harness'; main()"
    given = [*map(str, range(8)), "--metrics", "auroc", "--resamples", "2000", "--json"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", *given], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - start
    assert len(json.loads(done.stdout)["pairs"]) == 28
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\n8 systems x 5 seeds, 2,000 resamples, all pairs: {seconds:.1f} s, {peak:.0f} MB (meant: 12 s, 1,000 MB)")


def test_two_hundred_systems_in_all_pairs(benchmark):
    generator = np.random.default_rng(0)
    systems = {str(n): System(generator.random(3), generator.random((3, RESAMPLES))) for n in range(200)}
    pairs = benchmark.pedantic(lambda: compare_pairs(systems), rounds=3)
    assert len(pairs) == 19_900


def test_an_interval_is_found(benchmark):
    values = np.random.default_rng(0).random(RESAMPLES)
    assert benchmark(find_interval, 0.5, values) is not None
