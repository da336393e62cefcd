"""Every setting, with one line of help each. Durations are seconds, sizes bytes; both may be written with a unit (30s, 64MiB)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr

from skyferry.config.identity import IdentitySettings
from skyferry.config.max_deletes import MaxDeletesText
from skyferry.config.push import PushSettings
from skyferry.config.section import Bytes, Lease, Seconds, Section, Texts
from skyferry.model import Priority


class SimulatorSettings(Section):
    """What a `sim://` store does wrong. Rates are probabilities per request, 0 to 1."""

    seed: int = Field(0, description="Decides every fault and delay; the same seed gives the same run.")
    latency: Seconds = Field(0.0, description="Added to each request.")
    jitter: Seconds = Field(0.0, description="Uniform, on top of latency.")
    bandwidth: Bytes = Field(0, description="Bytes per second for all requests together; 0 = no limit.")
    throttle: float = Field(0.0, ge=0, le=1, description="Rate of Throttled answers (with Retry-After).")
    timeout: float = Field(0.0, ge=0, le=1, description="Rate of requests that time out.")
    reset: float = Field(0.0, ge=0, le=1, description="Rate of connections reset, before or after the effect.")
    permission: float = Field(0.0, ge=0, le=1, description="Rate of PermissionDenied.")
    not_found: float = Field(
        0.0, ge=0, le=1, description="Rate of ObjectNotFound on reads: an object of a source then counts as gone."
    )
    corrupt: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Rate of reads with one byte flipped. It is noticed where the event or the object tells a checksum: a file "
        "that Skyferry wrote does, one that somebody dropped does not.",
    )
    truncate: float = Field(0.0, ge=0, le=1, description="Rate of reads cut short, half of them without an error.")
    quota: Bytes = Field(
        0, description="Writes that would take the folder over this fail with QuotaExceeded, and wait; 0 = none."
    )
    outages: Texts = Field(
        (), description='Windows after the start in which all fails, e.g. "10s-25s"; in a URL with commas between them.'
    )
    timeout_after: Seconds = Field(0.05, description="How long a request that times out takes.")


class StoreSettings(Section):
    """One bucket or folder."""

    url: str = Field(
        description="s3://BUCKET, gs://BUCKET, az://ACCOUNT/CONTAINER, file://FOLDER, sim://FOLDER or memory://NAME."
    )
    bucket: str = Field("", description="The bucket's name in events; by default that of the URL.")
    endpoint: str = Field("", description="The server, as a URL; empty = the provider's own.")
    region: str = Field(
        "", description="S3: the bucket's region; empty = AWS_REGION at Amazon, or the service's default."
    )
    service: Literal["", "aws", "minio", "r2", "ceph", "b2", "gcs-interop", "localstack", "other"] = Field(
        "",
        description="S3: who speaks it there; empty = as the endpoint's host says: aws, r2, b2, gcs-interop or other.",
    )
    allow_http: bool = Field(False, description="The endpoint may do without TLS, though it is not on loopback.")
    identity: IdentitySettings = Field(default_factory=IdentitySettings, description="Who Skyferry is there.")
    encryption: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = Field(
        "", description="S3: how what is written is encrypted there; empty = as the bucket says."
    )
    kms_key: str = Field(
        "", description="S3, Cloud Storage: the key that encrypts what is written; empty = as the bucket says."
    )
    encryption_scope: str = Field("", description="Azure: the scope that encrypts what is written.")
    hierarchical: bool = Field(False, description="Azure: the account has a hierarchical namespace (Data Lake).")
    requester_pays: bool = Field(False, description="S3: pay for requests, where the bucket wants the requester to.")
    billing_project: str = Field("", description="Cloud Storage: who pays, where the bucket wants the requester to.")
    large_upload_mode: Literal["compose", "resumable"] = Field(
        "compose",
        description="Cloud Storage: large objects are composed of parts, which are deleted then; or go into one resumable upload, "
        "part by part, which leaves nothing to delete: for a bucket with a retention policy.",
    )
    requests_per_second: float = Field(0.0, ge=0, description="Rate limit; 0 = none.")
    bytes_per_second: Bytes = Field(0, description="Bandwidth limit, read and written together; 0 = none.")
    watch: bool = Field(True, description="Notice changes of a local folder that is the source of a route.")
    special_files: Literal["skip", "follow", "fail"] = Field(
        "skip",
        description="Folders: symbolic links, FIFOs, sockets and devices are skipped and reported, or fail the listing. "
        "follow = a link to a file inside the folder is that file; others, and all links to folders, are skipped and reported.",
    )
    simulator: SimulatorSettings = Field(default_factory=SimulatorSettings, description="Faults of a sim:// store.")


class FilterSettings(Section):
    """Which objects a route takes; everything given must match."""

    keys = frozenset({"prefix", "suffix"})
    prefix: str = Field("", description="The key begins with this.")
    suffix: str = Field("", description="The key ends with this.")
    glob: Texts = Field((), description="The key matches one of these (* within a folder, ** across).")
    exclude: Texts = Field((), description="The key matches none of these.")
    min_size: Bytes = Field(0, description="Smaller objects are skipped.")
    max_size: Bytes | None = Field(None, description="Larger objects are skipped.")
    min_age: Seconds = Field(
        0.0,
        description="Younger objects wait until they are this old. Of one dated in the future, the event tells the age.",
    )
    max_age: Seconds | None = Field(None, description="Objects last changed longer ago are skipped.")


class RouteSettings(Section):
    """A rule: from this store, to that store and key, with these policies."""

    keys = frozenset({"key"})
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Unique; in logs, metrics and transfer ids.")
    source: str = Field(alias="from", description="Name of a store, or its URL.")
    destination: str = Field(alias="to", description="Name of a store, or its URL.")
    key: str = Field(
        "{key}",
        description="Template of the destination key: {key} {dir} {name} {stem} {ext} {bucket} {yyyy} {mm} {dd}.",
    )
    filter: FilterSettings = Field(default_factory=FilterSettings, description="Which objects.")
    deletes: Literal["ignore", "propagate"] = Field("ignore", description="What a delete at the source does.")
    max_deletes: MaxDeletesText = Field(
        "1000, 25%",
        description="Of a watched folder: more deletes at once than this number, or than this share of the objects known, are "
        "held until a person approves them; 0 = all are, none = no limit.",
    )
    after_copy: Literal["keep", "delete", "delete-unchecked"] = Field(
        "keep",
        description="What happens to the source once its copy is verified. `delete-unchecked` accepts a service whose deletes "
        "name no version: what is written to the key just before the delete is lost, unless the bucket keeps versions.",
    )
    priority: Priority = Field(Priority.NORMAL, description="For events that do not name one.")
    metadata: dict[str, str] = Field(default_factory=dict, description="User metadata to set at the destination.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags to set, besides those of the source.")
    storage_class: str | dict[str, str] = Field(
        "",
        description="keep, a class, or a table of the source's class to the destination's (`*` = any other); empty = keep "
        "where both ends are of one provider, else the destination's default.",
    )
    directed: bool = Field(
        False,
        description="An event may name its destination key: for objects that the filter takes, and keys that begin as those of the "
        "template do.",
    )
    allow_loopback: bool = Field(
        False,
        description="Also copy an object back to a store where it has been before. By default that is skipped as a loop.",
    )
    ring: Literal["refuse", "allow"] = Field(
        "refuse",
        description="`allow`: this is one of the routes by which stores are kept alike, and its copies may be taken by another "
        "of them. An object does not go back to a store where it has been; of two of one key, what was written last stays.",
    )

    model_config = ConfigDict(populate_by_name=True)


class QueueAddress(Section):
    """A queue, and how it is reached."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Unique; in logs and metrics.")
    url: str = Field(
        description="sqs://QUEUE, pubsub://PROJECT/SUBSCRIPTION, azq://ACCOUNT/QUEUE, sqlite://FILE or memory://NAME."
    )
    endpoint: str = Field("", description="The server, as a URL; empty = the provider's own.")
    region: str = Field("", description="SQS: the queue's region; empty = AWS_REGION, or us-east-1.")
    topic: str = Field("", description="Pub/Sub: the topic that submitted events are sent to; empty = none can be.")
    allow_http: bool = Field(False, description="The endpoint may do without TLS, though it is not on loopback.")
    identity: IdentitySettings = Field(default_factory=IdentitySettings, description="Who Skyferry is there.")
    lease: Lease = Field(30.0, description="How long a received message is ours; renewed while we work.")


