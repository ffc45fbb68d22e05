"""What one source may do to a decision: who wrote an experience, and how much it may weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jitrl.update import Floats


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
    """
    raise NotImplementedError
