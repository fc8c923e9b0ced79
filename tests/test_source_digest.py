"""A source's digest is the digest of what it does, the same on every version of Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.source_digest import digest_sources

CODE = '''
"""Says what it is."""

import math as m
from . import other

WIDTH: int = 3
"""Pixels."""


@staticmethod
def build(task, /, *, width: int = 4, **more):
    """Build it."""
    label, total = f"{task!r:>{width}} {width=}", "" + b"\\0".hex() + "\\u00e9"
    table = {**more, "": None, 1.5: [*task, ...], -1j: x[1:, ::2]}
    match task:
        case {"a": [1, *rest], **others} | str() as found if width > 10**20:
            return lambda: (yield)
    async def wait():
        async with task as one, label:
            return [a async for a in one if not a < 2 <= 3]
    try:
        del table[0]
    except* (KeyError, ValueError) as error:
        raise error from None
    else:
        global WIDTH
        WIDTH += (n := 1) if True else 0
    return label


class Net(object, metaclass=type):
    pass
'''
"""Every kind of statement and expression that Python 3.11 has a peculiarity in."""


def digest(folder: Path, text: str | bytes, name: str = "mine.py") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return digest_sources({"": path})


@pytest.mark.parametrize(
    "change",
    [
        lambda code: code + "# a comment\n",
        lambda code: code.replace("WIDTH: int = 3", "WIDTH: int = 3  # wide"),
        lambda code: code.replace("Says what it is", "Tells something else"),
        lambda code: code.replace('"""Pixels."""\n', ""),
        lambda code: code.replace('    """Build it."""\n', ""),
        lambda code: code.replace("    pass", '    """A net."""'),
        lambda code: code.replace("\n\n", "\n\n\n\n"),
        lambda code: code.replace("\n", "\r\n"),
        lambda code: code.replace("    ", "  "),
        lambda code: code.replace("(task, /, *, width: int = 4, **more)", "(\n  task, /, *, width: int=4, **more,\n)"),
        lambda code: code.replace('"a"', "'a'").replace("1.5", "15e-1").replace("\\u00e9", "é"),
        lambda code: "\ufeff" + code,
        lambda code: code.replace("return label", "return (label)"),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(tmp_path, change):
    assert change(CODE) != CODE
    assert digest(tmp_path, change(CODE)) == digest(tmp_path, CODE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("WIDTH: int = 3", "WIDTH: int = 4"),
        ("WIDTH: int = 3", "WIDTH = 3"),
        ("-1j", "1j"),
        ("1.5", "1"),
        ("width > 10", "width >= 10"),
        ("from . import", "from .. import"),
        ("import math as m", "import math"),
        ("{task!r:", "{task!s:"),
        (":>{width}}", ":<{width}}"),
        ('b"\\0"', '"\\0"'),
        ("None,", "0,"),
        ("1: [", "True: ["),
        ("async with", "with"),
        ("except*", "except"),
        ("@staticmethod\n", ""),
        ("task, /, *, width", "task, *, width"),
        ("2 <= 3", "2 < 3"),
        ('table = {**more, "": None', 'table = {"": None, **more'),
        ("(yield)", "(yield 1)"),
        ("return label\n", "pass\n"),
        ("[*task, ...]", "[*task]"),
        ('"" + ', ""),
    ],
)  # fmt: skip
def test_what_the_code_does_changes_it(tmp_path, before, after):
    code = CODE.replace("1.5: [", "1.5: 1, 1: [") if before == "1: [" else CODE
    assert before in code
    assert digest(tmp_path, code.replace(before, after)) != digest(tmp_path, code)


def test_every_version_of_python_gives_the_same_digest(tmp_path):
    assert digest(tmp_path, CODE) == "caf0409973b6656bda1b75fc65ed52bf2f28cc8457583a4e2312540775b59c80"


def test_a_file_in_another_place_of_a_package_or_one_that_is_added_changes_it(tmp_path):
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(f"NAME = '{name}'\n")
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    digests = [
        digest_sources(files)
        for files in ({"a/x.py": one, "b/x.py": two}, {"a/x.py": two, "b/x.py": one}, {"a/x.py": one})
    ]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    "text", ["print 'of another Python'\n", "{{ name }} = 1\n}", b"a = 1\0", b"# coding: utf-8\na = '\xff'\n"]
)
def test_a_file_that_this_python_cannot_parse_counts_with_its_bytes(tmp_path, text):
    first = digest(tmp_path, text)
    assert digest(tmp_path, text) == first
    assert digest(tmp_path, text + ("\n" if isinstance(text, str) else b"\n")) != first


def test_a_long_sum_is_no_obstacle(tmp_path):
    code = "a = " + " + ".join(["1"] * 600)
    assert digest(tmp_path, code) == digest(tmp_path, code + "  # long")
