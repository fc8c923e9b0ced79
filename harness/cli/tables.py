"""Plain data as text and tables on standard output."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

import typer
from rich.table import Table

from harness.cli.output import line, open_output, say
from harness.metric_names import title_metric
from harness.text import count
from harness.units import CALLED, Unit, count_units

if TYPE_CHECKING:
    from harness.data.findings import Finding
    from harness.data.statistics import Counts, LabelCounts, Statistics
    from harness.data.terms import LabelMatches
    from harness.evaluation.comparison import Pair
    from harness.evaluation.parts import MetricPart, PredictivePart, SubgroupPart
    from harness.scoring.pairing import Comparison
    from harness.scoring.systems import SystemEvaluation
    from harness.speed.measure import Speed
    from harness.testing import Outcome
    from harness.testing.doctor import Fact

GOOD, BAD, NOTED = ("✓", "green"), ("✗", "red"), ("-", "yellow")
"""Marks of what is as it should be, of what is not, and of what is neither."""
SHOWN = 5
"""Examples of a finding that are printed."""
LABELLED = 2
"""Metrics that a table of labels shows."""


def print_findings(findings: Sequence[Finding]) -> None:
    """Print one line for each check, with examples under those that found something."""
    for finding in findings:
        say(GOOD if finding.ok else BAD, " ", (finding.name, "bold"), f": {finding.message}")
        for example in finding.examples[:SHOWN]:
            say(f"    {example}")
        if len(finding.examples) > SHOWN:
            say(f"    and {len(finding.examples) - SHOWN:,} more, which --json lists")


def print_outcome(outcome: Outcome) -> None:
    """Print one line for each check; under one that failed, what was seen and how to fix it."""
    mark = {"passed": GOOD, "failed": BAD, "skipped": NOTED}[outcome.status]
    what = outcome.proves if outcome.status != "skipped" else outcome.seen
    say(mark, f" {outcome.kind} {outcome.component}: ", (outcome.check, "bold"), f": {what}")
    if outcome.status == "failed":
        say(f"    seen: {outcome.seen}")
        say(f"    fix: {outcome.fix}")


def print_facts(facts: Sequence[Fact]) -> None:
    """Print one line for each fact, then what is missing for what."""
    for fact in facts:
        say(NOTED if fact.missing else GOOD, " ", (fact.name, "bold"), f": {fact.value or 'none'}")
    for fact in facts:
        if fact.missing:
            say(fact.missing)


def print_statistics(name: str, statistics: Statistics) -> None:
    """Print a table with a column for each group, then notes and boxes."""
    groups = statistics.groups.values()
    table = Table(box=None, pad_edge=False, header_style="bold", title=name, title_justify="left")
    table.add_column("", no_wrap=True)
    for group in (*statistics.groups, "prevalence"):
        table.add_column(group, justify="right")
    table.add_row("images", *(f"{counts.images:,}" for counts in groups))
    table.add_row("patients", *(f"{counts.patients:,}" for counts in groups))
    for label, label_counts in statistics.groups["all"].labels.items():
        table.add_row(
            label, *(_positives(counts.labels[label]) for counts in groups), _unless_nan(label_counts.prevalence, ".2%")
        )
    for row, cells in _further_rows(list(groups)).items():
        table.add_row(row, *cells)
    console = open_output()
    console.print(table)
    if any(counts.unknown for counts in statistics.groups["all"].labels.values()):
        say("in brackets: images whose label is unknown")
    for note, text in statistics.notes.items():
        say(f"{note.replace('_', ' ')}: {text}")
    if statistics.boxes:
        boxes = ", ".join(f"{label} {count}" for label, count in statistics.boxes.items())
        say(f"boxes: {boxes}")


def print_matches(name: str, other: str, found: LabelMatches) -> None:
    """Print one row for each label that both datasets have, then those that only one has, and why."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (name, other, "caution"):
        table.add_column(line(column), overflow="fold")
    for match in found.met:
        table.add_row(line(match.label), line(" or ".join(match.others)), line(match.caution))
    if found.met:
        open_output().print(table)
    say(f"{len(found.met)} of {count(len(found.matches), 'label')} of {name} can be tested on {other}")
    for match in found.matches:
        if not match.others:
            say(f"left out is {match.label}: {match.reason}")
    if found.unused:
        say(f"only {other} has {', '.join(found.unused)}")


