"""Names inside Markdown and LaTeX."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.markup import escape_latex, escape_markdown

ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("f1@val-f1 50 %", r"f1@val-f1 50 \%"),
        (r"\input{x} $1_2^3$", r"\textbackslash{}input\{x\} \$1\_2\textasciicircum{}3\$"),
        ("0.85 ±0.01", r"0.85 $\pm$0.01"),
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("two\nlines & a row \\\\", r"two lines \& a row \textbackslash{}\textbackslash{}"),
    ],
)
def test_what_latex_would_not_print_is_spelled_out(text, latex):
    assert escape_latex(text) == latex


@given(ANYTHING)
def test_no_name_begins_a_command_a_comment_or_a_cell_in_latex(text):
    escaped = escape_latex(text)
    assert "\n" not in escaped
    known = r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}"
    rest = re.sub(
        known + r"|''" + r"|\\textasciigrave\{\}|\\textquotesingle\{\}|\\[{}$&#_%]|\$\\pm\$|\{[\[\]*]?\}", "", escaped
    )
    assert not set(rest) & set("\\{}$&#_%~^<>|\"[]*`'")


@given(ANYTHING)
def test_no_name_makes_a_cell_a_tag_or_a_link_in_markdown(text):
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    assert "<" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]@#~]", escaped)
