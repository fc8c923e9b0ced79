"""A row's details: over the seeds that count, with what cannot be averaged left apart."""

from __future__ import annotations

import dataclasses

import pytest

from harness.report.details import gather_details, gather_origins
from harness.report.page import render, render_text
from harness.report.summary import summarize
from harness.results.record import CalibratedPart, CalibrationPart, GapPart, GroupPart, Record, SubgroupPart

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
    assert dataclasses.astuple(gather_details([build.record(failure="boom")])) == ({}, (), {}, (), {})
