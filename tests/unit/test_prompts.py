"""The prompts: files of their own, told apart by hash, without a hint of any game."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitrl.errors import InvalidValue
from jitrl.prompts import Prompt, load

NAMES = sorted(
    entry.name.removesuffix(".md")
    for entry in files("jitrl.prompts").iterdir()
    if entry.name.endswith(".md")
)
HINTS = set(
    re.findall(
        r"\w+",
        """
        zork detective library balances temple pentari ludicorp textworld jericho infocom frotz
        lantern lamp mailbox leaflet troll thief grue sword cyclops trophy dungeon trapdoor egg
        cellar attic kitchen forest cave castle chest key door gun murder mayor inspector spell
        scroll potion wizard dragon treasure torch rope sack garlic coffin skull mirror dam boat
        north south east west northeast northwest southeast southwest up down inventory examine
        room rooms game games adventure player
        """,
    )
)
FIELDS = {
    "action": {"situation", "actions"},
    "agent": {"situation", "actions", "count", "example"},
    "evolve": {
        "coldest", "hottest", "phrases", "scored", "best", "parent", "transcript",
    },
    "judge": {
        "task", "total", "first", "last", "outcome", "episode", "steps", "low", "high",
    },
    "label": {"situation", "actions"},
    "reflect": {"before", "transcript"},
    "summary": {"situation"},
    "web": {"situation", "count"},
    "workflow": {"before", "transcript"},
}  # fmt: skip


def test_these_are_the_prompts() -> None:
    assert set(NAMES) == set(FIELDS)


@pytest.mark.parametrize("name", NAMES)
def test_no_prompt_hints_at_any_particular_game(name) -> None:
    words = set(re.findall(r"[a-z]+", load(name).text.lower()))
    assert not words & HINTS


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_names_no_field_but_its_own(name) -> None:
    prompt = load(name)
    messages = prompt.render(**{field: f"<{field}>" for field in FIELDS[name]})
    assert [message.role for message in messages] == ["system", "user"]
    text = "\n".join(message.content for message in messages)
    assert all(f"<{field}>" in text for field in FIELDS[name])
    assert "$" not in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["$5", "$situation", "${x}", "$$", "100% of {it}", "a\n---\nb"])
def test_values_are_put_in_as_they_are(name, value) -> None:
    messages = load(name).render(**dict.fromkeys(FIELDS[name], value))
    assert len(messages) == 2
    assert value in messages[1].content


@given(st.text())
def test_any_value_survives(value) -> None:
    (message,) = Prompt("own", "\n---\n<$it>").render(it=value)
    assert message.content == f"<{value}>"


@given(st.text(), st.text())
def test_the_hash_tells_one_wording_from_another(one, other) -> None:
    hashes = Prompt("p", one).hash, Prompt("p", other).hash
    assert (hashes[0] == hashes[1]) == (one == other)
    assert re.fullmatch("[0-9a-f]{16}", hashes[0])


def test_the_hashes_of_the_prompts_differ_and_do_not_depend_on_what_is_filled_in() -> None:
    assert len({load(name).hash for name in NAMES}) == len(NAMES)
    prompt = load("label")
    before = prompt.hash
    prompt.render(situation="here", actions="A: wait")
    assert prompt.hash == before == load("label").hash


def test_a_prompt_of_the_users_own_is_read_from_a_file(tmp_path) -> None:
    path = tmp_path / "mine.md"
    path.write_text("Sei kühn für $$5.\n---\n$situation", encoding="utf-8")
    prompt = load("label", path)
    assert prompt.hash != load("label").hash
    system, user = prompt.render(situation="hier", actions="unused")
    assert (system.content, user.content) == ("Sei kühn für $5.", "hier")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no line", "line ---"),
        ("a --- b", "line ---"),
        ("\n---\n$wrong", r"may use only \['situation'\]"),
        ("\n---\n100 $ a day", "may use only"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(text, says) -> None:
    with pytest.raises(InvalidValue, match=f"prompt own.*{says}"):
        Prompt("own", text).render(situation="here")
