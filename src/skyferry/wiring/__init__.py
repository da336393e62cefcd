"""Build a running service from settings. Adapters are opened by the rows of their URL schemes.

The names are imported on first use: commands that only open a store or the ledger must not pay for the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyferry.wiring.folders import watch_folders
    from skyferry.wiring.opener import Opener, name_owner, open_ledger, open_queue
    from skyferry.wiring.protection import protect_opened, wait_out_outages
    from skyferry.wiring.service import SourceContext, build_service, find_losses

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
_MODULES = {
    "folders": ("watch_folders",),
    "opener": ("Opener", "name_owner", "open_ledger", "open_queue"),
    "protection": ("protect_opened", "wait_out_outages"),
    "service": ("SourceContext", "build_service", "find_losses"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
