"""Every setting, with one line of help. Durations are in seconds and sizes in bytes; both may have a unit (30s, 64MiB)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skyferry.config.identity import IdentitySettings
from skyferry.config.max_deletes import MaxDeletesText
from skyferry.config.push import PushSettings
from skyferry.config.sections.kinds import NAME, Secret, ServiceName
from skyferry.config.sections.section import Bytes, Lease, Seconds, Section, Texts, setting
from skyferry.config.servers.tls import TlsSettings
from skyferry.config.simulator import SimulatorSettings as SimulatorSettings
from skyferry.events.s3_keys import KeyEncoding
from skyferry.model import Priority


class StoreSettings(Section):
    """One bucket or folder."""

    url: str = setting(
        description="s3://BUCKET, gs://BUCKET, az://ACCOUNT/CONTAINER, file://FOLDER, sim://FOLDER or memory://NAME."
    )
    bucket: str = setting(default="", description="Name of the bucket in events; empty = the name in the URL.")
    endpoint: str = setting(default="", description="URL of the server; empty = the provider's own.")
    region: str = setting(
        default="",
        description="Region of the bucket or folder, such as eu-west-1, for `run_in` and `allow_regions`. S3 also signs requests "
        "for it; empty there = AWS_REGION at Amazon, otherwise the default of the service.",
    )
    service: ServiceName = setting(
        default="",
        description="S3: the service; empty = by the host of the endpoint (aws, r2, b2, gcs-interop), or by what the server says "
        "of itself (ceph, localstack, rclone), otherwise other, of which nothing is assumed.",
    )
    event_keys: KeyEncoding = setting(
        default="auto",
        description="S3: keys in the notifications of the service. encoded = as in a form, as Amazon and MinIO send them; plain = "
        "as they are (NooBaa, versitygw); auto = by the notification, and where it leaves both possible, by a look at both keys.",
    )
    allow_http: bool = setting(default=False, description="Allow an endpoint without TLS that is not on loopback.")
    identity: IdentitySettings = setting(default_factory=IdentitySettings, description="The identity to use there.")
    encryption: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = setting(
        default="", description="S3: encryption of written objects; empty = the default of the bucket."
    )
    kms_key: str = setting(
        default="",
        description="S3, Cloud Storage: the key that encrypts written objects; empty = the default of the bucket.",
    )
    encryption_scope: str = setting(default="", description="Azure: encryption scope of written objects.")
    hierarchical: bool = setting(default=False, description="Azure: the namespace is hierarchical (Data Lake).")
    requester_pays: bool = setting(default=False, description="S3: pay for requests if the bucket requires it.")
    billing_project: str = setting(
        default="", description="Cloud Storage: project to bill if the bucket requires the requester to pay."
    )
    large_upload_mode: Literal["compose", "resumable"] = setting(
        default="compose",
        description="Cloud Storage: compose = write parts, join them and delete them; resumable = one resumable upload, which "
        "leaves nothing to delete, for buckets with a retention policy.",
    )
    requests_per_second: float = setting(default=0.0, ge=0, description="Maximum rate of requests; 0 = no limit.")
    bytes_per_second: Bytes = setting(default=0, description="Maximum rate of bytes, read and written; 0 = no limit.")
    shared_limits: bool = setting(default=False, description="Share rates and breaker with the ledger's other workers.")
    watch: bool = setting(default=True, description="Watch a local folder that is the source of a route.")
    special_files: Literal["skip", "follow", "fail"] = setting(
        default="skip",
        description="Folders: skip = report symbolic links, FIFOs, sockets and devices, and skip them; fail = fail the listing; "
        "follow = copy the target of links to files inside the folder; report and skip other links, and all links to folders.",
    )
    fsync: bool = setting(default=True, description="Folders: flush each copy to the disk before it counts as done.")
    simulator: SimulatorSettings = setting(default_factory=SimulatorSettings, description="Faults of a sim:// store.")


class FilterSettings(Section):
    """Objects of a route. All given conditions must match."""

    keys = frozenset({"prefix", "suffix"})
    prefix: str = setting(default="", description="Prefix of the key.")
    suffix: str = setting(default="", description="Suffix of the key.")
    glob: Texts = setting(
        default=(), description="Patterns of which the key must match one (* within a folder, ** across folders)."
    )
    exclude: Texts = setting(default=(), description="Patterns of which the key must match none.")
    min_size: Bytes = setting(default=0, description="Skip smaller objects.")
    max_size: Bytes | None = setting(default=None, description="Skip larger objects.")
    min_age: Seconds = setting(
        default=0.0,
        description="Wait until the object is this old. For an object dated in the future, the event decides.",
    )
    max_age: Seconds | None = setting(default=None, description="Skip objects that were last changed longer ago.")


Handling = Literal["fail", "encode", "drop", "map"]


class UnfitSettings(Section):
    """The handling of attributes that the destination cannot store. Receipts record each change.

    fail = the transfer becomes a dead letter; encode = write the text in ASCII; map = replace each character that does not fit by
    its base letter, or by `_`; drop = leave it out. What is too much is left out by all but fail.
    """

    headers: Handling = setting(
        default="fail",
        description="Values of headers. encode: Content-Disposition by RFC 8187, others by RFC 2047.",
    )
    metadata: Handling = setting(
        default="fail", description="Names of user metadata, and their total size. encode: percent-encode the name."
    )
    tags: Handling = setting(
        default="fail", description="Keys and values of tags, and their number. encode: `=` and hexadecimal."
    )


class RouteSettings(Section):
    """A rule: the source store, the destination store and key, and the policies."""

    keys = frozenset({"key"})
    name: str = setting(pattern=NAME, description="Unique name, in logs, metrics and transfer ids.")
    source: str = setting(alias="from", description="Name or URL of a store.")
    destination: str = setting(alias="to", description="Name or URL of a store.")
    key: str = setting(
        default="{key}",
        description="Template of the destination key: {key} {dir} {name} {stem} {ext} {bucket} {yyyy} {mm} {dd}.",
    )
    filter: FilterSettings = setting(default_factory=FilterSettings, description="Objects to copy.")
    deletes: Literal["ignore", "propagate"] = setting(
        default="ignore", description="Whether deletes at the source delete the copy."
    )
    max_deletes: MaxDeletesText = setting(
        default="1000, 25%",
        description="Watched folders: hold deletes until they are approved if they are more at once than this number, or than "
        "this share of the known objects; 0 = hold all, none = no limit.",
    )
    after_copy: Literal["keep", "delete", "delete-unchecked"] = setting(
        default="keep",
        description="Fate of the source object once its copy is verified. `delete-unchecked` accepts services whose deletes cannot "
        "name a version: a version written just before the delete is lost, unless the bucket keeps versions.",
    )
    priority: Priority = setting(default=Priority.NORMAL, description="Priority of events without one.")
    metadata: dict[str, str] = setting(default_factory=dict, description="User metadata to set on the copy.")
    tags: dict[str, str] = setting(default_factory=dict, description="Tags to add to those of the source.")
    storage_class: str | dict[str, str] = setting(
        default="",
        description="keep, a class, or a map from classes of the source to classes of the destination (`*` = any other); empty = "
        "keep if both stores are of one provider, otherwise the default of the destination.",
    )
    guess_content_type: bool = setting(
        default=True,
        description="Derive the content type from the name where the source has none, as files do; not between stores of one kind.",
    )
    folder_markers: Literal["copy", "skip"] = setting(
        default="copy",
        description="Empty objects whose key ends with a slash, as consoles make them for folders: copy = copy them, or make the "
        "folder if the destination is one; skip = skip them.",
    )
    unfit: UnfitSettings = setting(
        default_factory=UnfitSettings, description="Handling of attributes that the destination cannot store."
    )
    directed: bool = setting(
        default=False,
        description="Allow events to name the destination key, for objects that match the filter and keys that begin like those of "
        "the template.",
    )
    allow_loopback: bool = setting(
        default=False,
        description="Also copy an object back to a store where it has been before. By default that is skipped as a loop.",
    )
    ring: Literal["refuse", "allow"] = setting(
        default="refuse",
        description="`allow`: the route is part of a ring that keeps stores alike, so other routes may copy its copies. An object "
        "does not return to a store where it has been; of two versions of a key, the later one stays.",
    )

    run_in: Literal["any", "source"] = setting(
        default="any",
        description="Workers that run the route: any, or only those in the source's `region`. Others release its events.",
    )
    allow_regions: Texts = setting(
        default=(),
        description="Patterns of the regions of copies, and of workers that copy them, such as eu-*; empty = all.",
    )


class QueueAddress(Section):
    """The address of a queue."""

    name: str = setting(pattern=NAME, description="Unique name, in logs and metrics.")
    url: str = setting(
        description="sqs://QUEUE (also its ARN or https URL), "
        "pubsub://PROJECT/SUBSCRIPTION, azq://ACCOUNT/QUEUE, r2q://ACCOUNT/QUEUE, redis://HOST/STREAM, "
        "nats://HOST/STREAM/CONSUMER, postgresql://HOST/DATABASE/QUEUE, sqlite://FILE or memory://NAME."
    )
    endpoint: str = setting(default="", description="URL of the server; empty = the provider's own.")
    region: str = setting(default="", description="SQS: region of the queue; empty = AWS_REGION, otherwise us-east-1.")
    topic: str = setting(
        default="", description="Pub/Sub: topic for submitted events; empty = events cannot be submitted."
    )
    allow_http: bool = setting(default=False, description="Allow a server without TLS that is not on loopback.")
    tls: TlsSettings = setting(
        default_factory=TlsSettings, description="Redis, NATS, PostgreSQL: certificates for the connection."
    )
    identity: IdentitySettings = setting(default_factory=IdentitySettings, description="The identity to use there.")
    lease: Lease = setting(default=30.0, description="Lease of a received message, renewed during processing.")


class QueueSettings(QueueAddress):
    """A source of events."""

    stores: Texts = setting(
        default=(),
        description="Names of the stores that providers notify it of, where two stores have one bucket name and the events do not "
        "say which; an event of another store is one of an unknown bucket. Empty = all.",
    )
    unknown_buckets: Literal["keep", "release", "ignore"] = setting(
        default="keep",
        description="Events of a bucket without a store: keep them as dead letters, release them for another deployment that "
        "reads this queue, or ignore them. They are counted in each case.",
    )


class DeadLetterSettings(QueueAddress):
    """A queue that dead letters are also sent to, and redriven from."""

    name: str = setting(default="dead-letters", pattern=NAME, description="Name in logs.")
    url: str = setting(
        description="sqs://QUEUE, pubsub://PROJECT/SUBSCRIPTION?topic=TOPIC, pubsub://PROJECT?topic=TOPIC (nothing can be redriven "
        "from there), azq://ACCOUNT/QUEUE, r2q://ACCOUNT/QUEUE, redis://HOST/STREAM, nats://HOST/STREAM/CONSUMER?subject=SUBJECT, "
        "postgresql://HOST/DATABASE/QUEUE or sqlite://FILE."
    )
    topic: str = setting(default="", description="Pub/Sub: topic that they are sent to.")


class LedgerSettings(Section):
    """The durable memory."""

    url: str = setting(
        default="sqlite://ledger.db",
        description="sqlite://FILE, postgresql://HOST/DATABASE?schema=SCHEMA, redis[s]://HOST/NAME or memory://NAME.",
    )
    allow_http: bool = setting(default=False, description="Allow a server without TLS that is not on loopback.")
    tls: TlsSettings = setting(
        default_factory=TlsSettings, description="PostgreSQL and Redis: certificates for the connection."
    )
    identity: IdentitySettings = setting(
        default_factory=IdentitySettings, description="PostgreSQL and Redis: the identity to use there."
    )
    lease: Lease = setting(default=30.0, description="Lease of a claim, renewed during processing.")
    retention: Seconds = setting(
        default=30 * 86400.0, description="Settled transfers are deleted after this time. Positions are kept for ever."
    )


class RetrySettings(Section):
    """Retries."""

    max_retries: int = setting(
        default=3,
        ge=0,
        le=10,
        description="Retries of a transfer before it is a dead letter, unless the event decides.",
    )
    initial_delay: Seconds = setting(
        default=1.0,
        description="Upper bound of the first delay; doubles with every attempt. Each delay is random below it (full jitter).",
    )
    max_delay: Seconds = setting(default=60.0, description="Upper bound of every delay.")
    request_tries: int = setting(default=4, ge=1, le=10, description="Tries of one request within an attempt.")
    request_initial_delay: Seconds = setting(
        default=0.1, description="Upper bound of the first delay between these tries."
    )


class BreakerSettings(Section):
    """The circuit breaker of each store."""

    failures: int = setting(default=5, ge=1, description="Different objects that fail in a row and open it.")
    cooldown: Seconds = setting(default=5.0, description="Time until the first probe; doubles up to max_cooldown.")
    max_cooldown: Seconds = setting(default=60.0, description="Maximum time between probes.")
    probes: int = setting(default=1, ge=1, description="Transfers allowed while it is half open.")


class LimitSettings(Section):
    """Limits of one worker."""

    transfers: int = setting(default=1024, ge=1, description="Maximum number of concurrent small transfers.")
    adaptive: bool = setting(
        default=True, description="Adapt their number to each pair of stores; false = always `transfers`."
    )
    large_transfers: int = setting(default=4, ge=1, description="Maximum number of large transfers between two stores.")
    max_in_flight_messages: int = setting(
        default=3072,
        ge=1,
        description="Maximum number of messages being processed; fewer while fewer transfers can run.",
    )
    waiting_messages: int = setting(
        default=10_000,
        ge=0,
        description="Maximum number of messages that wait for a retry, for a store that is down or for a busy key, with renewed "
        "leases; one of several queues takes at most two thirds. More are released, at most twice each where receives are limited.",
    )
    waiting_memory: Bytes = setting(default=32 * 2**20, description="Maximum total size of these waiting messages.")
    batch: int = setting(default=256, ge=1, description="Maximum number of messages in one receive.")
    memory: Bytes = setting(
        default=128 * 2**20,
        description="Maximum size of object data in memory; one of several pairs of stores takes two thirds. Buffers add 1/8.",
    )
    part_size: Bytes = setting(
        default=8 * 2**20, ge=64 * 2**10, description="Size of a part. Larger objects are copied in parts."
    )
    multipart_threshold: Bytes = setting(
        default=64 * 2**20,
        description="Size up to which the first attempt at a larger object is one request, not parts, if the destination checks a "
        "digest that the source declares. Later attempts go in parts, which can be resumed.",
    )
    part_concurrency: int = setting(default=4, ge=1, description="Maximum number of concurrent parts of one object.")
    request_timeout: Seconds = setting(
        default=60.0,
        description="Time limit of a request, plus one second for each 256 KiB of its body. A connection without traffic for this "
        "time (at most 30 s, at Cloud Storage 60 s) has failed. Server-side copies and joins may take one second more for each "
        "16 MiB.",
    )
    lost_leases: int = setting(default=20, ge=1, description="Lost leases after which a transfer is a dead letter.")


class ServerSettings(Section):
    """The HTTP server."""

    listen: str = setting(
        default="127.0.0.1:8080", description="HOST:PORT. Addresses other than loopback require a token."
    )
    token: Secret | None = setting(
        default=None, description="Bearer token. Set it in SKYFERRY_SERVER__TOKEN, not in the file."
    )
    token_file: Path | None = setting(default=None, description="File with the bearer token; reloaded when it changes.")
    local_access: Literal["owner", "machine"] = setting(
        default="owner",
        description="Access without a configured token: owner = the user that runs the server, and others with the token in "
        "`server.token` of the workspace; machine = every user of this machine.",
    )
    body_limit: Bytes = setting(default=2**20, description="Maximum size of a request body.")
    connections: int = setting(
        default=0,
        ge=0,
        description="Maximum number of open connections; 0 = a quarter of the process's descriptors, at most 256.",
    )
    patience: Seconds = setting(
        default=30.0, gt=0, description="Time limit for a client to send its headers, to send its body, and to read on."
    )


class LogSettings(Section):
    """Logs, on standard error."""

    format: Literal["auto", "json", "text"] = setting(
        default="auto", description="auto = text on a terminal, otherwise JSON."
    )
    level: Literal["debug", "info", "warning", "error"] = setting(
        default="info", description="Lowest severity that is logged."
    )


class TracingSettings(Section):
    """OpenTelemetry traces. They require the extra `otel`."""

    otlp_endpoint: str = setting(default="", description="OTLP endpoint, such as http://localhost:4318; empty = off.")
    sample_rate: float = setting(
        default=1.0, ge=0, le=1, description="Share of traces to keep, unless the event's traceparent decides."
    )


class Settings(Section):
    """The whole configuration."""

    workspace: Path = setting(
        default=Path("skyferry-data"), description="Folder that relative paths in URLs start from."
    )
    region: str = setting(
        default="", description="Region of this worker, as stores have it, mostly by SKYFERRY_REGION; empty = none."
    )
    stores: dict[str, StoreSettings] = setting(default_factory=dict, description="Buckets and folders by name.")
    routes: tuple[RouteSettings, ...] = setting(default=(), description="Rules of copying.")
    queues: tuple[QueueSettings, ...] = setting(
        default=(), description="Sources of events. The first gets submitted events."
    )
    dead_letters: DeadLetterSettings | None = setting(
        default=None, description="Queue that dead letters are also sent to; by default they are only in the ledger."
    )
    push: tuple[PushSettings, ...] = setting(
        default=(), description="Endpoints of the server for notifications that providers push."
    )
    ledger: LedgerSettings = setting(default_factory=LedgerSettings, description="The durable memory.")
    retry: RetrySettings = setting(default_factory=RetrySettings, description="Retries.")
    breaker: BreakerSettings = setting(default_factory=BreakerSettings, description="Circuit breakers.")
    limits: LimitSettings = setting(default_factory=LimitSettings, description="Limits of one worker.")
    server: ServerSettings = setting(default_factory=ServerSettings, description="The HTTP server.")
    log: LogSettings = setting(default_factory=LogSettings, description="Logs.")
    tracing: TracingSettings = setting(default_factory=TracingSettings, description="Traces.")
    drain: Seconds = setting(default=25.0, description="Grace period after SIGTERM.")
