"""Task files in WebArena's format: read, chosen from, filled; and benchmarks made of them."""

from __future__ import annotations

import hashlib
import json
import pickle

import pytest
from arena_kit import page_content, task, written

from jitrl.errors import InvalidValue, UnknownName, WorldError
from jitrl.worlds.browser.address import outside
from jitrl.worlds.browser.arena import Account, Login, of_file
from jitrl.worlds.browser.arena.judging import answer_in
from jitrl.worlds.browser.arena.logins import Logins
from jitrl.worlds.browser.arena.task_files import choose, fill, needs_grader, read, sites_of

SITES = {"shop": "http://shop.test", "shop_admin": "http://shop.test/admin", "wiki": "http://w"}


def tasks(*numbers, **more):
    return {n: task(n, **more.get(f"t{n}", {})) for n in numbers}


@pytest.mark.parametrize(
    ("which", "numbers"),
    [
        ("all", (3, 5, 8, 9)),
        ("5", (5,)),
        ("0-8", (3, 5, 8)),
        ("9, 3-4,5", (3, 5, 9)),
        ("site:map,template:7,8", (3, 8, 9)),
        ("site:map", (8,)),
        ("template:7", (3, 8, 9)),
        ("some", (9, 5)[::-1]),
        ("some,3", (3, 5, 9)),
        ("all,-site:map", (3, 5, 9)),
        ("-5, all, -template:8", (3, 8, 9)),
        ("0-8,-some,-9", (3, 8)),
        ("graded", (9,)),
        ("odd", (3, 5, 9)),
        ("all,-odd", (8,)),
        ("all,-graded", (3, 5, 8)),
    ],
)
def test_tasks_are_chosen_in_the_files_order(which, numbers):
    changes = {
        "t8": {"sites": ["reddit", "map"]},
        "t5": {"intent_template_id": 8},
        "t9": {"eval": {"reference_answers": {"fuzzy_match": ["a"]}}},
    }
    assert choose(which, tasks(3, 5, 8, 9, **changes), {"some": (9, 5)}) == numbers


@pytest.mark.parametrize(
    "which",
    [
        *("", "4", "6-7", "8-10", "template:1", "5,,8", "5-", "x", "3.0", "graded"),
        *("all,-", "all,-4", "all,--5", "all,-graded", "- 5"),
    ],
)
def test_what_names_no_task_is_an_error(which):
    with pytest.raises(InvalidValue, match="must name tasks in 3-9"):
        choose(which, tasks(3, 5, 8, 9))


@pytest.mark.parametrize("which", ["site:mars", "all,-site:mars"])
def test_a_site_that_is_not_there_is_told_with_those_that_are(which):
    with pytest.raises(InvalidValue, match="must name one of the sites map, reddit, actual"):
        choose(which, tasks(3, 5, t5={"sites": ["map", "reddit"]}))


def test_a_range_that_goes_down_is_told_the_other_way_round():
    with pytest.raises(InvalidValue, match="must go up: 3-9"):
        choose("all,-9-3", tasks(3, 5, 8, 9))


@pytest.mark.parametrize(
    ("which", "twice"),
    [
        *(("5,5", 5), ("3-5,5", 5), ("5, 05", 5), ("3-8,5-9", "[58]"), ("all,all", "all")),
        *(("site:map,3,site:map", "site:map"), ("all,-5,-5", "-5")),
    ],
)
def test_a_task_that_is_named_twice_is_an_error(which, twice):
    changes = {"t8": {"sites": ["reddit", "map"]}}
    with pytest.raises(InvalidValue, match=f"must name each task once, not {twice} twice"):
        choose(which, tasks(3, 5, 8, 9, **changes))


@pytest.mark.parametrize(
    ("which", "why"),
    [
        ("-5", "must name tasks, and not only what is left out: all,-5"),
        ("-site:reddit,-3", "must name tasks, and not only what is left out: all,-site:reddit,-3"),
        ("5,-5", "must name more tasks than it leaves out"),
        ("all,-site:reddit", "must name more tasks than it leaves out"),
    ],
)
def test_what_leaves_no_task_is_an_error(which, why):
    with pytest.raises(InvalidValue, match=f"tasks {why}, actual value: '{which}'"):
        choose(which, tasks(3, 5, 8, 9))


def test_a_file_is_known_by_its_hash(tmp_path):
    path = written(tmp_path, task(0), task(1))
    file = read(path)
    assert list(file.tasks) == [0, 1]
    assert file.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "content",
    ["", "[", "{}", "[]", "[1]", '[{"task_id": 0}]', json.dumps([task(0), task(0)]), '[{"a": 1}]'],
)
def test_what_is_no_task_file_is_an_error(tmp_path, content):
    (tmp_path / "tasks.json").write_text(content)
    with pytest.raises(WorldError, match="no tasks can be read"):
        read(tmp_path / "tasks.json")
    with pytest.raises(WorldError, match="no tasks can be read"):
        read(tmp_path / "none.json")