class QueueSettings(QueueAddress):
    """Where events come from."""

    stores: Texts = Field(
        (),
        description="Names of the stores that providers notify it of, where two stores have one bucket name and the events do not "
        "say which; an event of another store is one of an unknown bucket. Empty = all.",
    )
    unknown_buckets: Literal["keep", "release", "ignore"] = Field(
        "keep",
        description="An event of a bucket that no store here is: keep it as a dead letter, release it for another deployment "
        "that takes from this queue, or ignore it. It is counted in each case.",
    )


class DeadLetterSettings(QueueAddress):
    """Where dead letters are sent too, for others to see, and redriven from."""

    name: str = Field("dead-letters", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="In logs.")
    url: str = Field(
        description="sqs://QUEUE, pubsub://PROJECT/SUBSCRIPTION?topic=TOPIC, pubsub://PROJECT?topic=TOPIC (nothing can be redriven "
        "from there), azq://ACCOUNT/QUEUE or sqlite://FILE."
    )
    topic: str = Field("", description="Pub/Sub: the topic that they are sent to.")


class LedgerSettings(Section):
    """The durable memory."""

    url: str = Field("sqlite://ledger.db", description="sqlite://FILE or memory://NAME.")
    lease: Lease = Field(30.0, description="How long a claim is ours; renewed while we work.")
    retention: Seconds = Field(
        30 * 86400.0, description="Settled transfers are deleted after this time. Positions are kept for ever."
    )


