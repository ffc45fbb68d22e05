"""The verdict: the benchmark's own, on what the agent left, and what can go wrong in it."""

from __future__ import annotations

from functools import partial

import pytest
from arena_kit import page_content, task

from jitrl.errors import JitrlError, WorldError
from jitrl.worlds.browser.arena.evaluators import load
from jitrl.worlds.browser.arena.judging import Judge


def said(text, role="assistant"):
    return [{"role": "user", "message": "goal"}, {"role": role, "message": text}]


def verdict(task, page, messages=()):
    score, done, _, _ = task.validate(page, list(messages))
    assert done
    return score


@pytest.mark.parametrize(
    ("answer", "score"), [("42", 1), ("'42'", 1), (" 42 ", 1), ("43", 0), ("", 0)]
)
def test_an_answer_is_judged_by_the_benchmarks_rule(arena, play, page, answer, score):
    assert verdict(play(arena(task(0)), "stand:0"), page, said(answer)) == score


def test_an_attempt_without_an_answer_is_no_success(arena, play, page):
    started = play(arena(task(0)), "stand:0")
    assert verdict(started, page) == 0
    assert verdict(started, page, [*said("42"), {"role": "user", "message": "and?"}]) == 0


def test_a_list_as_answer_reaches_the_evaluator_whole(arena, play, page):
    wanted = {"must_include": ["Impulse Duffle", "Overnight Duffle", "Yoga Short"]}
    started = play(arena(task(0, eval={"reference_answers": wanted})), "stand:0")
    answer = "1) Impulse Duffle, 2) Overnight Duffle,\n3) Yoga Short"
    assert verdict(started, page, said(answer)) == 1
    assert verdict(started, page, said("1) Impulse Duffle, 2) Overnight Duffle")) == 0


def test_a_task_reported_as_infeasible_is_answered_with_not_available(arena, play, page):
    rules = {"reference_answers": {"fuzzy_match": "N/A"}, "string_note": "no such thing"}
    started = play(arena(task(0, eval=rules)), "stand:0")
    assert verdict(started, page, said("there is none", "infeasible")) == 1


@pytest.mark.parametrize("kind", ["webarena", "webarena-lite"])
@pytest.mark.parametrize("broken", [False, True])
def test_both_benchmarks_evaluators_leave_the_agents_page_alone(page, reddit, kind, broken):
    """WebArena-Lite's own visits the target in the page that it is given."""
    reddit.pages |= {"/mine": "<p>mine</p>", "/about": "<p>us</p>"}
    last = ("last", "no locator" if broken else "", "mine")
    targets = page_content((f"{reddit.address}/about", "", "us"), last)
    judge = Judge(partial(load, kind, {}, {}, sleep=lambda _: None), lambda: None)
    page.goto(reddit.address + "/mine")
    if broken:
        with pytest.raises(WorldError, match="Unknown locator"):
            judge.verdict(task(0, eval=targets), page, None)
    else:
        assert judge.verdict(task(0, eval=targets), page, None) == 1
    assert page.url == reddit.address + "/mine" and page.context.pages == [page]
    assert reddit.visited[-1] == "/about"


def test_lites_page_content_may_need_a_grader(page, reddit):
    wanted = page_content(("last", "document.title", {"fuzzy_match": ["the start"]}))
    graders = [None]
    judge = Judge(partial(load, "webarena-lite", {}, {}), lambda: graders[0])
    page.goto(reddit.address)
    with pytest.raises(WorldError, match="needs a grader"):
        judge.verdict(task(0, eval=wanted), page, None)
    graders[0] = lambda messages: "correct" if "reddit" in messages[-1]["content"] else "incorrect"
    assert judge.verdict(task(0, eval=wanted), page, None) == 1


@pytest.mark.parametrize("end", ["/f/books/12", "/f/books/12/a-title"])
def test_the_agents_page_stays_where_it_is_and_no_tab_is_left(arena, play, page, reddit, end):
    reddit.pages |= {end: "<p>mine</p>", "/f/books/12/": "<p>the post</p>", "/about": "<p>us</p>"}
    rules = page_content(
        ("func:reddit_get_post_url('__last_url__')", "", "the post"),
        ("__REDDIT__/about", "document.querySelector('p').outerText", {"exact_match": "us"}),
        ("last", "", "mine"),
    )
    started = play(arena(task(0, eval=rules)), "stand:0")
    page.goto(reddit.address + end)
    assert verdict(started, page) == 1
    assert page.url == reddit.address + end
    assert page.context.pages == [page]
    assert reddit.visited[-2:] == ["/f/books/12/", "/about"]


def test_a_wrong_page_fails(arena, play, page, reddit):
    rules = page_content(("last", "document.querySelector('h1').outerText", "something else"))
    assert verdict(play(arena(task(0, eval=rules)), "stand:0"), page) == 0


def test_the_url_where_the_agent_ended_is_judged(arena, play, page, reddit):
    rules = {"eval_types": ["url_match"], "reference_url": "__REDDIT__/there?sort=new"}
    reddit.pages["/there"] = "<p>there</p>"
    started = play(arena(task(0, eval=rules)), "stand:0")
    assert verdict(started, page) == 0
    page.goto(reddit.address + "/there?sort=new&x=1")
    assert verdict(started, page) == 1


