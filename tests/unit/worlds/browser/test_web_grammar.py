from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_page_kit import (
    NAMES,
    Given,
    button,
    field_,
    link,
    node,
    page,
    pages,
    recorded,
    row,
    select,
    text,
)

from jitrl.errors import InvalidValue
from jitrl.worlds.browser.grammar import Grammar
from jitrl.worlds.browser.language import ACTIONS, Lookup, Target, Text, Value, parse
from jitrl.worlds.browser.page import Page
from jitrl.worlds.browser.slots import Slots

SITES = {"shop": "http://127.0.0.1:7770", "wiki": "http://127.0.0.1:8888/"}
TASK = 'Edit order "Order 000017" of Ann Lee: set the name to "bob, (jr.)"'
TABS = ("http://127.0.0.1:7770/", "http://127.0.0.1:8888/")


def at(*given: Given, task: str = TASK, messages: bool = True) -> Grammar:
    return Grammar(page(*given, tabs=TABS), Slots(task), SITES, messages)


def on(page: Page, task: str = TASK) -> Grammar:
    return Grammar(page, Slots(task), SITES)


def refused(grammar: Grammar, written: str, why: str = "") -> None:
    with pytest.raises(InvalidValue, match=re.escape(why)):
        grammar.read(written)


def literals(value: Value) -> list[str]:
    """What is remembered as it is, of a value: no keys of lookups."""
    if isinstance(value, Text):
        return [part for part in value.parts if isinstance(part, str)]
    if isinstance(value, list):
        return [told for one in value for told in literals(one)]
    if isinstance(value, Target):
        assert value.bid is None
        inner = [] if value.within is None else literals(value.within)
        return literals(value.name) + inner
    return []


def contents(action: str) -> list[str]:
    return [told for value in parse(action).arguments for told in literals(value)]


# What is read on a page is executed on it.


@given(pages, st.sampled_from(["click", "hover", "focus", "dblclick"]))
def test_what_is_read_with_an_id_is_executed_with_that_id(page: Page, name: str) -> None:
    grammar = on(page)
    for one in page.elements:
        if "disabled" in one.states:
            refused(grammar, f"{name}('{one.bid}')", "is disabled")
        else:
            action = grammar.read(f"{name}('{one.bid}')")
            assert grammar.call(action) == f"{name}('{one.bid}')"
            assert grammar.executable(action)
            assert grammar.read(action) == action


@given(pages)
def test_an_element_named_in_full_is_remembered_as_one_named_by_its_id(page: Page) -> None:
    grammar, told = on(page), on(page, "no parameter of this task is a name of the page")
    for one in page.elements:
        if "disabled" not in one.states:
            in_full = told.read(f"click('{one.bid}')")
            assert grammar.read(in_full) == grammar.read(f"click('{one.bid}')")


def test_a_name_that_is_a_parameter_carries_over_also_where_it_was_written_in_full() -> None:
    here, there = at(button("Ann Lee"), task='Tell "Ann Lee".'), 'Tell "Bob Roe".'
    action = here.read('click(button("Ann Lee"))')
    assert at(button("Bob Roe"), task=there).executable(action)
    assert not at(button("Ann Lee"), task=there).executable(action)


@given(pages)
def test_what_is_remembered_holds_no_id_and_no_parameter(page: Page) -> None:
    grammar = on(page)
    parameters = grammar.slots.parameters
    assert parameters == ("Order 000017", "Ann Lee", "bob, (jr.)")
    for one in page.elements:
        if "disabled" not in one.states:
            for told in contents(grammar.read(f'click("{one.bid}")')):
                assert not any(value in told for value in parameters)


typed = st.one_of(st.text(max_size=30), st.text(st.sampled_from(",'\"[]()\\\n 1a"), max_size=9))


@given(pages, typed)
def test_any_typed_text_arrives_as_it_is(page: Page, value: str) -> None:
    grammar = on(page)
    for one in page.elements:
        if one.editable and "disabled" not in one.states:
            written = f"fill({one.bid!r}, {value!r})"
            try:
                action = grammar.read(written)
            except InvalidValue:
                assert any("\ud800" <= letter <= "\udfff" for letter in value)
                continue
            assert grammar.call(action) == written


@given(st.text(st.sampled_from("click(\"'1)a,row=within _nth +task.\n"), max_size=40))
def test_no_text_breaks_the_reader(written: str) -> None:
    grammar = on(recorded()["login-user"])
    try:
        action = grammar.read(written)
    except InvalidValue:
        assert not grammar.executable(written)
        return
    assert grammar.executable(action)


