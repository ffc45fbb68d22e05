"""The content and the tasks of the pocket web, without its servers."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from jitrl.worlds.pocket.content import code, goods, land
from jitrl.worlds.pocket.tasks import FILE, TEMPLATES, tasks, written
from jitrl.worlds.pocket.tasks.table import table

KEYS = {
    "sites",
    "task_id",
    "require_login",
    "storage_state",
    "start_url",
    "geolocation",
    "intent_template",
    "instantiation_dict",
    "intent",
    "require_reset",
    "eval",
    "intent_template_id",
}
RULES = {
    "eval_types",
    "reference_answers",
    "reference_url",
    "program_html",
    "string_note",
    "reference_answer_raw_annotation",
    "url_note",
}


def test_the_task_file_is_what_the_content_makes_it() -> None:
    assert FILE.read_text(encoding="utf-8") == written()


def test_tasks_have_the_fields_of_webarena() -> None:
    for number, task in enumerate(json.loads(written())):
        assert set(task) == KEYS
        assert set(task["eval"]) <= RULES
        assert task["task_id"] == number
        assert task["start_url"] == f"__{task['sites'][0].upper()}__"


def test_tasks_are_many_of_every_kind_and_most_templates_have_several() -> None:
    kinds = Counter(kind for task in tasks() for kind in task["eval"]["eval_types"])
    sizes = Counter(task["intent_template_id"] for task in tasks())
    sites = Counter(site for task in tasks() for site in task["sites"])
    assert len(tasks()) >= 36
    assert min(kinds[kind] for kind in ("string_match", "url_match", "program_html")) >= 10
    assert sum(size >= 3 for size in sizes.values()) >= 8
    assert set(sites) == {"shopping", "shopping_admin", "wikipedia", "gitlab"}


def test_no_task_needs_an_outside_grader() -> None:
    for task in tasks():
        answers = task["eval"]["reference_answers"] or {}
        assert answers.get("fuzzy_match", "N/A") == "N/A"


def test_every_word_that_a_task_depends_on_is_quoted_in_it() -> None:
    for task in tasks():
        quoted = re.findall(r'"([^"]*)"', task["intent"])
        assert set(task["instantiation_dict"].values()) <= set(quoted)


def test_no_two_tasks_are_the_same() -> None:
    assert len({task["intent"] for task in tasks()}) == len(tasks())


@pytest.mark.parametrize(
    "names",
    [
        [product.name for product in goods.products()],
        [product.sku for product in goods.products()],
        [product.price for product in goods.products()],
        [product.address for product in goods.products()],
        [customer.email for customer in goods.customers()],
        [order.number for order in goods.orders()],
        [article.title for article in land.articles()],
        [repository.name for repository in code.repositories()],
        *[[issue.title for issue in each.issues] for each in code.repositories()],
    ],
)
def test_what_a_task_names_there_is_once(names: list[object]) -> None:
    assert len(set(names)) == len(names)


def test_answers_that_cannot_be_given_are_about_what_is_not_there() -> None:
    impossible = [
        task for task in tasks() if task["eval"].get("reference_answer_raw_annotation") == "N/A"
    ]
    assert len(impossible) >= 3
    known = {product.name for product in goods.products()}
    known |= {article.title for article in land.articles()}
    known |= {order.number for order in goods.orders()}
    for task in impossible:
        assert not known & set(task["instantiation_dict"].values())


def test_links_within_the_wiki_lead_to_articles() -> None:
    titles = {article.title for article in land.articles()}
    for article in land.articles():
        assert set(re.findall(r"\[\[(.*?)\]\]", article.text)) <= titles


def test_history_only_goes_forward() -> None:
    for article in land.articles():
        days = [edit.made for edit in article.edits]
        assert days == sorted(days)
    for repository in code.repositories():
        moments = [commit.made for commit in repository.commits]
        assert moments == sorted(moments)
    placed = [order.placed for order in goods.orders()]
    assert placed == sorted(placed)


def test_a_template_has_all_parameters_of_its_text() -> None:
    for template in TEMPLATES:
        wanted = set(re.findall(r"{{(\w+)}}", template.intent))
        assert all(set(values) == wanted for values in template.instances)


def test_the_documentation_shows_all_tasks() -> None:
    page = Path(__file__).parents[4] / "docs" / "pocket-web.md"
    assert page.read_text(encoding="utf-8").endswith(table())
