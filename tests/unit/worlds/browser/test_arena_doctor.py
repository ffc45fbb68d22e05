"""What `jitrl doctor` finds, and the reset of the sites."""

from __future__ import annotations

import pytest
from arena_kit import Stand, stands, task
from typer.testing import CliRunner

from jitrl.cli import app
from jitrl.errors import InvalidValue, WorldError
from jitrl.worlds.browser.arena.doctor import Finding, examine, packages, playable, sites
from jitrl.worlds.browser.arena.reset import fetch, reset
from jitrl.worlds.browser.arena.sites import SITES
from jitrl.worlds.browser.arena.task_files import choose


def test_each_site_is_asked_at_its_address():
    with stands("reddit", "wikipedia") as running:
        running["wikipedia"].pages = {}
        variables = {
            "WA_REDDIT": running["reddit"].address,
            "WA_WIKIPEDIA": running["wikipedia"].address,
            "WA_MAP": "http://127.0.0.1:1",
            "WA_GITLAB": "gitlab",
        }
        found = {finding.what: finding for finding in sites(variables)}
    assert list(found) == list(SITES)
    assert found["reddit"].works and "answers 200 in" in found["reddit"].said
    assert found["reddit"].remedy == ""
    assert found["wikipedia"].works is False and "answers 404" in found["wikipedia"].said
    assert found["map"].works is False and "does not answer" in found["map"].said
    assert found["gitlab"].works is False and "must be an address" in found["gitlab"].said
    assert found["shopping"].works is None
    assert found["shopping"].remedy.startswith("set WA_SHOPPING=")


def test_the_tasks_that_have_what_they_need_are_said_as_a_command():
    graded = {"eval": {"reference_answers": {"fuzzy_match": ["a"]}}}
    tasks = {
        0: task(0, sites=["reddit"]),
        1: task(1, sites=["map"]),
        2: task(2, sites=["reddit", "gitlab"]),
        3: task(3, sites=["reddit"], **graded),
    }
    found = [Finding(site, site in ("reddit", "gitlab") or None, "") for site in SITES]
    found.append(Finding("gitlab login", False, ""))
    without = playable("webarena", tasks, found)
    assert (without.works, without.said) == (True, "1 of 4 can be played without a grader")
    assert without.remedy == "jitrl run webarena:all,-site:gitlab,-site:map,-graded"
    chosen = without.remedy.removeprefix("jitrl run webarena:")
    assert choose(chosen, tasks) == (0,)
    every = [Finding(site, True, "") for site in SITES]
    assert playable("webarena", {1: tasks[1]}, every).remedy == "jitrl run webarena:all"
    assert playable("webarena", {1: tasks[1]}, found).works is False


def test_a_missing_chromium_is_said_with_what_to_do():
    (chromium, *_) = packages("webarena", program="/nowhere/chromium")
    assert chromium.works is False and "--chromium" in chromium.remedy


def test_a_missing_environment_of_webarena_verified_is_said_with_what_to_do(monkeypatch):
    monkeypatch.delenv("WEBARENA_VERIFIED", raising=False)
    *_, last = packages("webarena-verified")
    assert last.works is False and "pip install webarena-verified==" in last.remedy


def test_an_unknown_benchmark_is_an_error():
    with pytest.raises(InvalidValue, match="webarena-lite"):
        examine("webarena-light")


def test_the_command_shows_it_and_ends_with_1_where_something_does_not_work(monkeypatch):
    for site in SITES:
        monkeypatch.delenv(f"WA_{site.upper()}", raising=False)
    with stands("reddit") as running:
        monkeypatch.setenv("WA_REDDIT", running["reddit"].address)
        monkeypatch.setenv("WA_MAP", "http://127.0.0.1:1")
        shown = CliRunner().invoke(app, ["doctor", "webarena", "--no-logins"])
        assert running["reddit"].address in shown.output
    (state,) = [line.split()[1] for line in shown.output.splitlines() if line[:4] == "map "]
    assert (state, "map: start it, or correct WA_MAP" in shown.output) == ("FAILS", True)
    assert shown.exit_code == 1
    assert CliRunner().invoke(app, ["doctor", "web"]).exit_code != 0


class Servers:
    """A reset server that is ready after so many questions."""

    def __init__(self, *statuses, begun=200):
        self.answers = [(begun, "begun"), *statuses]
        self.asked = []
        self.slept = []

    def __call__(self, address):
        self.asked.append(address)
        return self.answers.pop(0)

    def reset(self, **patience):
        reset("http://r/", ask=self, sleep=self.slept.append, **patience)


@pytest.mark.parametrize("begun", [200, 418])
def test_a_reset_ends_when_the_sites_are_ready(begun):
    servers = Servers((200, "Busy"), (200, "Ready for duty!"), begun=begun)
    servers.reset(every=5)
    assert servers.asked == ["http://r/reset", "http://r/status", "http://r/status"]
    assert servers.slept == [5]


@pytest.mark.parametrize(
    ("servers", "why"),
    [
        (Servers(begun=500), "refuses"),
        (Servers((500, "broken")), "status fails"),
        (Servers(*[(200, "Busy")] * 9), "not ready after 15 s"),
    ],
)
def test_a_reset_that_fails_is_an_error(servers, why):
    with pytest.raises(WorldError, match=why):
        servers.reset(patience=15, every=5)


def test_a_server_is_asked_over_http():
    site = Stand("homepage")
    try:
        assert fetch(site.address)[0] == 200
        assert fetch(site.address + "/none")[0] == 404
    finally:
        site.close()
    for address in (site.address, "nowhere"):
        with pytest.raises(WorldError, match="does not answer"):
            fetch(address)
