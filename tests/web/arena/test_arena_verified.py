"""WebArena-Verified: what we record and its own command say the same as Playwright's own HAR file.

Its distribution has no example traces, so they are made here, of real tasks of it, in a browser.
"""

from __future__ import annotations

import json
import subprocess

import pytest
from arena_kit import stands

from jitrl.errors import InvalidValue, MissingExtra, WorldError
from jitrl.worlds.browser.arena.recording import har
from jitrl.worlds.browser.arena.sites import SITES
from jitrl.worlds.browser.arena.verified import Referee, benchmark

SEVEN = {label: f"http://{label}.test" for label in SITES}


def answer(kind, data=None, status="SUCCESS"):
    return json.dumps({"task_type": kind, "status": status, "retrieved_data": data})


def linked(site, path):
    site.pages |= {"/": f"<a href='{path}'>go</a>", path: "<h1>there</h1>"}
    return lambda page: page.get_by_role("link", name="go").click()


def posted(site, path, **fields):
    inputs = "".join(f"<input name='{name}' value='{value}'>" for name, value in fields.items())
    site.pages["/"] = f"<form method=post action='{path}'>{inputs}<button>Save</button></form>"
    site.pages[path + "/done"] = "<h1>done</h1>"
    return lambda page: page.get_by_role("button", name="Save").click()


def fetched(site, path, body, said, page_at="/"):
    site.json[path.partition("?")[0]] = said
    site.pages[page_at] = "<h1>here</h1>"
    script = """([path, body]) => fetch(path, {method: "POST",
        headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)})
        .then(answer => answer.json())"""

    def act(page):
        page.goto(site.address + page_at)
        page.evaluate(script, [path, body])

    return act


def todos(site):
    return linked(site, "/dashboard/todos")


def issues(site):
    return linked(site, "/dashboard/issues")


def biography(site):
    path = "/user/MarvelsGrantMan136/edit_biography"
    return posted(site, path, **{"user_biography[biography]": "I am a robot"})


def another_biography(site):
    path = "/user/MarvelsGrantMan136/edit_biography"
    return posted(site, path, **{"user_biography[biography]": "I am & remain, a person"})


def note(site):
    said = {"note": {"noteable_type": "MergeRequest", "note": "Thanks, working on reviews"}}
    path = "/primer/design/notes?target_id=139245&target_type=merge_request"
    return fetched(site, path, said, {})


def star(site):
    return fetched(site, "/umano/AndroidSlidingUpPanel/toggle_star.json", {}, {"star_count": 56})


def unstar(site):
    return fetched(site, "/umano/AndroidSlidingUpPanel/toggle_star.json", {}, {"star_count": 55})


def subscribe(site):
    post = "/f/space/69581/the-moon-saturn-and-jupiter-through-my-4-telescope-and"
    return fetched(site, "/f/space/subscribe.json", {}, {"subscribed": True}, page_at=post)


def wish(site):
    said = "%22Tide laundry detergent has been added to your wish list%22".replace(" ", "%20")
    site.cookies["/wishlist/index/add/"] = f"mage-messages={said}; Path=/"
    return posted(site, "/wishlist/index/add/", product="1")


def nothing(site):
    return lambda page: None


# task, site, what is done there, the answer, the score
TRACES = [
    (44, "gitlab", todos, answer("NAVIGATE"), 1),
    (44, "gitlab", issues, answer("NAVIGATE"), 0),
    (44, "gitlab", nothing, None, 0),
    (399, "reddit", biography, answer("MUTATE"), 1),
    (399, "reddit", another_biography, answer("MUTATE"), 0),
    (389, "gitlab", note, answer("MUTATE"), 1),
    (527, "gitlab", star, answer("MUTATE"), 1),
    (527, "gitlab", unstar, answer("MUTATE"), 0),
    (595, "reddit", subscribe, answer("MUTATE"), 1),
    (511, "shopping", wish, answer("MUTATE"), 1),
    (0, "shopping_admin", nothing, answer("RETRIEVE", ["Quest Lumaflex™ Band"]), 1),
    (0, "shopping_admin", nothing, "Quest Lumaflex™ Band", 0),
]


