"""The state of a text game, without any model call: room, inventory, and a history.

The history lists what raised or lowered the score, and the path since the beginning with loops cut
out: going west and back again leaves no trace, unless the score changed on the way.
"""

from __future__ import annotations

from jitrl.records import State


class TextGameState:
    """Follows one episode of a text game and abstracts its states.

    `room` is the text of the place, `inventory` what is carried ("" where that is unknown).
    """

    def __init__(self, room: str, inventory: str = "") -> None:
        self._progress: list[str] = []
        self._path: list[str] = []
        # place -> how long the path was there, since the last change of the score: no loop is cut
        # across one
        self._lengths: dict[tuple[str, str], int] = {}
        self._move_to((room, inventory))

    def add(self, action: str, room: str, inventory: str, reward: float) -> None:
        """Take note of one step: its action, where it led, and what it earned."""
        self._path.append(action)
        if reward:
            self._progress.append(f"{reward:+g} {action}")
            self._lengths.clear()
        self._move_to((room, inventory))

    def _move_to(self, place: tuple[str, str]) -> None:
        self._place = place
        length = self._lengths.setdefault(place, len(self._path))
        if length < len(self._path):
            del self._path[length:]
            self._lengths = {p: n for p, n in self._lengths.items() if n <= length}

    @property
    def state(self) -> State:
        """The abstract state at hand, with the fields room, inventory and history."""
        room, inventory = self._place
        progress = "; ".join(self._progress)
        path = "; ".join(self._path)
        history = "\n".join(
            line for line in (progress and f"score: {progress}", path and f"path: {path}") if line
        )
        return State(room=room, inventory=inventory, history=history)
