"""What the tests of the index share: states, episodes, and neighbours by the definition."""

from __future__ import annotations

from hypothesis import strategies as st
from plain_memory import PlainMemory

from jitrl import update
from jitrl.memory import Cut, Index
from jitrl.records import Episode, State, Step
from jitrl.similarity import Field, similarity

ROOM = [Field("room")]
ALL = Cut(threshold=0.0, k=None, counts="steps")


def RETURNS(rewards, judged):  # noqa: N802
    return update.returns(rewards, gamma=0.5)


def step(state, action="go", reward=0.0, judged=None):
    policy = {action: 1.0}
    return Step(state, action, reward, 0.0, policy, policy, False, "default", 0, judged)


def episode(id, *steps, task="", **provenance):
    return Episode(id, task, tuple(steps), provenance=provenance)


def by_definition(episodes, fields, state, cut, returns=RETURNS):
    """Compare `state` with every stored step, sort, cut: no index, no arrays."""
    steps = []
    for stored in episodes:
        values = returns([step.reward for step in stored.steps], [s.judged for s in stored.steps])
        for t, each in enumerate(stored.steps):
            if values[t] == values[t]:  # not nan
                steps.append((each.state, each.action, float(values[t]), stored.id, t))
    near = []
    for age, (other, *rest) in enumerate(steps):
        value = similarity(state, other, fields)
        if value >= cut.threshold and value > 0:
            near.append((value, age, other, *rest))
    distinct = {}
    for found in sorted(near, key=lambda found: -found[1]):  # newest first
        distinct.setdefault(found[2], []).append(found)
    groups = [_of_each_action(group, cut.per_action) for group in distinct.values()]
    if cut.counts == "steps":
        groups = [[found] for group in groups for found in group]
    groups.sort(key=lambda group: (-group[0][0], -group[0][1]))  # nearest, then newest
    if cut.k is not None:
        groups = [
            group
            for place, group in enumerate(groups)
            if place < cut.k or (cut.keep_above is not None and group[0][0] >= cut.keep_above)
        ]
    return [
        (value, other, action, return_, id, t)
        for group in groups
        for value, _, other, action, return_, id, t in group
    ]


def _of_each_action(group, most):
    kept, counts = [], {}
    for found in group:
        counts[found[3]] = counts.get(found[3], 0) + 1
        if most is None or counts[found[3]] <= most:
            kept.append(found)
    return kept


def filled_with(episodes, fields, returns=RETURNS, **options):
    memory = PlainMemory()
    for each in episodes:
        memory.append(each)
    return Index(memory, fields, returns, **options).refresh()


def by_index(view, state, cut):
    return [
        (found.similarity, found.state, found.action, found.return_, found.episode, found.t)
        for found in view.neighbours(state, cut)
    ]


texts = st.lists(st.sampled_from(["a", "b", "c"]), max_size=5).map(" ".join)
states = st.dictionaries(
    st.sampled_from(["room", "bag", "past", "other", "extra"]), texts, max_size=4
).map(lambda fields: State(**fields))
specifications = st.lists(
    st.builds(
        Field,
        name=st.sampled_from(["room", "bag", "past", "never"]),
        weight=st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]),
        n=st.integers(1, 3),
        multiset=st.booleans(),
        minimum=st.one_of(st.none(), st.none(), st.sampled_from([0.0, 0.3, 0.5])),
        exact=st.sampled_from([False, False, False, True]),
    ),
    unique_by=lambda field: field.name,
    max_size=4,
)
cuts = st.builds(
    Cut,
    threshold=st.sampled_from([0.0, 0.0, 0.2, 0.5, 0.75, 1.0]),
    k=st.one_of(st.none(), st.integers(1, 6)),
    counts=st.sampled_from(["states", "steps"]),
    keep_above=st.one_of(st.none(), st.sampled_from([0.0, 0.4, 0.7, 1.0])),
    per_action=st.one_of(st.none(), st.integers(1, 3)),
)
