"""The kit accepts what keeps the contract, and names what is broken in what does not."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import MappingProxyType

import pytest

from jitrl.checks import scores as checked
from jitrl.errors import InvalidValue
from jitrl.memory import Head, Pulse, SqliteMemory, Trail
from jitrl.memory.redaction import DEFAULT
from jitrl.records import State
from jitrl.testing.stores import check_store


class ListMemory:
    """The smallest memory: a list. Several handles may share one."""

    beside = None
    redaction = None

    def __init__(self, held=None, path="a list", log=None):
        self.held = [] if held is None else held
        self.log = [] if log is None else log  # the place of what changed, revision by revision
        self.path = path
        self.lock = threading.Lock()

    def append(self, episode):
        with self.lock:
            if any(other.id == episode.id for other in self.held):
                return False
            for step in episode.steps:
                dict(step.state)
            self.held.append(episode)
            self.log.append(len(self.held) - 1)
            return True

    def judge(self, id, scores, provenance=MappingProxyType({})):
        with self.lock:
            place = {other.id: i for i, other in enumerate(self.held)}.get(id)
            if place is None:
                raise InvalidValue("id", id, "must be that of a stored episode")
            if {"run", "source", "origin"} & provenance.keys():
                raise InvalidValue("provenance", provenance, "must not be of whose it is")
            old = self.held[place]
            scores = checked(scores, len(old.steps))
            new = self.filled(old, scores)
            if new != old:
                self.held[place] = self.told(new, provenance)
                self.log.append(place)
            return new != old

    def filled(self, episode, scores):
        pairs = zip(episode.steps, scores, strict=True)
        steps = [s if s.judged is not None else replace(s, judged=score) for s, score in pairs]
        return replace(episode, steps=tuple(steps))

    def told(self, episode, provenance):
        held = dict(episode.provenance)
        for name, value in provenance.items():
            if held.setdefault(name, value) != value:
                held[name] += f"; {value}"
        return replace(episode, provenance=held)

    def episodes(self, after=0):
        while after < len(self.held):
            yield self.held[after]
            after += 1

    def get(self, id):
        return next((episode for episode in self.held if episode.id == id), None)

    def __len__(self):
        return len(self.held)

    def pulse(self):
        return Pulse("epoch", len(self.log), len(self.held))

    def mark(self, revision):
        return f"mark {revision}" if 0 < revision <= len(self.log) else ""

    def changes(self, after):
        states = self.numbered()
        for place in sorted(set(self.log[after:])):
            steps = self.held[place].steps
            yield Trail(
                place + 1,
                len(self.log) - self.log[::-1].index(place),
                True,
                tuple(states.index(step.state) for step in steps),
                tuple(step.action for step in steps),
                tuple(step.reward for step in steps),
                tuple(step.judged for step in steps),
            )

    def numbered(self):
        return list(dict.fromkeys(step.state for episode in self.held for step in episode.steps))

    def states(self, numbers):
        wanted = set(numbers)
        return {n: state for n, state in enumerate(self.numbered()) if n in wanted}

    def heads(self, numbers):
        held = {n: self.held[n - 1] for n in numbers if n <= len(self.held)}
        return {n: Head(e.id, e.task, e.provenance) for n, e in held.items()}

    def close(self):
        pass


def shared(kind, *args):
    """An opener whose handles share one list and one lock."""
    held, log, lock = [], [], threading.Lock()

    def open_():
        memory = kind(held, *args)
        memory.log, memory.lock = log, lock
        return memory

    return open_


def test_a_plain_list_keeps_the_contract():
    check_store(shared(ListMemory))


def test_a_list_in_ram_keeps_the_contract():
    check_store(lambda: ListMemory(path=None))


def test_the_sqlite_memory_keeps_the_contract_in_a_file(tmp_path):
    check_store(lambda: SqliteMemory(tmp_path / "memory.db"))


def test_the_sqlite_memory_keeps_the_contract_in_ram():
    check_store(SqliteMemory)


def test_the_sqlite_memory_keeps_the_contract_against_power_failures(tmp_path):
    check_store(lambda: SqliteMemory(tmp_path / "memory.db", durability="power"))


class SaysNothing(ListMemory):
    def append(self, episode):
        super().append(episode)


class StoresTwice(ListMemory):
    def append(self, episode):
        with self.lock:
            for step in episode.steps:
                dict(step.state)
            self.held.append(episode)
            return True


class Overwrites(ListMemory):
    def append(self, episode):
        stored = super().append(episode)
        if not stored:
            place = [other.id for other in self.held].index(episode.id)
            self.held[place] = episode
        return stored


class SortsById(ListMemory):
    def append(self, episode):
        stored = super().append(episode)
        if episode.id == "order-5":  # the last of three
            self.held[-3:] = sorted(self.held[-3:], key=lambda episode: episode.id)
        return stored


class IgnoresAfter(ListMemory):
    def episodes(self, after=0):
        yield from list(self.held)


class CountsFromOne(ListMemory):
    def __len__(self):
        return len(self.held) + 1


class ForgetsToCount(ListMemory):
    def __len__(self):
        return min(len(self.held), 5)


class LosesTheEnd(ListMemory):
    def append(self, episode):
        return super().append(replace(episode, final_state=None))


class LosesTermination(ListMemory):
    def append(self, episode):
        return super().append(replace(episode, terminated=False))


class LosesProvenance(ListMemory):
    def append(self, episode):
        return super().append(replace(episode, provenance={}))


class KeepsStepsInAList(ListMemory):
    def append(self, episode):
        return super().append(replace(episode, steps=list(episode.steps)))


class CutsAtNul(ListMemory):
    def append(self, episode):
        steps = tuple(replace(s, action=s.action.partition("\0")[0]) for s in episode.steps)
        return super().append(replace(episode, steps=steps))


class RoundsRewards(ListMemory):
    def append(self, episode):
        steps = tuple(replace(s, reward=round(s.reward, 6)) for s in episode.steps)
        return super().append(replace(episode, steps=steps))


class StoresNumbersForTruth(ListMemory):
    def append(self, episode):
        steps = tuple(replace(s, changed=int(s.changed)) for s in episode.steps)
        return super().append(replace(episode, steps=steps))


class LosesScores(ListMemory):
    def append(self, episode):
        return super().append(
            replace(episode, steps=tuple(replace(s, judged=None) for s in episode.steps))
        )


class ZerosForNoScore(ListMemory):
    def filled(self, episode, scores):
        return super().filled(episode, [score or 0.0 for score in scores])


class JudgesAgain(ListMemory):
    def filled(self, episode, scores):
        pairs = zip(episode.steps, scores, strict=True)
        steps = [s if score is None else replace(s, judged=score) for s, score in pairs]
        return replace(episode, steps=tuple(steps))


class ShiftsScores(ListMemory):
    def filled(self, episode, scores):
        return super().filled(episode, [*scores[1:], scores[0]])


class ForgetsWhoJudged(ListMemory):
    def told(self, episode, provenance):
        return episode


class ForgetsTheFirstJudge(ListMemory):
    def told(self, episode, provenance):
        return replace(episode, provenance={**episode.provenance, **provenance})


class JudgesNobody(ListMemory):
    def judge(self, id, scores, provenance=MappingProxyType({})):
        try:
            return super().judge(id, scores, provenance)
        except InvalidValue:
            return False


class JudgesInSilence(ListMemory):
    def judge(self, id, scores, provenance=MappingProxyType({})):
        super().judge(id, scores, provenance)


class DropsEmptyFields(ListMemory):
    def append(self, episode):
        steps = tuple(
            replace(s, state=State(**{name: text for name, text in s.state.items() if text}))
            for s in episode.steps
        )
        return super().append(replace(episode, steps=steps))


class DropsRepeatedSteps(ListMemory):
    def append(self, episode):
        steps = []
        for step in episode.steps:
            if step not in steps:
                steps.append(step)
        return super().append(replace(episode, steps=tuple(steps)))


class StoresHalves(ListMemory):
    def append(self, episode):
        try:
            return super().append(episode)
        except ZeroDivisionError:
            self.held.append(replace(episode, steps=episode.steps[:2]))
            raise


class SwallowsErrors(ListMemory):
    def append(self, episode):
        try:
            return super().append(episode)
        except ZeroDivisionError:
            return False


class StopsAfterAnError(ListMemory):
    broken = False

    def append(self, episode):
        if self.broken:
            return False
        try:
            return super().append(episode)
        except ZeroDivisionError:
            self.broken = True
            raise


class OnlyForItsThread(ListMemory):
    def __init__(self, *args):
        super().__init__(*args)
        self.owner = threading.get_ident()

    def append(self, episode):
        if threading.get_ident() != self.owner:
            raise RuntimeError("not my thread")
        return super().append(episode)


class ClosesOnce(ListMemory):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class HasAnOddPath(ListMemory):
    def __init__(self, held=None):
        super().__init__(held, path=b"bytes")


class TellsNothingOfJudges(ListMemory):
    def judge(self, id, scores, provenance=MappingProxyType({})):
        filled = super().judge(id, scores, provenance)
        if filled:
            self.log[-1] = 0
        return filled

    def changes(self, after):
        return (trail for trail in super().changes(after) if trail.number > 1 or not after)


class TellsTooMuch(ListMemory):
    def changes(self, after):
        return super().changes(max(after - 1, 0))


class NumbersStatesTwice(ListMemory):
    def numbered(self):
        return [step.state for episode in self.held for step in episode.steps]

    def changes(self, after):
        first = 0
        for trail in super().changes(after):
            yield replace(trail, states=tuple(range(first, first + len(trail.states))))
            first += len(trail.states)


class ShiftsStates(ListMemory):
    def changes(self, after):
        for trail in super().changes(after):
            yield replace(trail, states=(*trail.states[1:], *trail.states[:1]))


class LosesActions(ListMemory):
    def changes(self, after):
        return (replace(trail, actions=()) for trail in super().changes(after))


class MixesUpHeads(ListMemory):
    def heads(self, numbers):
        held = super().heads(numbers)
        return dict(zip(held, reversed(held.values()), strict=True))


class MarksNothing(ListMemory):
    def mark(self, revision):
        return ""


class MarksAllAlike(ListMemory):
    def mark(self, revision):
        return super().mark(revision) and "mark"


class StandsStill(ListMemory):
    stood = None

    def pulse(self):
        self.stood = self.stood or super().pulse()
        return self.stood


class CountsRevisions(ListMemory):
    def pulse(self):
        return replace(super().pulse(), episodes=len(self.log))


class LosesItsRedaction(ListMemory):
    redaction = DEFAULT


class FindsAnything(ListMemory):
    def get(self, id):
        return super().get(id) or self.held[0]


BROKEN = [
    (SaysNothing, r"append\(\) of a new episode must return True, got None"),
    (StoresTwice, r"id that is stored already must return False, got True"),
    (Overwrites, r"after append\(\) of an id that is stored already, episode 'plain': task was"),
    (SortsById, r"follow the order of storing, got \['order-1', 'order-5', 'order-9'\]"),
    (IgnoresAfter, r"episodes\(after=1\) must leave out those up to number 1"),
    (CountsFromOne, r"a store that is empty at first, len\(\) is 1"),
    (ForgetsToCount, r"len\(\) must count an episode that is stored: 5 before, 5 after"),
    (LosesTheEnd, r"episode '0': final_state was State\(room='hell'\), came back as None"),
    (LosesTermination, r"episode '0': terminated was True, came back as False"),
    (LosesProvenance, r"episode 'plain': provenance was .* came back as {}"),
    (KeepsStepsInAList, r"episode 'plain': steps was \(Step.*, came back as \[Step"),
    (CutsAtNul, r"action was 'a\\x00b', came back as 'a'"),
    (RoundsRewards, r"reward was 0.30000000000000004, came back as 0.3"),
    (StoresNumbersForTruth, r"changed was True, came back as 1"),
    (LosesScores, r"judged was 0.0, came back as None"),
    (ZerosForNoScore, r"judge\(\) must say whether a score was filled in: False, got True"),
    (JudgesAgain, r"judge\(\) must say whether a score was filled in: False, got True"),
    (ShiftsScores, r"judge\(\) must say whether a score was filled in: False, got True"),
    (ForgetsWhoJudged, r"filled in two scores, episode 'judged': provenance was .*'one; two'"),
    (ForgetsTheFirstJudge, r"filled in two scores, episode 'judged': provenance was .*'one; two'"),
    (JudgesNobody, r"judge\(\) of an id that is not stored must raise InvalidValue, it returned"),
    (JudgesInSilence, r"judge\(\) must say whether a score was filled in: False, got None"),
    (DropsEmptyFields, r"state was State\(.*came back as State\(='named by it'\)"),
    (DropsRepeatedSteps, r"episode 'repeated': steps was"),
    (StoresHalves, r"after an append\(\) that failed midway, episodes\(\) must yield"),
    (SwallowsErrors, r"append\(\) must raise where a step cannot be read, it returned"),
    (StopsAfterAnError, r"append\(\) of a new episode must return True, got False"),
    (OnlyForItsThread, r"from several threads must work, it raised RuntimeError\('not my thread'"),
    (ClosesOnce, r"close\(\) must be harmless when called twice: RuntimeError\('closed already'"),
    (TellsNothingOfJudges, r"changes\(.*\) must tell of 1 episodes, got 0"),
    (TellsTooMuch, r"nothing changed after pulse\(\).revision"),
    (NumbersStatesTwice, r"equal states must have one number"),
    (ShiftsStates, r"changes\(0\) of episode .*: states must be"),
    (LosesActions, r"changes\(0\) of episode 'plain': actions must be .*, got \(\)"),
    (MixesUpHeads, r"heads\(\) of episode 'plain' must be \('plain'"),
    (MarksNothing, r"mark\(\) must say something"),
    (MarksAllAlike, r"mark\(\) must tell revisions apart"),
    (StandsStill, r"append\(\) must raise pulse\(\).revision"),
    (CountsRevisions, r"pulse\(\).episodes must be"),
    (LosesItsRedaction, r"with `redaction`, episode 'with a secret': task was"),
    (FindsAnything, r"get\(\) of an id that is not stored must return None"),
    (HasAnOddPath, r"path must be a text, or None for a memory in RAM, got b'bytes'"),
]


@pytest.mark.parametrize(
    ("kind", "violation"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_is_broken_is_named(kind, violation):
    with pytest.raises(AssertionError, match=violation):
        check_store(shared(kind))


def test_a_memory_that_forgets_when_it_is_closed_is_named():
    with pytest.raises(AssertionError, match=r"opened a second time, episodes\(\) must yield"):
        check_store(ListMemory)


class Cleared(ListMemory):
    def close(self):
        self.held.clear()
        self.log.clear()


def test_a_memory_that_loses_everything_on_closing_is_named():
    held, log = [], []
    opened = []

    def open_():
        kind = ListMemory if opened else Cleared
        opened.append(kind(held, log=log))
        return opened[-1]

    with pytest.raises(AssertionError, match="after closing and reopening, episodes"):
        check_store(open_)


class Snapshot(ListMemory):
    """Another handle that sees what there was when it was opened, and no more."""

    def __init__(self, held, log):
        super().__init__(list(held), log=list(log))


def test_a_handle_that_does_not_see_the_others_episodes_is_named():
    held, log = [], []
    opened = []

    def open_():
        opened.append(Snapshot(held, log) if opened else ListMemory(held, log=log))
        return opened[-1]

    with pytest.raises(AssertionError, match="by the second of two that are open, episodes"):
        check_store(open_)


PARTS = (
    *("append", "judge", "episodes", "get", "pulse", "mark", "changes", "states", "heads", "close"),
)


@pytest.mark.parametrize("missing", [*PARTS, "path", "beside", "redaction"])
def test_a_missing_part_of_the_contract_is_named(missing):
    parts = dict.fromkeys(("path", "beside", "redaction"))
    parts |= {name: lambda self: None for name in PARTS}
    parts["__len__"] = lambda self: 0
    del parts[missing]
    with pytest.raises(AssertionError, match=missing):
        check_store(type("Partial", (), parts))


def test_a_store_that_is_in_use_is_refused(tmp_path):
    path = tmp_path / "memory.db"
    check_store(lambda: SqliteMemory(path))
    with pytest.raises(AssertionError, match="a store that is empty at first"):
        check_store(lambda: SqliteMemory(path))
