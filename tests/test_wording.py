"""What is read - docstrings, messages, help, pages, documents - can be read alone, in words of today."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("harness", "plugins") for path in (ROOT / folder).rglob("*.py"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.j2"))
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")),
    *sorted(
        path for path in (ROOT / "docs").rglob("*.md") if path.name != "writing.md"
    ),  # which quotes what it forbids
]
OPENING = re.compile(r"(Of|By|That|With)\s")
"""How a docstring does not begin."""
OLD_WORD = re.compile(
    r"\b(mend|mended|anew|want\s+of|badged|thereof|of\s+equals|not\s+shown\s+to\s+differ)\b", re.IGNORECASE
)
FRAGMENT = re.compile(r"(?:\A|(?<=[.;!?>] )|(?<=>))(?:Of|By\s+the|That\s+(?:a|an|the|no|what|which))\s(?=\S)")
"""How a sentence does not begin."""
COUNTED = "bars|bits|class|classes|columns?|files?|hours|images?|labels?|lines?|minutes|models?|numbers?|one|pictures?|"
COUNTED += "points?|processes|records?|rows?|runs?|seeds?|steps?|studies|times|values?|workers?"
EACH = "board|combo|day|device|epoch|event|file|group|image|label|line|metric|minute|patient|pixel|row|second|seed|"
EACH += "split|step"
PER = re.compile(rf"\b(?:{COUNTED})\s+an?\s+(?:{EACH})\b")
"""`images a second` for `images per second`, `one a label` for `one for each label`."""
KEY = re.compile(r"(?<![\w`'\"@=/,.{-])(?:auroc|auprc|ece|brier)(?![\w`'\"@=,./|}\[-])")
"""The key of a metric where its name is meant."""
HABITS = {"old word": OLD_WORD, "fragment": FRAGMENT, "a for each": PER, "key of a metric": KEY}


def find_docstrings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Each string that stands as a statement of its own, with its line."""
    for child in ast.walk(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) and isinstance(child.value.value, str):
            yield child.lineno, child.value.value


def find_problems(path: str, source: str) -> list[str]:
    problems = []
    for line, text in find_docstrings(ast.parse(source)):
        found = OPENING.match(text.strip())
        if found is not None:
            problems.append(f"{path}:{line}: the docstring begins with '{found[1]}'")
        problems += [
            f"{path}:{line + text.count(chr(10), 0, word.start())}: the docstring says '{word[0]}'"
            for word in OLD_WORD.finditer(text)
        ]
    return problems


def find_habits(text: str, first: int = 1) -> list[str]:
    """What a text says in a way that nobody speaks, with its line."""
    return [
        f"{first + text.count(chr(10), 0, found.start())}: {habit}: '{' '.join(found[0].split())}'"
        for habit, pattern in HABITS.items()
        for found in pattern.finditer(text)
    ]


def find_messages(source: str) -> Iterator[tuple[int, str]]:
    """Each string of a program that is no docstring and has words, with its line; what is filled in reads `0`."""
    tree = ast.parse(source)
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in passed:
            continue
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def blank(pattern: str, text: str, filled: str = "") -> str:
    """The text without what matches, its lines where they were."""
    return re.sub(pattern, lambda found: filled + "\n" * found[0].count("\n"), text, flags=re.DOTALL)


def read_template(text: str) -> str:
    """What a template prints: without statements, styles and scripts; what is filled in reads `0`."""
    text = blank(r"\{#.*?#\}|\{%.*?%\}|<(style|script)\b.*?</\1>|<code>.*?</code>|`[^`]*`", text)
    return blank(r"<[^>]*>", blank(r"\{\{.*?\}\}", text, "0"), ">")


def read_document(text: str) -> str:
    """A document's prose: without code, tables and comments."""
    return blank(r"```.*?```|`[^`]*`|<!--.*?-->|^\|[^\n]*$", re.sub(r"(?m)^\|.*$", "", text))


def list_all(problems: Iterable[str]) -> str:
    return "\n" + "\n".join(problems)


def test_docstrings_can_be_read_alone_and_use_words_of_today():
    assert len(FILES) > 150
    problems = [
        problem
        for path in FILES
        for problem in find_problems(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not problems, list_all(problems)


def test_messages_and_help_are_said_as_a_colleague_would():
    problems = [
        f"{path.relative_to(ROOT).as_posix()}:{problem}"
        for path in FILES
        for line, text in find_messages(path.read_text(encoding="utf-8"))
        for problem in find_habits(text, line)
    ]
    assert not problems, list_all(problems)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_is_said_as_a_colleague_would(path):
    problems = find_habits(read_template(path.read_text(encoding="utf-8")))
    assert not problems, list_all(problems)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_is_said_as_a_colleague_would(path):
    problems = find_habits(read_document(path.read_text(encoding="utf-8")))
    assert not problems, list_all(problems)


@pytest.mark.parametrize(
    ("text", "habit"),
    [
        ("Of several groups the best was picked.", "fragment"),
        ("It is so. By the label files the patient is known.", "fragment"),
        ("That a study is to have in all.", "fragment"),
        ("killed for want of memory", "old word"),
        ("mend or remove it", "old word"),
        ("badged as not trained here", "old word"),
        ("of equals the first is taken", "old word"),
        ("they are not shown to differ", "old word"),
        ("1,200 images a second", "a for each"),
        ("give one column a label", "a for each"),
        ("leads with auroc 0.87", "key of a metric"),
    ],
)
def test_a_habit_is_found(text, habit):
    assert any(f": {habit}: " in problem for problem in find_habits(text)), find_habits(text)


@pytest.mark.parametrize(
    "text",
    [
        "That depends on the targets alone.",
        "By label",
        "a record of what a row has",
        "`auroc` ranks; give --metrics auroc,auprc or f1@0.5",
        "With auto, it is used on a GPU.",
        "which study an image is of",
    ],
)
def test_what_a_colleague_would_say_is_left_alone(text):
    assert not find_habits(read_document(text))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('"""Of a module."""', "1: the docstring begins with 'Of'"),
        ('class A:\n    """With a name."""', "2: the docstring begins with 'With'"),
        ('def f():\n    """By name."""', "2: the docstring begins with 'By'"),
        ('class A:\n    size: int\n    """\n    That it has."""', "3: the docstring begins with 'That'"),
        ('def f():\n    """Begin.\n\n    It is made anew.\n    """', "4: the docstring says 'anew'"),
        ('def f(self):\n    self.a = 1\n    """Killed for want of memory."""', "3: the docstring says 'want of'"),
    ],
)
def test_a_docstring_that_cannot_stay_is_named_with_its_line(source, problem):
    assert find_problems("harness/files.py", source) == [f"harness/files.py:{problem}"]