@pytest.mark.parametrize("name", [name for name in NAMES if name])
def test_a_label_with_quotes_or_brackets_is_found_again(name: str) -> None:
    grammar = at(button(name), field_(name + "?"))
    assert grammar.call(grammar.read('click("1")')) == "click('1')"
    action = grammar.read("fill('2', 'a, \"b\" [c] (d)\\n\\\\')")
    assert grammar.call(action) == "fill('2', 'a, \"b\" [c] (d)\\n\\\\')"


def test_every_action_of_browsergym_is_passed_on_with_its_arguments() -> None:
    grammar = at(button("Go"), field_("Name"), select("Size", "S", "M"))
    written = [
        "noop()",
        "noop(wait_ms=500)",
        "send_msg_to_user('it is 42, \"I\\'d say\"')",
        "report_infeasible('no')",
        "scroll(0, -200.5)",
        "fill('2', 'a\\nb', enable_autocomplete_menu=True)",
        "check('1')",
        "uncheck('1')",
        "select_option('3', 'M')",
        "select_option('3', ['M', 'S'])",
        "click('1', button='right', modifiers=['Shift'])",
        "dblclick('1')",
        "hover('1')",
        "press('2', 'Control+a')",
        "focus('2')",
        "clear('2')",
        "drag_and_drop('1', '2')",
        "scroll_at(1, 2, 3, 4)",
        "mouse_move(65.2, 158.5)",
        "mouse_up(1, 2, button='middle')",
        "mouse_down(1, 2)",
        "mouse_click(1, 2)",
        "mouse_dblclick(1, 2)",
        "mouse_drag_and_drop(1, 2, 3, 4)",
        "keyboard_down('Shift')",
        "keyboard_up('Shift')",
        "keyboard_press('Enter')",
        "keyboard_type('x')",
        "keyboard_insert_text('x')",
        "go_back()",
        "go_forward()",
        "goto('http://127.0.0.1:7770/cart?a=1#b')",
        "new_tab()",
        "tab_close()",
        "tab_focus(1)",
    ]
    for one in written:
        assert grammar.call(grammar.read(one)) == one
    names = {one.partition("(")[0] for one in written}
    assert names == set(ACTIONS) - {"upload_file", "mouse_upload_file"}
    assert all(f"\n{name}(" in grammar.guide for name in names)


# On another page it is the same element, or none.

LABELS = ["Edit", "Delete", "it's", "a) [1]"]
rows = st.lists(
    st.tuples(st.integers(1, 9).map(str), st.lists(st.sampled_from(LABELS), max_size=3)),
    min_size=1,
    max_size=5,
)


def table(told: list[tuple[str, list[str]]]) -> Page:
    """Rows of links; the id of a link says in which row it is, and what it is called."""
    made = []
    for number, (head, labels) in enumerate(told):
        links = [link(one, bid=f"{number}.{i}.{head}.{one}") for i, one in enumerate(labels)]
        made.append(row(head, *links))
    return page(*made)


def which(bid: str) -> tuple[str, str]:
    head, _, label = bid.split(".", 1)[1].partition(".")[2].partition(".")
    return head, label


@given(rows, rows, st.randoms(use_true_random=False))
def test_on_another_page_a_name_means_what_it_meant_or_nothing(
    mine: list[tuple[str, list[str]]], added: list[tuple[str, list[str]]], random: random.Random
) -> None:
    here, shuffled = table(mine), [*mine, *added]
    random.shuffle(shuffled)
    there = table(shuffled)
    for one in here.elements:
        action = on(here).read(f"click({one.bid!r})")
        target = parse(action).arguments[0]
        assert isinstance(target, Target)
        if target.nth is None and on(there).executable(action):
            found = which(parse(on(there).call(action)).arguments[0].bid)  # type: ignore[arg-type, union-attr]
            assert found[1] == which(one.bid)[1]
            if target.within is not None:
                assert found == which(one.bid)


def test_the_first_of_several_alike_is_never_taken_for_the_one_that_was_meant() -> None:
    one = at(row("17", link("Edit")), row("18", link("View")))
    action = one.read('click("4")')
    assert action == 'click(link("Edit"))'
    assert not at(row("16", link("Edit")), row("17", link("Edit"))).executable(action)
    assert not at(link("Change"), button("Edit")).executable(action)


def test_a_row_is_found_again_wherever_it_stands() -> None:
    edit = [row("16", link("Edit")), row("Order 000017", link("Edit")), row("18", link("Edit"))]
    here = at(*edit, task='Edit "Order 000017" now')
    action = here.read('click("8")')
    assert action == 'click(link("Edit", within=row(task("edit _ now"))))'
    there = at(*reversed(edit), link("Edit"), task='Edit "16" now')
    assert there.call(action) == "click('12')"
    assert not at(*edit, task='Edit "19" now').executable(action)
    assert not at(*edit, row("16", link("Edit")), task='Edit "16" now').executable(action)


