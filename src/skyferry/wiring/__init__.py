"""Build a running service from settings. Adapters are opened by the rows of their URL schemes."""

from skyferry.wiring.opener import Opener, name_owner, open_ledger, open_queue
from skyferry.wiring.protection import protect_opened, wait_out_outages
from skyferry.wiring.service import SourceContext, build_service, find_losses, watch_folders

__all__ = [
    "Opener",
    "SourceContext",
    "build_service",
    "find_losses",
    "name_owner",
    "open_ledger",
    "open_queue",
    "protect_opened",
    "wait_out_outages",
    "watch_folders",
]
