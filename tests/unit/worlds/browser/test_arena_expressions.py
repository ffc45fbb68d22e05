"""Expressions of task files: read, never evaluated; a URL is a value."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.errors import InvalidValue
from jitrl.worlds.browser.arena.expressions import HELPERS, Call, parse

ECHO = {name: partial(lambda *given: given, name) for name in HELPERS}


@pytest.mark.parametrize(
    ("expression", "call"),
    [
        ("func:shopping_get_latest_order_url()", Call("shopping_get_latest_order_url", ())),
        (
            "func:shopping_get_sku_latest_review_author('B00J8RZL7I')",
            Call("shopping_get_sku_latest_review_author", ("B00J8RZL7I",)),
        ),
        (
            'func:gitlab_get_project_memeber_role(__page__, "koush")',
            Call("gitlab_get_project_memeber_role", (None, "koush")),
        ),
    ],
)
def test_a_call_of_a_helper_is_read(expression, call):
    assert parse(expression) == call


@pytest.mark.parametrize(
    "expression",
    [
        "func:",
        "func:__import__('os').system('true')",
        "func:open('x')",
        "func:reddit_get_post_url",
        "func:reddit_get_post_url()",
        "func:reddit_get_post_url('a', 'b')",
        "func:reddit_get_post_url(__page__)",
        "func:reddit_get_post_url(url='a')",
        "func:reddit_get_post_url(*['a'])",
        "func:reddit_get_post_url('a' + 'b')",
        "func:reddit_get_post_url(open('x'))",
        "func:reddit_get_post_url(1)",
        "func:reddit_get_post_url(f'{a}')",
        "func:(lambda x: x)('a')",
        "func:a.reddit_get_post_url('a')",
        "func:reddit_get_post_url('a') or 1",
        "func:reddit_get_post_url('a');1",
        "func:gitlab_get_project_memeber_role('koush', __page__)",
        "func:" + "(" * 500,
        "func:\0",
    ],
)
def test_anything_else_is_refused(expression):
    with pytest.raises(InvalidValue, match="one call of a known helper"):
        parse(expression)


@given(st.text())
def test_the_url_reaches_the_helper_as_it_is(url):
    call = parse("func:reddit_get_post_url('__last_url__')")
    assert call.made(ECHO, None, url) == ("reddit_get_post_url", url)


def test_the_page_reaches_the_helper_as_it_is():
    page = object()
    call = parse("func:gitlab_get_project_memeber_role(__page__, 'a')")
    assert call.made(ECHO, page, "u")[1] is page
