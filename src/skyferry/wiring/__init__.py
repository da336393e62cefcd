"""Build a running service from settings. Adapters are opened by the rows of their URL schemes.

The names are imported on first use: commands that only open a store or the ledger must not pay for the engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyferry.wiring.opener import Opener, open_ledger, open_queue
    from skyferry.wiring.protection import protect_opened, wait_out_outages
    from skyferry.wiring.service import build_service
    from skyferry.wiring.sources import SourceContext

__all__ = [
    "Opener",
    "SourceContext",
    "build_service",
    "open_ledger",
    "open_queue",
    "protect_opened",
    "wait_out_outages",
]
_MODULES = {
    "opener": ("Opener", "open_ledger", "open_queue"),
    "protection": ("protect_opened", "wait_out_outages"),
    "service": ("build_service",),
    "sources": ("SourceContext",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
