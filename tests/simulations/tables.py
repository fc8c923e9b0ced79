"""Where simulations leave their tables: between the markers of their subject in docs/simulations.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "simulations.md"


def make_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def keep(subject: str, text: str) -> None:
    """Print a text, and write it between `<!-- SUBJECT -->` and `<!-- /SUBJECT -->`."""
    print(text)
    start, end = f"<!-- {subject} -->\n", f"<!-- /{subject} -->"
    page = PAGE.read_text(encoding="utf-8")
    before, found, rest = page.partition(start)
    if not found or end not in rest:
        raise SystemExit(f"{PAGE} has no place for {subject}: write {start.strip()} and {end} where its table belongs")
    PAGE.write_text(f"{before}{start}\n{text}\n\n{rest[rest.index(end) :]}", encoding="utf-8")
