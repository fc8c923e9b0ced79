"""A study as a page: one file beside its journal, in the style of a board's page, without a script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.files import write_atomically
from harness.report.figures.stills import draw_stills
from harness.report.page import content_security_policy, make_environment, read_part
from harness.results.layout import study_path
from harness.text import count, describe_seconds, format_value
from harness.tuning.figures import draw_study
from harness.tuning.slots import why_failed
from harness.tuning.study import is_default, values_of
from harness.tuning.worker import SECONDS

if TYPE_CHECKING:
    import optuna

    from harness.tuning.outcome import StudyOutcome


def write_report(outcome: StudyOutcome, study: optuna.Study) -> Path:
    """Write `studies/NAME.html` in the board's folder, whole or not at all, and give its path."""
    path = study_path(outcome.plan.board.folder, outcome.plan.name, ".html")
    write_atomically(path, report_text(outcome, study))
    return path


def report_text(outcome: StudyOutcome, study: optuna.Study) -> str:
    """The page as text."""
    style = read_part("style.css") + read_part("study.css")
    attributes = study.user_attrs
    figures, still = draw_stills(draw_study(outcome, study))
    failures = {trial.number: why_failed(trial, attributes) for trial in outcome.trials}
    return (
        make_environment()
        .get_template("study.html.j2")
        .render(
            outcome=outcome,
            plan=outcome.plan,
            confirmation=outcome.confirmation,
            figures=figures,
            still=still,
            failures=failures,
            values_of=values_of,
            is_default=is_default,
            seconds=lambda trial: trial.user_attrs.get(SECONDS),
            show=format_value,
            count=count,
            duration=describe_seconds(outcome.seconds),
            style=Markup(style),  # noqa: S704 - the harness's own file
            policy=content_security_policy(style, ()),
        )
    )
