"""Text inside Markdown and LaTeX: a name is data there, and makes no cell, no command and no line of its own."""

from __future__ import annotations

import re

from harness.text import make_visible

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # the straight mark is not in every font
    "[": r"{[}",  # at the start of a line of a table it would be an option of the line before
    "]": r"{]}",
    "*": r"{*}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "±": r"$\pm$",
    "\0": "{}",  # between two hyphens, which would become a dash
}
"""What stands for a character that LaTeX would not print as it is."""


def escape_markdown(text: str) -> str:
    """Return text as it reads in Markdown, on one line: no cell, tag, link or mention comes of it."""
    plain = _on_one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|@#~])", r"\\\1", plain)


def escape_latex(text: str) -> str:
    """Return text as it reads in LaTeX, on one line; needs the `textcomp` symbols that LaTeX has had since 2020."""
    text = re.sub("(?<=-)(?=-)", "\0", _on_one_line(text))
    return "".join(_LATEX.get(character, character) for character in text)


def _on_one_line(text: str) -> str:
    return make_visible(" ".join(text.split()))
