from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from web_page_kit import button, field_, link, node, page, pages, recorded, row, select, text

from jitrl.worlds.browser.grammar import Grammar
from jitrl.worlds.browser.language import Action, Target, parse
from jitrl.worlds.browser.page import Page
from jitrl.worlds.browser.proposals import NOTHING, proposals
from jitrl.worlds.browser.slots import Slots

TASK = 'Enter the username "bob" and the password "x1" of Ann Lee'
tasks = st.sampled_from(["", TASK, 'Find order 000017 of "O\'Brien"', "half \ud800 of 'x\ud800'"])


def at(page: Page, task: str = TASK, messages: bool = True) -> Grammar:
    return Grammar(page, Slots(task), {"shop": "http://127.0.0.1:7770"}, messages)


@given(pages, tasks, st.booleans())
def test_each_can_be_executed_and_is_once_and_there_is_one_at_least(
    page: Page, task: str, messages: bool
) -> None:
    grammar = at(page, task, messages)
    found = proposals(grammar)
    assert found
    assert len(set(found)) == len(found)
    for action in found:
        assert grammar.executable(action)
        assert grammar.read(action) == action


@given(pages, tasks)
def test_none_holds_an_id(page: Page, task: str) -> None:
    for action in proposals(at(page, task)):
        for value in parse(action).arguments:
            assert not isinstance(value, Target) or (value.bid is None and value.role)


@given(pages)
def test_every_element_that_is_not_disabled_can_be_acted_upon(page: Page) -> None:
    grammar = at(page)
    calls = {grammar.call(action) for action in proposals(grammar)}
    for one in page.elements:
        if "disabled" not in one.states and one.role not in ("option", "combobox"):
            assert f"click('{one.bid}')" in calls


def test_fields_are_filled_with_each_parameter_and_sent_when_they_are_full() -> None:
    found = proposals(at(page(field_("Username"), field_("Search", "old")), messages=False))
    slots = [
        'task("the username _ and the")',
        'task("the password _ of *")',
        'task("* of _ $")',
    ]
    assert list(found) == [
        'click(textbox("Username"))',
        *(f'fill(textbox("Username"), {slot})' for slot in slots),
        'click(textbox("Search"))',
        *(f'fill(textbox("Search"), {slot})' for slot in slots),
        'press(textbox("Search"), "Enter")',
    ]


def test_proposals_are_the_same_for_another_task_of_the_template() -> None:
    one = page(field_("Username"), link("bob"), button("Go"))
    other = page(field_("Username"), link("zoe"), button("Go"))
    theirs = 'Enter the username "zoe" and the password "y2" of Eve Poe'
    assert proposals(at(one)) == proposals(at(other, theirs))


def test_a_menu_is_selected_from_and_a_list_may_be_clicked_too() -> None:
    menu = select("Size", "S", "M")
    assert list(proposals(at(page(menu), messages=False))) == [
        'select_option(combobox("Size"), "S")',
        'select_option(combobox("Size"), "M")',
    ]
    listed = node("listbox", "Size", node("option", "S"))
    assert set(proposals(at(page(listed), messages=False))) == {
        'select_option(listbox("Size"), "S")',
        'click(listbox("Size"))',
        'click(option("S"))',
    }


def test_a_field_with_suggestions_is_still_a_field() -> None:
    box = node("combobox", "City", node("option", "Rome"), editable="plaintext", value="R")
    found = proposals(at(page(box), task='Go to "Rome"', messages=False))
    assert {
        'click(combobox("City"))',
        'fill(combobox("City"), task("go to _ $"))',
        'click(option(task("go to _ $")))',
    } <= set(found)


def test_nothing_that_is_disabled_is_proposed() -> None:
    one = page(
        button("Go", disabled=True), node("listbox", "L", node("option", "a", disabled=True))
    )
    assert proposals(at(one, messages=False)) == {'click(listbox("L"))': 1.0}


def test_there_is_something_to_do_on_an_empty_page() -> None:
    assert proposals(at(page(), messages=False)) == {NOTHING: 1.0}
    assert proposals(at(page(text("Sorry")), messages=False)) == {NOTHING: 1.0}


def test_answers_are_what_stands_beside_labels() -> None:
    one = page(row("Price", "$5"), row("Size", "XL"))
    answers = [a for a in proposals(at(one)) if a.startswith("send_msg_to_user")]
    assert answers[:2] == [
        'send_msg_to_user(beside("Price"))',
        'send_msg_to_user(beside("Size"))',
    ]
    assert not any(a.startswith("send_msg") for a in proposals(at(one, messages=False)))


def test_the_real_form_can_be_solved_by_what_is_proposed() -> None:
    grammar = at(recorded()["login-user"], messages=False)
    calls = [grammar.call(action) for action in proposals(grammar)]
    fields = [n.bid for n in grammar.page.elements if n.editable]
    assert f"fill('{fields[0]}', 'bob')" in calls
    assert f"fill('{fields[1]}', 'x1')" in calls
    assert parse(list(proposals(grammar))[-1]) == parse('click(button("Login"))')


def test_an_action_weighs_by_the_words_it_shares_with_the_task() -> None:
    one = page(
        row("Price", "$5"),
        row("Weight", "2 kg"),
        link("Blue Mug"),
        link("Red Cup"),
        field_("Search", "Blue Mug"),
    )
    found = proposals(at(one, 'What is the "Price" of "Blue Mug"?'))
    assert found['click(link(task("* of _ $")))'] == 9.0  # two words of the task
    assert found['click(link("Red Cup"))'] == 1.0
    assert found['send_msg_to_user(beside(task("is the _ of *")))'] == 4.0
    assert found['send_msg_to_user(beside("Weight"))'] == 1.0
    assert found['press(textbox("Search"), "Enter")'] == 9.0
    assert not any(action.startswith("fill") and "of _ $" in action for action in found)


def test_what_was_done_and_what_did_nothing_weigh_less() -> None:
    grammar = at(page(button("One"), button("Two"), button("Three")), "", messages=False)
    actions = [f'click(button("{name}"))' for name in ("One", "Two", "Three")]
    found = proposals(grammar, done=actions[:2], idle=actions[:1])
    assert list(found.values()) == [0.1, 1 / 3, 1.0]


def test_a_label_that_the_task_names_is_a_slot() -> None:
    first = at(page(row("Price", "$5")), 'What is the "Price" of "Mug"?')
    other = at(page(row("Size", "XL")), 'What is the "Size" of "Hat"?')
    action = first.read('send_msg_to_user("$5")')
    assert action == 'send_msg_to_user(beside(task("is the _ of *")))'
    assert other.call(action) == "send_msg_to_user('XL')"


def test_nothing_is_an_action() -> None:
    assert parse(NOTHING) == Action("noop")
