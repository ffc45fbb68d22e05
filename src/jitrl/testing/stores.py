"""The conformance kit of a memory: `check_store` on yours says whether it keeps the contract."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace

from jitrl.errors import InvalidValue
from jitrl.memory import Memory
from jitrl.records import Episode, State, Step

Opener = Callable[[], Memory]
_METHODS = (
    "append",
    "judge",
    "episodes",
    "get",
    "__len__",
    "pulse",
    "mark",
    "changes",
    "states",
    "heads",
    "close",
)
_THREADS = 4
_EACH = 5


def check_store(open: Opener) -> None:
    """Check an implementation of `jitrl.memory.Memory`; AssertionError names what it violates.

    open  opens the same store anew at each call, also while it is open already. The store is empty
          at first, and full of odd episodes in the end. A memory whose `path` is None lives in RAM:
          each call opens another one, and what sharing and reopening should show is left out.

    >>> from jitrl.memory import SqliteMemory
    >>> check_store(SqliteMemory)
    """
    with _opened(open) as memory:
        shared = memory.path is not None
        _check_empty(memory)
        _check_round_trip(memory)
        _check_once(memory)
        _check_order(memory)
        _check_judge(memory)
        _check_trails(memory)
        _check_redaction(memory)
        _check_whole_or_not_at_all(memory)
        _check_threads(memory)
        if shared:
            _check_sharing(memory, open)
        held = list(memory.episodes())
    _check_closed(memory)
    if shared:
        with _opened(open) as memory:
            _compare(held, list(memory.episodes()), "after closing and reopening,")


@contextmanager
def _opened(open: Opener) -> Iterator[Memory]:
    memory = open()
    for name in _METHODS:
        assert callable(getattr(memory, name, None)), f"a memory must have a method {name}()"
    with closing(memory):
        for name, kind in (("path", "a text"), ("beside", "a Path"), ("redaction", "a Redaction")):
            assert hasattr(memory, name), (
                f"a memory must have an attribute `{name}`: {kind}, or None"
            )
        assert memory.path is None or isinstance(memory.path, str), (
            f"path must be a text, or None for a memory in RAM, got {memory.path!r}"
        )
        yield memory


def _check_empty(memory: Memory) -> None:
    held = len(memory)
    assert held == 0, f"check_store needs a store that is empty at first, len() is {held}"
    assert not list(memory.episodes()), "episodes() of an empty memory must yield nothing"


def _check_round_trip(memory: Memory) -> None:
    expected = list(_odd_episodes())
    for episode in expected:
        _append(memory, episode)
    _compare(expected, list(memory.episodes()), "as stored,")


def _check_once(memory: Memory) -> None:
    before = list(memory.episodes())
    other = Episode(before[0].id, "another task", (_step(99),))
    for episode in (before[0], other):
        stored = memory.append(episode)
        assert stored is False, (
            f"append() of an id that is stored already must return False, got {stored!r}"
        )
    _compare(before, list(memory.episodes()), "after append() of an id that is stored already,")
    _check_len(memory, len(before))


def _check_order(memory: Memory) -> None:
    begun = memory.episodes()
    next(begun)
    for i in (9, 1, 5):  # not the order of their ids
        _append(memory, _episode(f"order-{i}"))
    everything = list(memory.episodes())
    last = [episode.id for episode in everything[-3:]]
    assert last == ["order-9", "order-1", "order-5"], (
        f"episodes() must follow the order of storing, got {last}"
    )
    numbers = [trail.number for trail in memory.changes(0)]
    assert numbers == sorted(set(numbers)), f"numbers must rise in the order of storing: {numbers}"
    for place, after in enumerate((0, *numbers)):
        rest = [episode.id for episode in memory.episodes(after)]
        wanted = [episode.id for episode in everything[place:]]
        assert rest == wanted, (
            f"episodes(after={after}) must leave out those up to number {after}, got {len(rest)} "
            f"of {len(everything)} episodes, from {rest[:1]}"
        )
    rest = [episode.id for episode in begun]
    start = [episode.id for episode in everything[1 : 1 + len(rest)]]
    assert rest == start, "an iteration under way must survive an append() in between"


def _check_judge(memory: Memory) -> None:
    steps = tuple(_step(t, judged=score) for t, score in enumerate((None, 0.5, None, None)))
    episode = Episode("judged", "a task", steps, provenance={"world": "check_store", "by": "one"})
    _append(memory, episode)
    before = list(memory.episodes())
    refusals: tuple[tuple[str, list[float | None], str], ...] = (
        ("nowhere", [1.0] * 4, "of an id that is not stored"),
        ("judged", [1.0] * 3, "with fewer scores than steps"),
        ("judged", [1.0] * 5, "with more scores than steps"),
        ("judged", [1.0, None, None, math.nan], "with a score that is nan"),
        ("judged", [1.0] * 4, "that tells of another source"),
    )
    for id, scores, what in refusals:
        by = {"source": "two"} if "source" in what else {"by": "two"}
        try:
            memory.judge(id, scores, by)
        except InvalidValue:
            _compare(before, list(memory.episodes()), f"after a judge() {what},")
        else:
            raise AssertionError(f"judge() {what} must raise InvalidValue, it returned")
    _judge(memory, [None, 9.0, None, None], {"by": "two"}, filled=False)
    _compare(before, list(memory.episodes()), "after a judge() with nothing to fill in,")
    _judge(memory, [0.1 + 0.2, 9.0, None, -3], {"by": "two", "told": "no"}, filled=True)
    filled = (0.1 + 0.2, 0.5, None, -3.0)
    episode = replace(
        episode,
        steps=tuple(_step(t, judged=score) for t, score in enumerate(filled)),
        provenance={"world": "check_store", "by": "one; two", "told": "no"},
    )
    after = [episode if old.id == "judged" else old for old in before]
    _compare(after, list(memory.episodes()), "after a judge() that filled in two scores,")
    _judge(memory, [1.0, 1.0, None, 1.0], {"by": "three"}, filled=False)
    _compare(after, list(memory.episodes()), "after a judge() with nothing to fill in,")


def _judge(
    memory: Memory, scores: list[float | None], provenance: dict[str, str], *, filled: bool
) -> None:
    answer = memory.judge("judged", scores, provenance)
    assert answer is filled, (
        f"judge() must say whether a score was filled in: {filled}, got {answer!r}"
    )


def _check_trails(memory: Memory) -> None:
    """Check what an index reads: pulse, changes, states, heads, and get."""
    before = memory.pulse()
    assert before.episodes == len(memory), f"pulse().episodes must be {len(memory)}: {before}"
    _compare_trails(memory, 0, list(memory.episodes()))
    assert not list(memory.changes(before.revision)), "nothing changed after pulse().revision"
    _append(memory, _episode("followed"))
    _append(memory, _episode("followed too"))
    appended = memory.pulse()
    assert appended.revision > before.revision, "append() must raise pulse().revision"
    assert appended.epoch == before.epoch, "append() must leave pulse().epoch as it is"
    _compare_trails(memory, before.revision, list(memory.episodes())[-2:])
    memory.append(_episode("followed"))
    marks = [memory.mark(r) for r in range(appended.revision + 1)]
    assert marks[0] == memory.mark(appended.revision + 1) == "", 'mark() of no revision must be ""'
    assert "" not in marks[1:], "mark() must say something of each revision"
    assert len(set(marks)) == len(marks), "mark() must tell revisions apart"
    assert memory.pulse() == appended, "append() of an id that is stored must change nothing"
    memory.judge("followed", [1.0, None])
    _compare_trails(memory, appended.revision, [e for e in memory.episodes() if e.id == "followed"])
    assert not memory.states([10**9]), "states() must leave out numbers that were never given"
    assert not memory.heads([10**9]), "heads() must leave out numbers that were never given"
    assert memory.get("nowhere") is None, "get() of an id that is not stored must return None"


def _compare_trails(memory: Memory, after: int, wanted: list[Episode]) -> None:
    trails = list(memory.changes(after))
    assert len(trails) == len(wanted), (
        f"changes({after}) must tell of {len(wanted)} episodes, got {len(trails)}"
    )
    states = memory.states(number for trail in trails for number in trail.states)
    assert len(set(states.values())) == len(states), "equal states must have one number"
    heads = memory.heads(trail.number for trail in trails)
    revision = memory.pulse().revision
    for trail, episode in zip(trails, wanted, strict=True):
        what = f"changes({after}) of episode {episode.id!r}"
        assert trail.present is True, f"{what}: present must be True, got {trail.present!r}"
        assert after < trail.revision <= revision, f"{what}: revision {trail.revision}"
        for name, attribute in (("actions", "action"), ("rewards", "reward"), ("judged", "judged")):
            expected = tuple(getattr(step, attribute) for step in episode.steps)
            found = getattr(trail, name)
            assert found == expected, (
                f"{what}: {name} must be {_short(expected)}, got {_short(found)}"
            )
        visited = tuple(states.get(number) for number in trail.states)
        expected = tuple(step.state for step in episode.steps)
        assert visited == expected, f"{what}: states must be {_short(expected)}, got {visited}"
        head = heads.get(trail.number)
        told = None if head is None else (head.id, head.task, dict(head.provenance))
        expected = (episode.id, episode.task, dict(episode.provenance))
        assert told == expected, f"heads() of episode {episode.id!r} must be {expected}, got {told}"
        _compare([episode], [e for e in (memory.get(episode.id),) if e is not None], "by get(),")


def _check_redaction(memory: Memory) -> None:
    """Check that what is stored, and told by a judge, is without secrets."""
    if memory.redaction is None:
        return
    secret = "Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789"
    steps = (_step(0, state=State(page=secret)), _step(1, action=secret))
    episode = Episode("with a secret", secret, steps, provenance={"note": secret})
    _append(memory, episode)
    memory.judge("with a secret", [1.0, None], {"judge": secret})
    told = replace(episode, provenance={"note": secret, "judge": secret})
    wanted = memory.redaction.episode(told)
    judged = (replace(wanted.steps[0], judged=1.0), wanted.steps[1])
    found = [stored for stored in memory.episodes() if stored.id == "with a secret"]
    _compare([replace(wanted, steps=judged)], found, "with `redaction`,")


def _check_whole_or_not_at_all(memory: Memory) -> None:
    before = list(memory.episodes())
    unreadable = _Unreadable()
    steps = (_step(0), _step(1), _step(2, state=unreadable), _step(3))
    try:
        memory.append(Episode("half", "a state that cannot be read", steps))
    except Exception:  # noqa: BLE001
        pass
    else:
        raise AssertionError("append() must raise where a step cannot be read, it returned")
    _compare(before, list(memory.episodes()), "after an append() that failed midway,")
    _check_len(memory, len(before))
    _append(memory, _episode("half"))


def _check_threads(memory: Memory) -> None:
    before = len(memory)
    start = threading.Barrier(_THREADS)
    answers: list[bool] = []
    errors: list[BaseException] = []

    def write(name: int) -> None:
        try:
            start.wait()
            answers.append(memory.append(_episode("raced")))
            for i in range(_EACH):
                _append(memory, _episode(f"thread-{name}-{i}"))
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, f"append() from several threads must work, it raised {errors[0]!r}"
    assert sorted(answers) == [False] * (_THREADS - 1) + [True], (
        f"append() of one id by {_THREADS} threads must return True once, got {answers}"
    )
    ids = [episode.id for episode in memory.episodes()][before:]
    wanted = {f"thread-{name}-{i}" for name in range(_THREADS) for i in range(_EACH)} | {"raced"}
    assert sorted(ids) == sorted(wanted), (
        f"append() from several threads must store each episode once: {len(wanted)} were "
        f"acknowledged, {len(ids)} are there, {len(set(ids))} of them different"
    )


def _check_sharing(memory: Memory, open: Opener) -> None:
    with _opened(open) as other:
        _compare(list(memory.episodes()), list(other.episodes()), "opened a second time,")
        for writer, reader, name in ((other, memory, "second"), (memory, other, "first")):
            _append(writer, _episode(f"by-the-{name}"))
            _compare(
                list(writer.episodes()),
                list(reader.episodes()),
                f"after append() by the {name} of two that are open,",
            )
            stored = reader.append(_episode(f"by-the-{name}"))
            assert stored is False, (
                f"append() of an id that another handle has stored must return False, got {stored}"
            )


def _check_closed(memory: Memory) -> None:
    try:
        memory.close()
    except Exception as error:
        raise AssertionError(f"close() must be harmless when called twice: {error!r}") from error


def _append(memory: Memory, episode: Episode) -> None:
    before = len(memory)
    stored = memory.append(episode)
    assert stored is True, f"append() of a new episode must return True, got {stored!r}"
    now = len(memory)
    assert now > before, f"len() must count an episode that is stored: {before} before, {now} after"


def _check_len(memory: Memory, wanted: int) -> None:
    held = len(memory)
    assert held == wanted, f"len() must be the number of stored episodes: {wanted}, got {held}"


def _compare(wanted: list[Episode], got: list[Episode], when: str) -> None:
    ids, found = [episode.id for episode in wanted], [episode.id for episode in got]
    assert ids == found, f"{when} episodes() must yield {len(ids)} episodes, got {len(found)}" + (
        "" if len(ids) != len(found) else ", in another order"
    )
    for one, other in zip(wanted, got, strict=True):
        _compare_fields(f"{when} episode {one.id!r}", one, other, Episode)
        for t, (step, found_step) in enumerate(zip(one.steps, other.steps, strict=True)):
            _compare_fields(f"{when} step {t} of episode {one.id!r}", step, found_step, Step)


def _compare_fields(what: str, one: object, other: object, kind: type[Episode | Step]) -> None:
    assert isinstance(other, kind), f"{what} must be a {kind.__name__}, got {type(other).__name__}"
    for field in fields(kind):
        left, right = getattr(one, field.name), getattr(other, field.name)
        same = isinstance(right, type(left)) or field.name in ("before", "after", "provenance")
        if field.name == "steps" and same and len(left) == len(right):
            continue  # they are compared one by one
        assert same and left == right, (
            f"{what}: {field.name} was {_short(left)}, came back as {_short(right)}"
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."


class _Unreadable(State):
    """A state whose texts cannot be read: what breaks an append() in the middle."""

    __slots__ = ()

    def __getitem__(self, name: str) -> str:
        raise ZeroDivisionError("this state cannot be read")

    def __iter__(self) -> Iterator[str]:
        raise ZeroDivisionError("this state cannot be read")


def _step(t: int, **changes: object) -> Step:
    values: dict[str, object] = {
        "state": State(room=f"room {t}"),
        "action": f"action {t}",
        "reward": float(t),
        "behaviour_logprob": -0.5,
        "before": {f"action {t}": 0.25, "wait": 0.75},
        "after": {f"action {t}": 0.75, "wait": 0.25},
        "changed": True,
        "preset": "default",
        "seed": 7,
    }
    return Step(**(values | changes))  # type: ignore[arg-type]


def _episode(id: str) -> Episode:
    return Episode(id, "a task", (_step(0), _step(1)), provenance={"world": "check_store"})


def _odd_episodes() -> Iterator[Episode]:
    """Yield what users do store, and a careless store loses."""
    yield _episode("plain")
    yield Episode("no steps", "", ())
    yield Episode("0", "the end", (_step(0),), terminated=True, final_state=State(room="hell"))
    yield Episode("cut off", "no state", (_step(0),), final_state=State())
    texts = (
        "",
        " ",
        "\n\r\t",
        "a\0b",
        "'; DROP TABLE episodes; --",
        "Ünï¢ödé 北 🏔 \u202e",
        "\\u0000",
    )
    for i, text in enumerate(texts):
        state = State(**{"self": text, "class": text, "a b": text, "": text, text: "named by it"})
        step = _step(i, state=state, action=text, before={text: 1.0}, after={text: 1.0})
        yield Episode(f"text {i}: {text}", text, (step,), provenance={text: text})
    numbers = (0.1 + 0.2, 5e-324, -1.7976931348623157e308, 1e16 + 2.0, 123456789.123456789)
    yield Episode(
        "numbers",
        "exact to the last bit",
        tuple(
            _step(t, reward=x, behaviour_logprob=-abs(x), before={"a": x}, seed=2**63 - 1)
            for t, x in enumerate(numbers)
        ),
    )
    scores = (None, 0.0, -0.0, 5e-324, None, -1.7976931348623157e308)
    yield Episode(
        "judged by somebody",
        "a score is a number, or none",
        tuple(_step(t, judged=score) for t, score in enumerate(scores)),
    )
    same = _step(0, changed=False)
    yield Episode("repeated", "the same step again and again", (same, same, same))
    yield Episode("long", "in order", tuple(_step(t) for t in range(120)))
