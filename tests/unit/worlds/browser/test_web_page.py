from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_page_kit import (
    URL,
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
    tree,
)

from jitrl.worlds.browser.page import Node, Page, pack, read_tree, tidy, unpack


def again(page: Page, one: Node) -> Node | None:
    """Find an element by what tells it from others."""
    outer, nth = page.distinguish(one)
    return page.find(one.role, one.name, outer and (outer.role, outer.title), nth)


def named(page: Page) -> list[tuple[str, str]]:
    return [(one.role, one.name) for one in page.elements]


@given(pages)
def test_every_element_is_found_again_by_its_name(page: Page) -> None:
    for one in page.by_bid.values():
        assert again(page, one) is one


@pytest.mark.parametrize("name", ["choose-list", "click-test-2", "login-user"])
def test_the_elements_of_a_real_page_are_found_again(name: str) -> None:
    page = recorded()[name]
    assert page.elements
    for one in page.by_bid.values():
        assert again(page, one) is one


def test_the_fields_of_a_real_form_are_named_by_the_labels_before_them() -> None:
    assert named(recorded()["login-user"]) == [
        ("textbox", "Username"),
        ("textbox", "Password"),
        ("button", "Login"),
    ]
    (menu, submit) = (n for n in recorded()["choose-list"].elements if n.role != "option")
    assert menu.options[:2] == ("Arielle", "Brunhilde") and submit.name == "Submit"


def test_elements_that_differ_only_in_their_place_are_counted() -> None:
    one = page(link("Edit"), node("generic", "", link("Edit"), link("Edit")))
    first, second, third = one.elements
    assert [one.distinguish(n) for n in (first, second, third)] == [(None, 1), (None, 2), (None, 3)]
    assert one.find("link", "Edit", None, None) is None
    assert one.find("link", "Edit", None, 4) is None


def test_an_enclosing_element_tells_elements_apart() -> None:
    one = page(
        node("table", "", row("17", link("Edit")), row("18", link("Edit"), link("Edit"))),
        node("form", "Search", link("Edit"), field_("")),
    )
    links = [n for n in one.elements if n.role == "link"]
    told = [
        (outer and (outer.role, outer.title), nth) for outer, nth in map(one.distinguish, links)
    ]
    assert told == [
        (("row", "17"), None),
        (("row", "18"), 1),
        (("row", "18"), 2),
        (("form", "Search"), None),
    ]


def test_rows_within_rows_enclose_what_is_in_both() -> None:
    inner = node("table", "", row("17", link("Edit")))
    one = page(node("table", "", node("row", "17", text("17"), link("Edit"), inner), link("Edit")))
    for found in one.elements:
        assert again(one, found) is found
    assert one.find("link", "Edit", ("row", "17"), None) is None
    nested = node("row", "17", text("17"), node("table", "", row("17", link("Edit"))))
    one = page(node("table", "", nested, link("Edit")))
    first = next(n for n in one.elements if n.role == "link")
    assert one.distinguish(first)[1] is None
    assert one.find("link", "Edit", ("row", "17"), None) is first


def test_an_element_without_a_name_is_called_by_what_is_in_it_or_before_it() -> None:
    one = page(
        node("generic", "", text("Tile"), clickable=True),
        node("paragraph", "", node("LabelText", "", text("Name:")), field_("")),
        text("Colour"),
        node("combobox", "", node("option", "red")),
        node("button"),
        field_(""),
    )
    assert [(n.role, n.name, n.labelled) for n in one.elements] == [
        ("generic", "Tile", False),
        ("textbox", "Name:", False),
        ("combobox", "Colour", False),
        ("option", "red", True),
        ("button", "", False),
        ("textbox", "", False),  # the text further up belongs to others
    ]


def test_the_value_of_a_field_is_never_the_label_of_the_next() -> None:
    one = page(text("From"), field_("", "Paris"), field_("", "Rome"))
    assert [n.name for n in one.elements] == ["From", ""]


def test_the_text_after_a_field_may_be_the_label_of_the_next() -> None:
    one = page(node("generic", "", text("From"), field_(""), text("To")), field_(""))
    assert [n.name for n in one.elements] == ["From", "To"]


def test_frames_are_part_of_the_page() -> None:
    frame = node("Iframe", "", node("RootWebArea", "inner", button("Go"), bid=""), frame="a")
    one = page(button("Go"), frame)
    assert [(n.bid, n.name) for n in one.elements] == [("1", "Go"), ("a3", "Go")]
    assert all(again(one, n) is n for n in one.elements)


def test_a_tree_with_loops_gaps_and_strays_is_read_as_far_as_it_goes() -> None:
    given, extra = tree(node("main", "", button("Go")), button("Stop"))
    by_name = {n["name"]["value"]: n for n in given["nodes"] if n["role"]["value"] == "button"}
    by_name["Go"]["childIds"] += [given["nodes"][1]["nodeId"], by_name["Go"]["nodeId"], "999"]
    by_name["Stop"]["childIds"] += [by_name["Go"]["nodeId"]]  # two parents
    given["nodes"].append({"nodeId": "77", "ignored": False, "role": {}, "childIds": ["78"]})
    given["nodes"].append({"nodeId": "88", "role": {"value": "button"}, "browsergym_id": "x1"})
    nodes = read_tree(given, extra)
    assert [n.name for n in nodes if n.role == "button"] == ["Go", "Stop", ""]
    round_only = {"nodes": [{"nodeId": "1", "role": {"value": "main"}, "childIds": ["1"]}]}
    assert [n.role for n in read_tree(round_only, {})] == ["main"]
    assert read_tree({"nodes": []}, {}) == ()