def _further_rows(groups: list[Counts]) -> dict[str, list[str]]:
    """Return what is told of each group after its labels: the row's name, and a cell for each group."""
    rows = {
        "no finding": [f"{counts.without_finding:,}" for counts in groups],
        "images per patient": [_unless_nan(counts.images_per_patient, ".2f") for counts in groups],
        "most of one patient": [f"{counts.most_images_of_a_patient:,}" for counts in groups],
    }
    for view in sorted({view for counts in groups for view in counts.views}):
        rows[f"view {view}"] = [f"{counts.views.get(view, 0):,}" for counts in groups]
    for sex in sorted({sex for counts in groups for sex in counts.sexes}):
        rows[f"sex {sex}"] = [f"{counts.sexes.get(sex, 0):,}" for counts in groups]
    if any(counts.ages for counts in groups):
        for what in ("lowest", "median", "highest"):
            rows[f"{what} age"] = [f"{getattr(counts.ages, what):g}" if counts.ages else "" for counts in groups]
        rows["age unknown"] = [f"{counts.ages.unknown:,}" if counts.ages else "" for counts in groups]
    return rows


def _unless_nan(value: float, style: str) -> str:
    return "" if math.isnan(value) else format(value, style)


def _positives(counts: LabelCounts) -> str:
    """Positives, and in brackets how many are unknown."""
    return f"{counts.positives:,}" + (f" ({counts.unknown:,}?)" if counts.unknown else "")


# --- predictions -----------------------------------------------------------------------------------------------------


def print_evaluation(title: str, evaluation: SystemEvaluation, asked: Sequence[str]) -> None:
    """Print one row for each metric, then one for each label with the metrics that come first of those asked for."""
    over = "patients" if evaluation.patients_known else CALLED[evaluation.unit][1]
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    columns = ["metric", "mean of labels", f"95 % over {over}", "by", "± over seeds", "micro", "weighted", "labels"]
    judged = any(metric.interval_seeds is not None for metric in evaluation.metrics.values())
    if judged:
        columns.insert(3, f"over {over} and seeds")
    for column in columns:
        table.add_column(column, justify="left" if column in ("metric", "by") else "right")
    for name, metric in evaluation.metrics.items():
        part = metric.part
        labels = f"{part.labels_used}/{len(part.per_label)}"
        method = part.interval_method + (", counts" if part.resampled_by == "counts" else "") if part.interval else ""
        numbers = map(format_number, (metric.spread, part.micro, part.weighted))
        intervals = [format_interval(part.interval), *([format_interval(metric.interval_seeds)] if judged else [])]
        table.add_row(title_metric(name), format_number(part.macro), *intervals, method, *numbers, labels)
    shown = [evaluation.metrics[name].part for name in asked[:LABELLED]]
    per_label = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("label", "positives", *map(title_metric, asked[:LABELLED])):
        per_label.add_column(column, justify="left" if column == "label" else "right")
    for label, counted in shown[0].per_label.items():
        values = [part.per_label[label] for part in shown]
        cells = (f"{format_number(value.value)} {format_interval(value.interval)}" for value in values)
        per_label.add_row(label, f"{counted.positives:,}", *cells)
    console = open_output()
    console.print(table)
    say(f"micro: all {CALLED[evaluation.unit][1]} and labels pooled; weighted: each label by its positives")
    for remark in _remark_on_means({name: metric.part for name, metric in evaluation.metrics.items()}):
        say(remark)
    console.print()
    console.print(per_label)
    if evaluation.predictive:
        console.print()
        console.print(_tabulate_predictive(evaluation.predictive, over))
    for column, groups in (evaluation.subgroups or {}).items():
        console.print()
        console.print(_tabulate_groups(column, groups, evaluation.unit))


