"""Records of earlier schemas, read as records of today's.

A schema is raised when what an earlier harness wrote could no longer be read, or would be misunderstood. What is only
added has a default (null: not measured) and needs no step here beyond the number. `harness rescore` measures what a
migrated record lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json

from harness.errors import DataError
from harness.results.record import SCHEMA, Record
from harness.results.soundness import require_consistent, require_plain

Document = dict[str, Any]


def parse_record(content: bytes) -> Record:
    """A record from the bytes of its file, whatever its schema.

    Raises `ValueError`, such as pydantic's `ValidationError`, for what is no record or contradicts itself, `DataError`
    for one of a newer schema: to pass over it would be to overwrite it.
    """
    document = from_json(content, allow_inf_nan=False)
    schema = _find_schema(document)
    if schema is not None and schema > SCHEMA:
        raise DataError(
            f"is of schema {schema}, and this harness knows schemas up to {SCHEMA}; install a newer harness"
        )
    require_plain(document)
    record = Record.model_validate(document if schema is None else migrate(document))
    require_consistent(record)
    return record


def migrate(document: Document) -> Document:
    """A record's document of an earlier schema as one of today's; steps follow each other, one a schema."""
    for schema in range(document["schema"], SCHEMA):
        document = {**STEPS[schema](document), "schema": schema + 1}
    return document


def _find_schema(document: Any) -> int | None:
    """The schema that a document names; None where it is no document that this or a later harness wrote."""
    schema = document.get("schema") if isinstance(document, dict) else None
    return schema if type(schema) is int and schema >= min(STEPS) else None


def _from_1(document: Document) -> Document:
    """Schema 2 adds to what is measured and changes nothing that was there."""
    return document


STEPS: Mapping[int, Callable[[Document], Document]] = {1: _from_1}
"""Schema -> what makes its document one of the next schema, apart from the number."""