@pytest.mark.timeout(100)
@pytest.mark.parametrize(
    ("role", "more"),
    [
        ("generic", {"clickable": True}),
        ("row", {}),
        ("listitem", {"clickable": True}),
        ("form", {}),
    ],
)
def test_a_page_nested_five_thousand_deep_is_read_and_named(
    role: str, more: dict[str, bool]
) -> None:
    given = node("button", "Go")
    for depth in range(5_000):
        inner = (given, link("Go")) if depth % 9 == 0 else (given,)
        given = Given(role, "" if depth % 2 else "Go", inner, more)
    one = page(given)
    assert len(one.nodes) > 5_000
    for found in random.Random(3).sample(list(one.by_bid.values()), 300):
        assert again(one, found) is found
    assert len(unpack(pack(one.nodes))) == len(one.nodes)
    assert one.fingerprint == page(given).fingerprint
    assert len(repr(one.nodes[-1])) < 1_000


@pytest.mark.timeout(100)
def test_thousands_of_like_elements_are_each_found_again() -> None:
    one = page(*(node("row", "", text("x"), link("Edit"), field_("")) for _ in range(1_000)))
    assert all(again(one, n) is n for n in one.elements)


def test_roles_are_names_that_an_action_can_hold() -> None:
    one = page(*(node(role, "x") for role in ("doc-subtitle", "", "lambda", "task", "9 lives")))
    assert [n.role for n in one.nodes[1:]] == ["doc_subtitle", *["element"] * 4]


def test_names_are_one_line_without_halves_of_characters() -> None:
    one = page(node("button", " a\n\tb\ud800 "), node("link", "x" * 500), text("y" * 500))
    assert [n.name for n in one.nodes[1:]] == ["a b?", "x" * 160, "y" * 500]


@given(pages)
def test_packing_is_undone_by_unpacking(page: Page) -> None:
    rows = json.loads(json.dumps(pack(page.nodes)))
    nodes = unpack(rows)
    assert pack(nodes) == rows == pack(page.nodes)
    other = Page(page.url, page.title, page.tabs, page.tab, nodes)
    assert other.fingerprint == page.fingerprint
    assert [n.bid for n in other.elements] == [n.bid for n in page.elements]
    assert [n.options for n in nodes] == [n.options for n in page.nodes]


SAME = [
    page(field_("Name", "a"), button("Go"), text("told")),
    page(field_("Name", "a", focused=True), button("Go", focused=True), text("told")),
    page(field_("Name", "a", visible=False), button("Go", visible=False), text("told")),
    page(field_("Name", "a", bid="x7"), button("Go", bid="x9"), text("told")),
]
OTHER = [
    page(field_("Name", "b"), button("Go"), text("told")),
    page(field_("Name", ""), button("Go"), text("told")),
    page(field_("Name", "a"), button("Go", disabled=True), text("told")),
    page(field_("Name", "a"), button("Go", pressed="mixed"), text("told")),
    page(field_("Name", "a"), button("Go", expanded=False), text("told")),
    page(field_("Name", "a"), button("Go", expanded=True), text("told")),
    page(field_("Name", "a"), button("Gone"), text("told")),
    page(field_("Name", "a"), button("Go"), text("toled")),
    page(field_("Name", "a"), text("told"), button("Go")),
    page(field_("Name", "a"), button("Go")),
    page(field_("Name", "a"), button("Go"), text("told"), url=URL + "#x"),
    page(field_("Name", "a"), button("Go"), text("told"), tabs=(URL, "about:blank")),
    page(field_("Name", "a"), button("Go"), text("told"), tabs=(URL, "about:blank"), tab=1),
]


def test_a_page_is_the_same_whatever_has_the_focus_or_is_in_the_window() -> None:
    assert len({one.fingerprint for one in SAME}) == 1


def test_values_states_texts_addresses_and_tabs_make_another_page() -> None:
    assert len({one.fingerprint for one in [SAME[0], *OTHER]}) == 1 + len(OTHER)


@given(pages, st.randoms(use_true_random=False))
def test_what_is_seen_and_clickable_does_not_change_a_fingerprint(
    page: Page, random: random.Random
) -> None:
    rows = pack(page.nodes)
    for one in rows:
        one[8] = random.random() < 0.5
    other = Page(page.url, page.title, page.tabs, page.tab, unpack(rows))
    assert other.fingerprint == page.fingerprint


def test_a_text_beside_a_label_is_known_unless_the_label_stands_there_twice() -> None:
    one = page(
        node("table", "", row("Price:", "$5"), row("Size", "XL"), row("a", "b", "c"), row("d")),
        node("table", "", row("Size", "S"), row("", "x"), row("Empty", "")),
        node(
            "DescriptionList",
            "",
            node("term", "", text("Made")),
            node("definition", "", text("in"), text("Rome")),
            node("definition", "", text("stray")),
        ),
    )
    assert one.pairs == {"Price": "$5", "Made": "in Rome"}


def test_what_is_disabled_is_no_option() -> None:
    one = page(node("listbox", "Size", node("option", "S"), node("option", "M", disabled=True)))
    assert one.elements[0].options == ("S",)
    assert page(select("Size", "S", "M", "S")).elements[0].options == ("S", "M")


def test_a_field_that_is_only_read_is_not_edited() -> None:
    one = page(field_("A"), field_("B", readonly=True), node("generic", "C", editable="richtext"))
    assert [(n.name, n.editable) for n in one.elements] == [("A", True), ("B", False), ("C", True)]


@given(st.text(st.characters()))
def test_what_a_page_is_called_is_one_line_that_can_be_written(title) -> None:
    tidied = tidy(title)
    assert len(tidied.splitlines()) <= 1
    assert tidied.encode().decode() == tidied == tidy(tidied)
    assert tidy("Task:\nbuy\u2028it\ud800") == "Task: buy it?"
