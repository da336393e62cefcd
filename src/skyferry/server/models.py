"""Response models of the API. Fields have the names of the log lines; times are RFC 3339 in UTC, durations seconds, sizes bytes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from skyferry.model import Change, Position, Priority, Provider, State
from skyferry.ports import DeadLetter, Page, TransferRow, WorkerEntry, WorkerState
from skyferry.status import CheckedPart, Condition, Status, Submission

Time = Annotated[datetime, BeforeValidator(lambda seconds: datetime.fromtimestamp(seconds, UTC))]
PositionText = Annotated[
    str, BeforeValidator(lambda position: str(position) if isinstance(position, Position) else position)
]
KnownCount = Annotated[int | None, BeforeValidator(lambda number: None if number < 0 else number)]


class View(BaseModel):
    """A response model whose fields are read by name from a record of Skyferry."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class SubmissionView(View):
    """One accepted event."""

    event_id: str
    correlation_id: str
    transfer_ids: tuple[str, ...] = Field(description="One per route that matches the event.")
    unrouted: bool = Field(description="No route matches the event; nothing is copied.")


class Submissions(BaseModel):
    """The accepted events, in the order of the request."""

    events: list[SubmissionView]

    @classmethod
    def from_results(cls, submissions: list[Submission]) -> Submissions:
        """Convert the results of the service."""
        return cls(events=[SubmissionView.model_validate(s) for s in submissions])


class ObjectView(View):
    """One object, or one version of it."""

    provider: Provider
    bucket: str
    key: str
    region: str
    version: str = Field(description='"" = the newest.')


class ChecksumsView(View):
    """Checksums in lower-case hexadecimal; "" = unknown."""

    crc32c: str
    sha256: str
    md5: str
    crc64nvme: str


class ReceiptView(View):
    """The proof of a finished transfer."""

    source_version: str
    destination_version: str
    size: int
    computed: ChecksumsView = Field(description="Computed from the transferred bytes.")
    declared: ChecksumsView = Field(description="Declared by the source or the event.")
    attested: ChecksumsView = Field(description="Attested by the destination.")
    position: PositionText | None
    started_at: Time
    finished_at: Time
    attempt: int
    changes: tuple[str, ...] = Field(
        description="Changes to attributes that the destination could not store as they were."
    )
    in_place: bool = Field(description="Only the attributes of the destination object were changed.")


class FailureView(View):
    """One failed attempt."""

    attempt: int
    at: Time
    error: str = Field(validation_alias="kind")
    message: str
    burned: bool = Field(
        validation_alias="counts_as_attempt", description="False for an outage, which does not count as an attempt."
    )


class TransferSummary(View):
    """One transfer."""

    transfer_id: str
    state: State
    reason: str
    route: str
    change: Change
    source: ObjectView
    store: str = Field(description="The name of the destination store.")
    key: str = Field(description="The destination key.")
    event_id: str
    correlation_id: str
    occurred_at: Time
    position: PositionText | None
    priority: Priority
    attempts: int
    lost: int = Field(description="How often its worker died or lost the lease.")
    created_at: Time
    updated_at: Time
    due_at: Time | None
    receipt: ReceiptView | None

    @classmethod
    def from_row(cls, row: TransferRow) -> Self:
        """Convert a row of the ledger."""
        return cls.model_validate(_flatten(row))


class TransferView(TransferSummary):
    """One transfer with its failed attempts."""

    failures: tuple[FailureView, ...]


def _flatten(row: TransferRow) -> dict[str, object]:
    t = row.transfer
    own = {n: getattr(row, n) for n in TransferView.model_fields if hasattr(row, n)}
    return {n: getattr(t, n) for n in TransferView.model_fields if hasattr(t, n)} | own | {"transfer_id": t.id}


class DeadLetterSummary(View):
    """A transfer that failed for good, or a message that could not be parsed."""

    id: str = Field(description="The id of the transfer, if there is one.")
    at: Time
    queue: str
    route: str
    reason: str = Field(description="The kind of error, which dead letters are grouped by.")
    message: str
    hint: str
    source: str = Field(description="The object as provider://bucket/key, for display.")
    key: str = Field(description="The destination key.")
    event_id: str
    correlation_id: str
    redriven_at: Time | None = Field(description="When it was redriven; null unless it waits to be processed again.")


class DeadLetterView(DeadLetterSummary):
    """One dead letter with its attempts and its message."""

    attempts: tuple[FailureView, ...]
    attributes: dict[str, str] = Field(description="The attributes of the message.")
    body_base64: str = Field(description="The raw message in base64.")
    body_text: str | None = Field(description="The message as text; null if it is not UTF-8.")

    @classmethod
    def from_letter(cls, letter: DeadLetter) -> DeadLetterView:
        """Convert a dead letter of the ledger."""
        values = {n: getattr(letter, n) for n in cls.model_fields if hasattr(letter, n)}
        return cls.model_validate(
            values
            | {
                "attributes": dict(letter.attributes),
                "body_base64": base64.b64encode(letter.body).decode(),
                "body_text": _decode(letter.body),
            }
        )


