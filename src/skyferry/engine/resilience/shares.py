"""Share a bounded resource, so that one user that is slow does not take all of it."""

from __future__ import annotations

MOST = 2  # times what is left to others


def find_share(free: int, own: int, users: int) -> int:
    """Return how much more a user may take of what is free, if it has taken `own`; negative if it has taken too much.

    One of several `users` takes at most twice what it leaves free: one alone has up to two thirds, and each
    further one finds as large a share of the rest. So nothing is set aside, and something is always left, but for the last
    unit: a user without any may take it. (The dynamic thresholds of switches with a shared buffer, Choudhury and Hahne 1998.)
    """
    if users <= 1:
        return free
    share = (MOST * free - own) // (MOST + 1)
    return share if own else max(share, min(free, 1))
