"""The model card of a row, filled from its record; what no record holds is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from harness.evaluation.parts import MetricPart
from harness.metric_names import split_name, title_metric
from harness.report.format import format_number, format_pair
from harness.report.shadow import tell_parts
from harness.results.record import OutsidePart, Record
from harness.results.shadow import gather_pretraining, mark_shadow
from harness.serving.claim import ITEMS, UNKNOWN
from harness.text import format_value
from harness.training.weight_file import NetworkPart
from harness.units import tell_units

INTENDED = "to compare networks for chest radiographs by one protocol, and to study what they find; research alone."
SHOWN = 3
"""Digits of values."""


def render_card(part: NetworkPart, record: Record | None, notes: Sequence[str]) -> str:
    """A README.md for a weight file that says `part`; without its record, results and data are unknown."""
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, finalize=_escape)  # noqa: S701 - Markdown
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    text = files("harness.templates").joinpath("model-card.md.j2").read_text(encoding="utf-8")
    values = _describe_network(part) | (_describe_nothing() if record is None else _describe_record(part, record))
    answers = _answer(part, record)
    claim = [
        {"number": number, "asks": asks, "answer": answers.get(number, UNKNOWN)}
        for number, asks in enumerate(ITEMS, start=1)
    ]
    return environment.from_string(text).render(values, notes=notes, claim=claim, intended=INTENDED, policy=part.policy)


def _escape(value: object) -> object:
    """A value without tags of HTML, which Markdown would keep: labels may hold anything."""
    return value.replace("<", "&lt;") if isinstance(value, str) else value


def _describe_network(part: NetworkPart) -> dict[str, Any]:
    """What the weight file says."""
    params = ", ".join(f"{name} = {format_value(value)}" for name, value in part.model.params.items())
    network = {
        "load_size": part.recipe.load_size,
        "size": part.task.size,
        "mean": ", ".join(f"{value:.4g}" for value in part.task.mean),
        "std": ", ".join(f"{value:.4g}" for value in part.task.std),
        "table": ", ".join(column.name for column in part.columns),
    }
    facts = [
        ("model", part.model.name),
        ("parameters of the model", params or "none"),
        ("labels", ", ".join(part.task.labels)),
        ("precision in training", part.computed_in or UNKNOWN),
        ("evaluation view", part.recipe.evaluate_at),
        ("scored unit", tell_units(part.unit, part.pool)),
        ("threshold policy", part.policy),
        ("has seen", "; ".join(f"{one.name} ({one.about})" if one.about else one.name for one in part.seen) or UNKNOWN),
        ("trained by", f"cxr-harness {part.harness}"),
        ("license", UNKNOWN),
    ]
    return {"network": network, "facts": facts}


def _describe_nothing() -> dict[str, Any]:
    """What is said where there is no record."""
    return {
        "title": "A network for chest radiographs",
        "summary": "A multi-label classifier of chest radiographs, described by its weight file alone.",
        "dataset": "a dataset that is unknown here",
        "limits": ["Its data, results and limits are unknown here."],
        "objective": "",
        **dict.fromkeys(
            ("splits", "data_notes", "metrics", "labels", "outside", "subgroups", "subgroup_metrics", "calibration"), ()
        ),
    }


def _describe_record(part: NetworkPart, record: Record) -> dict[str, Any]:
    """What the record says of data and results."""
    combo, data = record.combo, record.dataset
    objective = record.labels_resampled or next(iter(record.metrics), "")
    return {
        "title": f"{combo.model} {_tell_fit(part, record)} on {data.name}",
        "summary": f"A multi-label classifier of chest radiographs: {combo.model}, loss {combo.loss}, recipe "
        f"{combo.recipe}, seed {combo.seed}, row `{combo.row}` of its board.",
        "dataset": data.name,
        "limits": _find_limits(record),
        "splits": [
            {
                "name": name,
                "images": f"{split.images:,}",
                "patients": f"{split.patients:,}",
                "left_out": f"{split.left_out:,}",
            }
            for name, split in data.splits.items()
        ],
        "data_notes": [("dataset", f"{data.name}, {data.about}"), *_tell_options(combo.options), *data.notes.items()],
        "objective": title_metric(objective),
        "metrics": [_describe_metric(name, metric) for name, metric in record.metrics.items()],
        "labels": _describe_labels(part, record, objective),
        "outside": [_describe_outside(part) for part in _list_outside(record)],
        **_describe_subgroups(record),
        "calibration": _describe_calibration(record),
    }


def _tell_fit(part: NetworkPart, record: Record) -> str:
    """What was done with the data, for the title."""
    told = {
        "head": "frozen, with a linear probe fitted",
        "neighbors": "frozen, with the nearest neighbors",
        "nothing": "as it was built, with thresholds chosen",
    }
    return told.get(part.recipe.train, f"trained with {record.combo.loss}")


def _tell_options(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = ", ".join(f"{name} = {format_value(value)}" for name, value in options.items())
    return [("options of the dataset", told)] if told else []


def _describe_metric(name: str, metric: MetricPart) -> dict[str, Any]:
    optimistic = " (optimistic: its thresholds are fitted on the test split)" if name.endswith("@oracle") else ""
    return {
        "name": f"{title_metric(name)}{optimistic}",
        "value": format_number(metric.macro, SHOWN) or "undefined",
        "interval": format_pair(metric.interval) or metric.no_interval or "none",
        "labels": metric.labels_used,
    }


def _describe_labels(part: NetworkPart, record: Record, objective: str) -> list[dict[str, Any]]:
    thresholds = record.thresholds.get(part.policy, {})
    found = record.metrics[objective].per_label if objective in record.metrics else {}
    return [
        {
            "name": label,
            "positives": f"{value.positives:,}",
            "negatives": f"{value.negatives:,}",
            "value": format_number(value.value, SHOWN) or "undefined",
            "interval": format_pair(value.interval) or "none",
            "threshold": format_number(thresholds.get(label), SHOWN) or "none",
        }
        for label, value in found.items()
    ]


def _list_outside(record: Record) -> list[OutsidePart]:
    """The outside tests on which the row was measured."""
    return [part for part in record.outside.values() if part.status == "done"]


def _describe_outside(part: OutsidePart) -> dict[str, Any]:
    test = part.data.splits.get("test") if part.data else None
    used = sum(bool(label.others) for label in part.labels.values())
    size = f", {test.images:,} images of {test.patients:,} patients" if test else ""
    options = "".join(f" with {text}" for _, text in _tell_options(part.options))
    return {
        "name": f"{part.dataset}{options} ({', '.join(part.splits)}){size}; {used} of {len(part.labels)} labels have a "
        "counterpart there",
        "metrics": [_describe_metric(name, metric) for name, metric in part.metrics.items() if metric.labels_used],
        "notes": part.notes,
    }


def _describe_subgroups(record: Record) -> dict[str, Any]:
    groups = [
        (f"{column} {group.name}", group) for column, part in (record.subgroups or {}).items() for group in part.groups
    ]
    metrics = list(dict.fromkeys(name for _, group in groups for name in group.macro))
    return {
        "subgroup_metrics": [title_metric(name) for name in metrics],
        "subgroups": [
            {
                "name": name,
                "images": f"{group.images:,}",
                "patients": f"{group.patients:,}",
                "metrics": [format_number(group.macro.get(metric), SHOWN) or "undefined" for metric in metrics],
            }
            for name, group in groups
        ],
    }


def _describe_calibration(record: Record) -> list[dict[str, str]]:
    if record.calibration is None:
        return []
    parts = {
        "as they are": record.calibration.before,
        "after temperature scaling": record.calibration.temperature,
        "after Platt scaling": record.calibration.platt,
    }
    return [
        {"name": name, "brier": format_number(one.brier, 4), "ece": format_number(one.ece, 4)}
        for name, one in parts.items()
    ]


def _find_limits(record: Record) -> list[str]:
    """What the record itself says against its numbers."""
    where = "" if _list_outside(record) else " on one dataset"
    limits = [f"Results are those of one seed ({record.combo.seed}){where}; its board shows the spread over seeds."]
    first = next(iter(record.metrics.values()), None)
    if first is not None and first.left_out:
        limits.append(
            f"Averages are without {', '.join(first.left_out)}: {first.why_left_out or 'they are undefined'}."
        )
    if record.combo.control is not None:
        limits.append(f"It is a control ({record.combo.control}), no system to be used.")
    if record.is_without_validation:
        limits.append("Nothing was fitted on validation.")
    if mark_shadow(seen := gather_pretraining(record)):
        limits += tell_parts(seen, record)
    if record.training is not None:
        limits += [f"{note}." for note in record.training.execution.notes]
    return limits


def _answer(part: NetworkPart, record: Record | None) -> dict[int, str]:
    """Item of CLAIM -> its answer, for those that are known."""
    size = part.recipe.load_size
    known = {
        1: f"Deep learning: {part.model.name}, multi-label classification of chest radiographs",
        3: f"Intended use: {INTENDED}",
        9: f"Grey values of 8 bits, the whole image squashed to {size} x {size}, normalized (see config.json)",
        22: f"{part.model.name}, images of {part.task.size} px, {len(part.task.labels)} labels; see config.json",
        41: "None: research alone",
        43: "The model is this folder; the software is cxr-harness, and a plugin where the model comes from one",
    }
    return known if record is None else known | _answer_by_record(record)


TRAINING = (
    "optimizer",
    "lr",
    "weight_decay",
    "schedule.kind",
    "epochs",
    "batch_size",
    "train_share",
    "train_positives",
)
PROBING = ("train", "strengths", "neighbors", "train_share", "train_positives")
"""Fields of a recipe that tell how a network was trained by gradient, and how it was not."""


def _answer_by_record(record: Record) -> dict[int, str]:
    data, combo, recipe = record.dataset, record.combo, record.combo.resolved.get("recipe", {})
    counts = "; ".join(
        f"{name}: {one.images:,} images of {one.patients:,} patients, {one.left_out:,} images left out"
        for name, one in data.splits.items()
    )
    told = PROBING if "train" in recipe else TRAINING
    settings = ", ".join(f"{name} {format_value(recipe[name])}" for name in told if name in recipe)
    metrics = ", ".join(
        " ".join(filter(None, [title_metric(name), format_number(metric.macro, SHOWN), format_pair(metric.interval)]))
        for name, metric in record.metrics.items()
        if not name.endswith("@oracle")
    )
    outside = _list_outside(record)
    of_maps = [title_metric(name) for name, metric in record.metrics.items() if metric.maps is not None]
    diagnostic = [name for name in record.metrics if split_name(name)[0] in ("sensitivity", "specificity")]
    packages = ", ".join(f"{name} {version}" for name, version in record.provenance.packages.items())
    answers = {
        2: "See the sections above",
        4: f"To measure {combo.model} with {combo.loss} and recipe {combo.recipe} on {data.name} by a fixed protocol",
        5: "Retrospective: images and labels existed before",
        6: "Comparison of models",
        7: f"{data.name}: {data.about}",
        8: f"All images of the dataset's splits that have a file: {counts}. Criteria of its publishers: unknown",
        10: "; ".join(text for _, text in _tell_options(combo.options)) or "none: the dataset as it is by default",
        12: "Unknown labels are left out, label by label; " + data.notes.get("missing", "no image file was missing"),
        19: data.notes.get("split", UNKNOWN),
        20: data.notes.get("leak") or data.notes.get("patients", "By patient"),
        21: "Not calculated: all images of the test split are used",
        23: f"cxr-harness {record.provenance.harness}, {packages}, Python {record.provenance.python}",
        24: f"Weights: {recipe.get('weights', UNKNOWN)}",
        25: settings or UNKNOWN,
        27: "None: one seed",
        28: ", ".join(map(title_metric, record.metrics)) or UNKNOWN,
        29: "95 % intervals over resampled patients; no test of significance in a single record",
        30: "Subgroups: " + (", ".join(record.subgroups) if record.subgroups else UNKNOWN),
        31: f"Grad-CAM held against boxes: {', '.join(of_maps)}" if of_maps else "Not evaluated here",
        32: f"The test split of {data.name}",
        33: "; ".join(_describe_outside(part)["name"] for part in outside) or "None: the record holds no outside test",
        35: counts,
        36: "Test split: see Subgroups; other partitions: unknown",
        37: f"Test split: {metrics}; other partitions: not in the record" if metrics else UNKNOWN,
        38: ", ".join(map(title_metric, diagnostic)) + ": see Results" if diagnostic else "Thresholds: see Results",
        40: "See Intended use and limits",
        42: f"{record.provenance.command}; record key {record.key}, commit {record.provenance.commit or UNKNOWN}",
    }
    if record.training is not None:
        made = record.training
        by_label = "No epochs were trained; what validation chose, its loss chose for each label"
        answers[26] = (
            by_label
            if made.epochs == 0
            else f"Epoch {made.best_epoch} of {made.epochs}, by {made.select_on} on validation"
        )
    return answers