def test_unlabelled_fields_are_told_apart_by_the_text_before_them() -> None:
    here = recorded()["login-user"]
    grammar = on(here, 'Enter the username "bob" and the password "x1"')
    name, password = (one.bid for one in here.elements if one.editable)
    action = grammar.read(f"fill({password!r}, 'x1')")
    assert action == 'fill(textbox("Password"), task("the password _ $"))'
    other = on(here, 'Enter the username "zoe" and the password "y2"')
    assert other.call(action) == f"fill({password!r}, 'y2')"
    assert other.call(grammar.read(f"fill({name!r}, 'bob')")) == f"fill({name!r}, 'zoe')"


def test_a_field_in_parts_is_filled_as_a_whole() -> None:
    """The parts of a date have its id; to Chromium its button is another of them."""
    parts = [node("spinbutton", "Month", bid="1"), button("Show date picker", bid="1")]
    here = at(node("Date", "Due", *parts, bid="1"))
    assert here.read('fill("1", "2016-11-21")') == 'fill(Date("Due"), "2016-11-21")'
    assert here.call('fill(Date("Due"), "2016-11-21")') == "fill('1', '2016-11-21')"


def test_elements_in_frames_are_named_like_others() -> None:
    inner = node("RootWebArea", "inner", button("Pay"), bid="")
    grammar = at(button("Go"), node("Iframe", "", inner, frame="a"))
    action = grammar.read('click("a3")')
    assert action == 'click(button("Pay"))'
    assert grammar.call(action) == "click('a3')"


# What cannot be, is refused.


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('click("99")', "names no element of this page: 99"),
        ('click("[1]")', "names no element of this page"),
        ('click(button("Stop"))', "names no single element here"),
        ('click(button("Edit"))', "names no single element here"),
        ('click(button("Edit", nth=3))', "names no single element here"),
        ('click(button("Go", within=row("9")))', "names no single element here"),
        ('click(button(task("no such _ words")))', "finds nothing here"),
        ('click("2")', "is disabled"),
        ('fill("1", "x")', "takes no text"),
        ('clear("6")', "takes no text"),
        ('fill("7", "x")', "takes no text"),
        ('select_option("6", "L")', "is no option: 'L'"),
        ('select_option("6", ["S", "L"])', "is no option: 'L'"),
        ('send_msg_to_user(beside("Price"))', "finds nothing here"),
        ('goto("javascript:alert(1)")', "http and https"),
        ('goto("JavaScript:alert(1)")', "http and https"),
        ('goto(" javascript:alert(1)")', "http and https"),
        ('goto("java\\nscript:alert(1)")', "http and https"),
        ('goto("file:///etc/passwd")', "http and https"),
        ('goto("data:text/html,x")', "http and https"),
        ('goto("view-source:http://127.0.0.1:7770/")', "http and https"),
        ('goto("chrome://settings")', "http and https"),
        ('goto("about:blank")', "http and https"),
        ('goto("/cart")', "http and https"),
        ('goto("")', "http and https"),
        ('goto("http://[bad")', "http and https"),
        ('goto(site("elsewhere"))', "finds nothing here"),
        ("tab_focus(2)", "has tabs 0 to 1 only"),
        ("tab_focus(-1)", "has tabs 0 to 1 only"),
        ("tab_focus(0.5)", "has tabs 0 to 1 only"),
        ("noop(20000)", "10000 ms"),
        ("noop(-1)", "10000 ms"),
        ('upload_file("1", "/etc/passwd")', "cannot be used here"),
        ('mouse_upload_file(1, 2, "/etc/passwd")', "cannot be used here"),
        ("I would click 1.", "must be one call"),
        ("The answer is 42", "must be one call"),
        ("", "must be one call"),
    ],
)
def test_what_cannot_be_done_here_is_refused_and_never_made_into_something_else(
    written: str, why: str
) -> None:
    grammar = at(
        button("Go"),
        button("Stop it", disabled=True),
        button("Edit"),
        button("Edit"),
        link("Help"),
        select("Size", "S", "M"),
        field_("Fixed", readonly=True),
    )
    refused(grammar, written, why)
    assert not grammar.executable(written)


def test_what_is_not_executable_is_so_without_an_error() -> None:
    grammar = at(button("Go"))
    for action in ('click("1")', 'click(link("Go"))', "nonsense", "", 'click(button("Go"'):
        assert grammar.executable(action) is False
    assert grammar.executable('click(button("Go"))') is True


