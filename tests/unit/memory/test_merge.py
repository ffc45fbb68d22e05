"""Two memories made one: every episode once, and nothing changed on the way."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack_kit import episodes, plain
from sqlite_kit import episode, step

from jitrl.errors import InvalidValue, StoreError
from jitrl.memory import Selection, SqliteMemory
from jitrl.memory.packs.merge import merge

some = st.lists(episodes(), max_size=5, unique_by=lambda e: e.id)


@given(some, st.data())
def test_what_one_has_and_the_other_lacks_is_added_in_order(held, data):
    into, other = (plain(*[e for e in held if data.draw(st.booleans())]) for _ in range(2))
    before = list(into.episodes())
    known = {e.id for e in before}
    new = [e for e in other.episodes() if e.id not in known]
    done = merge(into, other)
    assert list(into.episodes()) == [*before, *new]  # provenance and all
    assert (done.stored, done.skipped, done.source) == (len(new), len(other) - len(new), None)
    assert merge(into, other).stored == 0
    assert list(into.episodes()) == [*before, *new]


def test_memories_in_files_are_merged(tmp_path):
    with closing(SqliteMemory(tmp_path / "a")) as a, closing(SqliteMemory(tmp_path / "b")) as b:
        for i in range(5):
            a.append(episode(f"a{i}", step(i), provenance={"run": "a"}))
            b.append(episode(f"b{i}", step(i), provenance={"run": "b", "source": "s"}))
        told = []
        assert merge(a, b, progress=lambda *what: told.append(what)).stored == 5
        assert told == [(what, i + 1, 5) for what in ("checked", "stored") for i in range(5)]
        assert [e.id for e in a.episodes()] == [f"{m}{i}" for m in "ab" for i in range(5)]
        assert list(a.episodes())[5:] == list(b.episodes())
        assert merge(a, a).skipped == 10


def test_what_is_quarantined_is_neither_taken_nor_let_out():
    other = plain(episode("a"), episode("b"))
    other.quarantine(Selection(id="a"), "odd")
    into = plain(episode("b"))
    into.quarantine(Selection(id="b"), "odd")
    done = merge(into, other)
    assert (done.stored, done.skipped) == (0, 1)
    assert len(into) == 0


def test_an_id_that_stands_for_two_episodes_is_named_before_anything_is_stored():
    into, other = plain(episode("b", step(1))), plain(episode("a"), episode("b", step(2)))
    with pytest.raises(StoreError, match="'b'") as caught:
        merge(into, other)
    assert "\n" not in str(caught.value)
    assert [e.id for e in into.episodes()] == ["b"]


class Overtaken(SqliteMemory):
    """A memory in which somebody else stores an episode just before it does."""

    def append(self, given):
        super().append(episode(given.id, step(9)))
        return super().append(given)


def test_an_id_that_somebody_takes_in_between_is_not_passed_over_in_silence():
    with closing(Overtaken()) as into, pytest.raises(StoreError, match="'a'"):
        merge(into, plain(episode("a", step(1))))


def test_one_that_is_taken_out_of_the_other_meanwhile_shifts_nothing():
    with closing(SqliteMemory()) as into, closing(SqliteMemory()) as other:
        into.append(episode("a"))
        for id in "abc":
            other.append(episode(id))

        def take_out(what, done, total):
            if (what, done) == ("checked", total):
                other.quarantine(Selection(id="a"), "wrong")

        assert merge(into, other, take_out).stored == 2
        assert [e.id for e in into.episodes()] == ["a", "b", "c"]


def test_secrets_are_taken_out_on_the_way_and_one_in_an_id_is_refused():
    with closing(SqliteMemory()) as into:
        other = plain(episode("a", step(action="password=x")))
        assert merge(into, other).stored == 1
        assert next(into.episodes()).steps[0].action == "password=[redacted:password]"
        assert merge(into, other).skipped == 1
        with pytest.raises(StoreError, match="must not hold a secret"):
            merge(into, plain(episode("password=x")))


def test_what_the_memory_cannot_store_is_its_own_error():
    with closing(SqliteMemory(redaction=None)) as into, pytest.raises(InvalidValue):
        merge(into, plain(episode("a", step(reward=float("nan")))))
