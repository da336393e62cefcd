"""The policies for Azure against what the service really asks Blob and Queue Storage (Azurite) for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue import QueueServiceClient
from tests.policy.granted import missing, of_azure, spare
from tests.policy.lab import MIB, event, look_after, run, settings

from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.settings import Settings
from skyferry.model import Attributes, Change, Checksums
from skyferry.policy import azure as policy
from skyferry.policy.needs import required_access
from skyferry.ports import Outgoing
from skyferry.stores.gcs.client import GcsOptions
from skyferry.testing.permissions import Ask, UnknownRequest
from skyferry.testing.permissions import azure as permissions
from skyferry.testing.servers import Azurite, GcsFake
from skyferry.testing.servers.azure import AzurePlace
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.proxy import Exchange, Fault, FaultProxy
from skyferry.wiring import Opener

ROUTE = {"name": "r", "from": "a", "to": "b", "filter": {"prefix": "in/"}}
SMALL = {"prefix": "in/", "max_size": "5MiB"}
BUSY = {"x-ms-error-code": "ServerBusy", "retry-after": "2"}
TAGS = Attributes(tags={"color": "red"})


@dataclass
class Azure:
    """Two containers and a queue of one account."""

    server: Azurite
    blobs: FaultProxy
    queues: FaultProxy
    folder: Path
    name: str = field(default_factory=lambda: secrets.token_hex(6))

    def __post_init__(self) -> None:
        self.place = AzurePlace.on(self.server)
        service = QueueServiceClient.from_connection_string(self.server.connection_string)
        self.queue = service.create_queue(f"events-{self.name}")

    def store(self, container: str) -> dict[str, Any]:
        endpoint = f"{self.blobs.url}/{self.server.account}"
        return {"url": f"az://{container}?endpoint={endpoint}&identity=static"}

    def document(self, stores: dict[str, Any], **route: Any) -> dict[str, Any]:
        endpoint = f"{self.queues.url}/{self.server.account}"
        queue = {"name": "q", "url": f"azq://events-{self.name}?endpoint={endpoint}&identity=static", "lease": "5s"}
        return {"stores": stores, "routes": [{**ROUTE, **route}], "queues": [queue]}

    def asked(self) -> set[Ask]:
        asked = {ask for each in self.blobs.exchanges for ask in permissions.list_blob_asks(each)}
        return asked | {ask for each in self.queues.exchanges for ask in permissions.list_queue_asks(each)}

    def held(self, configured: Settings) -> None:
        """The policy allows what was asked for, and nothing else."""
        [each] = policy.policies(required_access(configured))
        found = missing(of_azure(each), self.asked()), spare(of_azure(each), self.asked())
        assert found == ([], []), found

    async def tell(self, configured: Settings, *keys: str, change: Change = Change.CREATED) -> None:
        """And run."""
        for key in keys:
            self.queue.send_message(event(configured, "a", key, change).decode())
        await run(configured)


@pytest.fixture
def azure(azurite_server: Azurite, blobs: FaultProxy, queues: FaultProxy, tmp_path: Path) -> Azure:
    return Azure(azurite_server, blobs, queues, tmp_path)


async def story(azure: Azure, configured: Settings, source: Any, attributes: Attributes, *, large: bool = True) -> None:
    """All that may happen to objects on their way, once. `source` is a store behind the service."""

    async def put(store: Any, key: str, body: bytes = b"x" * 1000) -> None:
        await store.write(key, body, attributes, Checksums())

    for key in ("in/a", "in/slow", "in/empty"):
        await put(source, key, b"" if key == "in/empty" else b"x" * 1000)
    azure.blobs.plan(Fault("PUT", "/slow", status=503, headers=BUSY))
    await azure.tell(configured, "in/a", "in/slow", "in/empty", "in/none")
    await put(source, "in/a", b"newer")
    await azure.tell(configured, "in/a")
    if large:
        await put(source, "in/big", bytes(6 * MIB))
        await azure.tell(configured, "in/big")
    await source.delete("in/a")
    await azure.tell(configured, "in/a", change=Change.DELETED)
    await look_after(configured)
    assert azure.blobs.pending == 0


async def test_copies_within_an_account(azure: Azure) -> None:
    """One identity does all, with tags; each blob is deleted at its source once it is copied."""
    source, there = await azure.place.container(), await azure.place.container()
    stores = {"a": azure.store(source), "b": azure.store(there)}
    configured = settings(azure.folder, azure.document(stores, after_copy="delete"))
    store = azure.place.store(source)
    await story(azure, configured, store, TAGS)
    other = azure.place.store(there)
    await other.write("in/again", b"theirs", TAGS, Checksums())
    for key in ("in/again", "in/unproven"):
        await store.write(key, b"ours", TAGS, Checksums())
    azure.blobs.plan(Fault("HEAD", f"{there}/in/unproven", status=200, headers={"etag": '"0x1"'}))  # it seems empty
    await azure.tell(configured, "in/again", "in/unproven")
    await store.close()
    await other.close()
    azure.held(configured)


@pytest.mark.parametrize("large", [True, False])
async def test_what_can_have_no_tags_needs_none(
    azure: Azure, google: FaultProxy, gcs_server: GcsFake, *, large: bool
) -> None:
    """From Cloud Storage, which has none."""
    place = GcsPlace(GcsOptions(gcs_server.url), fixed_credentials(""))
    bucket = await place.bucket()
    stores = {
        "a": {"url": f"gs://{bucket}?endpoint={google.url}&identity=anonymous"},
        "b": azure.store(await azure.place.container()),
    }
    more = {} if large else {"filter": SMALL}
    configured = settings(azure.folder, azure.document(stores, deletes="propagate", **more))
    source = place.store(bucket)
    await story(azure, configured, source, Attributes(), large=large)
    await source.close()
    azure.held(configured)


async def test_a_source_is_only_read_and_submitted_events_are_sent(azure: Azure) -> None:
    """To a folder."""
    container = await azure.place.container()
    (azure.folder / "there").mkdir()
    stores = {"a": azure.store(container), "b": {"url": f"file://{azure.folder}/there"}}
    configured = settings(azure.folder, azure.document(stores))
    source = azure.place.store(container)
    await source.write("in/a", b"x", TAGS, Checksums())
    await source.close()
    opener = Opener(configured)
    queue = opener.queue()
    azure.blobs.plan(Fault("GET", "/in/a", status=503, headers=BUSY))
    await queue.send([Outgoing(event(configured, "a", key)) for key in ("in/a", "in/none")])
    await queue.close()
    await opener.close()
    await run(configured)
    await look_after(configured)
    [each] = policy.policies(required_access(configured, submit=True))
    found = missing(of_azure(each), azure.asked()), spare(of_azure(each), azure.asked())
    assert found == ([], []), found


def test_a_request_that_is_not_recorded_is_no_permission() -> None:
    """It is an error, which asks for a line in the table."""
    with pytest.raises(UnknownRequest, match="lease"):
        list(permissions.list_blob_asks(Exchange("PUT", "/account/container/key?comp=lease")))
    with pytest.raises(UnknownRequest, match="acl"):
        list(permissions.list_queue_asks(Exchange("GET", "/account/queue?comp=acl")))
