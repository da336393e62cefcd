"""The policies for Google against what the service really asks Cloud Storage (our fake) and Pub/Sub (the emulator) for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
from google.pubsub_v1.types import PubsubMessage
from tests.policy.granted import missing, of_google, spare
from tests.policy.lab import MIB, event, look_after, run, settings

from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.settings import Settings
from skyferry.model import Attributes, Change, Checksums
from skyferry.policy import google as policy
from skyferry.policy.needs import required_access
from skyferry.ports import Outgoing
from skyferry.queues.pubsub.client import PubSubClient, PubSubOptions
from skyferry.stores.gcs.client import GcsOptions
from skyferry.stores.gcs.store import GcsStore
from skyferry.testing.permissions import Ask, UnknownRequest
from skyferry.testing.permissions.google import find_rpc_ask, list_asks
from skyferry.testing.servers import GcsFake
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.proxy import Exchange, Fault, FaultProxy
from skyferry.testing.servers.pubsub import PubSubEmulator
from skyferry.wiring import Opener

ROUTE = {"name": "r", "from": "a", "to": "b", "key": "out/{key}", "filter": {"prefix": "in/"}}
UNPROVEN = b'{"name":"x","generation":"1","size":"1000","crc32c":"AAAAAA==","updated":"2026-11-25T14:00:00Z"}'


@dataclass
class Google:
    """Two buckets. To the fake everybody is nobody; the policies are those for who the machine is."""

    proxy: FaultProxy
    place: GcsPlace
    folder: Path
    source: str = ""
    there: str = ""
    document: dict[str, Any] = field(default_factory=dict)

    async def make(self, **route: Any) -> None:
        self.source, self.there = await self.place.bucket(), await self.place.bucket(versioned=True)
        stores = {name: {"url": f"gs://{bucket}"} for name, bucket in (("a", self.source), ("b", self.there))}
        self.document = {"stores": stores, "routes": [{**ROUTE, **route}]}

    def configured(self, *, real: bool) -> Settings:
        """As a user has it (`real`), or at the fake."""
        stores = {name: dict(store) for name, store in self.document["stores"].items()}
        if not real:
            for store in stores.values():
                store |= (
                    {"endpoint": self.proxy.url, "identity": {"kind": "anonymous"}} if "gs:" in store["url"] else {}
                )
        return settings(self.folder, {**self.document, "stores": stores})

    def asked(self) -> set[Ask]:
        return {ask for each in self.proxy.exchanges for ask in list_asks(each)}


@pytest.fixture
async def cloud(google: FaultProxy, gcs_server: GcsFake, tmp_path: Path) -> Google:
    return Google(google, GcsPlace(GcsOptions(gcs_server.url), fixed_credentials("")), tmp_path)


async def tell(configured: Settings, *keys: str, change: Change = Change.CREATED) -> None:
    """And run."""
    opener = Opener(configured)
    queue = opener.queue()
    await queue.send([Outgoing(event(configured, "a", key, change)) for key in keys])
    await queue.close()
    await opener.close()
    await run(configured)


async def story(cloud: Google, source: Any, *, large: bool = True, moved: bool = False) -> None:
    """All that may happen to objects on their way, once. `source` is a store behind the service."""
    configured, there = cloud.configured(real=False), cloud.place.store(cloud.there)

    async def put(store: Any, key: str, body: bytes = b"x" * 1000) -> None:
        await store.write(key, body, Attributes(), Checksums())

    for key in ("in/a", "in/foreign", "in/unproven", "in/empty"):
        await put(source, key, b"" if key == "in/empty" else b"x" * 1000)
    await put(there, "out/in/foreign", b"theirs")
    if not isinstance(source, GcsStore):
        cloud.proxy.plan(Fault("POST", "uploadType=multipart", status=200, forward=True, body=UNPROVEN))
    await tell(configured, "in/unproven")
    await tell(configured, "in/a", "in/foreign", "in/empty", "in/none")
    await put(source, "in/a", b"newer")
    await tell(configured, "in/a")
    if large:
        await put(source, "in/big", bytes(6 * MIB))
        await tell(configured, "in/big")
    await put(source, "in/carries")
    await tell(configured, "in/carries")
    carrying = Attributes(cache_control="no-store")
    if source.traits.in_place and not moved:  # a moved object is gone by now
        await source.set_attributes(await source.head("in/carries"), carrying)
    else:
        await source.write("in/carries", b"x" * 1000, carrying, Checksums())
    await tell(configured, "in/carries")
    await source.delete("in/a")
    await tell(configured, "in/a", change=Change.DELETED)
    await look_after(configured)
    await there.close()
    assert cloud.proxy.pending == 0


def held(cloud: Google) -> None:
    """The policy allows what was asked for, and nothing else."""
    [each] = policy.policies(required_access(cloud.configured(real=True)))
    found = missing(of_google(each), cloud.asked()), spare(of_google(each), cloud.asked())
    assert found == ([], []), found


async def test_copies_within_cloud_storage(cloud: Google) -> None:
    """One identity does all; each object is deleted at its source once it is copied. Nothing goes in parts."""
    await cloud.make(after_copy="delete", filter={"prefix": "in/", "max_size": "5MiB"})
    source = cloud.place.store(cloud.source)
    await story(cloud, source, large=False, moved=True)
    await source.close()
    held(cloud)


@pytest.mark.parametrize("large", [True, False])
async def test_objects_that_come_from_elsewhere(cloud: Google, *, large: bool) -> None:
    """From a folder, in parts where they may be large."""
    more = {} if large else {"filter": {"prefix": "in/", "max_size": "5MiB"}}
    await cloud.make(deletes="propagate", **more)
    (cloud.folder / "in").mkdir()
    cloud.document["stores"]["a"] = {"url": f"file://{cloud.folder}/in", "watch": False}
    opener = Opener(cloud.configured(real=True))
    source = opener.store("a")
    await story(cloud, source, large=large)
    await source.close()
    await opener.close()
    held(cloud)


async def test_large_objects_in_one_upload_each(cloud: Google) -> None:
    """Nothing is written but the keys of the route: no parts beside them."""
    await cloud.make(deletes="propagate")
    (cloud.folder / "in").mkdir()
    cloud.document["stores"]["a"] = {"url": f"file://{cloud.folder}/in", "watch": False}
    cloud.document["stores"]["b"]["large_upload_mode"] = "resumable"
    opener = Opener(cloud.configured(real=True))
    source = opener.store("a")
    await story(cloud, source)
    await source.close()
    await opener.close()
    held(cloud)
    assert any("uploadType=resumable" in each.target for each in cloud.proxy.exchanges)
    assert not any(".skyferry-uploads" in ask.resource for ask in cloud.asked())


async def test_a_source_is_only_read(cloud: Google) -> None:
    """To a folder, from a bucket whose requester pays."""
    await cloud.make()
    (cloud.folder / "there").mkdir()
    cloud.document["stores"]["a"]["billing_project"] = "payer"
    cloud.document["stores"]["b"] = {"url": f"file://{cloud.folder}/there"}
    source = cloud.place.store(cloud.source)
    await source.write("in/big", bytes(6 * MIB), Attributes(), Checksums())
    configured = cloud.configured(real=False)
    await tell(configured, "in/big", "in/none")
    await look_after(configured)
    await source.close()
    held(cloud)


class Heard(grpc.aio.UnaryUnaryClientInterceptor, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]  # no types
    """Keeps the names of the calls."""

    def __init__(self) -> None:
        self.calls: set[str] = set()

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        self.calls.add(details.method if isinstance(details.method, str) else details.method.decode())
        return await continuation(details, request)

    intercept_stream_stream = intercept_unary_unary


@pytest.mark.parametrize("sends", [True, False])
async def test_pubsub(
    pubsub_server: PubSubEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, sends: bool
) -> None:
    """Every method of the queue, with events that are put into a topic, or without."""
    name, project = secrets.token_hex(6), f"projects/{pubsub_server.project}"
    topic, subscription = f"{project}/topics/t-{name}", f"{project}/subscriptions/s-{name}"
    admin = PubSubClient("admin", fixed_credentials(""), PubSubOptions(topic, pubsub_server.url))
    await admin.publisher.create_topic(name=topic)
    await admin.subscriber.create_subscription(name=subscription, topic=topic)
    heard, channel = Heard(), grpc.aio.insecure_channel
    monkeypatch.setattr(
        grpc.aio, "insecure_channel", lambda target, options: channel(target, options, interceptors=[heard])
    )
    queue = {"name": "q", "url": f"pubsub://{pubsub_server.project}/s-{name}?topic=t-{name}", "lease": "10s"}
    fake = {"endpoint": f"http://{pubsub_server.endpoint}", "identity": {"kind": "anonymous"}}
    opener = Opener(settings(tmp_path, {"routes": [], "queues": [{**queue, **fake}]}))
    there = opener.queue()
    if sends:
        await there.send([Outgoing(b"x")])
    else:
        await admin.publisher.publish(topic=topic, messages=[PubsubMessage(data=b"x")])
    await there.release(await there.receive(1, 20), 0)
    held = await there.receive(1, 20)
    assert await there.extend(held) == []
    await there.ack(held)
    await there.close()
    await admin.close()
    [each] = policy.policies(required_access(settings(tmp_path, {"routes": [], "queues": [queue]}), submit=sends))
    asked = {find_rpc_ask(call, topic if "Publisher" in call else subscription) for call in heard.calls}
    assert (missing(of_google(each), asked), spare(of_google(each), asked)) == ([], [])


def test_a_request_that_is_not_recorded_is_no_permission() -> None:
    """It is an error, which asks for a line in the table."""
    with pytest.raises(UnknownRequest, match="acl"):
        list(list_asks(Exchange("GET", "/storage/v1/b/bucket/o/key/acl")))
    with pytest.raises(UnknownRequest, match="Seek"):
        find_rpc_ask("/google.pubsub.v1.Subscriber/Seek", "")
