"""The grants at a queue of dead letters against what is really asked there: a letter is sent by the service, looked for by
`skyferry doctor`, left there and then taken back by `skyferry dead-letters redrive --from-queue`.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
import yaml
from azure.storage.queue import QueueServiceClient
from tests.policy.amazon import Amazon, identity
from tests.policy.granted import missing, of_aws, of_azure, of_google, spare
from tests.policy.lab import run, settings
from tests.policy.test_recorded_google import Heard

from skyferry.cli.arguments.options import ConfigOptions
from skyferry.cli.commands.ledger.from_queue import redrive_from_queue
from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.settings import Settings
from skyferry.engine.dead_letters import redrive
from skyferry.policy import aws as amazon_policy
from skyferry.policy import azure, google
from skyferry.policy.needs import required_access
from skyferry.ports import Filter, Outgoing
from skyferry.queues.pubsub.client import PubSubClient, PubSubOptions
from skyferry.testing.permissions import azure as azure_permissions
from skyferry.testing.permissions.google import find_rpc_ask
from skyferry.testing.servers import Azurite, LocalStack
from skyferry.testing.servers.proxy import FaultProxy
from skyferry.testing.servers.pubsub import PubSubEmulator
from skyferry.wiring import Opener


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there comes at once, so the end of a redrive need not be waited for."""
    monkeypatch.setattr(redrive, "WAIT", 1.0)


def configured(folder: Path, letters: dict[str, Any]) -> Settings:
    """All else is on this machine, so that whatever is asked of a cloud is asked of that queue."""
    (folder / "in").mkdir(exist_ok=True)
    stores = {name: {"url": f"file://{folder}/{name}", "watch": False} for name in ("in", "out")}
    routes = [{"name": "r", "from": "in", "to": "out"}]
    queues = [{"name": "events", "url": f"sqlite://{folder}/events.db"}]
    return settings(folder, {"stores": stores, "routes": routes, "queues": queues, "dead_letters": letters})


async def story(folder: Path, there: Settings) -> None:
    """A message that is no event dies, and everything is done with its letter."""
    opener = Opener(there)
    events, dead = opener.queue(), opener.dead_letters()
    assert dead is not None
    await events.send([Outgoing(b"no event")])
    await run(there)
    await dead.depth()
    await dead.sends()  # type: ignore[attr-defined]  # those of the clouds all have it
    left, _ = await redrive_from_queue(ConfigOptions(folder / "skyferry.yaml"), Filter(reason="other"), None, 10)
    taken, _ = await redrive_from_queue(ConfigOptions(folder / "skyferry.yaml"), Filter(), None, 10)
    assert (left.left, taken.redriven) == (1, 1)
    for each in (events, dead):
        await each.close()
    await opener.close()


async def test_sqs(localstack_server: LocalStack, aws: FaultProxy, tmp_path: Path) -> None:
    amazon = Amazon(localstack_server, aws)
    name = amazon.sqs.create_queue(QueueName=f"dead-{amazon.name}")["QueueUrl"].rpartition("/")[2]
    url = f"sqs://{name}?region=us-east-1&endpoint={aws.url}"
    there = configured(tmp_path, {"url": url, "identity": identity("READER"), "lease": "30s"})
    await story(tmp_path, there)
    [each] = amazon_policy.policies(required_access(there))
    asked = amazon.asked("READER")
    assert (missing(of_aws(each), asked), spare(of_aws(each), asked)) == ([], [])


async def test_a_letter_that_the_ledger_does_not_know_is_sent_to_its_queue(
    localstack_server: LocalStack, aws: FaultProxy, tmp_path: Path
) -> None:
    """Which only who submits events may do; it is not the first queue."""
    amazon = Amazon(localstack_server, aws)
    configured(tmp_path, {"url": f"sqlite://{tmp_path}/dead.db"})
    queues = [{"name": "first", "url": f"sqlite://{tmp_path}/first.db"}, amazon.events("READER")]
    there = settings(tmp_path, yaml.safe_load((tmp_path / "skyferry.yaml").read_text()) | {"queues": queues})
    amazon.tell([b"no event"])
    await run(there)
    (tmp_path / "ledger.db").unlink()
    aws.exchanges.clear()
    counts, _ = await redrive_from_queue(ConfigOptions(tmp_path / "skyferry.yaml"), Filter(), None, 10)
    assert counts.sent == 1
    asked = amazon.asked("READER")
    assert "sqs:SendMessage" in {ask.action for ask in asked}
    for submit in (True, False):
        [each] = amazon_policy.policies(required_access(there, submit=submit))
        assert bool(missing(of_aws(each), asked)) is not submit


async def test_storage_queue(azurite_server: Azurite, queues: FaultProxy, tmp_path: Path) -> None:
    name = f"dead-{secrets.token_hex(6)}"
    QueueServiceClient.from_connection_string(azurite_server.connection_string).create_queue(name)
    url = f"azq://{name}?endpoint={queues.url}/{azurite_server.account}&identity=static"
    there = configured(tmp_path, {"url": url, "lease": "30s"})
    await story(tmp_path, there)
    [each] = azure.policies(required_access(there))
    asked = {ask for exchange in queues.exchanges for ask in azure_permissions.list_queue_asks(exchange)}
    assert (missing(of_azure(each), asked), spare(of_azure(each), asked)) == ([], [])


async def test_pubsub(pubsub_server: PubSubEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To ask what is allowed needs no permission."""
    name, project = secrets.token_hex(6), f"projects/{pubsub_server.project}"
    topic, subscription = f"{project}/topics/t-{name}", f"{project}/subscriptions/s-{name}"
    admin = PubSubClient("admin", fixed_credentials(""), PubSubOptions(topic, pubsub_server.url))
    await admin.publisher.create_topic(name=topic)
    await admin.subscriber.create_subscription(name=subscription, topic=topic)
    await admin.close()
    heard, channel = Heard(), grpc.aio.insecure_channel
    monkeypatch.setattr(
        grpc.aio, "insecure_channel", lambda target, options: channel(target, options, interceptors=[heard])
    )
    url = {"url": f"pubsub://{pubsub_server.project}/s-{name}?topic=t-{name}", "lease": "30s"}
    fake = {"endpoint": f"http://{pubsub_server.endpoint}", "identity": {"kind": "anonymous"}}
    await story(tmp_path, configured(tmp_path, {**url, **fake}))
    [each] = google.policies(required_access(configured(tmp_path, url)))
    calls = {call for call in heard.calls if not call.endswith("/TestIamPermissions")}
    asked = {find_rpc_ask(call, topic if "Publisher" in call else subscription) for call in calls}
    assert (missing(of_google(each), asked), spare(of_google(each), asked)) == ([], [])
