"""The index while it lives: threads, joins that fail, memories that lie, many random questions."""

from __future__ import annotations

import random
import sys
import threading

import numpy as np
import pytest
from index_kit import ALL, RETURNS, ROOM, by_definition, by_index, episode, filled_with, step
from plain_memory import PlainMemory

from jitrl.errors import InvalidValue, MemoryUnavailable, MissingExtra, NotAMemory
from jitrl.memory import Cut, Index
from jitrl.memory.contract import Pulse
from jitrl.memory.index import engine, kernels, upkeep
from jitrl.records import State
from jitrl.similarity import Field, words

JERICHO = [Field("room", 0.75, n=4), Field("inventory", 0.08), Field("history", 0.17)]
WEB = [
    Field("url", 0.0, exact=True),
    Field("history", 0.7, multiset=False),
    Field("task", 0.3, multiset=False, minimum=0.27),
]


def text(draws, most):
    return " ".join(draws.choices("abcdefghijkl", k=draws.randint(0, most)))


def state(draws, fields, near=None):
    """A state; near another one most texts are the same, or a word of them is another one."""
    made = {}
    for field in fields:
        if near is None or field.name not in near or draws.random() < 0.2:
            made[field.name] = text(draws, 2 if field.exact else 12)
        else:
            said = near[field.name].split()
            if said and draws.random() < 0.5:
                said[draws.randrange(len(said))] = draws.choice("abcdefghijkl")
            made[field.name] = " ".join(said)
    if draws.random() < 0.05:
        del made[draws.choice(list(made))]
    return State(**made)


def stored(draws, fields, count):
    """Episodes in which states are met again and again."""
    met, result = [state(draws, fields)], []
    for i in range(count):
        steps = []
        for _ in range(draws.randint(1, 8)):
            if draws.random() < 0.6:
                met.append(state(draws, fields, draws.choice(met)))
            steps.append(step(draws.choice(met[-40:]), draws.choice("ns"), draws.random()))
        result.append(episode(f"e{i}", *steps))
    return result, met


