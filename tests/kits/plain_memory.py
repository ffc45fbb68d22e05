"""A memory as plain lists and dictionaries: slow, in RAM, obviously right.

What the state machines compare real stores with, and what an index can be tested on alone. It
redacts nothing.
"""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from dataclasses import dataclass, replace

from jitrl.errors import InvalidValue, UnknownName
from jitrl.memory.contract import (
    Cap,
    Difference,
    Entry,
    Head,
    Pulse,
    Selection,
    Size,
    Snapshot,
    Trail,
)
from jitrl.trust import source_of

EVERYTHING = Selection()
NOW = "2026-11-24T12:00:00.000+00:00"


@dataclass
class Held:
    number: int
    revision: int
    episode: object
    stored: str
    active: bool = True
    quarantined: str | None = None

    @property
    def present(self):
        return self.active and self.quarantined is None


class PlainMemory:
    path = None
    redaction = None
    beside = None

    def __init__(self, beside=None, clock=lambda: NOW):
        self.beside = beside
        self.clock = clock
        self.epoch = "first"
        self.revision = 0
        self.marks = [""]  # of revision 0, 1, 2 ...
        self.held = {}  # number -> Held
        self.gone = {}  # number -> revision
        self.numbers = {}  # state -> number
        self.named = {}  # snapshot -> (made, numbers)
        self.cap = None

    # --- record

    def append(self, episode):
        if any(held.episode.id == episode.id for held in self.held.values()):
            return False
        self._turn()
        self.held[self.revision] = Held(self.revision, self.revision, episode, self.clock())
        states = [step.state for step in episode.steps]
        if episode.final_state is not None:
            states.append(episode.final_state)
        for state in states:
            self.numbers.setdefault(state, 1 + max(self.numbers.values(), default=0))
        self._evict()
        return True

    def judge(self, id, scores, provenance=()):
        held = next((h for h in self.held.values() if h.episode.id == id), None)
        if held is None or len(scores) != len(held.episode.steps):
            raise InvalidValue("id", id, "must be stored, with as many steps")
        if {"run", "source", "origin"} & dict(provenance).keys():
            raise InvalidValue("provenance", provenance, "must not be of whose the episode is")
        pairs = list(zip(held.episode.steps, scores, strict=True))
        if not any(s.judged is None and new is not None for s, new in pairs):
            return False
        steps = tuple(replace(s, judged=new if s.judged is None else s.judged) for s, new in pairs)
        by = dict(held.episode.provenance)
        for name, value in dict(provenance).items():
            if value not in by.setdefault(name, value).split("; "):
                by[name] += f"; {value}"
        self._touch(held, episode=replace(held.episode, steps=steps, provenance=by))
        return True

    def episodes(self, after=0):
        for number in sorted(self.held):
            if number > after and number in self.held and self.held[number].present:
                yield self.held[number].episode

    def get(self, id):
        return next((h.episode for h in self.held.values() if h.episode.id == id), None)

    def __len__(self):
        return sum(held.present for held in self.held.values())

    # --- what an index reads

    def pulse(self):
        return Pulse(self.epoch, self.revision, len(self.held))

    def mark(self, revision):
        return self.marks[revision] if revision < len(self.marks) else ""

    def changes(self, after):
        for number in sorted(self.held | self.gone):
            if number in self.gone:
                if self.gone[number] > after > 0:
                    yield Trail(number, self.gone[number], False)
                continue
            held = self.held[number]
            if held.revision > after:
                steps = held.episode.steps
                yield Trail(
                    number,
                    held.revision,
                    held.present,
                    tuple(self.numbers[step.state] for step in steps),
                    tuple(step.action for step in steps),
                    tuple(step.reward for step in steps),
                    tuple(step.judged for step in steps),
                )

    def states(self, numbers):
        wanted = set(numbers)
        return {number: state for state, number in self.numbers.items() if number in wanted}

    def heads(self, numbers):
        found = {n: self.held[n].episode for n in numbers if n in self.held}
        return {n: Head(e.id, e.task, e.provenance) for n, e in found.items()}

    def close(self):
        pass

    # --- govern

    def catalogue(self, selection=EVERYTHING):
        for held in sorted(self.held.values(), key=lambda h: h.number):
            episode = held.episode
            if self._meant(held, selection):
                yield Entry(
                    number=held.number,
                    id=episode.id,
                    task=episode.task,
                    run=episode.provenance.get("run", ""),
                    source=source_of(episode.provenance),
                    stored=held.stored,
                    steps=len(episode.steps),
                    reward=sum(step.reward for step in episode.steps),
                    terminated=episode.terminated,
                    present=held.present,
                    quarantined=held.quarantined,
                )

    def quarantine(self, selection, why):
        return self._set(selection, lambda held: held.quarantined is None, quarantined=why)

    def release(self, selection):
        return self._set(selection, lambda held: held.quarantined is not None, quarantined=None)

    def forget(self, selection, progress=None):
        doomed = [h.number for h in self._selected(selection)]
        if doomed:
            self._turn()
            self.epoch += "+"
            self.gone.clear()
            for number in doomed:
                del self.held[number]
        return len(doomed)

    def snapshot(self, name):
        if name in self.named or not name:
            raise InvalidValue("name", name, "must be new, and not empty")
        self.named[name] = (self.clock(), {n for n, held in self.held.items() if held.present})
        return Snapshot(name, self.clock(), len(self.named[name][1]))

    def snapshots(self):
        return [Snapshot(name, made, len(members)) for name, (made, members) in self.named.items()]

    def drop_snapshot(self, name):
        self._members(name)
        del self.named[name]

    def diff(self, old, new=None):
        before, after = self._members(old), self._members(new)
        return Difference(self._ids(after - before), self._ids(before - after))

    def rollback(self, name):
        before, members = self._members(None), self._members(name)
        changed = [
            h
            for n, h in self.held.items()
            if (n in members and not h.active) or (n not in members and h.present)
        ]
        if changed:
            self._turn()
        for held in changed:
            held.active, held.revision = held.number in members, self.revision
        after = self._members(None)
        return Difference(self._ids(after - before), self._ids(before - after))

    def size(self):
        return Size(len(self.numbers), None)

    def set_cap(self, cap: Cap | None):
        self.cap = cap
        return self._evict()

    # --- inside

    def _turn(self):
        self.revision += 1
        self.marks.append(secrets.token_hex(4))

    def _members(self, name):
        if name is None:
            return {n for n, held in self.held.items() if held.present}
        if name not in self.named:
            raise UnknownName("snapshot", name, list(self.named))
        return self.named[name][1] & self.held.keys()

    def _ids(self, numbers):
        return tuple(self.held[n].episode.id for n in sorted(numbers))

    def _meant(self, held, selection):
        episode = held.episode
        provenance = episode.provenance
        texts = [episode.id, episode.task, *provenance, *provenance.values()]
        for step in episode.steps:
            texts += [step.action, *step.before, *step.after, *step.state, *step.state.values()]
        if episode.final_state is not None:
            texts += [*episode.final_state, *episode.final_state.values()]
        return (
            selection.id in (None, episode.id)
            and selection.task in (None, episode.task)
            and selection.run in (None, provenance.get("run", ""))
            and selection.source in (None, source_of(provenance))
            and (selection.since is None or held.stored >= selection.since)
            and (selection.until is None or held.stored < selection.until)
            and (selection.text is None or any(selection.text in text for text in texts))
        )

    def _selected(self, selection):
        if not selection:
            raise InvalidValue("selection", selection, "must say which episodes")
        return [h for n, h in sorted(self.held.items()) if self._meant(h, selection)]

    def _set(self, selection, wanted, **changes):
        found = [held for held in self._selected(selection) if wanted(held)]
        if found:
            self._turn()
        for held in found:
            for name, value in (changes | {"revision": self.revision}).items():
                setattr(held, name, value)
        return len(found)

    def _touch(self, held, **changes):
        self._turn()
        for name, value in (changes | {"revision": self.revision}).items():
            setattr(held, name, value)

    def _evict(self):
        """Let episodes go by the cap: counted are those that are active, quarantined or not."""
        active = sorted(n for n, held in self.held.items() if held.active)
        if self.cap is None or len(active) <= self.cap.episodes:
            return 0
        going = self._order(active)[: len(active) - (self.cap.episodes - self.cap.episodes // 10)]
        self._turn()
        kept = set(itertools.chain(*(members for _, members in self.named.values())))
        for number in going:
            if number in kept:
                self.held[number].active = False
                self.held[number].revision = self.revision
            else:
                del self.held[number]
                self.gone[number] = self.revision
        return len(going)

    def _order(self, active):
        if self.cap.policy == "oldest":
            return active
        steps = {n: self.held[n].episode.steps for n in active}
        if self.cap.policy == "least-useful":
            said = Counter((s.state, s.action) for n in active for s in steps[n])
            worth = {
                n: sum(1 / said[s.state, s.action] for s in steps[n]) / max(len(steps[n]), 1)
                for n in active
            }
            return sorted(active, key=lambda n: (worth[n], n))
        visits = {n: {s.state for s in steps[n]} for n in active}
        newer = {
            n: min(
                (sum(s in visits[m] for m in active if m > n) for s in visits[n]),
                default=len(active),
            )
            for n in active
        }
        return sorted(active, key=lambda n: (-newer[n], n))
