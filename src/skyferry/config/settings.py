"""Every setting, with one line of help. Durations are in seconds and sizes in bytes; both may have a unit (30s, 64MiB)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, SecretStr

from skyferry.config.identity import IdentitySettings
from skyferry.config.max_deletes import MaxDeletesText
from skyferry.config.push import PushSettings
from skyferry.config.section import Bytes, Lease, Seconds, Section, Texts, default_section
from skyferry.config.servers.tls import TlsSettings
from skyferry.events.s3_keys import KeyEncoding
from skyferry.model import Priority


class SimulatorSettings(Section):
    """The faults of a `sim://` store. Rates are probabilities per request, 0 to 1."""

    seed: int = Field(0, description="Seed of all faults and delays; the same seed gives the same run.")
    latency: Seconds = Field(0.0, description="Delay added to each request.")
    jitter: Seconds = Field(0.0, description="Upper bound of a random delay (uniform) added to the latency.")
    bandwidth: Bytes = Field(0, description="Bytes per second for all requests together; 0 = no limit.")
    throttle: float = Field(0.0, ge=0, le=1, description="Rate of Throttled answers (with Retry-After).")
    timeout: float = Field(0.0, ge=0, le=1, description="Rate of requests that time out.")
    reset: float = Field(
        0.0, ge=0, le=1, description="Rate of connections that are reset, before or after the request takes effect."
    )
    permission: float = Field(0.0, ge=0, le=1, description="Rate of PermissionDenied.")
    not_found: float = Field(
        0.0, ge=0, le=1, description="Rate of ObjectNotFound on reads. At a source, the object then counts as deleted."
    )
    corrupt: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Rate of reads with one flipped byte. It is detected if the event or the object has a checksum: files that "
        "Skyferry wrote have one, other files do not.",
    )
    truncate: float = Field(0.0, ge=0, le=1, description="Rate of reads that end early, half of them without an error.")
    quota: Bytes = Field(
        0, description="Size of the folder above which writes fail with QuotaExceeded, and wait; 0 = no limit."
    )
    outages: Texts = Field(
        (),
        description='Windows after the start in which every request fails, such as "10s-25s"; separated by commas in a URL.',
    )
    timeout_after: Seconds = Field(0.05, description="Duration of a request that times out.")


class StoreSettings(Section):
    """One bucket or folder."""

    url: str = Field(
        description="s3://BUCKET, gs://BUCKET, az://ACCOUNT/CONTAINER, file://FOLDER, sim://FOLDER or memory://NAME."
    )
    bucket: str = Field("", description="Name of the bucket in events; empty = the name in the URL.")
    endpoint: str = Field("", description="URL of the server; empty = the provider's own.")
    region: str = Field(
        "",
        description="Region of the bucket or folder, such as eu-west-1, for `run_in` and `allow_regions`. S3 also signs requests "
        "for it; empty there = AWS_REGION at Amazon, otherwise the default of the service.",
    )
    service: Literal["", "aws", "minio", "r2", "ceph", "b2", "gcs-interop", "localstack", "other"] = Field(
        "",
        description="S3: the service; empty = by the host of the endpoint (aws, r2, b2, gcs-interop), or by what the server says "
        "of itself (ceph, localstack), otherwise other, of which nothing is assumed.",
    )
    event_keys: KeyEncoding = Field(
        "auto",
        description="S3: keys in the notifications of the service. encoded = as in a form, as Amazon and MinIO send them; plain = "
        "as they are (NooBaa, versitygw); auto = by the notification, and where it leaves both possible, by a look at both keys.",
    )
    allow_http: bool = Field(False, description="Allow an endpoint without TLS that is not on loopback.")
    identity: IdentitySettings = default_section(IdentitySettings, "The identity to use there.")
    encryption: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = Field(
        "", description="S3: encryption of written objects; empty = the default of the bucket."
    )
    kms_key: str = Field(
        "", description="S3, Cloud Storage: the key that encrypts written objects; empty = the default of the bucket."
    )
    encryption_scope: str = Field("", description="Azure: encryption scope of written objects.")
    hierarchical: bool = Field(False, description="Azure: the account has a hierarchical namespace (Data Lake).")
    requester_pays: bool = Field(False, description="S3: pay for requests if the bucket requires it.")
    billing_project: str = Field(
        "", description="Cloud Storage: project to bill if the bucket requires the requester to pay."
    )
    large_upload_mode: Literal["compose", "resumable"] = Field(
        "compose",
        description="Cloud Storage: compose = write parts, join them and delete them; resumable = one resumable upload, which "
        "leaves nothing to delete, for buckets with a retention policy.",
    )
    requests_per_second: float = Field(0.0, ge=0, description="Maximum rate of requests; 0 = no limit.")
    bytes_per_second: Bytes = Field(0, description="Maximum rate of bytes, read and written; 0 = no limit.")
    watch: bool = Field(True, description="Watch a local folder that is the source of a route.")
    special_files: Literal["skip", "follow", "fail"] = Field(
        "skip",
        description="Folders: skip = report symbolic links, FIFOs, sockets and devices, and skip them; fail = fail the listing; "
        "follow = copy the target of links to files inside the folder; report and skip other links, and all links to folders.",
    )
    simulator: SimulatorSettings = default_section(SimulatorSettings, "Faults of a sim:// store.")


class FilterSettings(Section):
    """Objects of a route. All given conditions must match."""

    keys = frozenset({"prefix", "suffix"})
    prefix: str = Field("", description="Prefix of the key.")
    suffix: str = Field("", description="Suffix of the key.")
    glob: Texts = Field(
        (), description="Patterns of which the key must match one (* within a folder, ** across folders)."
    )
    exclude: Texts = Field((), description="Patterns of which the key must match none.")
    min_size: Bytes = Field(0, description="Skip smaller objects.")
    max_size: Bytes | None = Field(None, description="Skip larger objects.")
    min_age: Seconds = Field(
        0.0,
        description="Wait until the object is this old. For an object dated in the future, the event decides.",
    )
    max_age: Seconds | None = Field(None, description="Skip objects that were last changed longer ago.")


Handling = Literal["fail", "encode", "drop", "map"]


class UnfitSettings(Section):
    """The handling of attributes that the destination cannot store. Receipts record each change.

    fail = the transfer becomes a dead letter; encode = write the text in ASCII; map = replace each character that does not fit by
    its base letter, or by `_`; drop = leave it out. What is too much is left out by all but fail.
    """

    headers: Handling = Field(
        "fail",
        description="Values of headers. encode: Content-Disposition by RFC 8187, others by RFC 2047.",
    )
    metadata: Handling = Field(
        "fail", description="Names of user metadata, and their total size. encode: percent-encode the name."
    )
    tags: Handling = Field(
        "fail", description="Keys and values of tags, and their number. encode: `=` and hexadecimal."
    )


class RouteSettings(Section):
    """A rule: the source store, the destination store and key, and the policies."""

    keys = frozenset({"key"})
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Unique name, in logs, metrics and transfer ids."
    )
    source: str = Field(alias="from", description="Name or URL of a store.")
    destination: str = Field(alias="to", description="Name or URL of a store.")
    key: str = Field(
        "{key}",
        description="Template of the destination key: {key} {dir} {name} {stem} {ext} {bucket} {yyyy} {mm} {dd}.",
    )
    filter: FilterSettings = default_section(FilterSettings, "Objects to copy.")
    deletes: Literal["ignore", "propagate"] = Field(
        "ignore", description="Whether deletes at the source delete the copy."
    )
    max_deletes: MaxDeletesText = Field(
        "1000, 25%",
        description="Watched folders: hold deletes until they are approved if they are more at once than this number, or than "
        "this share of the known objects; 0 = hold all, none = no limit.",
    )
    after_copy: Literal["keep", "delete", "delete-unchecked"] = Field(
        "keep",
        description="Fate of the source object once its copy is verified. `delete-unchecked` accepts services whose deletes cannot "
        "name a version: a version written just before the delete is lost, unless the bucket keeps versions.",
    )
    priority: Priority = Field(Priority.NORMAL, description="Priority of events without one.")
    metadata: dict[str, str] = Field(default_factory=dict, description="User metadata to set on the copy.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags to add to those of the source.")
    storage_class: str | dict[str, str] = Field(
        "",
        description="keep, a class, or a map from classes of the source to classes of the destination (`*` = any other); empty = "
        "keep if both stores are of one provider, otherwise the default of the destination.",
    )
    guess_content_type: bool = Field(
        True,
        description="Derive the content type from the name where the source has none, as files do; not between stores of one kind.",
    )
    folder_markers: Literal["copy", "skip"] = Field(
        "copy",
        description="Empty objects whose key ends with a slash, as consoles make them for folders: copy = copy them, or make the "
        "folder if the destination is one; skip = skip them.",
    )
    unfit: UnfitSettings = default_section(UnfitSettings, "Handling of attributes that the destination cannot store.")
    directed: bool = Field(
        False,
        description="Allow events to name the destination key, for objects that match the filter and keys that begin like those of "
        "the template.",
    )
    allow_loopback: bool = Field(
        False,
        description="Also copy an object back to a store where it has been before. By default that is skipped as a loop.",
    )
    ring: Literal["refuse", "allow"] = Field(
        "refuse",
        description="`allow`: the route is part of a ring that keeps stores alike, so other routes may copy its copies. An object "
        "does not return to a store where it has been; of two versions of a key, the later one stays.",
    )

    run_in: Literal["any", "source"] = Field(
        "any",
        description="Workers that run the route: any, or only those in the source's `region`. Others release its events.",
    )
    allow_regions: Texts = Field(
        (), description="Patterns of the regions of copies, and of workers that copy them, such as eu-*; empty = all."
    )

    model_config = ConfigDict(populate_by_name=True)


class QueueAddress(Section):
    """The address of a queue."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Unique name, in logs and metrics.")
    url: str = Field(
        description="sqs://QUEUE (also its ARN or https URL), "
        "pubsub://PROJECT/SUBSCRIPTION, azq://ACCOUNT/QUEUE, r2q://ACCOUNT/QUEUE, redis://HOST/STREAM, "
        "nats://HOST/STREAM/CONSUMER, postgresql://HOST/DATABASE/QUEUE, sqlite://FILE or memory://NAME."
    )
    endpoint: str = Field("", description="URL of the server; empty = the provider's own.")
    region: str = Field("", description="SQS: region of the queue; empty = AWS_REGION, otherwise us-east-1.")
    topic: str = Field("", description="Pub/Sub: topic for submitted events; empty = events cannot be submitted.")
    allow_http: bool = Field(False, description="Allow a server without TLS that is not on loopback.")
    tls: TlsSettings = default_section(TlsSettings, "Redis, NATS, PostgreSQL: certificates for the connection.")
    identity: IdentitySettings = default_section(IdentitySettings, "The identity to use there.")
    lease: Lease = Field(30.0, description="Lease of a received message, renewed during processing.")


