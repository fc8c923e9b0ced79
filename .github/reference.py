"""Write the parts of the manual that the code knows best: docs/cli.md, and the tables of keys in docs/board.md.

`make reference` runs it. Nothing here depends on the terminal: neither its width nor its colors.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.board_file import BoardFile, DatasetTable, EnsembleTable, ParamsTable, RowsTable, TestTable
from harness.cli.main import app
from harness.panels import ReadersFile, ReaderTable
from harness.report.published import PublishedRow, PublishedSplit
from harness.values import toml_value

DOCS = Path(__file__).parents[1] / "docs"
CLI_PAGE, BOARD_PAGE = DOCS / "cli.md", DOCS / "board.md"
TABLES: Mapping[str, type[BaseModel]] = {
    "board.toml": BoardFile,
    "board.toml dataset": DatasetTable,
    "board.toml rows": RowsTable,
    "board.toml rows params": ParamsTable,
    "board.toml test": TestTable,
    "board.toml ensembles": EnsembleTable,
    "readers.toml": ReadersFile,
    "readers.toml readers": ReaderTable,
    "published.toml splits": PublishedSplit,
    "published.toml rows": PublishedRow,
}
"""Marker in docs/board.md -> the model whose keys stand there."""
CLI_HEAD = """# The command line

Every verb of `harness` with its options, as `harness VERB --help` shows them. `make reference` writes this page
from the help texts in the code.

Exit codes: 0 when all is done, 1 when something failed or was found to be wrong, 2 for a mistake in the command or the
data, 130 when interrupted. With an environment variable, an option need not be typed each time.
"""
WORDS = {str: "text", bool: "true or false", int: "whole number", float: "number", Any: "value"}
"""How a type of a key is called."""
VALUES = {int: "NUMBER", float: "NUMBER", Path: "PATH"}
"""How the value of an option is called; any other is TEXT."""


def main() -> None:
    """Write both pages where they are not what the code says."""
    for page, text in make_pages().items():
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
            print(f"{page.relative_to(DOCS.parent)} was written")  # noqa: T201


def make_pages() -> dict[Path, str]:
    """Make the text of each page that is generated, or has generated parts."""
    board = BOARD_PAGE.read_text(encoding="utf-8")
    for name, model in TABLES.items():
        board = put_between(board, name, make_key_table(model))
    return {CLI_PAGE: make_cli_page(), BOARD_PAGE: board}


def put_between(text: str, name: str, table: str) -> str:
    """Put a table between `<!-- NAME -->` and `<!-- /NAME -->`. Raises `SystemExit` where a marker is missing."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = text.partition(start)
    if not found or end not in rest:
        raise SystemExit(
            f"{BOARD_PAGE} has no place for {name}: write {start.strip()} and {end} where its table belongs"
        )
    return f"{before}{start}\n{table}\n\n{rest[rest.index(end) :]}"


# --- keys of files ---------------------------------------------------------------------------------------------------


def make_key_table(model: type[BaseModel]) -> str:
    """Make the table of a model's keys: type, default and meaning."""
    rows = [
        (f"`{name}`", name_type(field.annotation), tell_default(field), escape(field.description or ""))
        for name, field in model.model_fields.items()
    ]
    return make_table(("key", "type", "default", "meaning"), rows)


def name_type(annotation: Any, *, many: bool = False) -> str:
    """Say in words what type a key has, such as `list of whole numbers`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return name_type(parts[0], many=many)
    if origin is Literal:
        return " or ".join(f"`{toml_value(part)}`" for part in parts)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(name_type(part, many=many) for part in parts if part is not type(None))
    if origin in (list, tuple):
        return f"list of {name_type(parts[0], many=True)}"
    if origin is dict:
        return "table" if parts[1] is Any else f"table of {name_type(parts[1], many=True)}"
    word = WORDS.get(annotation, "table")
    return f"{word}s" if many else word


def tell_default(field: FieldInfo) -> str:
    """Give a default as it would stand in the file; nothing where it is empty."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if isinstance(value, BaseModel) or value in (None, "", [], {}, ()) else f"`{toml_value(value)}`"


# --- the command line ------------------------------------------------------------------------------------------------


def make_cli_page() -> str:
    """Make the whole page of the command line."""
    verbs = list(list_verbs(typer.main.get_command(app), "harness"))
    (_, root), *others = verbs
    names = [name.removeprefix("harness ") for name, _ in others]
    links = [
        (f"[`{name}`](#harness-{name.replace(' ', '-')})", shape_paragraphs(verb.help)[0])
        for name, (_, verb) in zip(names, others, strict=True)
    ]
    parts = [CLI_HEAD, make_table(("verb", "what it does"), links), *(make_verb(name, verb) for name, verb in others)]
    return "\n\n".join([*(part.strip() for part in parts), "## Options of `harness` itself", *make_groups(root)]) + "\n"


