"""Names of labels and components of any text, through everything that shows a board."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.report import frame
from harness.report.page import render_text
from harness.report.summary import summarize

ODD = [
    "Support.Devices", "1", "Lung/Opacity", "Lung_Opacity", "items", "values", "per_label", "a<b>", '"quoted"', "it's",
    "a[0]", "x" * 300, "肺炎", "</script>", "{{ 1 }}", "=1+1", "a\\b", "tab\there",
]  # fmt: skip


def show(builder, names):
    """Summarize and render a board with these labels."""
    builder.labels = names
    metrics = {"auroc": builder.metric(0.8), "f1@val-f1": builder.metric(0.5)}
    records = [builder.record(model, seed, metrics) for model in ("net", names[0][:60] or "net") for seed in (0, 1)]
    summary = summarize(builder.board(*{record.combo.model for record in records}), records)
    return summary, render_text(summary)


def test_labels_of_odd_names_pass_through_page_and_table(build):
    summary, text = show(build, ODD)
    rows = json.loads(build.held(text, "rows"))
    assert all(detail.count("<td>10</td><td>90</td>") == len(ODD) for detail in rows.values())
    header = frame.as_csv(summary).splitlines()[0]
    assert "auroc[Support.Devices]" in header
    assert "<b>" not in "".join(rows.values())


@pytest.mark.parametrize("name", ODD)
def test_a_board_with_one_label_of_an_odd_name_is_rendered(build, name):
    _, text = show(build, [name])
    assert all("<td>10</td><td>90</td>" in detail for detail in json.loads(build.held(text, "rows")).values())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=4, unique=True))
@example(names=["a.b", "a"])
def test_labels_of_any_names_pass_through_page_and_table(build_once, names):
    summary, text = show(build_once, names)
    rows = json.loads(build_once.held(text, "rows"))
    assert all(detail.count("<td>10</td><td>90</td>") == len(names) for detail in rows.values())
    assert frame.as_csv(summary)
