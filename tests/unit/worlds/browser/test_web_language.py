from __future__ import annotations

import ast
import json
import warnings
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.errors import InvalidValue
from jitrl.worlds.browser.language import (
    ACTIONS,
    Action,
    Lookup,
    Parameter,
    Target,
    Text,
    as_role,
    joined,
    parse,
    write,
)

characters = st.characters(exclude_categories=("Cs",))
plain = st.text(characters, max_size=30) | st.sampled_from(
    [
        "a, b",
        "it's",
        'say "no"',
        "[1] (x) {y}",
        "C:\\new",
        "two\nlines",
        "\u2028\x00\x7f",
        "🛶 é",
        "#",
    ]
)
lookups = st.builds(
    Lookup, st.sampled_from(["task", "beside", "site"]), plain, st.integers(1, 10_000)
)
texts = st.lists(plain | lookups, max_size=3).map(lambda parts: joined(*parts))
roles = st.sampled_from(["button", "textbox", "doc_subtitle", "PopUpButton", "element"])
outer = st.builds(Target, roles, texts, st.none(), st.none() | st.integers(1, 9))
targets = st.builds(Target, roles, texts, st.none() | outer, st.none() | st.integers(1, 10_000))
numbers = st.integers(-999_999, 999_999) | st.floats(-1e5, 1e5)
FREE = {"enable_autocomplete_menu": st.just(True), "wait_ms": st.integers(1, 999)}
FREE["button"] = st.sampled_from(["middle", "right"]).map(lambda name: Text((name,)))
FREE["modifiers"] = st.just([Text(("Shift",)), Text(("Alt",))])


def several(kind: str) -> st.SearchStrategy[object]:
    many = st.lists(texts, min_size=2, max_size=3)
    return {"element": targets, "text": texts, "number": numbers, "texts": texts | many}[kind]


@st.composite
def actions(draw: st.DrawFn) -> Action:
    name = draw(st.sampled_from(sorted(ACTIONS)))
    plain_ones = [draw(several(p.kind)) for p in ACTIONS[name] if not p.optional]
    named = {
        p.name: draw(FREE[p.name]) for p in ACTIONS[name] if p.optional and draw(st.booleans())
    }
    return Action(name, tuple(plain_ones), MappingProxyType(named))


@given(actions())
def test_what_is_written_is_read_back(action: Action) -> None:
    assert parse(write(action)) == action


@given(actions())
def test_equal_actions_are_equal_texts(action: Action) -> None:
    text = write(action)
    assert write(parse(text)) == text
    # as another hand would write it: quotes of the other kind, other spaces, names for all
    assert write(parse(ast.unparse(ast.parse(text)))) == text
    by_name = ", ".join(
        f"{p.name} = {ast.unparse(node)}\n"
        for p, node in reversed(list(zip(ACTIONS[action.name], call(text).args, strict=False)))
    )
    named = ", ".join(ast.unparse(keyword) for keyword in call(text).keywords)
    again = f"  {action.name}({', '.join(part for part in (named, by_name) if part)} )\n"
    assert write(parse(again)) == text


def call(text: str) -> ast.Call:
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.Call)
    return tree


@pytest.mark.parametrize(
    "written",
    [
        "click( 'a12' )",
        'click("a12",)',
        'click("a12", "left")',
        "click('a12', button='left', modifiers=[])",
        'click(\n  bid="a12",\n)',
        'click("""a12""")',
        'click("a" "12")',
        'click("a12")  # the user\'s button',
    ],
)
def test_ways_to_write_the_same_click_are_one(written: str) -> None:
    assert write(parse(written)) == 'click("a12")'


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("scroll(0, 200.0)", "scroll(0, 200)"),
        ("scroll(-0.0, +5)", "scroll(0, 5)"),
        ('select_option("3", ["blue"])', 'select_option("3", "blue")'),
        ('select_option("3", ("blue", "red"))', 'select_option("3", ["blue", "red"])'),
        ('click("3", modifiers="Shift")', 'click("3", modifiers=["Shift"])'),
        ("noop(1000)", "noop()"),
        ('fill("3", "x", False)', 'fill("3", "x")'),
        ("click(12)", 'click("12")'),
    ],
)
def test_what_means_the_same_is_remembered_the_same(written: str, same: str) -> None:
    assert write(parse(written)) == same


