"""Records of earlier schemas are read as they were, and written as today's; later ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.errors import DataError
from harness.results.layout import record_path
from harness.results.migration import STEPS, migrate, parse_record
from harness.results.record import SCHEMA
from harness.results.store import read_record, read_records, set_aside, write_record

OLD = Path(__file__).parents[1] / "fixtures" / "record-of-schema-1.json"
"""Of the demo board, as the harness wrote it while the schema was 1."""


def put(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "records" / "tiny-cnn--bce--demo--s0.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def keeps(new, old) -> bool:
    """Whether a document says all that an older one says; what a schema adds is beside it."""
    if isinstance(old, dict):
        return all(item is None or (name in new and keeps(new[name], item)) for name, item in old.items())
    if isinstance(old, list):
        return len(new) == len(old) and all(map(keeps, new, old))
    return bool(new == old)


def test_a_record_of_schema_1_keeps_all_that_it_said():
    document = json.loads(OLD.read_text())
    assert document["schema"] == 1
    record = parse_record(OLD.read_bytes())
    assert record.schema_ == SCHEMA
    found = json.loads(record.model_dump_json())
    assert keeps(found, document | {"schema": SCHEMA})
    assert not keeps(found, document | {"schema": SCHEMA, "key": "another"})


def test_a_board_with_old_records_is_read_and_what_is_written_is_of_todays_schema(tmp_path):
    path = put(tmp_path, json.loads(OLD.read_text()))
    found = read_records(tmp_path)
    assert found.problems == ()
    (record,) = found.records
    assert read_record(tmp_path, "tiny-cnn--bce--demo", 0) == record
    assert set_aside(tmp_path) == ()
    assert json.loads(path.read_text())["schema"] == 1
    assert record_path(tmp_path, write_record(tmp_path, record).combo.name) == path
    assert json.loads(path.read_text())["schema"] == SCHEMA


def test_a_newer_record_is_refused_and_neither_passed_over_nor_moved(tmp_path):
    path = put(tmp_path, json.loads(OLD.read_text()) | {"schema": SCHEMA + 1, "from_the_future": 1})
    content = path.read_bytes()
    for read in (read_records, set_aside, lambda folder: read_record(folder, "tiny-cnn--bce--demo", 0)):
        with pytest.raises(
            DataError, match=rf"{path} is of schema {SCHEMA + 1}, .* up to {SCHEMA}; install a newer harness"
        ):
            read(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("schema", [None, 0, -1, "1", True, 1.5, []])
def test_what_names_no_schema_is_no_record(schema):
    document = json.loads(OLD.read_text()) | {"schema": schema}
    with pytest.raises(ValidationError):
        parse_record(json.dumps(document).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{}", b'{"schema": 1}', b'{"schema": 2}'])
def test_what_is_no_document_is_no_record(content):
    with pytest.raises(ValueError, match=r"\S"):
        parse_record(content)


def test_there_is_a_step_from_every_earlier_schema():
    assert set(STEPS) == set(range(1, SCHEMA))
    assert migrate({"schema": 1})["schema"] == SCHEMA
