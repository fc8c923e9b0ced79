"""A row's details: over the seeds that count, with what cannot be averaged left apart."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from harness.evaluation.parts import (
    BrierPart,
    CalibratedPart,
    CalibrationPart,
    GapPart,
    GroupPart,
    LabelCalibration,
    PredictivePart,
    SubgroupPart,
)
from harness.evaluation.resamples import Resamples
from harness.report.details import gather_details, gather_origins
from harness.report.page import render, render_text
from harness.report.summary import summarize
from harness.results.record import Record
from harness.results.store import write_record

LABELS = ("Edema", "Mass", "Hernia")


def calibrated(ece: float) -> CalibrationPart:
    def part(factor: float) -> CalibratedPart:
        return CalibratedPart(brier=0.1 * factor, ece=ece * factor, ece_mass=None, per_label={})

    return CalibrationPart(before=part(1.0), temperature=part(0.5), platt=part(0.25))


def group(name: str, value: float | None, images: int = 50) -> GroupPart:
    return GroupPart(
        name=name,
        images=images,
        patients=images // 2,
        positives=dict.fromkeys(LABELS, 10),
        negatives=dict.fromkeys(LABELS, images - 10),
        macro={"auroc": value},
        per_label={"auroc": {"Edema": value, "Mass": value, "Hernia": None}},
    )


def by_sex(women: float, men: float) -> dict[str, SubgroupPart]:
    best, worst = ("F", "M") if women > men else ("M", "F")
    gap = GapPart(best=best, worst=worst, value=abs(women - men), labels_used=2, interval=(-0.01, 0.2))
    groups = [group("F", women), group("M", men), group("X", None, images=12)]
    return {"sex": SubgroupPart(groups=groups, gaps={"auroc": gap}, unknown=3)}


@pytest.fixture
def seeds(build) -> list[Record]:
    return [
        build.record(seed=0, calibration=calibrated(0.04), subgroups=by_sex(0.8, 0.7)),
        build.record(seed=1, calibration=calibrated(0.02), subgroups=by_sex(0.7, 0.76)),
    ]


def test_calibration_is_the_mean_over_seeds_and_what_is_undefined_is_absent(seeds):
    found = gather_details(seeds).calibration
    assert found["as they are"] == pytest.approx({"ece": 0.03, "brier": 0.1})
    assert found["with Platt scaling"]["ece"] == pytest.approx(0.0075)


def test_groups_are_averaged_over_seeds_and_gaps_are_not(seeds):
    (column,) = gather_details(seeds).columns
    women, men, few = column.groups
    assert women.macro == pytest.approx({"auroc": 0.75})
    assert men.macro == pytest.approx({"auroc": 0.73})
    assert (women.labels_used, few.labels_used, few.macro) == (2, 0, {})
    assert [(seed, gap.best) for seed, gap in column.gaps["auroc"].items()] == [(0, "F"), (1, "M")]


def test_the_page_shows_gaps_with_their_intervals_and_groups_that_are_too_small(build, seeds):
    text = build.whole(render_text(summarize(build.board(), seeds)))
    assert "F over M 0.100 [-0.010, 0.200]<br>M over F 0.060 [-0.010, 0.200]" in text
    assert "too small" in text
    assert "fewer than 10 positives or 10 negatives" in text
    assert "sex unknown" in text


def test_a_stale_record_is_no_part_of_a_rows_details(build, seeds):
    stale = build.record(
        seed=0, calibration=calibrated(0.9), combo=build.combo(build.row(), 0, options={"size": 8}), key="stale"
    )
    text = build.whole(render_text(summarize(build.board(), [*seeds, stale])))
    assert "0.0300" in text
    assert "0.9000" not in text


def test_choices_and_thresholds_are_those_of_the_records_that_count(build):
    old = build.combo(build.row(), 1, options={"size": 8}, resolved={"recipe": {"lr": 0.777}})
    stale = build.record(seed=1, combo=old, thresholds={"val-f1": {"Edema": 0.987}})
    text = build.whole(render_text(summarize(build.board(), [build.record(seed=0), stale])))
    assert "recipe.lr</dt><dd>0.001</dd>" in text
    assert "0.777" not in text
    assert "0.987" not in text


def test_seeds_that_were_executed_alike_share_a_line_with_its_notes(build):
    def training(**changes):
        made = build.training()
        return made.model_copy(update={"execution": made.execution.model_copy(update=changes)})

    alike = [build.record(seed=seed) for seed in (0, 1)]
    other = build.record(
        seed=2, training=training(step="graph", placement="streamed", micro_batch=8, notes=["too little memory"])
    )
    assert gather_details([*alike, other]).execution == {
        "float32, eager steps, images resident": (0, 1),
        "float32, steps captured as CUDA graphs, images streamed, 8 images at a time; too little memory": (2,),
    }


def test_seeds_of_one_command_share_a_line_and_keep_their_keys(build):
    records = [build.record(seed=0, key="a" * 16), build.record(seed=1, key="b" * 16)]
    ((command, text),) = gather_origins(records)
    assert command == "harness run a-board"
    assert text == "harness 0.1.0, torch 2.11.0, 2 threads"
    build.write(*records)
    assert f"key {'a' * 16}, {'b' * 16}" in build.whole(render(build.board()).page.read_text())


def test_a_failed_row_has_no_details(build):
    found = dataclasses.astuple(gather_details([build.record(failure="boom")]))
    assert not any(found)


# --- what schema 2 added ---------------------------------------------------------------------------------------------


def fitted(slope: float | None, ece: float = 0.1) -> CalibratedPart:
    brier = BrierPart(score=0.1, reliability=0.0, resolution=0.0, uncertainty=0.1, within=0.0)
    label = LabelCalibration(
        slope=1.0, intercept=0.0, brier=brier, ece=ece, ece_mass=ece, test_slope=slope, test_intercept=slope
    )
    return CalibratedPart(brier=0.1, ece=ece, ece_mass=ece, per_label={"Edema": label})


def predicted(ppv: float, interval: tuple[float, float] | None) -> dict[str, dict[str, PredictivePart]]:
    part = PredictivePart(prevalence=0.05, ppv=ppv, ppv_interval=interval, npv=0.99, npv_interval=(0.98, 1.0))
    return {"val-spec0.9": {"Edema": part}}


@pytest.fixture
def new(build) -> list[Record]:
    def record(seed: int, slope: float, micro: float, ppv: float):
        metric = build.metric(0.8).model_copy(update={"micro": micro, "weighted": 0.7})
        calibration = CalibrationPart(before=fitted(slope), temperature=fitted(None), platt=fitted(1.0))
        return build.record(
            seed=seed,
            metrics={"auroc": metric},
            calibration=calibration,
            predictive=predicted(ppv, (ppv - 0.1, ppv + 0.1)),
        )

    return [record(0, 0.5, 0.9, 0.2), record(1, 0.7, 0.8, 0.4)]


def test_fits_means_and_predictive_values_are_means_over_seeds(new):
    found = gather_details(new)
    assert found.fits["Edema"] == pytest.approx((0.6, 0.6, None, None, 1.0, 1.0))
    means = found.means["auroc"]
    assert (means.micro, means.weighted) == pytest.approx((0.85, 0.7))
    assert means.labels == LABELS
    part = found.predictive["val-spec0.9"]["Edema"]
    assert (part.prevalence, part.ppv, part.npv) == pytest.approx((0.05, 0.3, 0.99))
    assert part.ppv_interval == pytest.approx((0.2, 0.4))
    bare = dataclasses.replace(new[1].predictive["val-spec0.9"]["Edema"], ppv_interval=None)
    other = new[1].model_copy(update={"predictive": {"val-spec0.9": {"Edema": bare}}})
    assert gather_details([new[0], other]).predictive["val-spec0.9"]["Edema"].ppv_interval is None


def test_the_page_shows_what_new_records_hold_and_nothing_of_old_ones(build, new, seeds):
    headings = (
        "Calibration slope and intercept on the test split",
        "Predictive values at the prevalence",
        "Other means",
    )
    page = build.whole(render_text(summarize(build.board("net"), new)))
    for text in (*headings, "0.200 to 0.400", "val-spec0.9"):
        assert text in page
    old = gather_details(seeds)
    assert (old.fits, old.means, old.predictive) == ({}, {}, {})
    page = build.whole(render_text(summarize(build.board("net"), seeds)))
    assert not any(text in page for text in headings)


def test_the_page_has_one_mean_of_a_metric_wherever_it_stands(build):
    """Where another row lacks a label, the ranking is without it: so are a row's seeds and its means."""
    whole = build.metric(0.9, 0.8, 0.4).model_copy(update={"micro": 0.83, "weighted": 0.81})
    records = [build.record("whole", seed, {"auroc": whole}) for seed in (0, 1)]
    records += [build.record("partial", seed, {"auroc": build.metric(0.7, 0.6, None)}) for seed in (0, 1)]
    board = build.board("whole", "partial")
    rows = json.loads(build.held(render_text(summarize(board, records)), "rows"))
    page = rows["row-whole--bce--demo"]
    assert "0.7000" not in page  # the mean of its records, with Hernia
    assert page.count("0.8500") == 4  # two seeds, their mean, and the mean beside micro and weighted
    assert "micro and weighted of AUROC are over all 3 labels" in page
    alone = render_text(summarize(build.board("whole"), records[:2]))
    assert "micro and weighted of AUROC" not in build.whole(alone)


