"""Times in which nothing is looked for in a file: nothing was found, and no process has announced anything since."""

from __future__ import annotations

from math import inf

from skyferry.frozen import dataclass

AGAIN = 5.0  # seconds: announcements may get lost, and earlier versions of the program made none
SOON = 1.0  # the same where an announcement may not be seen
COARSE = 1000  # nanoseconds: a multiple of this is the time of a filesystem that keeps no finer ones


@dataclass(frozen=True, slots=True)
class QuietTime:
    """The time after a look that has found nothing."""

    mark: object = None  # of the last announcement before the look began
    until: float = -inf  # monotonic seconds

    def lasts(self, mark: object, now: float) -> bool:
        """Return True if there is nothing to look for, as far as is known."""
        return mark == self.mark and now < self.until


NO_QUIET_TIME = QuietTime()


def find_patience(announced: int) -> float:
    """Return the seconds after which to look again without a new announcement; `announced` is when the last was.

    Of two announcements in the same second, a filesystem with coarse times shows one.
    """
    return SOON if announced % COARSE == 0 else AGAIN