def _decode(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


class HeldDeleteView(View):
    """An object that is missing at its source. Its copies stay until a person decides."""

    id: str
    at: Time = Field(description="When it was first missing.")
    state: Literal["held", "approved", "rejected"]
    reason: Literal["limit", "empty", "replaced"] = Field(
        description="`limit`: more than max_deletes at once. `empty`: no object is left. `replaced`: the source is another one."
    )
    store: str = Field(description="The name of the source store.")
    source: ObjectView
    routes: tuple[str, ...] = Field(description="The routes whose destinations have a copy.")
    decided_at: Time | None


class HeldDeletePage(BaseModel):
    """One page of held deletes, newest first."""

    items: list[HeldDeleteView]
    cursor: str = Field(description='Pass it to get the next page; "" = this is the last page.')


class TransferPage(BaseModel):
    """One page of transfers, newest first."""

    items: list[TransferSummary]
    cursor: str = Field(description='Pass it to get the next page; "" = this is the last page.')


class DeadLetterPage(BaseModel):
    """One page of dead letters, newest first."""

    items: list[DeadLetterSummary]
    cursor: str = Field(description='Pass it to get the next page; "" = this is the last page.')


class KeyView(BaseModel):
    """A destination key."""

    store: str
    key: str


class WorkerView(BaseModel):
    """One worker of the ledger, by its last heartbeat."""

    id: str
    host: str
    version: str = Field(description="Of Skyferry.")
    region: str = Field(description='"" = not configured.')
    state: WorkerState = Field(description="`draining`: it takes no more work, and has no roles.")
    age: float = Field(description="Seconds since it started.")
    heartbeat_age: float = Field(description="Seconds since its last heartbeat.")
    holds: int = Field(description="The number of transfers that it has claimed.")
    keys: list[KeyView] = Field(description="The destination keys of some of them; at most 10.")
    roles: list[str] = Field(description="The work that it does for all workers.")
    routes: str = Field(
        description='Digest of the routes and the identities of their stores; "" = the worker is of an older release. Workers '
        "with the same `queues` should have the same digest."
    )
    queues: str = Field(description="Digest of the queues.")
    role_ages: dict[str, float] = Field(description="For each of these roles, the seconds since it got the role.")

    @classmethod
    def from_entry(cls, entry: WorkerEntry) -> WorkerView:
        """Convert an entry of the ledger."""
        last = entry.last
        return cls(
            id=entry.id,
            host=last.host,
            version=last.version,
            region=last.region,
            state=last.state,
            age=entry.age,
            heartbeat_age=entry.silence,
            holds=last.holds,
            keys=[KeyView(store=store, key=key) for store, key in last.keys],
            routes=last.routes,
            queues=last.queues,
            roles=[role.name for role in entry.roles],
            role_ages={role.name: role.age for role in entry.roles},
        )


class WorkerPage(BaseModel):
    """One page of workers, by id."""

    items: list[WorkerView]
    cursor: str = Field(description='Pass it to get the next page; "" = this is the last page.')

    @classmethod
    def from_page(cls, page: Page[WorkerEntry]) -> WorkerPage:
        """Convert a page of the ledger."""
        return cls(items=[WorkerView.from_entry(entry) for entry in page.items], cursor=page.cursor)


class Count(BaseModel):
    """The number of affected items."""

    count: int


class HealthView(BaseModel):
    """The process is alive."""

    status: Literal["ok"]


class CheckView(View):
    """The condition of one part."""

    part: CheckedPart = Field(description="`work`: something waits for an operator.")
    name: str = Field(description="The queue or store; otherwise the part or the kind of work.")
    state: Condition
    message: str = Field(description='Details; "" = none.')


class ReadyView(BaseModel):
    """The service can accept work."""

    status: Literal["ready", "degraded"] = Field(description="`degraded`: a part is not ok.")
    checks: list[CheckView] = Field(
        description="One per part; empty if a token is required and the request does not contain it."
    )


class DepthView(View):
    """The number of messages in a queue; null where the provider does not report it."""

    ready: KnownCount
    leased: KnownCount
    delayed: KnownCount
    oldest_age: float = Field(description="Seconds since the oldest message was sent; 0 = the queue is empty.")


class StatusView(View):
    """The status of the service."""

    version: str
    workspace: str = Field("", description="The folder of the workspace, on the machine of the service.")
    started_at: Time
    state: Literal["running", "draining"]
    in_flight: int = Field(description="Transfers in flight in this process.")
    queues: dict[str, DepthView] = Field(description="The depth of each queue that can be reached.")
    transfers: dict[State, int] = Field(description="Transfers in the ledger by state; empty if it cannot be reached.")
    dead_letters: int | None = Field(
        description="null if the ledger cannot be reached; at the start, the response waits for it."
    )
    unrouted: dict[str, int] = Field(
        description="Dead letters of buckets that no configured store has, by provider://bucket; the 20 most frequent."
    )
    breakers: dict[str, Literal["closed", "half_open", "open"]] = Field(description="Circuit breakers by store.")
    held_deletes: dict[str, int] = Field(description="Deletes that wait for a decision, by source store.")
    limiter_waiting: dict[str, int] = Field(description="Requests that wait for the rate limit, by store.")
    concurrency: dict[str, int] = Field(
        description="Small requests that each store may have in flight now, by store; empty if their number is fixed."
    )
    routes: tuple[str, ...]
    receives: dict[str, float] = Field(description="Seconds since the last successful receive, by queue.")
    oldest: dict[str, float] | None = Field(
        description="Age in seconds of the oldest known event that is not settled, by route; 0 = none, null = unknown."
    )
    checks: tuple[CheckView, ...] = Field(description="The checks of `GET /ready`.")
    workers: dict[WorkerState, int] = Field(
        description="Workers of the ledger by state; empty if it cannot be reached."
    )
    roles: dict[str, bool] = Field(description="Roles that this process would take; true = it has the role.")

    @classmethod
    def from_status(cls, status: Status, workspace: str) -> StatusView:
        """Convert the status of the service."""
        return cls.model_validate(status).model_copy(update={"workspace": workspace})