def test_micro_and_weighted_are_not_averaged_over_seeds_that_have_different_labels(build):
    found = [
        build.metric(0.9, 0.8, third).model_copy(update={"micro": 0.83, "weighted": 0.81}) for third in (0.4, None)
    ]
    records = [build.record(seed=seed, metrics={"auroc": part}) for seed, part in enumerate(found)]
    means = gather_details(records).means["auroc"]
    assert (means.micro, means.weighted, means.labels) == (None, None, ())
    page = build.whole(render_text(summarize(build.board(), records)))
    assert "micro and weighted of AUROC are left out: its seeds are over different labels" in page


# --- gaps over seeds -------------------------------------------------------------------------------------------------


def drawn(women: float, men: float) -> Resamples:
    """Two groups that differ by nearly as much in every resample, and by 0.02 times b in permutation b."""
    resampled = np.stack([women + np.linspace(-0.001, 0.001, 40), np.full(40, men)])
    permuted = np.stack([0.7 + 0.02 * np.arange(9), np.full(9, 0.7)])
    return Resamples(macro={}, per_label={}, groups={"sex/auroc": resampled}, permuted={"sex/auroc": permuted})


def test_the_gap_over_seeds_is_that_of_their_means_with_the_p_of_permutations(seeds):
    draws = {0: drawn(0.8, 0.7), 1: drawn(0.7, 0.76)}
    (column,) = gather_details(seeds, draws).columns
    gap = column.overall["auroc"]  # 0.75 against 0.73
    assert (gap.best, gap.worst, gap.labels_used) == ("F", "M", 2)
    assert gap.value == pytest.approx(0.02)
    assert gap.interval == pytest.approx((0.019, 0.021), abs=1e-4)
    assert gap.p == pytest.approx((1 + 8) / 10)


