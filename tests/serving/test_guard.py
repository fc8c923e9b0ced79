"""Who may ask the app."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from starlette.requests import Request

from harness.serving.guard import Guard, is_local
from harness.serving.limits import RefusedError
from harness.serving.server import open_port, tell_address


def request(query: str = "", **headers: str) -> Request:
    told = {"host": "127.0.0.1:8765"} | headers
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": query.encode(), "headers": pairs})


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765", "127.0.0.1"])
def test_the_app_answers_to_the_names_of_this_machine(host):
    Guard(host="127.0.0.1").check(request(host=host))


@pytest.mark.parametrize(
    "host", ["evil.example:8765", "", "127.0.0.1.evil.example", "192.168.1.7:8765", "[", "a@b", "a@127.0.0.1"]
)
def test_another_name_is_refused_as_it_may_have_been_bound_to_this_machine_by_another_site(host):
    with pytest.raises(RefusedError, match="not asked by its own name") as caught:
        Guard(host="127.0.0.1").check(request(host=host))
    assert caught.value.status == 400


def test_an_app_for_other_machines_answers_to_numbers_and_to_its_own_name():
    for guard in (Guard(host="0.0.0.0", token="t"), Guard(host="lab.example", token="t")):
        guard.check(request("token=t", host="192.168.1.7:8765"))
        with pytest.raises(RefusedError, match="own name"):
            guard.check(request("token=t", host="evil.example"))
    Guard(host="lab.example", token="t").check(request("token=t", host="lab.example:8765"))


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_the_address_that_is_printed_is_a_name_of_the_app(host):
    with open_port(host, 0) as listening:
        address = tell_address(host, listening, "")
    assert Guard(host=host).is_called(urlsplit(address).netloc)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://localhost:8765"])
def test_what_another_site_asks_for_is_refused(origin):
    with pytest.raises(RefusedError, match="Another site") as caught:
        Guard(host="127.0.0.1").check(request(origin=origin))
    assert caught.value.status == 403


def test_the_page_itself_may_ask():
    Guard(host="127.0.0.1").check(request(origin="http://127.0.0.1:8765"))


@pytest.mark.parametrize("query", ["", "token=", "token=sesamo", "token=%C3%A9", "other=sesame"])
def test_the_token_is_needed_where_there_is_one(query):
    guard = Guard(host="127.0.0.1", token="sesame")
    with pytest.raises(RefusedError, match="lacks the token") as caught:
        guard.check(request(query))
    assert caught.value.status == 403
    guard.check(request("token=sesame"))


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("lab", False)],
)
def test_a_host_is_local_where_only_this_machine_reaches_it(host, local):
    assert is_local(host) is local
