"""A dead letter's whole way through the service: to a queue of SQS, Pub/Sub or Azure, and back from there."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import orjson
import pytest
import yaml
from azure.storage.queue import QueueServiceClient
from google.cloud import pubsub_v1  # type: ignore[import-untyped]  # as boto3
from tests.processes.running import wait_until

from skyferry.cli import main
from skyferry.queues.text_envelope import unwrap
from skyferry.testing.servers import Azurite, LocalStack
from skyferry.testing.servers.pubsub import PubSubEmulator

BODY = b"what shall be copied"
RUN = ("run", "--no-live", "--listen", "127.0.0.1:0")
DEAD, DONE = 3, 0  # exit codes of a run until idle


class Cloud(Protocol):
    """Two queues, by their provider's own client."""

    events: str  # URLs for Skyferry
    dead: str

    def look(self) -> tuple[bytes, dict[str, str]]:
        """Body and attributes of the first message in the dead-letter queue, which stays there."""

    def move(self) -> None:
        """All messages of the dead-letter queue to the other, by the provider's means."""

    def send(self, body: bytes) -> None:
        """To the other queue."""


class Sqs:
    """By boto3."""

    def __init__(self, server: LocalStack) -> None:
        self._client = boto3.Session("any", "any", region_name=server.region).client("sqs", endpoint_url=server.url)
        name = secrets.token_hex(6)
        self._dead = self._client.create_queue(QueueName=f"dead-{name}")["QueueUrl"]
        self._arn = self._client.get_queue_attributes(QueueUrl=self._dead, AttributeNames=["QueueArn"])["Attributes"]
        policy = json.dumps({"deadLetterTargetArn": self._arn["QueueArn"], "maxReceiveCount": 100})
        self._events = self._client.create_queue(QueueName=f"events-{name}", Attributes={"RedrivePolicy": policy})
        query = f"?endpoint={server.url}&region={server.region}&identity=static"
        self.events, self.dead = f"sqs://events-{name}{query}", f"sqs://dead-{name}{query}"

    def look(self) -> tuple[bytes, dict[str, str]]:
        (message,) = self._client.receive_message(
            QueueUrl=self._dead, MessageAttributeNames=["All"], VisibilityTimeout=0, WaitTimeSeconds=10
        )["Messages"]
        told = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
        return message["Body"].encode(), told

    def move(self) -> None:
        destination = self._client.get_queue_attributes(QueueUrl=self._events["QueueUrl"], AttributeNames=["QueueArn"])
        self._client.start_message_move_task(
            SourceArn=self._arn["QueueArn"], DestinationArn=destination["Attributes"]["QueueArn"]
        )
        names = ["ApproximateNumberOfMessages"]
        wait_until(
            lambda: (
                self._client.get_queue_attributes(QueueUrl=self._dead, AttributeNames=names)["Attributes"][names[0]]
                == "0"
            )
        )

    def send(self, body: bytes) -> None:
        self._client.send_message(QueueUrl=self._events["QueueUrl"], MessageBody=body.decode())


class PubSub:
    """By Google's client; what reads the dead letters has a subscription of its own, so that Skyferry's stays untouched."""

    def __init__(self, server: PubSubEmulator) -> None:
        self._publisher, self._subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        self._root, name = f"projects/{server.project}", secrets.token_hex(6)
        self._topic = self._made(f"events-{name}", f"events-{name}")
        self._made(f"dead-{name}", f"dead-{name}", f"look-{name}", f"move-{name}")
        self._look, self._move = (f"{self._root}/subscriptions/{each}-{name}" for each in ("look", "move"))
        query = f"?endpoint=http://{server.endpoint}&identity=anonymous&topic="
        self.events = f"pubsub://{server.project}/events-{name}{query}events-{name}"
        self.dead = f"pubsub://{server.project}/dead-{name}{query}dead-{name}"

    def _made(self, topic: str, *subscriptions: str) -> str:
        path = f"{self._root}/topics/{topic}"
        self._publisher.create_topic(name=path)
        for each in subscriptions:
            self._subscriber.create_subscription(name=f"{self._root}/subscriptions/{each}", topic=path)
        return path

    def _pulled(self, subscription: str) -> Any:
        (received,) = self._subscriber.pull(subscription=subscription, max_messages=1, timeout=10).received_messages
        return received.message

    def look(self) -> tuple[bytes, dict[str, str]]:
        message = self._pulled(self._look)
        return message.data, dict(message.attributes)

    def move(self) -> None:
        message = self._pulled(self._move)
        self._publisher.publish(self._topic, message.data, **message.attributes).result(10)

    def send(self, body: bytes) -> None:
        self._publisher.publish(self._topic, body).result(10)