def _tabulate_groups(column: str, part: SubgroupPart, unit: Unit) -> Table:
    """The groups of one column, and what the gaps between them are and whether chance alone makes such."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    counted = [] if unit == "patient" else [CALLED[unit][1]]
    for heading in (column, *counted, "patients", *map(title_metric, part.gaps)):
        table.add_column(heading, justify="left" if heading == column else "right")
    for group in part.groups:
        values = (format_number(group.macro.get(metric)) for metric in part.gaps)
        table.add_row(group.name, *(f"{group.images:,}" for _ in counted), f"{group.patients:,}", *values)
    gaps = (
        "-" if gap is None else f"{format_number(gap.value)} {format_interval(gap.interval)} p {format_chance(gap.p)}"
        for gap in part.gaps.values()
    )
    table.add_row("largest gap", *("" for _ in counted), "", *gaps)
    return table


def _tabulate_predictive(predictive: Mapping[str, Mapping[str, PredictivePart]], over: str) -> Table:
    """Predictive values at the prevalences that were given, a row for each label and policy."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("label", "prevalence", "thresholds", f"PPV, 95 % over {over}", f"NPV, 95 % over {over}"):
        table.add_column(column, justify="right" if "V" in column or column == "prevalence" else "left")
    for policy, parts in predictive.items():
        for label, part in parts.items():
            values = ((part.ppv, part.ppv_interval), (part.npv, part.npv_interval))
            cells = (f"{format_number(value)} {format_interval(interval)}" for value, interval in values)
            table.add_row(label, f"{part.prevalence:g}", policy, *cells)
    return table


def _remark_on_means(parts: Mapping[str, MetricPart]) -> list[str]:
    """Which labels means are without, and why they have no interval; what several metrics share is said once."""
    without: dict[tuple[str, str], list[str]] = {}
    for name, part in parts.items():
        if part.left_out:
            why = f" ({part.why_left_out})" if part.why_left_out else ""
            without.setdefault((", ".join(part.left_out), why), []).append(name)
    reasons: dict[str, list[str]] = {}
    for name, part in parts.items():
        if part.no_interval:
            reasons.setdefault(part.no_interval, []).append(name)
    return [
        *(f"without {labels}: {_join_metrics(names)}{why}" for (labels, why), names in without.items()),
        *(f"no interval for {_join_metrics(names)}: {why}" for why, names in reasons.items()),
    ]


def _join_metrics(names: Sequence[str]) -> str:
    """Names of metrics, a metric at all of its threshold policies once."""
    return ", ".join(dict.fromkeys(title_metric(name.partition("@")[0]) for name in names))


def print_comparison(comparison: Comparison, *, by_label: bool = False) -> None:
    """Print the systems, their pairs, where asked for those of single labels, and each pair in words."""
    over = "patients" if comparison.patients_known else CALLED[comparison.unit][1]
    systems = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("system", "seeds", *(title_metric(metric.metric) for metric in comparison.metrics)):
        systems.add_column(column, justify="left" if column == "system" else "right", overflow="fold")
    for name, first in comparison.metrics[0].systems.items():
        estimates = (f"{metric.systems[name].estimate:.4f}" for metric in comparison.metrics)
        systems.add_row(name, str(len(first.values)), *estimates)
    pairs = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("a", "b", "metric", "a - b", f"95 % {over}", "and seeds", f"p {over}", "p", "p Holm"):
        pairs.add_column(column, justify="left" if column in ("a", "b", "metric") else "right", overflow="fold")
    for metric in comparison.metrics:
        for pair in metric.pairs:
            pairs.add_row(pair.a, pair.b, title_metric(metric.metric), *_pair_cells(pair))
        for label, single in metric.by_label.items() if by_label else ():
            for pair in single:
                pairs.add_row(pair.a, pair.b, f"{title_metric(metric.metric)}, {label}", *_pair_cells(pair))
    console = open_output()
    console.print(systems)
    console.print()
    console.print(pairs)
    console.print()
    if comparison.unit != "image":
        say(
            f"compared over {count_units(comparison.unit, comparison.images)} of "
            f"{count(comparison.patients, 'patient')}"
        )
    for sentence in comparison.sentences():
        say(sentence)


