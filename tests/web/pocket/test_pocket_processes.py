"""The sites as processes: started, put back, kept apart, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from process_kit import Process
from visitor_kit import Visitor, connected, ended

from jitrl.errors import InvalidValue, WorldError
from jitrl.worlds.pocket.accounts import FORMS
from jitrl.worlds.pocket.pocket import Pocket

EDIT = "/customer/account/edit/"


def customer(web: Pocket) -> Visitor:
    account = web.accounts["shopping"]
    visitor = Visitor(web.addresses["shopping"])
    fields = {"name": account.username, "password": account.password}
    visitor.submit(FORMS["shopping"], FORMS["shopping"], **fields)
    assert visitor.url == f"{visitor.address}/customer/account/"
    return visitor


def move(visitor: Visitor, city: str) -> None:
    address = {"phone": "1", "street": "2", "city": city, "postcode": "3"}
    visitor.submit(EDIT, EDIT, **address)


def test_every_site_answers_on_loopback(web: Pocket) -> None:
    assert list(web.addresses) == ["shopping", "shopping_admin", "wikipedia", "gitlab"]
    for address in web.addresses.values():
        visitor = Visitor(address)
        visitor.get("/")
        assert (urlsplit(address).hostname, visitor.status) == ("127.0.0.1", 200)


def test_reset_puts_the_data_back_and_nobody_is_signed_out(web: Pocket) -> None:
    visitor = customer(web)
    before = visitor.get("/customer/account/")
    move(visitor, "Alnwick")
    assert "Alnwick" in visitor.get("/customer/account/")
    web.reset()
    assert visitor.get("/customer/account/") == before


def test_reset_while_others_read_and_write_breaks_no_page(web: Pocket) -> None:
    def busy(number: int) -> set[int]:
        visitor = customer(web)
        seen = set()
        for turn in range(8):
            move(visitor, f"Town {number} {turn}")
            seen.add(visitor.status)
            visitor.submit("/desk-lamp.html", "/desk-lamp.html/cart/", quantity="1")
            seen.add(visitor.status)
        return seen

    with ThreadPoolExecutor(3) as visitors:
        running = [visitors.submit(busy, number) for number in range(3)]
        while not all(each.done() for each in running):
            web.reset()
    assert {status for each in running for status in each.result()} == {200}
    web.reset()
    assert "Whitby" in customer(web).get("/customer/account/")


def test_an_admin_who_signs_in_stays_so_after_a_reset(web: Pocket) -> None:
    account = web.accounts["shopping_admin"]
    visitor = Visitor(web.addresses["shopping_admin"])
    fields = {"username": account.username, "password": account.password, "next": "/"}
    visitor.submit("/login/?next=/", "/login/?next=/", **fields)
    web.reset()
    visitor.get("/shop/order/")
    assert visitor.url == f"{visitor.address}/shop/order/"


def test_a_session_that_expires_leads_back_to_the_login(web: Pocket) -> None:
    visitor = customer(web)
    web.expire("gitlab")
    visitor.get("/customer/account/")
    assert visitor.url.endswith("/customer/account/")
    web.expire("shopping")
    visitor.get("/customer/account/")
    assert visitor.url.endswith("/customer/account/login/?next=%2Fcustomer%2Faccount%2F")
    with pytest.raises(InvalidValue, match="site must be one of"):
        web.expire("map")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pocket]:
    with Pocket(tmp_path_factory.mktemp("other")) as pocket:
        yield pocket


def test_two_pockets_share_neither_data_nor_sessions(web: Pocket, other: Pocket) -> None:
    first = customer(web)
    move(first, "Alnwick")
    second = Visitor(other.addresses["shopping"], first.cookies)
    second.get("/customer/account/")
    assert "/login/" in second.url
    account = other.accounts["shopping"]
    fields = {"name": account.username, "password": account.password}
    assert "Whitby" in second.submit(FORMS["shopping"], FORMS["shopping"], **fields)
    other.reset()
    other.expire()
    assert "Alnwick" in first.get("/customer/account/")
    web.reset()


def test_everything_is_the_same_in_every_pocket(web: Pocket, other: Pocket) -> None:
    pages = {
        "shopping": ("/", "/copper-kettle.html", "/catalog/music/?order=price"),
        "wikipedia": ("/wiki/Aldervik", "/recent/", "/wiki/Brathe/history"),
        "gitlab": ("/", "/tide-tables/", "/tide-tables/commit/main/", "/bird-ringer/-/issues/"),
    }
    web.reset()
    for site, paths in pages.items():
        for path in paths:
            ours, theirs = (Visitor(each.addresses[site]).get(path) for each in (web, other))
            assert _without_tokens(ours) == _without_tokens(theirs)


def _without_tokens(page: str) -> list[str]:
    return [line for line in page.splitlines() if "csrfmiddlewaretoken" not in line]


def test_close_ends_every_process_and_removes_the_data(tmp_path: Path) -> None:
    web = Pocket(tmp_path).start()
    connections = [connected(address) for address in web.addresses.values()]
    with pytest.raises(WorldError, match="runs already"):
        web.start()
    web.close()
    web.close()
    assert all(ended(connection) for connection in connections)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WorldError, match="start it first"):
        web.reset()


def test_a_port_that_is_taken_is_named_and_nothing_stays_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "jitrl.worlds.pocket", str(port)]
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        told = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr == (
            f"shopping ended as it started; it said: port {port} cannot be had (Address already in "
            "use): name another first port, or none\n"
        )
        assert list(tmp_path.iterdir()) == []


def test_a_port_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"port must be 0, or lie in \[1024, 65532\]"):
        Pocket(port=80)


PARENT = """
import os, sys
from jitrl.worlds.pocket.accounts import FORMS
from jitrl.worlds.pocket.pocket import Pocket
web = Pocket(sys.argv[1]).start()
print(*web.addresses.values(), flush=True)
os.fork()  # a child that keeps all that its parent had open
sys.stdin.read()
"""


def test_servers_end_when_their_parent_is_killed_though_a_child_of_it_lives(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with Process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        connections = [connected(address) for address in parent.stdout.readline().split()]
        parent.kill()
        assert [ended(connection) for connection in connections] == [True] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_person_starts_it_and_ends_it(tmp_path: Path, name: signal.Signals) -> None:
    command = [sys.executable, "-m", "jitrl.worlds.pocket"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with Process(command, stdout=subprocess.PIPE, text=True, env=environment) as person:
        assert person.stdout is not None
        lines = [person.stdout.readline() for _ in range(6)]
        connections = [connected(line.split()[1]) for line in lines[:4]]
        assert "emma.lopez@gmail.com" in lines[0]
        person.send_signal(name)
        assert person.wait() == 130
    assert all(ended(connection) for connection in connections)
    assert list(tmp_path.iterdir()) == []


def test_who_signs_out_signs_nobody_else_out(web: Pocket) -> None:
    visitor = customer(web)
    other = Visitor(visitor.address)
    for cookie in visitor.cookies:  # as a login that was prepared once, and given to both
        other.cookies.set_cookie(cookie)
    visitor.get("/customer/account/logout/")
    visitor.get("/customer/account/")
    assert "/customer/account/login/" in visitor.url
    other.get("/customer/account/")
    assert other.url == f"{other.address}/customer/account/"
