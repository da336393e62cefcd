"""The bytes that wait to be copied, as events declare them."""

from __future__ import annotations

from collections.abc import Iterable

from skyferry.model import Change, Transfer

MEMORY = 1000  # messages that the mean follows


class MeanSize:
    """The moving mean of the bytes that one message of a queue asks to copy."""

    def __init__(self) -> None:
        self.value: float | None = None  # None = no message with a size was received yet
        self._count = 0

    def add(self, size: int) -> None:
        """Take one more message into account."""
        self._count = min(self._count + 1, MEMORY)
        mean = self.value or 0.0
        self.value = mean + (size - mean) / self._count


def sum_sizes(transfers: Iterable[Transfer]) -> int | None:
    """Return the declared bytes that the transfers of one message copy; None if one declares no size. A delete copies nothing."""
    total = 0
    for transfer in transfers:
        if transfer.change is Change.CREATED:
            if transfer.size is None:
                return None
            total += transfer.size
    return total
