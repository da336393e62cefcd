"""The URL scheme of local folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyferry.config.schemes import StoreProfile, StoreScheme
from skyferry.model import Provider

if TYPE_CHECKING:
    from skyferry.ports.opening import StoreContext
    from skyferry.stores.local.store import LocalStore


def open_folder(context: StoreContext) -> LocalStore:
    """Open a folder."""
    from skyferry.stores.local.special import SpecialFiles
    from skyferry.stores.local.store import LocalStore

    special_files = context.where.settings.special_files
    return LocalStore(
        context.name,
        context.where.url.path(context.workspace),
        on_unreadable=context.on_unreadable,
        on_special=SpecialFiles(context.name, special_files, context.on_special).found,
        expected=context.expected_folder,
        follow=special_files == "follow",
        durable=context.where.settings.fsync,
    )


FOLDER = StoreScheme(
    "file://FOLDER",
    open_folder,
    path=True,
    settings=frozenset({"region", "special_files", "fsync"}),
    providers=(Provider.FILE,),
    profile=lambda settings: StoreProfile(Provider.FILE),
)