def test_placeholders_are_filled_in_every_text_and_nowhere_else():
    config = task(
        0,
        start_url="__SHOP__/a |AND| __SHOP_ADMIN__",
        eval=page_content(("__WIKI__/p", "document.querySelector('__SHOP__')", "see __WIKI__")),
    )
    filled = fill(config, SITES)
    assert filled["start_url"] == "http://shop.test/a |AND| http://shop.test/admin"
    (target,) = filled["eval"]["program_html"]
    assert target["url"] == "http://w/p"
    assert target["required_contents"] == {"must_include": ["see http://w"]}
    assert config["start_url"].startswith("__SHOP__")
    assert filled["task_id"] == 0 and filled["require_login"] is False


def test_a_task_needs_the_sites_that_it_lists_and_those_that_it_refers_to():
    config = task(0, sites=["wiki"], start_url="__SHOP_ADMIN__")
    assert sites_of(config, tuple(SITES)) == ("shop_admin", "wiki")


@pytest.mark.parametrize(
    ("rules", "needed"),
    [
        ({}, False),
        ({"reference_answers": {"fuzzy_match": ["a"]}}, True),
        ({"reference_answers": {"fuzzy_match": "N/A"}}, True),
        (page_content(("last", "", "a")), False),
        (page_content(("last", "", {"fuzzy_match": ["a"]})), True),
        ({"reference_answers": None}, False),
    ],
)
def test_what_may_need_a_grader_is_known_before(rules, needed):
    assert needs_grader(task(0, eval=rules)) == needed


def benchmark(tmp_path, *listed, which="all", **options):
    return of_file(
        "pocket",
        which,
        written(tmp_path, *listed),
        logins={"shop": Login("/login", "Name", "Password", "Enter", "/me")},
        sites=SITES,
        accounts={"shop": Account("ann", "secret")},
        version={"pocket": "1"},
        **{"logins_folder": tmp_path / "logins", **options},
    )


def test_a_benchmark_is_made_of_any_file_in_the_format(tmp_path):
    found = benchmark(
        tmp_path,
        task(0, sites=["shop"], start_url="__SHOP__"),
        task(1, sites=["shop", "wiki"], start_url="__SHOP__", intent_template_id=9),
        evaluator_pause=0,
    )
    assert [t.name for t in found.tasks] == ["pocket:0", "pocket:1"]
    assert found.tasks[1].sites == ("shop", "wiki") and found.tasks[1].template == "9"
    assert found.sites == SITES
    assert (found.guarded, found.verdict, found.messages) == (True, "end", True)
    assert set(found.version) == {"pocket", "tasks", "evaluator pause"}
    assert "secret" not in repr(vars(found)) and found.context("pocket:0") == {}
    with pytest.raises(UnknownName):
        found.needs_grader("pocket:2")


@pytest.mark.parametrize("options", [{"evaluator_pause": -1}, {"settle": 1}, {"grades": 1}])
def test_an_option_that_cannot_be_is_named(tmp_path, options):
    with pytest.raises(InvalidValue, match=next(iter(options))):
        benchmark(tmp_path, task(0, sites=["shop"], start_url=""), **options)


def test_kept_logins_are_those_of_the_same_sites_users_and_addresses(tmp_path):
    ann, bob = Account("ann", "1"), Account("bob", "1")
    login = {"shop": Login("/login", "Name", "Password", "Enter", "/me")}

    def path(account, address, *sites):
        return Logins(tmp_path, {"shop": address, "wiki": "w"}, {"shop": account}, login).path(
            sites
        )

    one = path(ann, "http://a", "shop")
    assert one == path(Account("ann", "2"), "http://a", "wiki", "shop")
    assert len({one, path(bob, "http://a", "shop"), path(ann, "http://b", "shop")}) == 3
    assert one.name.startswith("shop-")


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([], None),
        ([("user", "goal")], None),
        ([("user", "goal"), ("assistant", "1) a, 2) b")], "1) a, 2) b"),
        ([("user", "goal"), ("infeasible", "there is none")], "N/A"),
        ([("assistant", "42"), ("user", "and?")], None),
        ([("user", "goal"), ("assistant", "")], ""),
    ],
)
def test_the_answer_is_the_last_message_and_the_agents(messages, answer):
    assert answer_in([{"role": role, "message": text} for role, text in messages]) == answer


@pytest.mark.parametrize(
    ("url", "is_outside"),
    [
        ("http://shop.test/a", False),
        ("about:blank", False),
        ("chrome://newtab/", False),
        ("http://shop.test.evil/", True),
        ("http://shop.test:81/", True),
        ("http://shop.test@evil/", True),
        ("https://example.com", True),
    ],
)
def test_a_page_on_no_site_is_outside(url, is_outside):
    assert outside(["http://w/", url], SITES) == (url if is_outside else None)


def test_accounts_survive_on_the_way_to_another_process_and_do_not_show():
    account = pickle.loads(pickle.dumps(Account("ann", "secret")))  # noqa: S301
    assert account.password == "secret" and "secret" not in repr(account)
