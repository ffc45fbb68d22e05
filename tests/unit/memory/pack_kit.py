"""What the tests of packs share: episodes of every kind, and packs made by hand."""

from __future__ import annotations

import json
import zipfile
from hashlib import sha256

from hypothesis import strategies as st
from plain_memory import PlainMemory

from jitrl.memory.packs import codec
from jitrl.records import Episode, State, Step

texts = st.text(max_size=8) | st.sampled_from(
    ["", "self", "a\0b", "北 🏔", "\\u0000", '"', "\u2028\r\n"]
)
finite = st.floats(allow_nan=False, allow_infinity=False)
moderate = st.floats(-1e100, 1e100)
states = st.dictionaries(texts, texts, max_size=3).map(lambda fields: State(**fields))


def steps(numbers=moderate):
    policies = st.dictionaries(texts, finite, max_size=3)
    return st.builds(
        Step,
        state=states,
        action=texts,
        reward=numbers,
        behaviour_logprob=finite,
        before=policies,
        after=policies,
        changed=st.booleans(),
        preset=texts,
        seed=st.integers(0, 2**63 - 1),
        judged=st.none() | numbers,
    )


def episodes(numbers=moderate):
    names = texts | st.sampled_from(["source", "origin", "run"])
    return st.builds(
        Episode,
        id=texts,
        task=texts,
        steps=st.lists(steps(numbers), max_size=3).map(tuple),
        terminated=st.booleans(),
        final_state=st.none() | states,
        provenance=st.dictionaries(names, texts, max_size=3),
    )


def plain(*given):
    """A plain memory of these episodes."""
    memory = PlainMemory()
    for episode in given:
        assert memory.append(episode)
    return memory


def body(*given):
    return "".join(f"{codec.dumps(episode)}\n" for episode in given).encode()


def manifest(data, **changes):
    """The manifest of these lines, as an honest pack has it but for the changes."""
    honest = {
        "format": "jitrl pack",
        "version": 1,
        "jitrl": "0",
        "made": "2026-11-24T12:00:00.000+00:00",
        "episodes": data.count(b"\n"),
        "steps": data.count(b'"behaviour_logprob"'),
        "bytes": len(data),
        "sha256": sha256(data).hexdigest(),
    }
    told = {name: value for name, value in {**honest, **changes}.items() if value is not None}
    return json.dumps(told).encode()


def packed(path, data, told=None, more=(), method=zipfile.ZIP_DEFLATED):
    """Write a pack of these bytes; returns its path.

    more  (name or ZipInfo, bytes) of further members
    """
    members = [
        ("manifest.json", manifest(data) if told is None else told),
        ("episodes.jsonl", data),
    ]
    with zipfile.ZipFile(path, "w", method) as pack:
        for name, held in [*members, *more]:
            pack.writestr(name, held)
    return path
