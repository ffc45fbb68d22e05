"""The conformance kit of a memory that is governed: looked into, bounded, cleaned, brought back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace

from jitrl.errors import InvalidValue, UnknownName
from jitrl.memory import Cap, Governed, Selection
from jitrl.records import Episode, State, Step

Opener = Callable[[], Governed]
_EARLY, _LATE = "2000-01-01", "2999-01-01"


def check_governance(open: Opener) -> None:
    """Check an implementation of `jitrl.memory.Governed`; AssertionError names what it violates.

    open  opens the same store anew at each call. The store is empty at first. A memory whose
          `path` is None lives in RAM: what reopening should show is left out.

    `check_store` checks what a learner needs of it.

    >>> from jitrl.memory import SqliteMemory
    >>> check_governance(SqliteMemory)
    """
    with closing(open()) as memory:
        assert not len(memory), f"check_governance needs an empty store, len() is {len(memory)}"
        _check_catalogue(memory)
        _check_selections(memory)
        _check_empty_selections(memory)
        _check_quarantine(memory)
        _check_snapshots(memory)
        _check_rollback(memory)
        _check_forget(memory)
        _check_caps(memory)
        _check_sound(memory)
        held, cap = list(memory.catalogue()), memory.cap
        snapshots = memory.snapshots()
        shared = memory.path is not None
    if shared:
        with closing(open()) as memory:
            assert list(memory.catalogue()) == held, "the catalogue must survive reopening"
            assert memory.cap == cap, "the cap must survive reopening"
            assert memory.snapshots() == snapshots, "snapshots must survive reopening"


def _check_catalogue(memory: Governed) -> None:
    for i in range(6):
        memory.append(_episode(f"e{i}"))
    entries = list(memory.catalogue())
    _same("catalogue() must tell the ids", [e.id for e in entries], [f"e{i}" for i in range(6)])
    numbers = [entry.number for entry in entries]
    _same("numbers must rise", numbers, sorted(set(numbers)))
    wanted = replace(
        entries[0],
        id="e0",
        task="task 0",
        run="run 0",
        source="run 0",
        steps=2,
        reward=1.25,
        terminated=True,
        present=True,
        quarantined=None,
    )
    _same("the first line of catalogue()", entries[0], wanted)
    _same("source must come first", entries[5].source, "a guest")


def _check_selections(memory: Governed) -> None:
    everything = [f"e{i}" for i in range(6)]
    selections: tuple[tuple[Selection, list[str]], ...] = (
        (Selection(), everything),
        (Selection(id="e1"), ["e1"]),
        (Selection(id="nowhere"), []),
        (Selection(run="run 0"), ["e0", "e2", "e4"]),
        (Selection(task="task 1"), ["e1", "e4"]),
        (Selection(task="task 1", run="run 0"), ["e4"]),
        (Selection(source="a guest"), ["e5"]),
        (Selection(since=_EARLY, until=_LATE), everything),
        (Selection(until=_EARLY), []),
        (Selection(since=_LATE), []),
        (Selection(text='a "quoted" word\n'), ["e2"]),  # in a state
        (Selection(text="north 3"), ["e3"]),  # an action
        (Selection(text="never tried 4"), ["e4"]),  # what was possible
        (Selection(text="the end of e1"), ["e1"]),  # the last state
        (Selection(text="a guest"), ["e5"]),  # provenance
        (Selection(text="u0022"), []),  # only in how it is written
        (Selection(text="nowhere at all"), []),
    )
    for selection, wanted in selections:
        found = [entry.id for entry in memory.catalogue(selection)]
        _same(f"catalogue({selection!r})", found, wanted)


def _check_empty_selections(memory: Governed) -> None:
    before = memory.pulse()
    for what, call in (
        ("quarantine", lambda: memory.quarantine(Selection(), "why")),
        ("release", lambda: memory.release(Selection())),
        ("forget", lambda: memory.forget(Selection())),
    ):
        _raises(f"{what}() of an empty selection", InvalidValue, call)
    _same("what refused calls leave", memory.pulse(), before)


def _check_quarantine(memory: Governed) -> None:
    before = memory.pulse()
    _same("quarantine()", memory.quarantine(Selection(run="run 0"), "doubtful"), 3)
    _present(memory, "after quarantine()", ["e1", "e3", "e5"])
    _same("len() after quarantine()", len(memory), 3)
    assert memory.pulse().revision > before.revision, "quarantine() must raise the revision"
    told = {t.number for t in memory.changes(before.revision) if not t.present}
    _same("changes() after quarantine()", len(told), 3)
    _same("quarantine() again", memory.quarantine(Selection(id="e0"), "once more"), 0)
    why = [entry.quarantined for entry in memory.catalogue()]
    _same("why in the catalogue", why, ["doubtful", None, "doubtful", None, "doubtful", None])
    assert memory.get("e0") == _episode("e0"), "get() must return what is in quarantine"
    _same("release()", memory.release(Selection(id="e0")), 1)
    _same("release() of the others", memory.release(Selection(run="run 0")), 2)
    _same("release() again", memory.release(Selection(run="run 0")), 0)
    _present(memory, "after release()", [f"e{i}" for i in range(6)])


def _check_snapshots(memory: Governed) -> None:
    memory.quarantine(Selection(id="e1"), "doubtful")
    made = memory.snapshot("five")
    _same("snapshot()", (made.name, made.episodes), ("five", 5))
    memory.release(Selection(id="e1"))
    memory.snapshot("six")
    _same("snapshots()", [one.name for one in memory.snapshots()], ["five", "six"])
    _raises("a name in use", InvalidValue, lambda: memory.snapshot("five"))
    _raises("an empty name", InvalidValue, lambda: memory.snapshot(""))
    for what, call in (
        ("drop_snapshot()", lambda: memory.drop_snapshot("seven")),
        ("diff()", lambda: memory.diff("seven")),
        ("rollback()", lambda: memory.rollback("seven")),
    ):
        _raises(f"{what} of an unknown name", UnknownName, call)
    memory.append(_episode("e6"))
    _difference(memory, "five", "six", ["e1"], [])
    _difference(memory, "six", "five", [], ["e1"])
    _difference(memory, "five", None, ["e1", "e6"], [])
    _difference(memory, None, "five", [], ["e1", "e6"])
    memory.drop_snapshot("six")
    _same("drop_snapshot()", [one.name for one in memory.snapshots()], ["five"])


def _check_rollback(memory: Governed) -> None:
    memory.snapshot("seven")
    memory.quarantine(Selection(id="e2"), "doubtful")
    changed = memory.rollback("five")
    _same("rollback()", (changed.added, changed.removed), ((), ("e1", "e6")))
    _present(memory, "after rollback()", ["e0", "e3", "e4", "e5"])
    revision = memory.pulse().revision
    changed = memory.rollback("five")
    _same("rollback() again", (changed.added, changed.removed), ((), ()))
    _same("the revision after it", memory.pulse().revision, revision)
    changed = memory.rollback("seven")
    _same("forward again", (changed.added, changed.removed), (("e1", "e6"), ()))
    memory.release(Selection(id="e2"))
    _present(memory, "forward again", [f"e{i}" for i in range(7)])


def _check_forget(memory: Governed) -> None:
    before = memory.pulse()
    calls: list[str] = []
    _same("forget() of nothing", memory.forget(Selection(id="nowhere")), 0)
    _same("what it leaves", memory.pulse(), before)
    told = memory.forget(Selection(text="never tried 4"), lambda what, *_: calls.append(what))
    _same("forget()", told, 1)
    assert calls, "forget() must tell of its progress"
    after = memory.pulse()
    assert after.epoch != before.epoch, "forget() must begin an epoch"
    assert after.revision > before.revision, "forget() must raise the revision"
    _present(memory, "after forget()", ["e0", "e1", "e2", "e3", "e5", "e6"])
    assert memory.get("e4") is None, "get() of a forgotten episode must return None"
    _same("forget() reaches snapshots", memory.diff("seven").removed, ())
    _same("a snapshot counts what it named", memory.snapshots()[-1].episodes, 7)
    assert memory.append(_episode("e4")) is True, "a forgotten id must be free again"
    used = max(entry.number for entry in memory.catalogue() if entry.id != "e4")
    (entry,) = memory.catalogue(Selection(id="e4"))
    assert entry.number > used, f"numbers must not be used twice: {entry.number} after {used}"


def _check_caps(memory: Governed) -> None:
    memory.drop_snapshot("five")
    memory.drop_snapshot("seven")
    assert memory.cap is None, f"there must be no cap at first: {memory.cap}"
    _same("set_cap()", memory.set_cap(Cap(7)), 0)
    memory.snapshot("seven")
    _same("set_cap()", memory.set_cap(Cap(5, "oldest")), 2)
    _same("cap", memory.cap, Cap(5, "oldest"))
    _present(memory, "with a cap of 5", ["e2", "e3", "e5", "e6", "e4"])
    assert memory.get("e0") is not None, "what a snapshot names must be rolled back, not deleted"
    memory.drop_snapshot("seven")
    memory.set_cap(Cap(20, "least-useful"))
    before = memory.pulse()
    for name in "abc":
        memory.append(Episode(name, "the same again", (_step("e2", 0), _step("e2", 1))))
    _same("set_cap()", memory.set_cap(Cap(6, "least-useful")), 2)
    _present(memory, "by usefulness", ["e3", "e5", "e6", "e4", "b", "c"])
    gone = [t.number for t in memory.changes(before.revision) if not (t.present or t.states)]
    assert gone, "changes() must tell of what is gone"
    memory.append(Episode("d", "covers e3", (_step("e3", 0), _step("e3", 1))))
    _present(memory, "by usefulness", ["e5", "e6", "e4", "b", "c", "d"])
    memory.append(Episode("e", "the same again", (_step("e2", 0), _step("e2", 1))))
    memory.set_cap(Cap(5, "per-state"))
    _present(memory, "by what newer ones cover", ["e5", "e6", "e4", "d", "e"])
    memory.set_cap(None)
    assert memory.cap is None, "set_cap(None) must lift it"


def _check_sound(memory: Governed) -> None:
    calls: list[str] = []
    before = list(memory.episodes())
    findings = list(memory.verify(lambda what, *_: calls.append(what)))
    _same("verify()", findings, [])
    memory.vacuum(lambda what, *_: calls.append(what))
    _same("episodes() after vacuum()", list(memory.episodes()), before)
    _same("verify() after vacuum()", list(memory.verify()), [])
    assert len(set(calls)) > 1, f"verify() and vacuum() must tell of their progress: {calls}"


def _present(memory: Governed, when: str, ids: Iterable[str]) -> None:
    _same(f"episodes() {when}", [episode.id for episode in memory.episodes()], list(ids))
    present = [entry.id for entry in memory.catalogue() if entry.present]
    _same(f"present in catalogue() {when}", present, list(ids))


def _difference(
    memory: Governed, old: str | None, new: str | None, added: list[str], removed: list[str]
) -> None:
    found = memory.diff(old, new)
    _same(f"diff({old!r}, {new!r})", (list(found.added), list(found.removed)), (added, removed))


def _same(what: str, found: object, wanted: object) -> None:
    assert found == wanted, f"{what}: must be {wanted!r}, got {found!r}"


def _raises(what: str, kind: type[Exception], call: Callable[[], object]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{what} must raise {kind.__name__}, it returned")


def _episode(id: str) -> Episode:
    i = int(id[1:])
    guest = {"source": "a guest"} if i == 5 else {}
    return Episode(
        id,
        f"task {i % 3}",
        (_step(id, 0), _step(id, 1)),
        terminated=True,
        final_state=State(room=f"the end of {id}"),
        provenance={"run": f"run {i % 2}", **guest},
    )


def _step(id: str, t: int) -> Step:
    i = int(id[1:])
    room = 'a "quoted" word\n' if (i, t) == (2, 0) else f"room {t} of {id}"
    return Step(
        state=State(room=room),
        action=f"north {i}",
        reward=(1.0, 0.25)[t],
        behaviour_logprob=-0.5,
        before={f"north {i}": 0.5, f"never tried {i}": 0.5},
        after={f"north {i}": 0.75, f"never tried {i}": 0.25},
        changed=False,
        preset="default",
        seed=7,
    )
