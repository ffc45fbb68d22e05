"""Arrays that grow at their end."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Kind = TypeVar("Kind", bound=np.generic)


class Growing(Generic[Kind]):
    """An array that grows at its end, at a cost per item that does not depend on its length.

    data  the items so far, and room for more; replaced when the room runs out, so that whoever
          holds it keeps what was there
    """

    def __init__(self, kind: type[Kind]) -> None:
        self.data: NDArray[Kind] = np.zeros(64, dtype=kind)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def items(self) -> NDArray[Kind]:
        """The items so far."""
        return self.data[: self._length]

    def extend(self, items: ArrayLike) -> None:
        """Append items."""
        added: NDArray[Any] = np.asarray(items, dtype=self.data.dtype)
        self.grow(len(added))
        self.data[self._length - len(added) : self._length] = added

    def grow(self, count: int, value: float = 0) -> None:
        """Append an item so many times."""
        length = self._length + count
        if self.full(count):
            data = np.zeros(max(length, len(self.data) * 3 // 2), dtype=self.data.dtype)
            data[: self._length] = self.items
            self.data = data
        self.data[self._length : length] = value
        self._length = length

    def full(self, count: int) -> bool:
        """Say whether there is no room for so many more: `data` would be replaced."""
        return self._length + count > len(self.data)

    def own(self) -> None:
        """Go on with a copy: whoever holds `data` keeps it as it is."""
        self.data = self.data.copy()