@pytest.mark.parametrize(
    "value",
    [
        "1,234.50",
        "it's",
        '"quoted"',
        "both ' and \"",
        "a\nb\tc",
        "back\\slash \\n",
        "[1, 2] (3) {4}",
        'O\'Brien, "Bob" (jr.)',
        "naïve 東京 🛶",
        "\u2028\u2029\x85\x0b\x00",
        ")) or click('1",
        "# no comment",
        "{name} %s",
        "",
    ],
)
def test_an_argument_survives_as_it_is(value: str) -> None:
    for quoted in (repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False)):
        action = parse(f"fill('7', {quoted})")
        assert action.arguments[1] == Text((value,))
        assert parse(write(action)).arguments[1] == Text((value,))
        assert parse(f"select_option('7', [{quoted}, 'x'])").arguments[1] == [
            Text((value,)),
            Text(("x",)),
        ]


@pytest.mark.parametrize("number", ["10.50", "007.0", "1e5", "-5", "1_000", "1234567890123"])
def test_a_number_for_a_text_is_kept_as_it_was_written(number: str) -> None:
    assert parse(f"fill('7', {number})").arguments[1] == Text((number,))


@pytest.mark.parametrize("written", [r'fill("7", "\d")', r'fill("7", "\777")', r"fill('7', '\.')"])
def test_a_backslash_that_escapes_nothing_stays_and_warns_of_nothing(written: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = parse(written).arguments[1]
    assert value == Text((written.split(", ")[1][1:-2],))


def test_escapes_and_raw_texts_mean_what_they_mean_to_python() -> None:
    assert parse(r'fill("7", r"\d\n")').arguments[1] == Text((r"\d\n",))
    assert parse(r'fill("7", "\\d\x41\u00e9\101\N{BULLET}")').arguments[1] == Text(("\\dAéA•",))
    assert parse('fill("7", "a\\\nb")').arguments[1] == Text(("ab",))


WRONG = [
    "",
    " ",
    "12",
    "click",
    "I would click 12.",
    "Let us click(12) now",
    'click("1"); click("2")',
    'click("1")\nclick("2")',
    'x = click("1")',
    'lambda: click("1")',
    'page.click("1")',
    'click.__call__("1")',
    'click("1").x',
    'click("1")("2")',
    'click(f"{1}")',
    'click(open("/etc/passwd").read())',
    'click(__import__("os"))',
    'click(_hidden("x"))',
    'click(button("x").name)',
    'click(button(f"{1 + 1}"))',
    'click(*["1"])',
    'click(**{"bid": "1"})',
    'click(button(*["x"]))',
    'click(button("x", **{"nth": 1}))',
    'click(["1"])',
    "click(None)",
    "click(True)",
    "click(1.5)",
    "click(-1)",
    'click(b"1")',
    "click()",
    'click("1", bid="2")',
    'click(bid="1", bid="2")',
    'click("1", times=2)',
    'click("1", button="side")',
    'click("1", modifiers=["Hyper"])',
    'click("1", "left", [], 4)',
    'click(task("a _ b"))',
    'click(button("a", "b"))',
    'click(button("a", within=row("b"), within=row("c")))',
    'click(button("a", within="12"))',
    'click(button("a", nth=0))',
    'click(button("a", nth=1.0))',
    'click(button("a", nth=True))',
    'click(button("a", colour="red"))',
    'fill("1")',
    'fill("1", None)',
    'fill("1", b"x")',
    'fill("1", "a" * 9)',
    'fill("1", "%s" % 3)',
    'fill("1", 1 + 2)',
    'fill("1", "a" + 2)',
    'fill("1", [c for c in "abc"])',
    'fill("1", "a" if 1 else "b")',
    'fill("1", (x := "a"))',
    'fill("1", {"a": 1})',
    'fill("1", task("a", nth=1, nth=2))',
    'fill("1", task("a", foo=2))',
    'fill("1", task("a", "b"))',
    'fill("1", task(5))',
    'fill("1", env("HOME"))',
    'fill("1", "x", enable_autocomplete_menu=1)',
    'fill("1", "\\ud800")',
    'fill("1", "\ud800")',
    'fill("1", task("\\udfff"))',
    'click("1\x00")',
    "\x00",
    'goto(site("a") + b"x")',
    'scroll("0", 1)',
    "scroll(0)",
    "scroll(0, True)",
    "scroll(0, 1j)",
    "scroll(0, 1e999)",
    "scroll(0, 10 ** 9)",
    "tab_focus(1 if 1 else 2)",
    "go_back(1)",
    "no_such_action()",
    "__import__('os').system('true')",
    "exec('1')",
    "eval('1')",
    "print('1')",
    '"click(1)"',
    '```\nclick("1")\n```',
    'click("1"',
    'click("1\n")',
    "click('O'Brien')",
]


@pytest.mark.parametrize("written", WRONG)
def test_anything_else_is_refused(written: str) -> None:
    with pytest.raises(InvalidValue) as found:
        parse(written)
    assert "\n" not in str(found.value)


def test_a_call_within_an_action_names_an_element_and_is_never_made(tmp_path: Path) -> None:
    path = str(tmp_path / "made")
    written = f"click(open({path!r}), 'left')"
    assert parse(written) == Action("click", (Target("open", Text((path,))),))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("written", [None, 5, b'click("1")', ["click"]])
def test_what_is_no_text_is_refused(written: object) -> None:
    with pytest.raises(InvalidValue):
        parse(written)  # type: ignore[arg-type]


DEEP = {
    "brackets": "click(" + "[" * 190 + "]" * 190 + ")",
    "open brackets": "(" * 20_000,
    "braces": "{" * 150 + ":",
    "minus": "click(" + "-" * 15_000 + "1)",
    "attributes": "a" + ".b" * 9_000,
    "sums": 'fill("1", ' + " + ".join(['"a"'] * 2_500) + ")",
    "number sums": "scroll(1, " + "1+" * 5_000 + "1j)",
    "lambdas": "lambda:" * 2_800 + "1",
    "conditions": "a if b else " * 1_500 + "c",
    "calls": "click(" + "button(" * 95 + ")" * 95 + ")",
    "enclosing": "click(" + "row(within=" * 95 + 'row("x")' + ")" * 95 + ")" + ")",
    "hex target": "click(0x" + "f" * 19_000 + ")",
    "hex number": "scroll(0, 0x" + "f" * 19_000 + ")",
    "hex text": 'fill("1", 0x' + "f" * 19_000 + ")",
    "hex nth": 'click(button("a", nth=0x' + "f" * 19_000 + "))",
    "digits": "click(" + "9" * 19_000 + ")",
    "escaped quotes": '\\"' * 9_999 + "\\",
    "open text": '"' + '\\"' * 9_000,
    "quotes": "\"'" * 9_999,
    "word": "a" * 20_000,
    "too long": 'fill("1", "' + "a" * 20_000 + '")',
    "dots": "." * 20_000,
    "many": 'click("1"' + ', "a"' * 3_900 + ")",
    "key": 'fill("1", "x", ' + "k" * 19_000 + "=1)",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("written", DEEP.values(), ids=DEEP.keys())
def test_deep_or_huge_input_is_refused_or_read_but_breaks_nothing(written: str) -> None:
    try:
        action = parse(written)
    except InvalidValue as error:
        assert len(str(error)) < 20_000
    else:
        assert parse(write(action)) == action


def test_a_sum_of_many_parts_is_one_text() -> None:
    written = 'fill("1", ' + " + ".join(['"ab"'] * 700) + ")"
    assert parse(written).arguments[1] == Text(("ab" * 700,))


@given(st.text(st.sampled_from("click(\"')1, =[]+-\\.buton nth{}:#\n\ud800\0é*")) | st.text())
def test_no_text_raises_anything_but_an_invalid_value(written: str) -> None:
    try:
        action = parse(written)
    except InvalidValue:
        return
    assert parse(write(action)) == action


@given(st.data())
def test_a_damaged_action_is_refused_or_another_action(data: st.DataObject) -> None:
    text = write(data.draw(actions()))
    place = data.draw(st.integers(0, len(text)))
    damaged = text[:place] + data.draw(st.text(max_size=2)) + text[place + 1 :]
    try:
        action = parse(damaged)
    except InvalidValue:
        return
    assert parse(write(action)) == action


@given(
    st.text(max_size=12) | st.sampled_from(["doc-subtitle", "lambda", "task", "None", "_x", "9"])
)
def test_every_role_of_a_page_can_be_written(role: str) -> None:
    action = Action("click", (Target(as_role(role), Text(("x",))),))
    assert parse(write(action)) == action


def test_every_optional_parameter_has_a_default_that_is_not_written() -> None:
    for name, parameters in ACTIONS.items():
        for parameter in parameters:
            if parameter.optional:
                assert isinstance(parameter, Parameter)
                assert parameter.default is not None, name
