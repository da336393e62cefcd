"""The facts that `doctor` checks of a stream and its consumer. Permission: their INFO."""

from __future__ import annotations

from collections.abc import Iterator

from nats.js.api import ConsumerInfo, DiscardPolicy, RetentionPolicy, StorageType, StreamInfo

from skyferry.ports.inspection import OUTAGE, QueueFacts, Redrive, Unknown, Wrong
from skyferry.queues.nats.connection import PENDING, NatsConnection
from skyferry.queues.nats.scheme import TRAITS

LARGE = 64 * 1024  # bytes of a message with an event: its key alone may have 1 KiB in each of several fields
UNDELIVERED = "nowhere: the message stays in the stream, and is not delivered again"


async def inspect(connection: NatsConnection) -> QueueFacts:
    """See `InspectableQueue`. Raises QueueError."""
    consumer, stream = await connection.find_consumer(), await connection.find_stream()
    other = "" if stream else await connection.find_other_stream()
    largest, is_cluster = await connection.find_limits()
    replicas = (stream.config.num_replicas if stream else None) or 1
    most = (consumer.config.max_deliver if consumer else None) or -1
    subjects = ", ".join((stream.config.subjects if stream else [connection.subject]) or [])
    wait = consumer.config.ack_wait if consumer else connection.options.lease
    return QueueFacts(
        endpoint=connection.options.address.shown,
        who=connection.options.address.user or "by its credentials",
        address=Unknown("MinIO names its targets by itself"),
        redrive=Redrive(most, UNDELIVERED) if most > 0 else None,
        receives=True,
        encryption=Unknown("the disks of the server are not visible from here"),
        senders=Unknown("any user that may publish to its subjects"),
        traits=TRAITS,
        notes=(
            "TLS" if connection.options.tls else "without TLS",
            f"subjects {subjects}",
            f"ack wait {wait:g} s",
            *(["one replica: without its server, the stream is down"] if is_cluster and replicas == 1 else []),
            *([] if consumer else [f"the first start creates {'' if stream else 'stream and '}consumer"]),
        ),
        wrong=(
            *([Wrong(*connection.describe_overlap(other))] if other else ()),
            *(_find_consumer_faults(connection, consumer) if consumer else ()),
            *(_find_stream_faults(connection.subject, stream) if stream else ()),
            *(_find_losses(stream) if stream else ()),
            *_find_size_faults(stream, largest),
            *(_find_other_consumers(connection.consumer, stream) if stream and not consumer else ()),
        ),
    )


def _find_consumer_faults(connection: NatsConnection, consumer: ConsumerInfo) -> Iterator[Wrong]:
    lease, wait, name = connection.options.lease, consumer.config.ack_wait or 30.0, connection.consumer
    if wait < lease:
        yield Wrong(
            f"the ack wait of consumer {name} is {wait:g} s, shorter than the lease of {lease:g} s: {wait:g} s is used",
            f"Run: nats consumer edit {connection.stream} {name} --wait={lease:g}s; or set the lease to {wait:g}s.",
        )
    chosen = consumer.config.filter_subject
    if chosen and connection.subject and chosen != connection.subject and not {"*", ">"} & {*chosen.split(".")}:
        yield Wrong(
            f"consumer {name} receives {chosen} alone, and events are sent to {connection.subject}",
            f"Run: nats consumer edit {connection.stream} {name} --filter={connection.subject}; or correct the option subject.",
        )
    if consumer.config.headers_only:
        what = f"consumer {name} delivers headers alone, so each message becomes a dead letter"
        yield Wrong(what, "Name a consumer that delivers whole messages: headers_only cannot be changed.")
    pending = consumer.config.max_ack_pending or 0
    if 0 < pending < 1000:
        yield Wrong(
            f"consumer {name} delivers at most {pending} messages that are not acknowledged",
            f"Raise max_ack_pending, such as to {PENDING}.",
        )


def _find_stream_faults(subject: str, stream: StreamInfo) -> Iterator[Wrong]:
    if stream.config.storage == StorageType.MEMORY:
        what = "the stream is in memory: a restart loses all messages"
        yield Wrong(what, "Use a stream with the storage file.", loses=True)
    if stream.config.no_ack:
        what = "the stream does not confirm messages, so none can be sent"
        yield Wrong(what, f"Run: nats stream edit {stream.config.name} --ack.")
    if stream.config.retention == RetentionPolicy.INTEREST:
        yield Wrong(
            "the stream keeps messages only while it has consumers",
            "Use the retention workqueue, or limits with an age.",
        )
    if (
        subject
        and subject not in (stream.config.subjects or [])
        and not any("*" in s or ">" in s for s in stream.config.subjects or [])
    ):
        yield Wrong(f"the stream has no subject {subject}", "Correct the option subject, or add it to the stream.")


def _find_size_faults(stream: StreamInfo | None, largest: int) -> Iterator[Wrong]:
    """Yield the limit that refuses the messages of some events."""
    most, hint = largest, "Raise max_payload of the server."
    if stream and 0 < (limit := stream.config.max_msg_size or 0) < most:
        most, hint = limit, f"Run: nats stream edit {stream.config.name} --max-msg-size=-1."
    if most < LARGE:
        yield Wrong(f"messages of more than {most:,} bytes are refused, and an event may have {LARGE:,}", hint)


def _find_losses(stream: StreamInfo) -> Iterator[Wrong]:
    """Yield the limits by which the stream drops messages that were not received."""
    config = stream.config
    if 0 < (age := config.max_age or 0) < OUTAGE:
        what = f"the stream drops messages after {age:g} s, also those that were not received"
        yield Wrong(what, f"Run: nats stream edit {config.name} --max-age=7d; or without an age.", loses=True)
    limited = [name for name in ("max_msgs", "max_bytes", "max_msgs_per_subject") if (getattr(config, name) or -1) > 0]
    if limited and config.discard != DiscardPolicy.NEW:
        what = f"the stream drops its oldest messages at {limited[0]}"
        yield Wrong(what, f"Run: nats stream edit {config.name} --discard=new; senders then wait.", loses=True)


def _find_other_consumers(consumer: str, stream: StreamInfo) -> Iterator[Wrong]:
    """Yield the reason for which the stream accepts no other consumer."""
    if 0 < (most := stream.config.max_consumers or 0) <= stream.state.consumer_count:
        what = (
            f"the stream has {stream.state.consumer_count} of {most} consumers, so consumer {consumer} cannot be made"
        )
        yield Wrong(what, f"Name one of them in the URL: nats consumer ls {stream.config.name}.")
        return
    if stream.config.retention == RetentionPolicy.WORK_QUEUE and stream.state.consumer_count:
        what = f"the stream is a work queue that another consumer receives from, so consumer {consumer} cannot be made"
        yield Wrong(what, f"Name that consumer in the URL: nats consumer ls {stream.config.name}.")