class Azure:
    """By azure-storage-queue. The service has no attributes: they are wrapped around the body."""

    def __init__(self, server: Azurite) -> None:
        service = QueueServiceClient.from_connection_string(server.connection_string)
        name = secrets.token_hex(6)
        self._events, self._dead = service.create_queue(f"events-{name}"), service.create_queue(f"dead-{name}")
        query = f"?endpoint={server.queue_url}&identity=static"
        self.events, self.dead = f"azq://events-{name}{query}", f"azq://dead-{name}{query}"

    def look(self) -> tuple[bytes, dict[str, str]]:
        (message,) = self._dead.peek_messages()
        body, told = unwrap(message.content)
        return body, dict(told)

    def move(self) -> None:
        for message in self._dead.receive_messages():
            self._events.send_message(message.content)
            self._dead.delete_message(message)

    def send(self, body: bytes) -> None:
        self._events.send_message(body.decode())


@pytest.fixture(params=["sqs", "pubsub", "azure"])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    if request.param == "sqs":
        server = request.getfixturevalue("localstack_server")
        assert isinstance(server, LocalStack)
        return Sqs(server)
    if request.param == "azure":
        azurite = request.getfixturevalue("azurite_server")
        assert isinstance(azurite, Azurite)
        monkeypatch.setenv("AZURE_STORAGE_KEY", azurite.key)
        return Azure(azurite)
    emulator = request.getfixturevalue("pubsub_server")
    assert isinstance(emulator, PubSubEmulator)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", emulator.endpoint)  # for Google's client
    return PubSub(emulator)


