"""Settings to a running service: the only package that names adapters. A new one is one branch in `opener`."""

from skyferry.wiring.doubting import DoubtingLedger
from skyferry.wiring.opener import Opener, open_ledger, open_queue, owner
from skyferry.wiring.protection import protect_opened, wait_out_outages
from skyferry.wiring.service import Parts, build, lossy, watchers

__all__ = [
    "DoubtingLedger",
    "Opener",
    "Parts",
    "build",
    "lossy",
    "open_ledger",
    "open_queue",
    "owner",
    "protect_opened",
    "wait_out_outages",
    "watchers",
]
