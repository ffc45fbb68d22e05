from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from web_page_kit import button, field_, link, node, page, pages, recorded, row, text

from jitrl.worlds.browser.page import Page
from jitrl.worlds.browser.text import shown

_ID = re.compile(r"^\s*\[([^\]]+)\] (\w+)", re.MULTILINE)


@given(pages, st.integers(16, 200))
def test_a_page_never_takes_more_than_its_budget(page: Page, tokens: int) -> None:
    told = shown(page, tokens)
    assert len(told) <= 4 * tokens
    assert "\r" not in told and len(told.splitlines()) == len(told.split("\n") if told else [])


@given(pages, st.integers(16, 2_000))
def test_ids_are_those_of_the_elements_they_stand_at(page: Page, tokens: int) -> None:
    elements = {one.bid: one.role for one in page.by_bid.values()}
    lines = [line for line in shown(page, tokens).split("\n") if line.lstrip().startswith("[")]
    told = [found.groups() for line in lines if (found := _ID.match(line))]
    own = [(bid, role) for bid, role in told if bid in elements]
    assert all(elements[bid] == role for bid, role in own)
    assert len(own) == len(set(own))


@given(pages)
def test_with_room_enough_every_element_is_shown(page: Page) -> None:
    told = shown(page, 100_000)
    shown_ids = {bid for bid, _ in _ID.findall(told)}
    assert {one.bid for one in page.elements} <= shown_ids
    assert "more lines" not in told


@given(pages, st.integers(16, 300))
def test_the_last_line_says_what_is_left_out(page: Page, tokens: int) -> None:
    whole, told = shown(page, 100_000).split("\n"), shown(page, tokens).split("\n")
    left_out = re.fullmatch(r"\((\d+) more lines: scroll to see them\)", told[-1])
    if left_out:
        assert int(left_out[1]) == len(whole) - (len(told) - 1) > 0
    else:
        assert len(told) == len(whole)


def test_a_page_reads_like_this() -> None:
    one = page(
        node("heading", "Orders", text("Orders")),
        node("form", "Find", field_("Name", "Ann"), button("Go", disabled=True)),
        node("table", "", row("17", link("Edit"))),
        node("paragraph", "", text("Nothing else.")),
        text("Colour"),
        node("checkbox", "", checked=True),
    )
    assert shown(one, 1_000).split("\n") == [
        '[1] heading "Orders"',
        '[2] form "Find"',
        '  [3] textbox "Name" value="Ann"',
        '  [4] button "Go" disabled',
        '  [6] row "17 Edit"',
        '    [7] cell "17"',
        '    [8] cell "Edit"',
        '      [9] link "Edit"',
        "Nothing else.",
        "Colour",
        '[11] checkbox ("Colour") checked',
    ]


def test_what_can_be_clicked_in_the_window_is_kept_before_text() -> None:
    words = [text(f"word {i} " * 20) for i in range(100)]
    far = [link(f"far {i}", visible=False) for i in range(100)]
    near = [link(f"near {i}") for i in range(10)]
    told = shown(page(*words, *far, *near), 200)
    assert all(f'link "near {i}"' in told for i in range(10))
    assert "word" not in told and "far" not in told
    assert told.endswith("(200 more lines: scroll to see them)")


def test_text_outside_the_window_goes_first() -> None:
    hidden = node("paragraph", "", text("hidden " * 40), visible=False)
    seen = node("paragraph", "", text("seen " * 40))
    told = shown(page(*[hidden] * 9, seen, link("far", visible=False)), 150)
    assert "hidden" not in told and 'link "far"' in told and "seen seen" in told


def test_a_long_text_is_whole_where_there_is_room() -> None:
    long = " ".join(f"word{i}" for i in range(200))
    assert long in shown(page(text(long)), 4_000)
    assert "word20 " in shown(page(text(long)), 100)


def test_the_real_page_shows_its_task_controls() -> None:
    assert re.fullmatch(
        r'\s*\[\d+\] button "ONE"\n\s*\[\d+\] button "TWO"',
        "\n".join(
            line for line in shown(recorded()["click-test-2"], 500).split("\n") if "button" in line
        ),
    )
