"""Addresses and accounts: where they come from, and that no password shows."""

from __future__ import annotations

import pytest

from jitrl.errors import InvalidValue, WorldError
from jitrl.worlds.browser.arena.sites import ACCOUNTS, Account, accounts, addresses


def test_an_address_is_taken_from_the_options_before_the_variables():
    variables = {"WA_REDDIT": "http://a:1/", "WA_MAP": "https://map.test", "WA_GITLAB": ""}
    assert addresses(["reddit"], environment=variables) == {
        "reddit": "http://a:1",
        "map": "https://map.test",
    }
    given = {"reddit": "http://b:2"}
    assert addresses([], given=given, environment=variables)["reddit"] == "http://b:2"


def test_a_missing_address_names_its_variable():
    with pytest.raises(WorldError) as error:
        addresses(["map", "shopping_admin", "map"], environment={"WA_MAP": "http://m"})
    assert "shopping_admin" in str(error.value) and "set WA_SHOPPING_ADMIN" in str(error.value)
    assert "WA_MAP" not in str(error.value)
    assert str(error.value).endswith("for instance WA_SHOPPING_ADMIN=http://127.0.0.1:7770")


def test_who_has_no_address_is_told_how_to_do_without():
    with pytest.raises(WorldError, match=r"7770, or so: \['map'\]$"):
        addresses(["map"], environment={}, without=lambda lacking: f", or so: {lacking}")


@pytest.mark.parametrize(
    "address",
    ["reddit.test", "ftp://a", "http://", "http://a/?q=1", "http://a:b", "http://a@b", "http://[a"],
)
def test_what_is_no_address_is_named(address):
    with pytest.raises(InvalidValue, match="WA_REDDIT must be an address"):
        addresses([], environment={"WA_REDDIT": address})


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://Reddit.test:80/", "http://reddit.test"),
        ("https://r.test:443/Admin/", "https://r.test/Admin"),
        ("https://r.test:80", "https://r.test:80"),
        (" http://[::1]:7770 ", "http://[::1]:7770"),
    ],
)
def test_an_address_is_as_a_browser_shows_it(address, shown):
    assert addresses([], given={"reddit": address}, environment={}) == {"reddit": shown}


def test_an_unknown_site_is_named():
    with pytest.raises(InvalidValue, match="must name one of: shopping,"):
        addresses([], given={"amazon": "http://a"}, environment={})


def test_accounts_are_webarenas_unless_said_otherwise():
    assert accounts(environment={}) == dict(ACCOUNTS)


def test_each_part_of_an_account_is_taken_from_where_it_is_said_first(tmp_path):
    file = tmp_path / "accounts.toml"
    file.write_text('[reddit]\nusername = "filed"\npassword = "filed"\n[map]\nusername = "m"\n')
    variables = {
        "WA_ACCOUNTS": str(file),
        "WA_REDDIT_PASSWORD": "said",
        "WA_GITLAB_USERNAME": "root",
        "WA_MAP_PASSWORD": "p",
    }
    found = accounts({"gitlab": {"password": "given"}}, environment=variables)
    assert found["reddit"] == Account("filed", "said")
    assert found["gitlab"] == Account("root", "given")
    assert found["map"] == Account("m", "p")
    assert found["shopping"] == ACCOUNTS["shopping"]


def test_half_an_account_is_an_error(tmp_path):
    with pytest.raises(InvalidValue, match="must have a username and a password"):
        accounts({"map": {"username": "m"}}, environment={})


@pytest.mark.parametrize("content", ["[reddit", "reddit = 1", "[reddit]\npin = 'secret'", "\udcff"])
def test_a_file_that_holds_no_accounts_is_named_without_showing_it(tmp_path, content):
    file = tmp_path / "accounts.toml"
    file.write_bytes(content.encode("utf-8", errors="surrogateescape"))
    with pytest.raises((WorldError, InvalidValue)) as error:
        accounts(file=file, environment={})
    assert "secret" not in str(error.value)
    with pytest.raises(WorldError, match="cannot be read"):
        accounts(file=tmp_path / "none.toml", environment={})


def test_a_password_does_not_show():
    assert "hello1234" not in repr(ACCOUNTS["gitlab"])
