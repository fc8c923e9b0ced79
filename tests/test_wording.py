"""Docstrings are phrases that can be read alone, in words of today."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("harness", "plugins") for path in (ROOT / folder).rglob("*.py"))
OPENING = re.compile(r"(Of|By|That|With)\s")
OLD_WORD = re.compile(r"\b(mend|mended|anew|want\s+of)\b", re.IGNORECASE)


def find_docstrings(node: ast.AST, owner: ast.AST | None = None) -> Iterator[tuple[ast.AST, int, str]]:
    """Each string that stands as a statement of its own, with what it stands in and its line."""
    owner = node if owner is None or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else owner
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) and isinstance(child.value.value, str):
            yield owner, child.lineno, child.value.value
        yield from find_docstrings(child, owner)


def is_shown(path: str, owner: ast.AST) -> bool:
    """Whether users read the docstring: the help of a verb, or what a check proves."""
    if not isinstance(owner, ast.FunctionDef):
        return False
    return (path.startswith("harness/cli/verbs/") and not owner.name.startswith("_")) or (
        path.startswith("harness/testing/") and owner.name.startswith("check_")
    )


def find_problems(path: str, source: str) -> list[str]:
    problems = []
    for owner, line, text in find_docstrings(ast.parse(source)):
        found = OPENING.match(text.strip())
        if found is not None:
            problems.append(f"{path}:{line}: the docstring begins with '{found[1]}'")
        if not is_shown(path, owner):
            problems += [
                f"{path}:{line + text.count(chr(10), 0, word.start())}: the docstring says '{word[0]}'"
                for word in OLD_WORD.finditer(text)
            ]
    return problems


def test_docstrings_can_be_read_alone_and_use_words_of_today():
    assert len(FILES) > 150
    problems = [
        problem
        for path in FILES
        for problem in find_problems(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not problems, "\n" + "\n".join(problems)


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


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("harness/files.py", '"""Offer it."""\nMESSAGE = "Of what; mend it"  # a string that is no docstring'),
        ("harness/cli/verbs/plugins.py", 'def check():\n    """Say how to mend it."""'),
        ("harness/testing/models.py", 'def check_gives():\n    """Say how to mend it."""'),
    ],
)
def test_what_users_read_is_left_alone(path, source):
    assert not find_problems(path, source)