class QueueSettings(QueueAddress):
    """A source of events."""

    stores: Texts = Field(
        (),
        description="Names of the stores that providers notify it of, where two stores have one bucket name and the events do not "
        "say which; an event of another store is one of an unknown bucket. Empty = all.",
    )
    unknown_buckets: Literal["keep", "release", "ignore"] = Field(
        "keep",
        description="Events of a bucket without a store: keep them as dead letters, release them for another deployment that "
        "reads this queue, or ignore them. They are counted in each case.",
    )


class DeadLetterSettings(QueueAddress):
    """A queue that dead letters are also sent to, and redriven from."""

    name: str = Field("dead-letters", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Name in logs.")
    url: str = Field(
        description="sqs://QUEUE, pubsub://PROJECT/SUBSCRIPTION?topic=TOPIC, pubsub://PROJECT?topic=TOPIC (nothing can be redriven "
        "from there), azq://ACCOUNT/QUEUE, r2q://ACCOUNT/QUEUE, redis://HOST/STREAM, nats://HOST/STREAM/CONSUMER?subject=SUBJECT, "
        "postgresql://HOST/DATABASE/QUEUE or sqlite://FILE."
    )
    topic: str = Field("", description="Pub/Sub: topic that they are sent to.")


class LedgerSettings(Section):
    """The durable memory."""

    url: str = Field(
        "sqlite://ledger.db", description="sqlite://FILE, postgresql://HOST/DATABASE?schema=SCHEMA or memory://NAME."
    )
    allow_http: bool = Field(False, description="Allow a server without TLS that is not on loopback.")
    tls: TlsSettings = default_section(TlsSettings, "PostgreSQL: certificates for the connection.")
    identity: IdentitySettings = default_section(IdentitySettings, "PostgreSQL: the identity to use there.")
    lease: Lease = Field(30.0, description="Lease of a claim, renewed during processing.")
    retention: Seconds = Field(
        30 * 86400.0, description="Settled transfers are deleted after this time. Positions are kept for ever."
    )


class RetrySettings(Section):
    """Retries."""

    max_retries: int = Field(
        3, ge=0, le=10, description="Retries of a transfer before it is a dead letter, unless the event decides."
    )
    initial_delay: Seconds = Field(
        1.0,
        description="Upper bound of the first delay; doubles with every attempt. Each delay is random below it (full jitter).",
    )
    max_delay: Seconds = Field(60.0, description="Upper bound of every delay.")
    request_tries: int = Field(4, ge=1, le=10, description="Tries of one request within an attempt.")
    request_initial_delay: Seconds = Field(0.1, description="Upper bound of the first delay between these tries.")


class BreakerSettings(Section):
    """The circuit breaker of each store."""

    failures: int = Field(5, ge=1, description="Different objects that fail in a row and open it.")
    cooldown: Seconds = Field(5.0, description="Time until the first probe; doubles up to max_cooldown.")
    max_cooldown: Seconds = Field(60.0, description="Maximum time between probes.")
    probes: int = Field(1, ge=1, description="Transfers allowed while it is half open.")


class LimitSettings(Section):
    """Limits of one worker."""

    transfers: int = Field(1024, ge=1, description="Maximum number of concurrent small transfers.")
    adaptive: bool = Field(True, description="Adapt their number to each pair of stores; false = always `transfers`.")
    large_transfers: int = Field(4, ge=1, description="Maximum number of concurrent large transfers.")
    max_in_flight_messages: int = Field(
        3072, ge=1, description="Maximum number of messages being processed; fewer while fewer transfers can run."
    )
    waiting_messages: int = Field(
        10_000,
        ge=0,
        description="Maximum number of messages that wait for a retry, for a store that is down or for a busy key, with renewed "
        "leases. More are released, each at most twice; then no more are received.",
    )
    waiting_memory: Bytes = Field(32 * 2**20, description="Maximum total size of these waiting messages.")
    batch: int = Field(256, ge=1, description="Maximum number of messages in one receive.")
    memory: Bytes = Field(
        128 * 2**20, description="Maximum size of object data in memory. Buffers need an eighth more."
    )
    part_size: Bytes = Field(
        8 * 2**20, ge=64 * 2**10, description="Size of a part. Larger objects are copied in parts."
    )
    part_concurrency: int = Field(4, ge=1, description="Maximum number of concurrent parts of one object.")
    request_timeout: Seconds = Field(
        60.0,
        description="Time limit of a request, plus one second for each 256 KiB of its body. A connection without traffic for this "
        "time (at most 30 s, at Cloud Storage 60 s) has failed. Server-side copies and joins may take one second more for each "
        "16 MiB.",
    )
    lost_leases: int = Field(20, ge=1, description="Lost leases after which a transfer is a dead letter.")


class ServerSettings(Section):
    """The HTTP server."""

    listen: str = Field("127.0.0.1:8080", description="HOST:PORT. Addresses other than loopback require a token.")
    token: SecretStr | None = Field(
        None, description="Bearer token. Set it in SKYFERRY_SERVER__TOKEN, not in the file."
    )
    token_file: Path | None = Field(None, description="File with the bearer token; reloaded when it changes.")
    local_access: Literal["owner", "machine"] = Field(
        "owner",
        description="Access without a configured token: owner = the user that runs the server, and others with the token in "
        "`server.token` of the workspace; machine = every user of this machine.",
    )
    body_limit: Bytes = Field(2**20, description="Maximum size of a request body.")
    connections: int = Field(
        0,
        ge=0,
        description="Maximum number of open connections; 0 = a quarter of the process's descriptors, at most 256.",
    )
    patience: Seconds = Field(
        30.0, gt=0, description="Time limit for a client to send its headers, to send its body, and to read on."
    )


class LogSettings(Section):
    """Logs, on standard error."""

    format: Literal["auto", "json", "text"] = Field("auto", description="auto = text on a terminal, otherwise JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest severity that is logged.")


class TracingSettings(Section):
    """OpenTelemetry traces. They require the extra `otel`."""

    otlp_endpoint: str = Field("", description="OTLP endpoint, such as http://localhost:4318; empty = off.")
    sample_rate: float = Field(
        1.0, ge=0, le=1, description="Share of traces to keep, unless the event's traceparent decides."
    )


class Settings(Section):
    """The whole configuration."""

    workspace: Path = Field(Path("skyferry-data"), description="Folder that relative paths in URLs start from.")
    region: str = Field(
        "", description="Region of this worker, as stores have it, mostly by SKYFERRY_REGION; empty = none."
    )
    stores: dict[str, StoreSettings] = Field(default_factory=dict, description="Buckets and folders by name.")
    routes: tuple[RouteSettings, ...] = Field((), description="Rules of copying.")
    queues: tuple[QueueSettings, ...] = Field((), description="Sources of events. The first gets submitted events.")
    dead_letters: DeadLetterSettings | None = Field(
        None, description="Queue that dead letters are also sent to; by default they are only in the ledger."
    )
    push: tuple[PushSettings, ...] = Field(
        (), description="Endpoints of the server for notifications that providers push."
    )
    ledger: LedgerSettings = default_section(LedgerSettings, "The durable memory.")
    retry: RetrySettings = default_section(RetrySettings, "Retries.")
    breaker: BreakerSettings = default_section(BreakerSettings, "Circuit breakers.")
    limits: LimitSettings = default_section(LimitSettings, "Limits of one worker.")
    server: ServerSettings = default_section(ServerSettings, "The HTTP server.")
    log: LogSettings = default_section(LogSettings, "Logs.")
    tracing: TracingSettings = default_section(TracingSettings, "Traces.")
    drain: Seconds = Field(25.0, description="Grace period after SIGTERM.")