@pytest.mark.parametrize(
    "draws",
    [
        {},
        {0: drawn(0.8, 0.7)},
        {0: drawn(0.8, 0.7), 1: None},
        {0: drawn(0.8, 0.7), 1: Resamples(macro={}, per_label={})},
        {
            0: drawn(0.8, 0.7),
            1: Resamples(
                macro={}, per_label={}, groups={"sex/auroc": np.ones((3, 40))}, permuted={"sex/auroc": np.ones((3, 9))}
            ),
        },
    ],
)
def test_without_the_draws_of_every_seed_gaps_are_shown_by_seed(build, seeds, draws):
    (column,) = gather_details(seeds, draws).columns
    assert column.overall == {}
    page = build.whole(render_text(summarize(build.board("net"), seeds)))
    assert "F over M 0.100 [-0.010, 0.200]<br>M over F 0.060" in page


def test_a_page_reads_the_draws_that_lie_beside_its_records(build, seeds):
    for number, record in enumerate(seeds):
        beside = dataclasses.replace(
            drawn(0.8, 0.7) if number == 0 else drawn(0.7, 0.76), macro={"auroc": np.linspace(0.7, 0.8, 40)}
        )
        write_record(build.folder, record, beside)
    page = render(build.board("net")).page.read_text()
    assert "F over M 0.020 [0.019, 0.021], p 0.900" in build.whole(page)