class Skyferry:
    """Commands on a workspace with one route, whose destination refuses or takes what comes."""

    def __init__(self, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
        self._cloud, self._capsys = cloud, capsys
        self.dead = cloud.dead
        self.works(False)
        Path("skyferry-data/source").mkdir(parents=True)
        Path("skyferry-data/source/a.txt").write_bytes(BODY)

    def works(self, yes: bool) -> None:
        """The cause is there, or fixed."""
        settings = {
            "stores": {
                "source": {"url": "file://source", "watch": False},
                "there": {"url": f"sim://there?permission={0 if yes else 1}"},
            },
            "routes": [{"name": "r", "from": "source", "to": "there"}],
            "queues": [{"name": "events", "url": self._cloud.events, "lease": "5s"}],
            "dead_letters": {"url": self.dead},
        }
        Path("skyferry.yaml").write_text(yaml.safe_dump(settings))

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--config", "skyferry.yaml"])
        said = self._capsys.readouterr()
        assert int(ended.value.code or 0) == code, said.err + said.out
        return orjson.loads(said.out) if "--json" in arguments else said.out

    def run(self, code: int) -> None:
        """Until it is idle."""
        self(*RUN, "--until-idle", code=code)

    def letters(self) -> list[dict[str, Any]]:
        """As the ledger lists them."""
        found: list[dict[str, Any]] = self("dead-letters", "list", "--json")["items"]
        return found


@pytest.fixture
def skyferry(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Skyferry:
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("SKYFERRY_") and n != "SKYFERRY_SERVERS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    return Skyferry(cloud, capsys)


def copied() -> bytes:
    return Path("skyferry-data/there/a.txt").read_bytes()


def test_what_the_provider_moves_back_is_redriven(cloud: Cloud, skyferry: Skyferry) -> None:
    """With attempts counted from 1; the letter is gone once it is copied, and a copy of it does nothing more."""
    skyferry("submit", "file://source/a.txt")
    skyferry.run(DEAD)
    (letter,) = skyferry.letters()
    body, told = cloud.look()
    assert (told["skyferry-dead-letter"], told["skyferry-reason"]) == (letter["id"], "permission_denied")
    assert json.loads(told["skyferry-story"])[0]["kind"] == "permission_denied"
    assert b"a.txt" in body
    skyferry.works(True)
    cloud.move()
    skyferry.run(DONE)
    assert (copied(), skyferry.letters()) == (BODY, [])


def test_the_command_takes_them_back(cloud: Cloud, skyferry: Skyferry) -> None:
    """The ledger processes its letter again; nothing is left in the queue."""
    skyferry("submit", "file://source/a.txt")
    skyferry.run(DEAD)
    skyferry.works(True)
    nothing = skyferry("dead-letters", "redrive", "--from-queue", "--reason", "throttled", "--json", code=1)
    assert nothing == {"count": 0, "redriven": 0, "sent": 0, "stale": 0, "left": 1}
    taken = skyferry("dead-letters", "redrive", "--from-queue", "--route", "r", "--json")
    assert taken == {"count": 1, "redriven": 1, "sent": 0, "stale": 0, "left": 0}
    assert skyferry("dead-letters", "redrive", "--from-queue", "--json", code=1)["left"] == 0
    skyferry.run(DONE)
    assert (copied(), skyferry.letters()) == (BODY, [])


def test_what_the_ledger_does_not_know_goes_to_its_queue(cloud: Cloud, skyferry: Skyferry) -> None:
    """The ledger was lost: the queue has all that is needed."""
    skyferry("submit", "file://source/a.txt")
    skyferry.run(DEAD)
    for file in Path("skyferry-data").glob("ledger.db*"):
        file.rename(f"lost-{file.name}")
    skyferry.works(True)
    assert skyferry("dead-letters", "redrive", "--from-queue", "--json")["sent"] == 1
    skyferry.run(DONE)
    assert copied() == BODY


def test_what_dies_again_is_not_redriven_by_a_copy_of_its_first_death(cloud: Cloud, skyferry: Skyferry) -> None:
    """The moved message redrives once; it lies in the dead-letter queue again under its new death."""
    skyferry("submit", "file://source/a.txt")
    skyferry.run(DEAD)
    (first,) = skyferry.letters()
    cloud.move()
    skyferry.run(DEAD)
    (second,) = skyferry.letters()
    assert (second["id"], second["redriven_at"]) == (first["id"], None)
    assert second["at"] > first["at"]
    transfer = skyferry("transfers", "--json")["items"][0]
    assert transfer["attempts"] == 1


def test_an_unreadable_message_goes_the_same_way(cloud: Cloud, skyferry: Skyferry) -> None:
    """It is parsed again, and dies as the letter that it was."""
    cloud.send(b"no event")
    skyferry.run(DEAD)
    (first,) = skyferry.letters()
    body, told = cloud.look()
    assert (body, told["skyferry-reason"], told["skyferry-queue"]) == (b"no event", "unknown_format", "events")
    cloud.move()
    skyferry.run(DEAD)
    (second,) = skyferry.letters()
    assert (second["id"], second["queue"], second["at"] > first["at"]) == (first["id"], "events", True)


def test_an_outage_of_the_queue_delays_no_other_work(cloud: Cloud, skyferry: Skyferry) -> None:
    """The worker goes on and the letter waits in the ledger; it arrives with the first run after the outage."""
    there = skyferry.dead
    skyferry.dead = there.replace("endpoint=http://127.0.0.1:", "endpoint=http://127.0.0.2:")  # nobody listens
    skyferry.works(False)
    skyferry("submit", "file://source/a.txt")
    skyferry.run(DEAD)
    skyferry.dead = there
    skyferry.works(True)
    skyferry.run(DEAD)
    assert cloud.look()[1]["skyferry-dead-letter"] == skyferry.letters()[0]["id"]


@pytest.mark.parametrize("cloud", ["sqs"], indirect=True)
def test_the_command_ends_though_a_service_gives_up_again_meanwhile(cloud: Cloud, skyferry: Skyferry) -> None:
    """Each letter is redriven once; what comes back is left there."""
    skyferry("submit", "file://source/a.txt")
    skyferry.run(DEAD)
    with service():
        wait_until(lambda: b"service.started" in Path("log").read_bytes())
        taken = skyferry("dead-letters", "redrive", "--from-queue", "--json")
    assert (taken["redriven"], taken["sent"], taken["stale"]) == (1, 0, 0)


@pytest.mark.parametrize("cloud", ["sqs"], indirect=True)
def test_a_service_that_is_killed_before_it_could_send_a_letter_sends_it_after(
    cloud: Cloud, skyferry: Skyferry
) -> None:
    """By kill -9, while the queue cannot be reached."""
    there = skyferry.dead
    skyferry.dead = there.replace("endpoint=http://127.0.0.1:", "endpoint=http://127.0.0.2:")
    skyferry.works(False)
    skyferry("submit", "file://source/a.txt")
    with service():
        wait_until(lambda: b"dead_letter.publish_failed" in Path("log").read_bytes())
    skyferry.dead = there
    skyferry.works(False)
    (letter,) = skyferry.letters()
    skyferry.run(DEAD)
    assert cloud.look()[1]["skyferry-dead-letter"] == letter["id"]


@contextmanager
def service() -> Iterator[None]:
    """In a process of its own for as long as the block, which ends it by kill -9."""
    command = [str(Path(sys.executable).with_name("skyferry")), *RUN, "--config", "skyferry.yaml"]
    with Path("log").open("wb") as log, subprocess.Popen(command, stderr=log, stdout=log) as running:
        try:
            yield
        finally:
            running.kill()
