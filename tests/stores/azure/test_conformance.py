"""The store suite on Azurite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import ClassVar

import pytest

from skyferry.testing.servers import Azurite
from skyferry.testing.servers.azure import AzurePlace
from skyferry.testing.store import Place, StoreConformance

CONTROL = "Azure keeps no control characters"
DOT = "Azure would lose the dot at the end of a segment"
SLASH = "Azure would make it a slash"
CANNOT_HOLD = {
    **dict.fromkeys(("tab\there", "control\x01", "line\nbreak", "carriage\rreturn"), CONTROL),
    **dict.fromkeys(("%.", "%..", "%%..", "dot/./x", "dot/../y", "dots/...", "end."), DOT),
    **dict.fromkeys((".", "..", "...", "./x", "../x", "../../etc/passwd", "x/../../../y"), DOT),
    **dict.fromkeys(("back\\slash", "C:\\x"), SLASH),
    "\uffff": "no character, and not in XML, in which Azure lists",
    "/".join("a" * 255): "255 segments",
}


class TestAzurite(StoreConformance):
    """Azurite checks signatures, preconditions, MD5 and CRC64."""

    deviations: ClassVar[Mapping[str, str]] = {
        "test_uploads_of_one_key_do_not_disturb_each_other": "what is committed first discards all blocks of the key",
    }

    @pytest.fixture
    async def place(self, azurite_server: Azurite) -> AsyncIterator[Place]:
        azure = AzurePlace.on(azurite_server)
        azure = replace(azure, options=replace(azure.options, list_page=20))
        container = await azure.container()
        stores = [azure.store(container), azure.store(container), azure.store("no-such-container")]
        yield Place(stores[0], other=stores[1], nowhere=stores[2], cannot_hold=CANNOT_HOLD, page=65)
        for store in stores:
            await store.close()