@pytest.mark.parametrize("fields", [JERICHO, WEB], ids=["jericho", "web"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_random_questions_are_answered_as_the_definition_does(fields, backend, monkeypatch):
    """10,000 in all, over memories of several parts and a tail."""
    monkeypatch.setattr(engine, "SEALED", 400)
    monkeypatch.setattr(upkeep, "_SMALL", 800)
    draws = random.Random(f"{backend} {fields[0].name}")
    for _ in range(50):
        episodes, met = stored(draws, fields, draws.randint(1, 12))
        view = filled_with(episodes, fields, backend=backend)
        for _ in range(50):
            near = draws.choice(met) if draws.random() < 0.8 else None
            cut = Cut(
                draws.choice([0.95, 0.85, 0.7, 0.3, 0.0]),
                draws.choice([1, 3, 10, None]),
                draws.choice(["states", "steps"]),
                draws.choice([None, None, 0.9]),
                draws.choice([None, 2]),
            )
            asked = state(draws, fields, near)
            assert by_index(view, asked, cut) == by_definition(episodes, fields, asked, cut)


def test_a_word_at_a_time_is_as_good_as_the_whole_text():
    """What the index remembers of words rests on it."""
    alphabet = [chr(code) for code in range(0x3000) if not 0xD800 <= code < 0xE000]
    draws = random.Random(0)
    for _ in range(3000):
        whole = "".join(draws.choices(alphabet, k=12)) + draws.choice(["", " ", "?!", "İß ῼ"])
        assert words(whole) == [word for part in whole.casefold().split() for word in words(part)]


# --- threads


def test_threads_ask_while_another_one_refreshes(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "SEALED", 60)
    monkeypatch.setattr(upkeep, "_SMALL", 200)
    draws = random.Random(5)
    episodes, met = stored(draws, JERICHO, 60)
    memory = PlainMemory(tmp_path / "beside")
    index = Index(memory, JERICHO, RETURNS)
    views, failures, done = [(index.refresh(), 0)], [], threading.Event()

    def ask(seed):
        mine = random.Random(seed)
        try:
            while not done.is_set():
                view, count = mine.choice(views)
                here, cut = mine.choice(met), Cut(mine.choice([0.0, 0.8]), 5, "states")
                truth = by_definition(episodes[:count], JERICHO, here, cut)
                if by_index(view, here, cut) != truth:
                    failures.append((count, here, cut))
        except Exception as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for count, each in enumerate(episodes, 1):
        memory.append(each)
        views.append((index.refresh(), count))
    done.set()
    for thread in threads:
        thread.join()
    index.close()
    assert not failures


# --- joins


def test_a_join_that_fails_is_told_and_harms_nothing(monkeypatch, caplog):
    monkeypatch.setattr(engine, "SEALED", 20)
    draws = random.Random(1)
    episodes, met = stored(draws, ROOM, 30)
    memory, tried = PlainMemory(), []

    def fails(*_):
        tried.append(1)
        raise MemoryError("as if")

    index = Index(memory, ROOM, RETURNS)
    with monkeypatch.context() as patch:
        patch.setattr(upkeep, "merge", fails)
        for count, each in enumerate(episodes, 1):
            memory.append(each)
            view = index.refresh()
            index._upkeep.wait()
            here = met[count % len(met)]
            assert by_index(view, here, ALL) == by_definition(episodes[:count], ROOM, here, ALL)
        assert "as if" in caplog.text
        parts = len(index._engine.parts)
        before = len(tried)
        for _ in range(5):
            index.refresh()
            index._upkeep.wait()
        assert len(tried) == before  # not tried again before something has changed
    assert parts > 1
    memory.append(episode("more", *(step(state(draws, ROOM)) for _ in range(20))))
    index.refresh()
    memory.append(episode("more still", step(state(draws, ROOM))))
    index.refresh()
    index._upkeep.wait()
    assert len(index._engine.parts) < parts
    index.close()


def test_a_view_that_was_made_before_a_join_answers_as_before(monkeypatch):
    monkeypatch.setattr(engine, "SEALED", 20)
    draws = random.Random(2)
    episodes, met = stored(draws, ROOM, 30)
    memory = PlainMemory()
    index = Index(memory, ROOM, RETURNS)
    views = []
    for count, each in enumerate(episodes, 1):
        memory.append(each)
        views.append((index.refresh(), count))
    index._upkeep.wait()
    for view, count in views:
        here = draws.choice(met)
        assert by_index(view, here, ALL) == by_definition(episodes[:count], ROOM, here, ALL)
    index.close()


# --- memories that lie


class Lying(PlainMemory):
    more = 0

    def pulse(self):
        true = super().pulse()
        return Pulse(true.epoch, true.revision, true.episodes + self.more)


def test_a_memory_whose_count_does_not_fit_its_episodes_is_named_as_damaged():
    memory = Lying()
    memory.append(episode("e", step(State(room="a"))))
    index = Index(memory, ROOM, RETURNS)
    index.refresh()
    memory.more = 1
    for _ in range(2):
        with pytest.raises(NotAMemory, match="counts 2 episodes and tells of 1"):
            index.refresh()
    memory.more = 0
    assert len(index.refresh()) == 1


class Forgetful(PlainMemory):
    def states(self, numbers):
        return {}


def test_a_memory_that_has_not_the_states_it_names_is_refused():
    memory = Forgetful()
    memory.append(episode("e", step(State(room="a"))))
    with pytest.raises(MemoryUnavailable, match="damaged"):
        Index(memory, ROOM, RETURNS).refresh()


class Busy(PlainMemory):
    """Somebody else stores an episode each time that one looks."""

    looks = 0

    def changes(self, after):
        told = [*super().changes(after)]
        self.looks += 1
        self.append(episode(f"other {self.looks}", step(State(room="b"))))
        return iter(told)


def test_what_others_store_meanwhile_is_no_damage_and_comes_with_the_next_look():
    memory = Busy()
    memory.append(episode("e", step(State(room="a"))))
    index = Index(memory, ROOM, RETURNS)
    for looks in (1, 2, 3):
        assert len(index.refresh()) == looks
        assert memory.looks == looks


# --- back ends


def test_a_wrong_back_end_is_named():
    with pytest.raises(InvalidValue, match="backend must be one of"):
        Index(PlainMemory(), ROOM, RETURNS, backend="cuda")


def test_numba_that_is_wanted_and_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jitrl.memory.index.fast", None)
    with pytest.raises(MissingExtra, match=r"pip install 'jitrl\[fast\]'"):
        Index(PlainMemory(), ROOM, RETURNS, backend="numba")


def test_a_large_index_changes_over_to_numba_by_itself(monkeypatch):
    monkeypatch.setattr(upkeep, "_REPAYS", 3)
    memory = PlainMemory()
    index = Index(memory, ROOM, RETURNS)
    for i in range(5):
        memory.append(episode(f"e{i}", step(State(room=f"a {i}"))))
        view = index.refresh()
        index._upkeep.wait()
        assert isinstance(index._engine.kernels, kernels.Numpy) == (i < 2)
    held = list(memory.episodes())
    assert by_index(view, State(room="a"), ALL) == by_definition(held, ROOM, State(room="a"), ALL)


def test_numba_that_breaks_leaves_numpy(monkeypatch, caplog):
    monkeypatch.setattr(upkeep, "_REPAYS", 0)
    monkeypatch.setattr(upkeep, "numba", lambda: 1 / 0)
    memory = PlainMemory()
    memory.append(episode("e", step(State(room="a"))))
    index = Index(memory, ROOM, RETURNS)
    view = index.refresh()
    index._upkeep.wait()
    assert "goes on with numpy" in caplog.text
    assert len(by_index(view, State(room="a"), ALL)) == 1


# --- steps


def test_a_state_that_was_met_a_thousand_times_in_vain_is_passed_over(monkeypatch):
    monkeypatch.setattr("jitrl.memory.index.evidence._SLOW", 5)
    memory = PlainMemory()

    def judged(rewards, judged):
        return np.array(judged, dtype=np.float64)

    index = Index(memory, ROOM, judged)
    here = State(room="a")
    for i in range(60):
        memory.append(episode(f"e{i}", step(here, judged=1.0 if i % 10 == 0 else None)))
        view = index.refresh()
        assert len(view) == i // 10 + 1
    assert [found.episode for found in view.neighbours(here, ALL)] == [
        "e50", "e40", "e30", "e20", "e10", "e0",
    ]  # fmt: skip
    memory.judge("e55", [2.0])
    assert view.neighbours(here, ALL)[0].episode == "e50"
    assert index.refresh().neighbours(here, ALL)[0].episode == "e55"
