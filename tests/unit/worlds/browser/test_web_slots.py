from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from jitrl.worlds.browser.language import Lookup, Text
from jitrl.worlds.browser.slots import Slots

LETTERS = st.sampled_from("abcXYZ019 _-'’.,:!?\"“”‘()@$%é東🛶\n")
texts = st.text(LETTERS, max_size=60) | st.text(max_size=40)
words = st.sampled_from(["enter", "the", "name", "and", "password", "for", "user_name", "_", "to"])
values = st.text(st.sampled_from("abcdeXYZ 0123-é,.'"), min_size=1, max_size=12).filter(
    lambda value: value == value.strip() and value[0].isalnum() and value[-1].isalnum()
)


def back(slots: Slots, text: Text) -> str:
    """What the parts of a text are, filled from a task's text."""
    parts = (part if isinstance(part, str) else slots.filled(part) for part in text.parts)
    return "".join(part if part is not None else "<nothing>" for part in parts)


def key(slots: Slots, value: str) -> str:
    (part,) = slots.typed(value).parts
    assert isinstance(part, Lookup), f"{value!r} is no slot"
    return part.key if part.nth == 1 else f"{part.key} #{part.nth}"


@given(texts)
@example('the _ "a" and user_name "b"')
@example('"" and "x"')
def test_what_a_parameter_is_typed_as_is_filled_with_it_again(text: str) -> None:
    slots = Slots(text)
    for value in slots.parameters:
        assert value in text
        assert back(slots, slots.typed(value)) == value


@given(texts, st.data())
def test_any_piece_of_a_text_is_filled_with_itself(text: str, data: st.DataObject) -> None:
    assume(text)
    start = data.draw(st.integers(0, len(text) - 1))
    piece = text[start : data.draw(st.integers(start, len(text)))]
    slots = Slots(text)
    assert back(slots, slots.typed(piece)) == piece
    assert back(slots, slots.named(piece)) == piece


@given(texts, texts, st.data())
def test_naming_never_changes_what_is_named(text: str, name: str, data: st.DataObject) -> None:
    slots = Slots(text)
    if slots.parameters:
        name += data.draw(st.sampled_from(slots.parameters)) + data.draw(texts)
    assert back(slots, slots.named(name)) == name
    assert back(slots, slots.typed(name)) == name


@given(texts, texts)
def test_two_parameters_are_never_one_slot(text: str, other: str) -> None:
    slots = Slots(text)
    found = [slots.typed(value) for value in slots.parameters]
    assert len({str(slot) for slot in found}) == len(found)


@given(
    st.lists(st.lists(words, min_size=1, max_size=4), min_size=2, max_size=5),
    st.data(),
)
def test_another_task_of_a_template_gives_its_own_values(
    between: list[list[str]], data: st.DataObject
) -> None:
    """Quoted parameters between any words: those of one task are found in the other."""
    many = len(between) - 1
    distinct = st.lists(values, min_size=many, max_size=many, unique=True)
    mine, theirs = data.draw(distinct), data.draw(distinct)

    def told(chosen: list[str]) -> str:
        text = " ".join(between[0])
        for value, following in zip(chosen, between[1:], strict=True):
            text += f' "{value}" {" ".join(following)}'
        return text

    one, other = Slots(told(mine)), Slots(told(theirs))
    assert one.parameters == tuple(mine)
    for value, expected in zip(mine, theirs, strict=True):
        (slot,) = one.typed(value).parts
        assert isinstance(slot, Lookup)
        assert other.filled(slot) == expected


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", ()),
        ("click the button", ()),
        ('Enter the username "bob" and the password "x1"', ("bob", "x1")),
        ('Enter "" and "x"', ("x",)),
        ('Enter " " and "x"', ("x",)),
        ("Click on Bob's profile", ("Bob",)),
        ("Click on Bob’s profile", ("Bob",)),
        ("Click 'Bob's house' now", ("Bob's house",)),
        ("Type 'it' but don't type 'that'", ("it", "that")),
        ("“a b” and ‘Bob’s’ then ‘c’", ("a b", "Bob’s", "c")),
        ('The 5" screen and the "big" one', ("5", "big")),
        ('say "hello and go', ()),
        ("the students' books and 'x'", ("x",)),
        (
            "Find order 000017 of Emma Lopez, placed on 3/15/2023 for $1,234.50 at 50% off.",
            ("000017", "Emma Lopez", "3/15/2023", "$1,234.50", "50%"),
        ),
        ("Mail x.y+z@ex-a.co.uk, then @bob.", ("x.y+z@ex-a.co.uk", "@bob")),
        ("Open http://127.0.0.1:80/a?b=1.", ("http://127.0.0.1:80/a?b=1",)),
        ("From Boston and New York to Paris", ("Boston", "New York", "Paris")),
        ("Look for the Lord of the Rings", ("Lord of the Rings",)),
        ("Search. Then click Submit! Now Cancel", ("Submit", "Cancel")),
        ("Scroll by -5 at 10:30, v2.0.", ("-5", "10:30", "v2.0")),
        ("say Émile Zola", ("Émile Zola",)),
    ],
)
def test_parameters_are_quoted_words_numbers_addresses_and_names(
    text: str, parameters: tuple[str, ...]
) -> None:
    slots = Slots(text)
    assert slots.parameters == parameters
    for value in parameters:
        assert isinstance(slots.typed(value).parts[0], Lookup)


