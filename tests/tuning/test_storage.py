"""Storages that cannot be opened: what is missing, by name, and never with a password."""

from __future__ import annotations

import sys

import pytest

from harness.errors import UsageError
from harness.tuning.storage import hide_password, name_elsewhere, open_storage


@pytest.mark.parametrize(
    ("url", "module", "said"),
    [
        ("mysql://u:p@h/d", "MySQLdb", "pip install 'pymysql', and give --storage mysql+pymysql://u:***@h/d"),
        ("mariadb://u:p@h/d", "MySQLdb", "pip install 'pymysql', and give --storage mariadb+pymysql://u:***@h/d"),
        ("mysql+pymysql://u:p@h/d", "pymysql", "pip install 'pymysql'"),
        ("mysql+mysqldb://u:p@h/d", "MySQLdb", "pip install 'mysqlclient'"),
        ("postgresql://h/d", "psycopg", "pip install 'psycopg[binary]', and give --storage postgresql+psycopg://h/d"),
        ("postgresql+psycopg://h/d", "psycopg", "pip install 'psycopg[binary]'"),
        ("postgresql+psycopg2://h/d", "psycopg2", "pip install 'psycopg2-binary'"),
        ("oracle://u:p@h/d", "oracledb", "pip install 'oracledb'"),
        ("postgresql+asyncpg://h/d", "asyncpg", "pip install 'asyncpg'"),
    ],
)
def test_the_driver_that_a_database_needs_is_named(tmp_path, monkeypatch, url, module, said):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(UsageError) as refusal:
        open_storage(url, tmp_path, "s")
    assert str(refusal.value).endswith(f"needs a driver that is not installed: {said}")


@pytest.mark.parametrize("url", ["postgres://u:p@h/d", "postgresql+nosuch://u:p@h/d", "redis://h", "sqlite:x.db", "x"])
def test_an_unknown_kind_is_answered_with_those_that_are_known(tmp_path, url):
    with pytest.raises(UsageError, match="unknown kind of storage") as refusal:
        open_storage(url, tmp_path, "s")
    for kind in ("sqlite:///", "postgresql+psycopg://", "mysql+pymysql://", "grpc://", "journal://"):
        assert kind in str(refusal.value)


def test_a_port_that_is_no_number_is_said(tmp_path):
    pytest.importorskip("grpc")
    with pytest.raises(UsageError, match=r"grpc://u:\*\*\*@h:9x: its port is no number; give grpc://HOST:PORT"):
        open_storage("grpc://u:secret@h:9x", tmp_path, "s")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://u:topsecret@h:1/d", "mysql://u:***@h:1/d"),
        ("mysql://u:top@secret@h/d", "mysql://u:***@h/d"),
        ("mysql://u:top/sec?r#et@h/d", "mysql://u:***@h/d"),
        ("mysql://:topsecret@h/d", "mysql://:***@h/d"),
        ("mysql://h/d?user=u&password=topsecret&x=1", "mysql://h/d?user=u&password=***&x=1"),
        ("mysql://h/d?sslPassword=topsecret", "mysql://h/d?sslPassword=***"),
        ("sqlite:////a:b@c.db", "sqlite:////a:b@c.db"),
        ("mysql://u@h:1/d", "mysql://u@h:1/d"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url, shown):
    assert hide_password(url) == shown


def test_a_driver_that_takes_half_a_password_for_a_host_does_not_print_it(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(UsageError, match="does not answer") as refusal:
        open_storage("postgresql+psycopg://u:se@cret@nohost.invalid/d", tmp_path, "s")
    assert "cret" not in str(refusal.value).replace("nohost.invalid", "")


def test_workers_on_other_machines_get_a_journal_by_its_whole_path_or_a_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name_elsewhere(None, shared=True) is None
    assert name_elsewhere("journal://s.journal", shared=True) == f"journal://{tmp_path}/s.journal"
    for shared in (True, False):
        assert name_elsewhere("grpc://h:13000", shared=shared) == "grpc://h:13000"


@pytest.mark.parametrize(
    ("url", "shared", "said"),
    [
        ("sqlite:///s.db", True, "cannot share an SQLite file"),
        ("sqlite+pysqlite:///:memory:", True, "cannot share an SQLite file"),
        (None, False, "without a shared folder, workers on other machines do not reach a study in the board's folder"),
        ("journal://s.journal", False, "keep it on a server: --storage postgresql"),
    ],
)
def test_a_storage_that_workers_on_other_machines_do_not_share_is_refused(url, shared, said):
    with pytest.raises(UsageError) as refusal:
        name_elsewhere(url, shared=shared)
    assert said in str(refusal.value)
