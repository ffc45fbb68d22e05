"""The benchmarks' own files and evaluators, as they are installed."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest
from nltk.tokenize import NLTKWordTokenizer

from jitrl.errors import InvalidValue, WorldError
from jitrl.worlds.browser.arena.evaluators import load, tokenize
from jitrl.worlds.browser.arena.expressions import HELPERS, PREFIX, parse
from jitrl.worlds.browser.arena.lite import benchmark as lite
from jitrl.worlds.browser.arena.packages import PACKAGES
from jitrl.worlds.browser.arena.sites import ACCOUNTS, SITES
from jitrl.worlds.browser.arena.webarena import benchmark as webarena

SEVEN = {label: f"http://{label}.test:8080" for label in SITES}


def content(kind):
    package = PACKAGES[kind]
    return json.loads(package.path(package.tasks).read_bytes())


def test_webarena_has_its_812_tasks():
    every = webarena("0-811", sites=SEVEN)
    assert [task.name for task in every.tasks] == [f"webarena:{n}" for n in range(812)]
    sites = Counter(site for task in every.tasks for site in task.sites)
    assert sites == {
        "shopping": 192,
        "shopping_admin": 184,
        "gitlab": 204,
        "reddit": 129,
        "map": 128,
        "wikipedia": 23,
    }
    assert len({task.template for task in every.tasks}) == 190
    assert every.version["libwebarena"] == "0.0.4"
    assert len(every.version["tasks"]) == 64


def test_118_tasks_of_webarena_may_ask_a_grader():
    every = webarena("all", sites=SEVEN)
    assert sum(every.needs_grader(task.name) for task in every.tasks) == 118


def test_lite_is_the_real_split_under_the_original_numbers():
    every = lite("all", sites=SEVEN)
    numbers = [int(task.name.removeprefix("webarena-lite:")) for task in every.tasks]
    assert len(numbers) == 165 and numbers[:4] == [4, 7, 15, 20] and numbers[-1] == 811
    assert sum(every.needs_grader(task.name) for task in every.tasks) == 40
    assert [t.name for t in lite("0-15", sites=SEVEN).tasks] == [
        f"webarena-lite:{n}" for n in (4, 7, 15)
    ]
    with pytest.raises(InvalidValue, match="must name tasks"):
        lite("5", sites=SEVEN)


def test_lite_has_rules_of_its_own():
    whole, small = webarena("7", sites=SEVEN), lite("7", sites=SEVEN)
    assert not whole.needs_grader("webarena:7")
    assert small.needs_grader("webarena-lite:7")


@pytest.mark.parametrize("kind", PACKAGES)
def test_every_expression_of_every_task_is_read_without_evaluating_it(kind):
    expressions = [
        text
        for task in content(kind)
        for target in task["eval"]["program_html"] or ()
        for text in (target["url"], target["locator"])
        if text.startswith("func")
    ]
    assert len(expressions) == {"webarena": 97, "webarena-lite": 17}[kind]
    for expression in expressions:
        call = parse(expression)
        assert call.function in HELPERS and expression.startswith(PREFIX + call.function)


@pytest.mark.parametrize("kind", PACKAGES)
def test_every_task_is_filled_with_addresses(kind):
    every = {"webarena": webarena, "webarena-lite": lite}[kind]("all", sites=SEVEN)
    for task in every.tasks:
        _, arguments = every.entry(task.name)
        assert "__" not in arguments["config"]["start_url"]
        assert not any(f"__{label.upper()}__" in str(arguments["config"]) for label in SITES)


def test_only_the_sites_of_the_chosen_tasks_need_an_address(monkeypatch):
    for site in SITES:
        monkeypatch.delenv(f"WA_{site.upper()}", raising=False)
    monkeypatch.setenv("WA_MAP", SEVEN["map"])
    monkeypatch.setenv("WA_HOMEPAGE", SEVEN["homepage"])
    assert webarena("8").sites == {label: SEVEN[label] for label in ("map", "homepage")}
    with pytest.raises(WorldError, match=r"set WA_SHOPPING_ADMIN, WA_REDDIT, WA_GITLAB"):
        webarena("all", sites={label: SEVEN[label] for label in ("shopping", "wikipedia")})


def test_loading_the_evaluators_needs_no_key_and_imports_no_model_client(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = set(sys.modules)
    for kind in PACKAGES:
        assert load(kind, SEVEN, ACCOUNTS, lambda _: "").helpers.keys() == HELPERS.keys()
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not new & {"openai", "transformers", "torch", "tiktoken", "webarena", "browsergym"}


def test_an_expression_that_reaches_the_evaluators_themselves_is_refused(tmp_path):
    evaluators = load("webarena", SEVEN, ACCOUNTS, lambda _: "")
    rules = {"url": "func:print()", "locator": "", "required_contents": {"must_include": ["x"]}}
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"eval": {"eval_types": ["program_html"], "program_html": [rules]}}))

    class Page:
        url = "http://reddit.test/"

    page = evaluators.page(Page(), Page.url)
    with pytest.raises(WorldError, match="wanted to evaluate an expression"):
        evaluators.route(str(file))([{}, {"answer": ""}], str(file), page, None)


@pytest.mark.parametrize("kind", PACKAGES)
def test_words_of_a_single_sentence_are_nltks(kind):
    answers = []
    for task in content(kind):
        for value in (task["eval"]["reference_answers"] or {}).values():
            answers += value if isinstance(value, list) else [value]
    assert len(answers) > 100
    words = NLTKWordTokenizer()
    for answer in answers:
        if ". " not in answer and "? " not in answer and "! " not in answer:
            assert tokenize(answer.lower()) == words.tokenize(answer.lower())


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("6", 1),
        ("There are 6 reviews.", 1),
        ("It is 6. There were no others.", 0),  # the benchmark's own rule, with its data as well
        ("There were two kinds. In all 6.", 1),
        ("16", 0),
        ("6%", 1),
        ("(6)", 1),
        ("6/10", 0),
    ],
)
def test_a_digit_must_be_a_word_of_the_answer(tmp_path, answer, score):
    evaluators = load("webarena", SEVEN, ACCOUNTS, lambda _: "")
    file = tmp_path / "task.json"
    rules = {"eval_types": ["string_match"], "reference_answers": {"must_include": ["6"]}}
    file.write_text(json.dumps({"intent": "How many?", "eval": rules}))
    page = evaluators.page(object(), "")
    assert evaluators.route(str(file))([{}, {"answer": answer}], str(file), page, None) == score