class RetrySettings(Section):
    """When to try again."""

    max_retries: int = Field(3, ge=0, le=10, description="For events that do not say; then a dead letter.")
    initial_delay: Seconds = Field(
        1.0,
        description="Upper bound of the first delay; doubles with every attempt. Each delay is random below it (full jitter).",
    )
    max_delay: Seconds = Field(60.0, description="Upper bound of every delay.")
    request_tries: int = Field(4, ge=1, le=10, description="How often one request is tried within an attempt.")
    request_initial_delay: Seconds = Field(0.1, description="Upper bound of the first delay between those.")


class BreakerSettings(Section):
    """The circuit breaker of each store."""

    failures: int = Field(5, ge=1, description="Outage errors in a row that open it.")
    cooldown: Seconds = Field(
        5.0, description="How long it stays open before the first probe; doubles up to max_cooldown."
    )
    max_cooldown: Seconds = Field(60.0, description="Longest pause between probes.")
    probes: int = Field(1, ge=1, description="Transfers let through while half open.")


class LimitSettings(Section):
    """What one worker may use."""

    transfers: int = Field(64, ge=1, description="Small transfers at the same time.")
    large_transfers: int = Field(4, ge=1, description="Large transfers at the same time.")
    max_in_flight_messages: int = Field(512, ge=1, description="Messages that are being processed at the same time.")
    waiting_messages: int = Field(
        10_000,
        ge=0,
        description="Messages at most whose leases are renewed while they wait for a retry, a store that is down or a busy key. "
        "More go back to their queue, twice at most; then no more are received.",
    )
    waiting_memory: Bytes = Field(32 * 2**20, description="Bytes at most of the messages that wait so.")
    batch: int = Field(256, ge=1, description="Messages received at once.")
    memory: Bytes = Field(
        128 * 2**20, description="Bytes of object data in memory at most, and an eighth of them for what carries them."
    )
    part_size: Bytes = Field(
        8 * 2**20, ge=64 * 2**10, description="Objects above this are copied in parts of this size."
    )
    part_concurrency: int = Field(4, ge=1, description="Parts of one object at the same time.")
    request_timeout: Seconds = Field(
        60.0,
        description="A request that takes longer fails and is tried again; a second more for each 256 KiB it carries. A connection "
        "on which no byte moves for this long, 30 s at most (60 s at Cloud Storage), has failed, whatever it carries; a provider "
        "that copies or joins objects by itself may be silent for a second more for each 16 MiB.",
    )
    lost_leases: int = Field(20, ge=1, description="A transfer whose worker died this often is a dead letter.")


class ServerSettings(Section):
    """The HTTP server."""

    listen: str = Field("127.0.0.1:8080", description="HOST:PORT; another address than loopback needs a token.")
    token: SecretStr | None = Field(
        None, description="Bearer token; set it by SKYFERRY_SERVER__TOKEN, never in the file."
    )
    token_file: Path | None = Field(None, description="A file with the bearer token; read again when it changes.")
    local_access: Literal["owner", "machine"] = Field(
        "owner",
        description="Where no token is configured: owner = the user that runs it, others by the token in `server.token` of the "
        "workspace; machine = every user of this machine.",
    )
    body_limit: Bytes = Field(2**20, description="Largest request body.")
    connections: int = Field(
        0, ge=0, description="Open at the same time; 0 = a quarter of the descriptors of the process, 256 at most."
    )
    patience: Seconds = Field(
        30.0, gt=0, description="How long a client may take for its headers, for its body, and to read on."
    )


class LogSettings(Section):
    """What is logged, to standard error."""

    format: Literal["auto", "json", "text"] = Field("auto", description="auto = text on a terminal, else JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is written.")


class TracingSettings(Section):
    """OpenTelemetry traces; needs the extra `otel`."""

    otlp_endpoint: str = Field("", description="Where to send them, e.g. http://localhost:4318; empty = off.")
    sample_rate: float = Field(
        1.0, ge=0, le=1, description="Share of traces kept, unless the event's traceparent decides."
    )


class Settings(Section):
    """The whole configuration."""

    workspace: Path = Field(Path("skyferry-data"), description="Where relative folders and files of URLs are.")
    stores: dict[str, StoreSettings] = Field(default_factory=dict, description="Buckets and folders by name.")
    routes: tuple[RouteSettings, ...] = Field((), description="What goes where.")
    queues: tuple[QueueSettings, ...] = Field(
        (), description="Where events come from; the first takes submitted events."
    )
    dead_letters: DeadLetterSettings | None = Field(
        None, description="Where dead letters are sent too; without it they are in the ledger only."
    )
    push: tuple[PushSettings, ...] = Field((), description="Doors of the server for what providers push.")
    ledger: LedgerSettings = Field(default_factory=LedgerSettings, description="The durable memory.")
    retry: RetrySettings = Field(default_factory=RetrySettings, description="When to try again.")
    breaker: BreakerSettings = Field(default_factory=BreakerSettings, description="Circuit breakers.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What one worker may use.")
    server: ServerSettings = Field(default_factory=ServerSettings, description="The HTTP server.")
    log: LogSettings = Field(default_factory=LogSettings, description="Logs.")
    tracing: TracingSettings = Field(default_factory=TracingSettings, description="Traces.")
    drain: Seconds = Field(25.0, description="Grace time on SIGTERM.")
