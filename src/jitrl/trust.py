"""What one source may do to a decision: who wrote an experience, and how much it may weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from jitrl.update import Floats, Ints


def source_of(provenance: Mapping[str, str]) -> str:
    """Return who answers for an episode: its `source`, or else its `run`; "" where nobody says.

    >>> source_of({"run": "r1"}), source_of({"run": "r1", "source": "pack of team B"})
    ('r1', 'pack of team B')
    """
    return provenance.get("source") or provenance.get("run", "")


def source_weights(sources: Sequence[str], share: float | None) -> Floats:
    """Return a factor in (0, 1] for each experience, shape (n,), that bounds what a source weighs.

    sources  shape (n,): who each experience comes from
    share    in (0, 1]: the most that one source may hold of the summed factors; None for no bound

    The experiences of a source that holds more are all scaled by one factor. Where there are fewer
    than 1 / share sources no factors can keep the bound: then all sources weigh the same. A source
    that is alone is left as it is: there is nothing to weigh it against.

    >>> source_weights(["a", "a", "a", "a", "b", "c"], share=0.5).tolist()
    [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]
    """
    if share is None or len(sources) == 0:
        return np.ones(len(sources))
    number = {source: i for i, source in enumerate(dict.fromkeys(sources))}
    if len(number) == 1:
        return np.ones(len(sources))
    place = np.array([number[source] for source in sources])
    held = np.bincount(place)
    return np.asarray(np.minimum(1.0, _level(held, share) / held)[place])


def action_weights(taken: Ints, sources: Sequence[str], share: float) -> Floats:
    """Return the factors of `source_weights` among the experiences of each action by itself.

    taken, sources  shape (n,): the number of each experience's action, and who it comes from

    What a decision compares are the means of the actions: a source that may hold a share of all the
    neighbours could still be nearly all that is known of an action that others seldom took.
    """
    weight = np.ones(len(taken))
    for action in np.unique(taken):
        mine = taken == action
        weight[mine] = source_weights([*compress(sources, mine)], share)
    return weight


def _level(held: Ints, share: float) -> float:
    """Return the most that a source may hold, so that this is `share` of what all hold together.

    If the k largest sources are cut to a level L and the others hold R, then L = share (k L + R),
    hence L = share R / (1 - k share); k is the least for which the next source fits under it.
    """
    falling = np.sort(held)[::-1].astype(np.float64)
    rest = np.cumsum(falling[::-1])[::-1]
    left = 1.0 - share * np.arange(len(held))
    for largest, below, room in zip(falling, rest, left, strict=True):
        if room > 0 and largest <= share * below / room:
            return float(share * below / room)
    return float(falling[-1])
