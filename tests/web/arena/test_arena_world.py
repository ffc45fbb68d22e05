"""Tasks of the three benchmarks played through the contract of a suite, in a real browser."""

from __future__ import annotations

import json

import pytest
from arena_kit import stands

from jitrl.worlds import Suite
from jitrl.worlds.browser.arena import lite, verified, webarena


@pytest.fixture
def world(tmp_path):
    """Open the tasks of a module at some sites."""
    opened = []

    def make(module, which, sites, **options):
        addresses = {label: site.address for label, site in sites.items()}
        world = module.make(which, sites=addresses, logins_folder=str(tmp_path), **options)
        opened.append(world)
        return world

    yield make
    for world in opened:
        world.close()


def test_a_task_of_webarena_is_attempted_logged_in_and_judged_at_its_end(world):
    with stands("reddit") as sites:
        reddit = sites["reddit"]
        reddit.pages["/"] = "<h1>Posts</h1><a href='/f/books'>Books</a>"
        reddit.pages["/f/books"] = "<h1>Books</h1><p>0 comments</p>"
        suite = world(webarena, "27,28", sites)
        assert isinstance(suite, Suite)
        shown = suite.reset(1, "webarena:28", limit=5)
        assert 'click(link("Books"))' in shown.actions
        assert shown.state["url"] == "reddit/"
        shown = suite.step('click(link("Books"))')
        assert not shown.terminated and shown.state["url"] == "reddit/f/books"
        shown = suite.step('send_msg_to_user("There are 0 of them.")')
        assert (shown.terminated, shown.score, shown.reason) == (True, 1.0, "")
        assert suite.reset(2, "webarena:27", limit=1).score == 0
        shown = suite.step('send_msg_to_user("There are 10 of them.")')
        assert (shown.terminated, shown.score) == (True, 0.0)
        assert reddit.logged_in == 1


def test_reaching_the_goal_does_not_end_an_attempt(world):
    with stands("gitlab") as sites:
        gitlab = sites["gitlab"]
        gitlab.pages["/"] = "<a href='/dashboard/todos'>Todos</a>"
        gitlab.pages["/dashboard/todos"] = "<h1>Todos</h1><a href='/'>Home</a>"
        suite = world(webarena, "44", sites)
        suite.reset(1, limit=9)
        shown = suite.step('click(link("Todos"))')
        assert (shown.terminated, shown.truncated, shown.score) == (False, False, 0)
        suite.step('click(link("Home"))')
        assert suite.step('send_msg_to_user("Here they are.")').score == 0
        suite.reset(1, limit=1)
        shown = suite.step('click(link("Todos"))')
        assert (shown.terminated, shown.truncated, shown.score) == (False, True, 1)


def test_the_evaluator_visits_its_pages_at_the_end_and_once(world):
    """302 of the 812 tasks name pages that are visited for the verdict."""
    there = {f"/byteblaze/{name}": name for name in ("SimCache", "dots", "CacheEval")}
    gone = dict.fromkeys(("/byteblaze/nvidia-patch", "/byteblaze/viewgrades-scraper"), "404")
    with stands("gitlab") as sites:
        gitlab = sites["gitlab"]
        gitlab.pages |= {"/": "<a href='/mine'>Mine</a>", "/mine": "<a href='/'>Home</a>"}
        gitlab.pages |= there | gone
        suite = world(webarena, "398", sites)
        suite.reset(1, limit=9)
        begun = len(gitlab.visited)
        for name, place in (("Mine", "gitlab/mine"), ("Home", "gitlab/"), ("Mine", "gitlab/mine")):
            shown = suite.step(f'click(link("{name}"))')
            assert shown.state["url"] == place and shown.score == 0
        assert gitlab.visited[begun:] == ["/mine", "/", "/mine"]
        shown = suite.step('send_msg_to_user("They are forked.")')
        assert (shown.terminated, shown.score, shown.reason) == (True, 1.0, "")
        assert shown.state["url"] == "gitlab/mine"
        assert gitlab.visited[begun + 3 :] == [*there, *gone]


def test_an_evaluator_that_fails_gives_no_success_and_the_next_attempt_begins(world):
    with stands("shopping") as sites:  # it has no orders that could be asked for
        suite = world(webarena, "436", sites)
        for seed in (1, 2):
            assert suite.reset(seed, limit=2).actions
            shown = suite.step('send_msg_to_user("It is ordered.")')
            assert (shown.terminated, shown.score) == (True, 0)
            assert "the evaluator failed: " in shown.reason


def test_leaving_the_sites_ends_an_attempt_without_success(world):
    with stands("gitlab") as sites:
        gitlab = sites["gitlab"]
        elsewhere = gitlab.address.replace("127.0.0.1", "localhost") + "/dashboard/todos"
        gitlab.pages |= {"/": f"<a href='{elsewhere}'>Todos</a>", "/dashboard/todos": "todos"}
        suite = world(webarena, "44", sites)
        suite.reset(1, limit=1)
        shown = suite.step('click(link("Todos"))')
        assert (shown.terminated, shown.score) == (True, 0)
        assert "left the allowed sites" in shown.reason


def test_what_needs_a_grader_is_no_success_and_says_so(world):
    with stands("map") as sites:
        suite = world(lite, "7,20", sites)
        suite.reset(1, "webarena-lite:7", limit=3)
        shown = suite.step('send_msg_to_user("Pittsburgh International Airport")')
        assert shown.terminated and shown.score == 0
        assert shown.reason == "needs a grader: name one with --grader"


def test_a_grader_is_asked_for_its_opinion_in_the_benchmarks_words(world):
    asked = []

    def grader(messages):
        asked.append(messages[-1]["content"])
        return "This is correct."

    with stands("map") as sites:
        suite = world(lite, "7", sites)
        suite.grader = grader
        suite.reset(1, limit=3)
        shown = suite.step('send_msg_to_user("Pittsburgh International Airport")')
        assert (shown.terminated, shown.score, shown.reason) == (True, 1.0, "")
    assert len(asked) == 1 and "pittsburgh international airport" in asked[0]


def test_a_login_that_fails_ends_the_attempt_before_it_begins(world):
    with stands("reddit") as sites:
        wrong = {"reddit": {"username": "MarvelsGrantMan136", "password": "wrong"}}
        suite = world(webarena, "27", sites, accounts=wrong, step_timeout=60)
        shown = suite.reset(1)
        assert shown.truncated and not shown.actions
        assert "could not begin" in shown.reason and "no login at reddit" in shown.reason
        assert "wrong'" not in shown.reason


def test_a_task_of_webarena_verified_says_how_to_answer_and_is_judged(world, interpreter):
    with stands("gitlab") as sites:
        gitlab = sites["gitlab"]
        gitlab.pages["/"] = "<a href='/dashboard/todos'>Todos</a>"
        gitlab.pages["/dashboard/todos"] = "<h1>Todos</h1>"
        suite = world(verified, "44", sites, interpreter=interpreter)
        shown = suite.reset(1, limit=5)
        assert shown.reader is not None and "retrieved_data" in shown.reader.guide
        assert "retrieved_data" not in shown.text  # which a prompt calls data
        assert "retrieved_data" not in shown.state["task"]
        suite.step('click(link("Todos"))')
        answer = {"task_type": "NAVIGATE", "status": "SUCCESS", "retrieved_data": None}
        shown = suite.step(f"send_msg_to_user({json.dumps(json.dumps(answer))})")
        assert (shown.terminated, shown.score, shown.reason) == (True, 1.0, "")
