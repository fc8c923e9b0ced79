"""What a row's network had seen before, in words: marks, sentences, and what the board says of it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.report.leaderboard import Leaderboard, RowSummary
from harness.results.record import PretrainingPart, Record
from harness.results.shadow import mark_shadow
from harness.text import agree


def mark_pretraining(row: RowSummary) -> str:
    """Say in a few words what is to be known wherever the row stands; empty where the test is new to its network."""
    return mark_shadow(row.pretraining)


def tell_pretraining(row: RowSummary) -> list[str]:
    """What the row's network had seen before, a sentence for each source, and what follows from it."""
    sentences = tell_parts(row.pretraining, row.counted[0]) if row.counted else []
    follows = "The row is therefore not ranked, and compared with no other row."
    return [*sentences, follows] if row.is_shadowed else sentences


def tell_parts(parts: Iterable[PretrainingPart], record: Record) -> list[str]:
    """What a record's network had seen before, a sentence for each source."""
    return [_tell_part(part, record) for part in parts]


def _tell_part(part: PretrainingPart, record: Record) -> str:
    about = f" ({part.about})" if part.about else ""
    if part.name == "unknown":
        return f"What its network was pretrained on is unknown{about}."
    opening = f"{'Pretrained on' if record.external is None else 'Its network has seen'} {part.name}{about}"
    if part.overlap == "none":
        return f"{opening}: no test image is in it{f', {part.why}' if part.why else ''}."
    if part.overlap == "unknown":
        return f"{opening}: whether test images are in it is unknown, as {part.why}."
    if part.overlap == "possible":
        return f"{opening}, which may hold test images: {part.why}."
    test = record.dataset.splits["test"]
    people = f"{part.patients or 0:,} of the {test.patients:,} test patients"
    if part.images is None:
        return f"{opening}: {people} are in it; {part.why}."
    return f"{opening}: {part.images:,} of the {test.images:,} test images and {people} are in it."


def list_pretraining(row: RowSummary) -> str | None:
    """All of it as one text for a table, such as `imagenet: none; nih-all: shared (9 images, 4 patients)`."""
    return "; ".join(f"{part.name}: {part.overlap}{_count(part)}" for part in row.pretraining) or None


def _count(part: PretrainingPart) -> str:
    if part.overlap != "shared":
        return ""
    images = [] if part.images is None else [f"{part.images} images"]
    return f" ({', '.join([*images, f'{part.patients} patients'])})"


def tell_shadows(summary: Leaderboard) -> list[str]:
    """What a reader of the ranking has to know: who is left out of it, and of whom nobody knows."""
    rows = [row for row in summary.rows if row.counted and row.control is None]
    shadowed = [row.title for row in rows if row.is_shadowed]
    unknown = [row.title for row in rows if not row.is_shadowed and mark_pretraining(row)]
    sentences = []
    if shadowed:
        whose = agree(len(shadowed), "its network has", "their networks have")
        names = "; ".join(shadowed)
        sentences.append(f"Not ranked, as {whose} seen test images or patients before, or may have: {names}")
    if unknown:
        of = "all rows with a result" if len(unknown) == len(rows) > 1 else "; ".join(unknown)
        whose = agree(len(unknown), f"the network of {of} has", f"the networks of {of} have")
        sentences.append(f"Nobody knows whether {whose} seen test images in pretraining")
    return sentences