def list_verbs(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """List a command and those below it, each with what one types for it."""
    yield name, command
    for inner, below in getattr(command, "commands", {}).items():
        yield from list_verbs(below, f"{name} {inner}")


def make_verb(name: str, verb: Any) -> str:
    """Make the section of a verb in the order of its help: what it does, how it is typed, its options, examples."""
    arguments = [name_argument(one) for one in verb.params if one.param_type_name == "argument"]
    below = " VERB" if getattr(verb, "commands", {}) else ""
    usage = f"```\n{' '.join([f'{name}{below}', *arguments, '[OPTIONS]'])}\n```"
    parts = [*shape_paragraphs(verb.help), usage, *make_groups(verb), *shape_paragraphs(verb.epilog)]
    return "\n\n".join([f"## {name}", *parts])


def shape_paragraphs(text: str | None) -> list[str]:
    """Shape each paragraph of a help text as Markdown."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(text or "").replace("\b\n", "\b"))
    return [shape_paragraph(part) for part in parts if part.strip()]


def shape_paragraph(text: str) -> str:
    """Shape a paragraph as Markdown: lines that are kept as they are, or are commands, become a block of code."""
    lines = text.strip("\b\n").splitlines()
    commands = [line.strip().startswith(("harness ", "$ ")) for line in lines]
    if not (text.startswith("\b") or any(commands)):
        return escape(" ".join(line.strip() for line in lines))
    first = commands.index(True) if any(commands) else 0
    before = [escape(" ".join(line.strip() for line in lines[:first]))] if first else []
    return "\n\n".join([*before, "\n".join(["```", *(line.strip() for line in lines[first:]), "```"])])


def make_groups(verb: Any) -> list[str]:
    """Make a table for each group of a verb's arguments and options, under the heading that its help has."""
    signature, hints = read_signature(verb)
    groups: dict[str, list[tuple[str, str, str]]] = {"Arguments": []}
    for one in verb.params:
        if one.hidden or "--help" in one.opts:
            continue
        usual = "Arguments" if one.param_type_name == "argument" else "Options"
        default = signature[one.name].default if one.name in signature and not one.required else None
        row = (name_option(one, hints.get(one.name)), escape(tell_option(one)), tell_option_default(one, default))
        groups.setdefault(one.rich_help_panel or usual, []).append(row)
    kinds = {"Arguments": "argument"}
    return [
        f"**{group}**\n\n{make_table((kinds.get(group, 'option'), 'meaning', 'default'), rows)}"
        for group, rows in groups.items()
        if rows
    ]


def read_signature(verb: Any) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Read the parameters and the types of the function behind a verb; none where typer made it itself."""
    if verb.callback is None:
        return {}, {}
    function = inspect.unwrap(verb.callback)
    return inspect.signature(function).parameters, typing.get_type_hints(function)


def name_argument(argument: Any) -> str:
    """Name an argument as a usage line does: in brackets where it can be left out."""
    name = (argument.metavar or argument.name.upper()) + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def name_option(option: Any, annotation: Any) -> str:
    """Name an option with all its spellings and the value that it takes, or an argument."""
    if option.param_type_name == "argument":
        return f"`{name_argument(option)}`"
    spellings = [f"`{spelling}`" for spelling in (*option.opts, *option.secondary_opts)]
    if not option.is_flag:
        spellings[-1] = f"{spellings[-1][:-1]} {name_value(option, annotation)}`"
    return ", ".join(spellings)


def name_value(option: Any, annotation: Any) -> str:
    """Name the value that an option takes: the values that it may have, or what kind it is."""
    if option.metavar:
        return str(option.metavar).replace("|", r"\|")
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) is Literal:
        return r"\|".join(map(str, parts))
    if get_origin(annotation) in (list, types.UnionType, typing.Union):
        return name_value(option, parts[0])
    return VALUES.get(annotation, "TEXT")


def tell_option(option: Any) -> str:
    """Say what an option means, and by which environment variable it is set."""
    variable = f" Environment variable: `{option.envvar}`." if option.envvar else ""
    return f"{option.help or ''}{variable}"


def tell_option_default(option: Any, default: Any) -> str:
    """Say what holds where an option is not given; nothing where that goes without saying."""
    if isinstance(option.show_default, str):
        return escape(option.show_default)
    if not option.show_default or default is None or default is False or default == []:
        return ""
    return f"`{','.join(map(str, default)) if isinstance(default, list | tuple) else default}`"


# --- Markdown --------------------------------------------------------------------------------------------------------


def make_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: str) -> str:
    """Escape what Markdown would take for its own, but nothing between backticks except the bar of a table."""
    parts = text.replace("|", r"\|").split("`")
    outside = [re.sub(r"([*_<])", r"\\\1", part) if number % 2 == 0 else part for number, part in enumerate(parts)]
    return "`".join(outside)


if __name__ == "__main__":
    main()
