"""Settings to a running service: the only package that names adapters. A new one is one branch in `opener`."""

from skyferry.wiring.doubting import DoubtingLedger
from skyferry.wiring.guards import guarded, patient
from skyferry.wiring.opener import Opener, open_ledger, open_queue, owner
from skyferry.wiring.service import Parts, Reader, build, lossy, watchers

__all__ = [
    "DoubtingLedger",
    "Opener",
    "Parts",
    "Reader",
    "build",
    "guarded",
    "lossy",
    "open_ledger",
    "open_queue",
    "owner",
    "patient",
    "watchers",
]
