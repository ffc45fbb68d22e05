"""What the pages do: links lead somewhere, and what goes wrong on purpose goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from pocket_kit import SIGN_IN, sign_in
from visitor_kit import Visitor

from jitrl.worlds.pocket.accounts import FORMS
from jitrl.worlds.pocket.pocket import Pocket

_LINK = re.compile(r'(?:href|src)="?([^"> ]+)')
_KEPT_OUT = ("/logout/", "/sign_out", "/trouble/slow/", "/trouble/broken/", "/jsi18n/")
OUTSIDE = {"http://outside.example/", "https://github.com/jonashaag/klaus"}


def crawled(visitor: Visitor, limit: int) -> tuple[dict[str, int], set[str]]:
    """Return path -> status of what can be reached by links, and the links that lead outside."""
    found: dict[str, int] = {}
    outside: set[str] = set()
    waiting = ["/"]
    while waiting and len(found) < limit:
        path = waiting.pop(0)
        if urlsplit(path).path in found or any(part in path for part in _KEPT_OUT):
            continue
        page = visitor.get(path)
        found[urlsplit(path).path] = visitor.status
        for link in _LINK.findall(page) if "<html" in page else ():
            url = urljoin(visitor.url, unescape(link))
            if url.startswith(visitor.address):
                waiting.append(url.removeprefix(visitor.address).partition("#")[0] or "/")
            elif not url.startswith(("data:", "javascript:")):
                outside.add(url)
    return found, outside


@pytest.mark.parametrize("site", ["shopping", "shopping_admin", "wikipedia", "gitlab"])
def test_links_lead_to_pages_and_nothing_is_loaded_from_elsewhere(web: Pocket, site: str) -> None:
    visitor, account = Visitor(web.addresses[site]), web.accounts[site]
    both = {"name": account.username, "username": account.username}
    visitor.submit(FORMS[site], FORMS[site], password=account.password, next="/", **both)
    found, outside = crawled(visitor, limit=160)
    wrong = {path: status for path, status in found.items() if status != 200}
    assert wrong == {}
    assert len(found) > 50
    assert outside <= OUTSIDE


def test_a_program_asks_the_shop_for_its_latest_order_only_with_a_token(web: Pocket) -> None:
    visitor = Visitor(web.addresses["shopping"])
    visitor.get("/rest/V1/orders?searchCriteria[pageSize]=1")
    assert visitor.status == 401


@pytest.fixture
def trouble(web: Pocket, browser: Any) -> Iterator[Any]:
    context = browser.new_context()
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.goto(f"{web.addresses['shopping']}/trouble/")
    yield page
    context.close()


@pytest.mark.parametrize(
    ("button", "answer"),
    [("Alert", "alert: closed"), ("Confirm", "confirm: true"), ("Prompt", "prompt: Ada")],
)
def test_a_dialog_opens_and_its_answer_arrives(trouble: Any, button: str, answer: str) -> None:
    trouble.on("dialog", lambda dialog: dialog.accept("Ada"))
    trouble.get_by_role("button", name=button).click()
    assert trouble.locator("#answer").inner_text() == answer


def test_a_link_opens_a_new_tab(trouble: Any) -> None:
    with trouble.context.expect_page() as opened:
        trouble.get_by_role("link", name="Open in a new tab").click()
    opened.value.wait_for_load_state()
    assert opened.value.get_by_role("heading", name="A new tab").is_visible()


def test_a_link_downloads_a_file(trouble: Any) -> None:
    with trouble.expect_download() as started:
        trouble.get_by_role("link", name="Download the list").click()
    assert started.value.suggested_filename == "pocket.csv"


def test_a_page_hangs_for_ever(trouble: Any) -> None:
    with pytest.raises(PlaywrightTimeout):
        trouble.goto(f"{trouble.url}busy/", timeout=1000)


def test_an_answer_does_not_come(trouble: Any) -> None:
    with pytest.raises(PlaywrightTimeout):
        trouble.goto(f"{trouble.url}slow/?seconds=600", timeout=500)


def test_an_expired_session_leads_a_browser_to_the_login_and_back(
    web: Pocket, trouble: Any
) -> None:
    address, account = web.addresses["shopping"], web.accounts["shopping"]
    sign_in(trouble, address + FORMS["shopping"], account, SIGN_IN["shopping"])
    web.expire("shopping")
    trouble.get_by_role("link", name="My Orders").click()
    assert "/customer/account/login/" in trouble.url
    trouble.get_by_label("Email", exact=True).fill(account.username)
    trouble.get_by_label("Password", exact=True).fill(account.password)
    trouble.get_by_role("button", name="Sign In").click()
    trouble.wait_for_url(f"{address}/sales/order/history/")