def test_nothing_can_be_uploaded_and_messages_only_sent_to_a_reader() -> None:
    assert "upload" not in at(button("Go")).guide
    silent = at(button("Go"), messages=False)
    assert "send_msg_to_user" not in silent.guide
    refused(silent, 'send_msg_to_user("hi")', "cannot be used here")
    refused(silent, 'report_infeasible("no")', "cannot be used here")


def test_the_guide_says_what_form_an_answer_must_have() -> None:
    grammar = replace(at(button("Go")), note="Answer with one JSON object.")
    assert grammar.guide.endswith("\nAnswer with one JSON object.")


# What is said, and where one goes.


def test_messages_are_kept_with_their_content() -> None:
    grammar = at(text("x"))
    for told in ("42", "O'Brien, 1) a; 2) b", 'two\n"lines"', ""):
        action = grammar.read(f"send_msg_to_user({told!r})")
        assert contents(action) == [told]
    assert grammar.read('send_msg_to_user("1")') != grammar.read('send_msg_to_user("2")')


def test_an_answer_beside_a_label_is_remembered_as_that() -> None:
    here = at(row("Price", "$5"), row("Size", "XL"))
    action = here.read('send_msg_to_user("$5")')
    assert action == 'send_msg_to_user(beside("Price"))'
    assert at(row("Price", "$7, or so")).call(action) == "send_msg_to_user('$7, or so')"
    twice = at(row("Price", "$5"), row("Shipping", "$5"))
    assert twice.read('send_msg_to_user("$5")') == 'send_msg_to_user("$5")'


def test_an_address_is_remembered_by_its_site_and_the_task() -> None:
    grammar = at(task='Open the page of "bob" on http://127.0.0.1:9999/start today')
    action = grammar.read('goto("http://127.0.0.1:7770/users/bob?tab=1")')
    assert action == 'goto(site("shop") + "/users/" + task("page of _ on *") + "?tab=1")'
    other = Grammar(
        page(), Slots('Open the page of "zoe" on http://x/ today'), {"shop": "http://s"}
    )
    assert other.call(action) == "goto('http://s/users/zoe?tab=1')"
    action = grammar.read('goto("http://127.0.0.1:8888")')
    assert action == 'goto(site("wiki"))'
    assert not other.executable(action)
    action = grammar.read('goto("http://127.0.0.1:9999/start")')
    assert action == 'goto(task("* on _ today"))'
    assert other.call(action) == "goto('http://x/')"


def test_keys_are_keys_though_the_task_speaks_of_them() -> None:
    grammar = at(field_("Name"), task='Press "Enter" in the field')
    assert grammar.read('press("1", "Enter")') == 'press(textbox("Name"), "Enter")'
    assert grammar.read('keyboard_press("Enter")') == 'keyboard_press("Enter")'
    assert grammar.read('keyboard_type("Enter")') == 'keyboard_type(task("press _ in the"))'


def test_grammars_of_the_same_page_and_task_are_equal() -> None:
    one, same = at(button("Go")), at(button("Go", focused=True))
    assert one == same and hash(one) == hash(same)
    for other in (at(button("Stop")), at(button("Go"), task="x"), at(button("Go"), messages=False)):
        assert one != other
    assert one != "grammar"


def test_slots_are_found_in_names_of_options_and_enclosing_elements() -> None:
    here = at(select("Size of Ann Lee", "S", "Ann Lee"), task="Choose for Ann Lee today")
    action = here.read('select_option("1", "Ann Lee")')
    (target, option) = parse(action).arguments
    assert option == Text((Lookup("task", "choose for _ today"),))
    assert isinstance(target, Target) and target.name.parts[0] == "Size of "
    there = at(select("Size of Eve Poe", "Eve Poe"), task="Choose for Eve Poe today")
    assert there.call(action) == "select_option('1', 'Eve Poe')"


def test_only_files_of_the_folder_for_it_can_be_uploaded(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "a b.txt").write_text("x")
    (tmp_path / "secret").write_text("y")
    (folder / "link").symlink_to(tmp_path / "secret")
    shown = page(button("Choose file"))
    open_to = Grammar(shown, Slots(""), {}, uploads=folder)
    action = 'upload_file(button("Choose file"), "a b.txt")'
    bid = shown.elements[0].bid
    assert open_to.call(action) == f"upload_file({bid!r}, [{str(folder / 'a b.txt')!r}])"
    assert not Grammar(shown, Slots(""), {}).executable(action)
    for name in ("../secret", "link", str(tmp_path / "secret"), "missing", ""):
        other = action.replace("a b.txt", name)
        assert not open_to.executable(other), name
    assert "upload_file(" in open_to.guide
