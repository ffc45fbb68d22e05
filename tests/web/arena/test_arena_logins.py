"""Logging in through the page of a site, once, and noticing when it has expired."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from contextlib import ExitStack

import pytest
from arena_kit import Stand, stands, task
from process_kit import Process, all_end, children

from jitrl.errors import WorldError
from jitrl.worlds.browser.arena.logins import LOGINS, Logins, inside, log_in
from jitrl.worlds.browser.arena.sites import ACCOUNTS, Account

WITH_LOGIN = ("shopping", "shopping_admin", "reddit", "gitlab")


def logins(folder, sites, **accounts):
    addresses = {label: site.address for label, site in sites.items()}
    return Logins(folder, addresses, {**ACCOUNTS, **accounts})


@pytest.mark.parametrize("label", WITH_LOGIN)
def test_each_site_is_logged_in_through_its_form(context, label):
    login, account = LOGINS[label], ACCOUNTS[label]
    with stands(label) as sites:
        address = sites[label].address
        assert not inside(context, address, login, account)
        log_in(context, label, address, login, account)
        assert inside(context, address, login, account)
    assert context.pages == []


@pytest.mark.parametrize("label", WITH_LOGIN)
def test_a_refused_account_is_an_error_with_site_and_user(context, label):
    wrong = Account(ACCOUNTS[label].username, "wrong")
    with stands(label) as sites, pytest.raises(WorldError) as error:
        log_in(context, label, sites[label].address, LOGINS[label], wrong, patience=0.3)
    assert label in str(error.value) and wrong.username in str(error.value)
    assert "wrong" not in str(error.value)
    assert context.pages == []


def test_a_page_without_the_form_is_an_error(context):
    context.set_default_timeout(300)
    with stands("wikipedia") as sites, pytest.raises(WorldError, match="form cannot be used"):
        log_in(context, "reddit", sites["wikipedia"].address, LOGINS["reddit"], ACCOUNTS["reddit"])


def test_a_site_that_does_not_answer_is_an_error(context, tmp_path):
    nowhere = Logins(tmp_path, {"reddit": "http://127.0.0.1:1"}, ACCOUNTS)
    with pytest.raises(WorldError, match="does not answer"):
        nowhere.ensure(context, ["reddit"])


def test_a_login_is_made_once_and_kept_for_its_owner_only(chromium, tmp_path):
    with stands("reddit", "gitlab") as sites:
        kept = logins(tmp_path / "logins", sites)
        first = chromium.new_context()
        assert kept.state(["reddit", "gitlab"]) is None
        assert kept.ensure(first, ["reddit", "gitlab"]) == ("gitlab", "reddit")
        assert kept.ensure(first, ["reddit", "gitlab"]) == ()
        second = chromium.new_context(storage_state=kept.state(["gitlab", "reddit"]))
        assert kept.ensure(second, ["reddit", "gitlab"]) == ()
        assert [sites[label].logged_in for label in ("reddit", "gitlab")] == [1, 1]
        for context in (first, second):
            context.close()
    folder = kept.path(["reddit", "gitlab"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for account in ACCOUNTS.values():
            assert account.password not in path.read_text()
    assert len(list(folder.glob("*.json"))) == 3  # of each site, and of both
    assert not list(folder.glob(".*"))


_WORKER = """
import json, sys
from pathlib import Path
from playwright.sync_api import sync_playwright
from jitrl.worlds.browser.arena.logins import Logins
from jitrl.worlds.browser.arena.sites import ACCOUNTS
from jitrl.worlds.browser.chromium import find

folder, addresses, sites = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3].split(",")
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
    kept = Logins(folder, addresses, ACCOUNTS)
    context = browser.new_context()
    kept.ensure(context, sites)
    print("in", *kept.ensure(context, sites), flush=True)
    sys.stdin.readline()
    print("in", *kept.ensure(context, sites), flush=True)
    browser.close()