def _pair_cells(pair: Pair) -> tuple[str, ...]:
    """The difference, its intervals over patients alone and with seeds, and its p-values."""
    with_seeds = format_interval(pair.interval if pair.p is not None else None)
    numbers = map(format_chance, (pair.p_patients, pair.p, pair.p_holm))
    return f"{pair.delta:+.4f}", format_interval(pair.interval_patients), with_seeds, *numbers


def format_number(value: float | None, digits: int = 4) -> str:
    """A number with so many digits, or a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def format_chance(p: float | None) -> str:
    """A p-value with three digits, or a dash where there is none."""
    return "<0.001" if p is not None and p < 0.001 else format_number(p, 3)


def format_estimate(value: float | None, interval: tuple[float, float] | None) -> str:
    """A value with its interval, where it has one."""
    return format_number(value) + ("" if interval is None else f" {format_interval(interval)}")


def format_interval(interval: tuple[float, float] | None) -> str:
    """An interval in brackets, or a dash where there is none."""
    return "-" if interval is None else f"[{interval[0]:.4f}, {interval[1]:.4f}]"


_reserved: ContextVar[TextIO | None] = ContextVar("reserved", default=None)
"""Standard output, while nothing but a document may go there."""


@contextlib.contextmanager
def reserve_output() -> Iterator[None]:
    """Send whatever is printed meanwhile, except `print_json`'s document, to standard error."""
    token = _reserved.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _reserved.reset(token)


def print_json(document: object) -> None:
    """Print exactly one JSON document; NaN is null."""
    print_piece(json.dumps(_without_nan(document), indent=1) + "\n")


def print_piece(text: str) -> None:
    """Print a piece of a JSON document that is too long to be made whole."""
    typer.echo(text, nl=False, file=_reserved.get() or sys.stdout)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - NaN alone differs from itself


def print_speed(model: str, speeds: Sequence[Speed]) -> None:
    """Print one row for each recipe, loss and batch size, then what is behind the figures."""
    table = Table(
        box=None, pad_edge=False, header_style="bold", title=f"{model}: images per second", title_justify="left"
    )
    table.add_column("recipe")
    table.add_column("loss")
    for heading in (
        "batch", "engine", "tight loop", "ratio", "reference", "ratio", "plain script", "ratio", "inference", "step ms",
        "memory", "reserved", "20 epochs of NIH",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for one in speeds:
        table.add_row(
            one.recipe,
            one.loss,
            f"{one.batch_size}",
            line(f"{one.engine:,.0f}", style="bold"),
            f"{one.tight_loop:,.0f}",
            f"{one.engine_over_tight_loop:.3f}",
            _optional(one.reference, ",.0f"),
            _optional(one.engine_over_reference, ".3f"),
            _optional(one.plain_script, ",.0f"),
            _optional(one.engine_over_plain_script, ".1f"),
            f"{one.inference:,.0f}",
            f"{one.step_milliseconds:.1f}",
            f"{one.peak_device_bytes / 2**30:.1f} GiB" if one.peak_device_bytes else "-",
            f"{one.peak_reserved_bytes / 2**30:.1f} GiB" if one.peak_reserved_bytes else "-",
            f"{one.hours:,.1f} h",
        )
    console = open_output()
    console.print(table)
    for name, value in speeds[0].execution.items():
        if value not in (None, []):
            say(f"{name.replace('_', ' ')}: {value}")
    first = speeds[0]
    if first.bytes_per_image and first.copied_bytes_per_second:
        say(
            f"reference: {first.bytes_per_image / 2**20:,.0f} MiB that a step reads and writes for each image, at the "
            f"{first.copied_bytes_per_second / 2**40:.2f} TiB/s of a copy"
        )
    elif first.reference:
        say("reference: a bare loop of torch's modules on one constant batch")
    say(f"start: {first.start_seconds:.1f} s from the start of the process until all is prepared")
    for one in speeds:
        for note in one.notes:
            say(f"{one.recipe}, {one.loss}, batch {one.batch_size}: {note}")


def _optional(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
