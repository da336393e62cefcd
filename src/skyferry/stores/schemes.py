"""The URL schemes of stores: one row each. Imports no adapter, for settings are checked with these rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from skyferry.config.schemes import StoreProfile, StoreScheme
from skyferry.config.settings import SimulatorSettings
from skyferry.model import Provider
from skyferry.stores.azure.scheme import AZURE
from skyferry.stores.gcs.scheme import GCS
from skyferry.stores.local.scheme import FOLDER, open_folder
from skyferry.stores.s3.scheme import S3

if TYPE_CHECKING:
    from skyferry.ports import ObjectStore
    from skyferry.ports.opening import StoreContext


def _open_simulator(context: StoreContext) -> ObjectStore:
    from skyferry.stores.simulator import SimulatedStore

    settings = context.where.url.simulator(context.where.settings.simulator)
    return SimulatedStore(open_folder(context), settings, context.clock)


def _open_memory(context: StoreContext) -> ObjectStore:
    from skyferry.stores.memory import MemoryStore

    return MemoryStore(context.name, context.clock)


STORES: Mapping[str, StoreScheme] = MappingProxyType(
    {
        "s3": S3,
        "gs": GCS,
        "az": AZURE,
        "file": FOLDER,
        "sim": StoreScheme(
            "sim://FOLDER",
            _open_simulator,
            path=True,
            options=frozenset(SimulatorSettings.model_fields),
            settings=frozenset({"region", "simulator", "special_files"}),
            providers=(Provider.FILE,),
            profile=lambda settings: StoreProfile(Provider.FILE),
        ),
        "memory": StoreScheme(
            "memory://NAME",
            _open_memory,
            settings=frozenset({"region"}),
            providers=(Provider.MEMORY,),
            profile=lambda settings: StoreProfile(),
        ),
    }
)