"""


def worker(folder, sites, *labels):
    """A process that logs in, says so, and once told looks whether it still is logged in."""
    addresses = json.dumps({label: site.address for label, site in sites.items()})
    command = [sys.executable, "-c", _WORKER, str(folder), addresses, ",".join(labels)]
    return Process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_of_processes_that_begin_together_one_logs_in_for_all(tmp_path):
    with stands("reddit", "gitlab") as sites, ExitStack() as stack:
        sites["reddit"].single = sites["gitlab"].single = True
        sites["reddit"].gather(3)
        workers = [
            stack.enter_context(worker(tmp_path, sites, *labels))
            for labels in (("reddit",), ("gitlab", "reddit"), ("reddit",))
        ]
        assert [process.stdout.readline() for process in workers] == ["in\n"] * 3
        for process in workers:
            assert process.communicate("go on\n") == ("in\n", None)
        assert [site.logged_in for site in sites.values()] == [1, 1]


def test_a_process_that_is_killed_while_it_logs_in_does_not_keep_others_out(tmp_path):
    with stands("reddit") as sites:
        site = sites["reddit"]
        site.answers.clear()
        with worker(tmp_path, sites, "reddit") as first:
            assert site.sent.wait(60)
            site.sent.clear()
            site.gather(2)
            with worker(tmp_path, sites, "reddit") as second:
                site.gate.wait(60)  # the second knows that it has to log in, or to wait
                browsers = children(first.pid)
                first.kill()
                assert site.sent.wait(60)
                site.answers.set()
                assert second.communicate("go on\n") == ("in\nin\n", None)
            assert all_end(browsers)


def test_a_login_that_has_expired_is_made_again_once(chromium, arena, reddit, tmp_path):
    benchmark = arena(task(0, require_login=True))
    for expired in (False, False, True, False):
        if expired:
            reddit.sessions.clear()
        context = chromium.new_context(**benchmark.context("stand:0"))
        kind, arguments = benchmark.entry("stand:0")
        page = context.new_page()
        kind(seed=1, **arguments).setup(page)
        assert inside(context, reddit.address, LOGINS["reddit"], ACCOUNTS["reddit"])
        assert context.pages == [page]
        context.close()
    assert reddit.logged_in == 2


def test_a_login_that_fails_is_not_gone_on_from(context, tmp_path):
    with stands("reddit") as sites:
        wrong = Account("MarvelsGrantMan136", "changed")
        kept = Logins(tmp_path, {"reddit": sites["reddit"].address}, {"reddit": wrong}, patience=0)
        with pytest.raises(WorldError, match="no login at reddit"):
            kept.ensure(context, ["reddit"])
        assert kept.state(["reddit"]) is None


def test_a_damaged_file_is_made_again(context, tmp_path):
    with stands("reddit") as sites:
        kept = logins(tmp_path, sites)
        kept.path(["reddit"]).write_text('{"cookies": [')
        assert kept.state(["reddit"]) is None
        kept.ensure(context, ["reddit"])
        assert kept.state(["reddit"])["cookies"]


def test_sites_that_put_an_end_to_each_others_login_are_an_error(context, tmp_path):
    reddit, gitlab = Stand("reddit", cookie="session"), Stand("gitlab", cookie="session")
    try:
        with pytest.raises(WorldError, match="host name of its own"):
            logins(tmp_path, {"reddit": reddit, "gitlab": gitlab}).ensure(
                context, ["reddit", "gitlab"]
            )
    finally:
        reddit.close()
        gitlab.close()


def test_a_task_begins_with_all_its_pages_and_the_first_in_front(arena, play, page, reddit):
    reddit.pages["/second"] = "<p>second</p>"
    started = play(arena(task(0, start_url="__REDDIT__ |AND| __REDDIT__/second")), "stand:0")
    assert [tab.url for tab in page.context.pages] == [
        reddit.address + "/",
        reddit.address + "/second",
    ]
    assert page.evaluate("document.visibilityState") == "visible"
    assert started.start_urls[1].endswith("/second")


def test_a_start_page_that_cannot_be_opened_is_an_error(arena, play, page, reddit):
    with pytest.raises(WorldError, match=r"the start page .* cannot be opened"):
        play(arena(task(0, start_url="http://127.0.0.1:1/")), "stand:0")
