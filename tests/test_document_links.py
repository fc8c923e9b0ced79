"""A link in a document leads to a file and a heading that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").glob("*/*.md")])
CODE = re.compile(r"```.*?```", re.DOTALL)
LINKS = [
    pytest.param(path, target, id=f"{path.relative_to(ROOT)}: {target}")
    for path in DOCUMENTS
    for target in re.findall(r'\]\(([^)\s]+)\)|<img [^>]*src="([^"]+)"', CODE.sub("", path.read_text(encoding="utf-8")))
    for target in filter(None, target)
    if "://" not in target
]


def find_anchors(path: Path) -> set[str]:
    """What a link can follow `#` with, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("path", "target"), LINKS)
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(path, target):
    name, _, anchor = target.partition("#")
    found = (path.parent / name).resolve() if name else path
    assert found.exists()
    assert not anchor or anchor in find_anchors(found)


def test_the_readme_leads_to_every_page_of_the_manual():
    targets = set(re.findall(r"\]\(docs/([a-z]+\.md)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert targets == {path.name for path in (ROOT / "docs").glob("*.md")} - {"writing.md"}
