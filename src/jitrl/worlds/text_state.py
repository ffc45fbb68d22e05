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
        # _places[i] is where the path stood before its i-th action, None once a loop back there
        # would skip a change of score
        self._places: list[tuple[str, str] | None] = []
        self._place = (room, inventory)

    def add(self, action: str, room: str, inventory: str, reward: float) -> None:
        """Take note of one step: its action, where it led, and what it earned."""
        self._path.append(action)
        self._places.append(self._place)
        self._place = (room, inventory)
        if reward:
            self._progress.append(f"{reward:+g} {action}")
            self._places = [None] * len(self._path)
        elif self._place in self._places:
            start = self._places.index(self._place)
            del self._path[start:], self._places[start:]

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