def test_a_parameter_is_named_by_the_words_around_it() -> None:
    slots = Slots('Enter the username "bob" and the password "x1" into the form')
    assert key(slots, "bob") == "the username _ and the"
    assert key(slots, "x1") == "the password _ into the"
    slots = Slots('"a" "b" "c"')
    assert [key(slots, value) for value in "abc"] == ["^ _ * *", "* _ *", "* * _ $"]


def test_slots_in_the_same_words_are_counted() -> None:
    text = "pick {} or pick {} or pick {} or pick"
    one, other = Slots(text.format(1, 2, 3)), Slots(text.format(7, 8, 9))
    for mine, theirs in zip("123", "789", strict=True):
        assert other.filled(one.typed(mine).parts[0]) == theirs  # type: ignore[arg-type]


def test_a_parameter_that_is_also_a_word_of_the_template_is_the_parameter() -> None:
    slot = Slots('Enter the name "name" in the field').typed("name").parts[0]
    assert isinstance(slot, Lookup)
    assert Slots('Enter the name "zoe" in the field').filled(slot) == "zoe"


def test_words_with_underscores_name_a_slot_like_others() -> None:
    slot = Slots('set user_name to "zoe" _ then go').typed("zoe").parts[0]
    assert isinstance(slot, Lookup)
    assert Slots('set user_name to "bob" _ then go').filled(slot) == "bob"
    slot = Slots('_ user_name "zoe" pass_word').typed("zoe").parts[0]
    assert isinstance(slot, Lookup)
    assert Slots('_ user_name "bob" pass_word').filled(slot) == "bob"


def test_a_slot_without_a_place_in_another_text_is_none() -> None:
    slot = Slots('Enter the username "bob" and go').typed("bob").parts[0]
    assert isinstance(slot, Lookup)
    for text in ("", "Click the button", 'Enter "bob"', "the username and go", "username _ and go"):
        assert Slots(text).filled(slot) is None


@given(st.text(max_size=30), st.integers(1, 10_000), texts)
def test_any_slot_gives_a_piece_of_the_text_or_none(key: str, nth: int, text: str) -> None:
    filled = Slots(text).filled(Lookup("task", key, nth))
    assert filled is None or filled in text


def test_a_piece_of_a_word_is_no_slot() -> None:
    slots = Slots('Open "bobsled" for 1234 of Robert')
    for value in ("bob", "sled", "123", "Rob", "", "  "):
        assert slots.typed(value) == Text((value,))
        assert slots.named(value) == Text((value,))


def test_a_name_with_an_apostrophe_is_used_with_and_without_it() -> None:
    slots, other = Slots("Open Bob's page"), Slots("Open Zoe's page")
    for value, expected in (("Bob", "Zoe"), ("Bob's", "Zoe's"), ("Bob's page", "Zoe's page")):
        assert back(other, slots.typed(value)) == expected
    assert back(other, slots.named("Profile of Bob")) == "Profile of Zoe"
    assert back(other, slots.named("Bob's")) == "Zoe's"


def test_a_name_of_several_parameters_is_one_slot() -> None:
    slots, other = Slots("Read War and Peace now"), Slots("Read Sense and Sensibility now")
    assert back(other, slots.named("War and Peace")) == "Sense and Sensibility"


def test_only_parameters_are_sought_in_a_name() -> None:
    slots = Slots("click the button to search for 12 of Ann")
    assert slots.named("button") == Text(("button",))
    assert slots.named("search") == Text(("search",))
    assert slots.named("Anna and Annie") == Text(("Anna and Annie",))
    assert slots.named("row 12") == Text(("row 12",))  # short: only as the whole name
    assert slots.named("12") == slots.typed("12") != Text(("12",))
    assert [type(part) for part in slots.named("Ann: Ann").parts] == [Lookup, str, Lookup]


HUGE = {
    "one word": "a" * 120_000,
    "words": "ab " * 40_000,
    "dots": "a." * 60_000,
    "at": "a" * 60_000 + "@" * 60_000,
    "open quotes": "“" * 120_000,
    "quotes": "'a " * 40_000,
    "double quotes": '"' * 120_000,
    "inner quotes": "'a'a" * 30_000,
    "names": "Aa " * 40_000,
    "sentences": "Aa. " * 30_000,
    "lines": "\n" * 60_000 + "A" + "\n" * 60_000,
    "spaces": "A" + " " * 120_000,
    "numbers": "p 1 q " * 20_000,
    "punctuation": "-+$." * 30_000,
    "addresses": "http://,,," * 12_000,
}


@pytest.mark.timeout(100)
@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE.keys())
def test_a_huge_text_is_read_in_one_pass(text: str) -> None:
    """What looked far ahead from every character would take hours for these."""
    slots = Slots(text)
    for value in slots.parameters[:50]:
        assert back(slots, slots.named(value)) == value


@pytest.mark.timeout(100)
def test_thousands_of_parameters_are_each_found() -> None:
    slots = Slots(" ".join(f"x the {i} w{chr(97 + i % 26)} y{i:x}" for i in range(2_000)))
    assert len(slots.parameters) >= 2_000
    assert all(back(slots, slots.typed(value)) == value for value in slots.parameters)
    assert back(slots, slots.named("1001/" * 4_000)) == "1001/" * 4_000