@pytest.mark.parametrize(
    "target",
    [
        ("http://127.0.0.1:1/", "", "never"),
        ("last", "jquery('p')", "unknown locator"),
        ("last", "", {"unknown_rule": ["x"]}),
        ("func:shopping_get_latest_order_url()", "", "the shop has no address"),
        ("func:__import__('os').getcwd()", "", "no helper"),
    ],
)
def test_an_exception_of_the_evaluator_is_no_success_and_leaves_no_tab(
    arena, play, page, reddit, target
):
    right = ("__REDDIT__/", "", "Welcome")
    started = play(arena(task(0, eval=page_content(right, target))), "stand:0")
    with pytest.raises(JitrlError, match=r"evaluator|known helper"):
        started.validate(page, [])
    assert page.context.pages == [page]


def test_a_failed_assertion_of_the_evaluator_has_its_reason(arena, play, page):
    rules = {"reference_answers": {"must_include": "no list"}}
    started = play(arena(task(0, eval=rules)), "stand:0")
    with pytest.raises(WorldError, match="evaluator failed: AssertionError"):
        started.validate(page, said("no list"))


def test_a_url_that_the_page_chose_is_never_evaluated(
    arena, play, page, reddit, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    attack = "/f/books/12/')+str(__import__('os').mkdir('evaluated'))+('"
    reddit.pages |= {attack: "<p>here</p>", "/f/books/12/": "<p>the post</p>"}
    rules = page_content(("func:reddit_get_post_url('__last_url__')", "", "the post"))
    started = play(arena(task(0, eval=rules)), "stand:0")
    page.goto(reddit.address + attack)
    assert page.url.endswith("+('")
    assert verdict(started, page) == 1
    assert not (tmp_path / "evaluated").exists()


def test_the_page_that_the_helper_reads_is_the_targets_own(arena, play, page, reddit):
    row = (
        "<table><td data-label=Account><span class=gl-avatar-labeled-sublabel>@koush</span></td>"
        "<td class=col-max-role><span>{role}</span></td></table>"
    )
    reddit.pages |= {
        "/mine": row.format(role="Guest"),
        "/members": row.format(role="Developer"),
    }
    helper = "func:gitlab_get_project_memeber_role(__page__, 'koush')"
    rules = page_content(
        ("__REDDIT__/members", helper, "Developer"), ("last", helper, {"exact_match": "Guest"})
    )
    started = play(arena(task(0, eval=rules)), "stand:0")
    page.goto(reddit.address + "/mine")
    assert verdict(started, page) == 1


def test_an_agent_that_left_the_sites_has_no_success(arena, play, page, reddit):
    started = play(arena(task(0)), "stand:0")
    page.context.new_page().goto(reddit.address.replace("127.0.0.1", "localhost"))
    score, done, _, info = started.validate(page, said("42"))
    assert (score, done) == (0.0, True)
    assert "left the sites" in info["error"]


FUZZY = {"reference_answers": {"must_include": ["Acadia"], "fuzzy_match": ["1h 23min"]}}
IMPOSSIBLE = {"reference_answers": {"fuzzy_match": "N/A"}, "string_note": "it is not sold"}


class TestGrader:
    def test_without_one_there_is_no_verdict_where_one_is_needed(self, arena, play, page):
        started = play(arena(task(0, eval=FUZZY)), "stand:0")
        with pytest.raises(WorldError, match="needs a grader: name one with --grader"):
            started.validate(page, said("Acadia, 83 minutes"))

    def test_without_one_what_other_rules_decide_is_decided(self, arena, play, page):
        started = play(arena(task(0, eval=FUZZY)), "stand:0")
        assert verdict(started, page, said("Yosemite, 83 minutes")) == 0
        started = play(arena(task(0, eval=IMPOSSIBLE)), "stand:0")
        assert verdict(started, page, said("N/A")) == 1

    @pytest.mark.parametrize(
        ("reply", "score"), [("Correct.", 1), ("incorrect", 0), ("partially correct", 0)]
    )
    def test_its_reply_is_read_by_the_benchmarks_rule(self, arena, play, page, reply, score):
        asked = []

        def grader(messages):
            asked.append(messages)
            return reply

        started = play(arena(task(0, eval=FUZZY), grader=grader), "stand:0")
        assert verdict(started, page, said("Acadia, 83 minutes")) == score
        (messages,) = asked
        assert "1h 23min" in messages[-1]["content"]
        assert "acadia, 83 minutes" in messages[-1]["content"]

    def test_it_is_not_asked_where_the_benchmark_has_an_exact_rule(self, arena, play, page, reddit):
        asked = []
        rules = page_content(("last", "", "Welcome"))
        both = {**rules, "eval_types": ["string_match", "program_html"]}
        both["reference_answers"] = {"must_include": ["42"], "exact_match": "42"}
        started = play(arena(task(0, eval=both), grader=asked.append), "stand:0")
        assert verdict(started, page, said("42")) == 1
        assert verdict(started, page, said("forty-two")) == 0
        assert verdict(started, page) == 0
        assert asked == []

    @pytest.mark.parametrize(("reply", "score"), [("same", 1), ("different", 0)])
    def test_it_judges_the_reason_why_a_task_is_impossible(self, arena, play, page, reply, score):
        started = play(arena(task(0, eval=IMPOSSIBLE), grader=lambda _: reply), "stand:0")
        assert verdict(started, page, said("the shop does not sell it")) == score

    def test_a_reply_that_is_no_grade_is_no_verdict(self, arena, play, page):
        started = play(arena(task(0, eval=FUZZY), grader=lambda _: "hm"), "stand:0")
        with pytest.raises(WorldError, match="evaluator failed: AssertionError"):
            started.validate(page, said("Acadia, 83 minutes"))
