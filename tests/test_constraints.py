"""The constraints that people install with are those of the lock that is tested."""

from __future__ import annotations

import re
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "requirements"


def test_the_constraints_are_the_lock_without_hashes() -> None:
    """pip refuses a folder, and a package without a hash, beside constraints that have hashes. `make lock` writes them."""
    lock = (REQUIREMENTS / "image.txt").read_text("utf-8")
    pinned = [line.removesuffix(" \\") for line in lock.splitlines() if not re.match(r" +--hash", line)]
    assert (REQUIREMENTS / "constraints.txt").read_text("utf-8").splitlines() == pinned
    assert all("==" in line for line in pinned)