def by_its_command(interpreter, folder, number, said, address, label):
    """The score that its command gives to Playwright's own HAR file."""
    place = folder / str(number)
    place.joinpath("agent_response.json").write_text(said or "")
    config = folder / "config.json"
    config.write_text(json.dumps({"environments": {f"__{label.upper()}__": {"urls": [address]}}}))
    command = [interpreter, "-m", "webarena_verified", "eval-tasks", "--config", config]
    chosen = ["--output-dir", folder, "--task-ids", str(number)]
    subprocess.run([*command, *chosen], check=True, capture_output=True)
    verdict = json.loads(place.joinpath("eval_result.json").read_bytes())
    assert verdict["status"] in ("success", "failure")
    return verdict["score"]


@pytest.mark.parametrize(("number", "label", "doing", "said", "score"), TRACES)
def test_our_trace_and_playwrights_own_get_the_same_score(
    chromium, interpreter, tmp_path, number, label, doing, said, score
):
    theirs = tmp_path / "theirs" / str(number)
    theirs.mkdir(parents=True)
    with stands(label) as sites:
        site = sites[label]
        tasks = benchmark(
            str(number),
            sites={label: site.address},
            logins_folder=tmp_path / "logins",
            interpreter=interpreter,
            keep=tmp_path / "ours",
        )
        act = doing(site)
        context = chromium.new_context(**tasks.context(f"webarena-verified:{number}"))
        plain = theirs / "network.har"
        context.route_from_har(plain, update=True, update_content="embed", update_mode="full")
        page = context.new_page()
        kind, arguments = tasks.entry(f"webarena-verified:{number}")
        task = kind(seed=1, **arguments)
        _, info = task.setup(page)
        assert "retrieved_data" in info["note"]
        act(page)
        page.wait_for_load_state()
        messages = [] if said is None else [{"role": "assistant", "message": said}]
        ours, done, _, _ = task.validate(page, messages)
        assert done
    assert ours == score
    assert site.logged_in == 1
    assert site.account.password not in (tmp_path / f"ours/{number}/network.har").read_text()
    assert by_its_command(interpreter, theirs.parent, number, said, site.address, label) == ours
    if number == 0:  # what was kept can be judged again by its command
        kept = tmp_path / "ours"
        assert by_its_command(interpreter, kept, number, said, site.address, label) == ours


def test_it_has_812_tasks_of_which_258_are_hard(interpreter):
    every = benchmark("all", sites=SEVEN, interpreter=interpreter)
    assert len(every.tasks) == 812
    assert every.version["webarena-verified"] == "1.2.3"
    assert not any(every.needs_grader(task.name) for task in every.tasks)
    hard = benchmark("hard", sites=SEVEN, interpreter=interpreter)
    assert len(hard.tasks) == 258 and set(hard.tasks) < set(every.tasks)
    both = benchmark("hard,0", sites=SEVEN, interpreter=interpreter.parent.parent)
    assert len(both.tasks) == 259


def test_a_trace_that_it_cannot_judge_is_no_verdict(interpreter, tmp_path):
    referee = Referee(interpreter)
    with pytest.raises(WorldError, match="evaluator failed: Failed to evaluate task 44"):
        referee.score(44, SEVEN, answer("NAVIGATE"), {"log": {"entries": []}})


def test_without_its_environment_it_is_named_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.delenv("WEBARENA_VERIFIED", raising=False)
    for named in (None, tmp_path, tmp_path / "none"):
        with pytest.raises(MissingExtra, match="pip install webarena-verified=="):
            benchmark("0", sites=SEVEN, interpreter=named)


def test_an_option_that_it_does_not_have_is_named(interpreter):
    with pytest.raises(InvalidValue, match="grader is no option of webarena-verified"):
        benchmark("0", sites=SEVEN, interpreter=interpreter, grader=len)


def test_what_is_no_record_is_an_error(tmp_path):
    for content in (b"", b"PK\x05\x06" + bytes(18)):
        (tmp_path / "record.zip").write_bytes(content)
        with pytest.raises(WorldError, match="no record of a browser"):
            har(tmp_path / "record.zip")
