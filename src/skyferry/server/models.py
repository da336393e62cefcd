"""What the API answers. Names equal those of the log lines; times are RFC 3339 in UTC, durations seconds, sizes bytes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from skyferry.model import Change, Position, Priority, Provider, State
from skyferry.ports import DeadLetter, TransferRow
from skyferry.status import CheckedPart, Condition, Status, Submission

Time = Annotated[datetime, BeforeValidator(lambda seconds: datetime.fromtimestamp(seconds, UTC))]
Place = Annotated[str, BeforeValidator(lambda position: str(position) if isinstance(position, Position) else position)]
Known = Annotated[int | None, BeforeValidator(lambda number: None if number < 0 else number)]


class View(BaseModel):
    """Read from a noun of the model, by name."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class SubmissionView(View):
    """One event taken."""

    event_id: str
    correlation_id: str
    transfer_ids: tuple[str, ...] = Field(description="One per route that takes the event.")
    unrouted: bool = Field(description="No route takes it; nothing is copied.")


class Submissions(BaseModel):
    """The events taken, in the order of the request."""

    events: list[SubmissionView]

    @classmethod
    def of(cls, submissions: list[Submission]) -> Submissions:
        """From what the service answered."""
        return cls(events=[SubmissionView.model_validate(s) for s in submissions])


class ObjectView(View):
    """One object, or one version of it."""

    provider: Provider
    bucket: str
    key: str
    region: str
    version: str = Field(description='"" = the newest.')


class ChecksumsView(View):
    """Lower-case hexadecimal; "" = not known."""

    crc32c: str
    sha256: str
    md5: str
    crc64nvme: str


class ReceiptView(View):
    """The proof of a finished transfer."""

    source_version: str
    destination_version: str
    size: int
    computed: ChecksumsView = Field(description="Over the bytes that passed.")
    declared: ChecksumsView = Field(description="By the source and the event.")
    attested: ChecksumsView = Field(description="By the destination.")
    position: Place | None
    started_at: Time
    finished_at: Time
    attempt: int


class FailureView(View):
    """One failed attempt."""

    attempt: int
    at: Time
    error: str = Field(validation_alias="kind")
    message: str
    burned: bool = Field(
        validation_alias="counts_as_attempt", description="False: an outage, which does not count as an attempt."
    )


class TransferSummary(View):
    """One transfer."""

    transfer_id: str
    state: State
    reason: str
    route: str
    change: Change
    source: ObjectView
    store: str = Field(description="Name of the destination store.")
    key: str = Field(description="Destination key.")
    event_id: str
    correlation_id: str
    occurred_at: Time
    position: Place | None
    priority: Priority
    attempts: int
    lost: int = Field(description="How often a worker died or lost its lease holding it.")
    created_at: Time
    updated_at: Time
    due_at: Time | None
    receipt: ReceiptView | None

    @classmethod
    def of(cls, row: TransferRow) -> Self:
        """From a row of the ledger."""
        return cls.model_validate(_flat(row))


class TransferView(TransferSummary):
    """One transfer with the story of its attempts."""

    failures: tuple[FailureView, ...]


def _flat(row: TransferRow) -> dict[str, object]:
    t = row.transfer
    own = {n: getattr(row, n) for n in TransferView.model_fields if hasattr(row, n)}
    return {n: getattr(t, n) for n in TransferView.model_fields if hasattr(t, n)} | own | {"transfer_id": t.id}


class DeadLetterSummary(View):
    """A transfer, or a message that could not be parsed, given up on."""

    id: str = Field(description="The transfer's id, if it is one.")
    at: Time
    queue: str
    route: str
    reason: str = Field(description="The error that dead letters are grouped by.")
    message: str
    hint: str
    source: str = Field(description="provider://bucket/key, for people.")
    key: str = Field(description="Destination key.")
    event_id: str
    correlation_id: str
    redriven_at: Time | None = Field(description="Since when it waits to be processed again.")


class DeadLetterView(DeadLetterSummary):
    """One dead letter, whole."""

    attempts: tuple[FailureView, ...]
    attributes: dict[str, str] = Field(description="Of the message.")
    body_base64: str = Field(description="The raw message.")
    body_text: str | None = Field(description="The same, where it is UTF-8.")

    @classmethod
    def of(cls, letter: DeadLetter) -> DeadLetterView:
        """From the ledger's letter."""
        values = {n: getattr(letter, n) for n in cls.model_fields if hasattr(letter, n)}
        return cls.model_validate(
            values
            | {
                "attributes": dict(letter.attributes),
                "body_base64": base64.b64encode(letter.body).decode(),
                "body_text": _text(letter.body),
            }
        )


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


class HeldDeleteView(View):
    """An object that is missing at its source, and whose copies stay until a person decides."""

    id: str
    at: Time = Field(description="When it was missed first.")
    state: Literal["held", "approved", "rejected"]
    reason: Literal["limit", "empty", "replaced"] = Field(
        description="More than max_deletes at once, no object left, or a source that is not what it was."
    )
    store: str = Field(description="Name of the source.")
    source: ObjectView
    routes: tuple[str, ...] = Field(description="Whose destinations have a copy.")
    decided_at: Time | None


class HeldDeletePage(BaseModel):
    """The latest held first."""

    items: list[HeldDeleteView]
    cursor: str = Field(description='Asks for the next page; "" = the end.')


class TransferPage(BaseModel):
    """Newest first."""

    items: list[TransferSummary]
    cursor: str = Field(description='Asks for the next page; "" = the end.')


class DeadLetterPage(BaseModel):
    """Newest first."""

    items: list[DeadLetterSummary]
    cursor: str = Field(description='Asks for the next page; "" = the end.')


class Count(BaseModel):
    """How many it was."""

    count: int


class Answer(BaseModel):
    """Yes."""

    status: Literal["ok"]


class CheckView(View):
    """The condition of one part."""

    part: CheckedPart = Field(description="`work` is something that waits for an operator.")
    name: str = Field(description="Of the queue or store; else the part or the kind of work.")
    state: Condition
    message: str = Field(description='"" where there is nothing to say.')


class ReadyView(BaseModel):
    """It can take work."""

    status: Literal["ready", "degraded"] = Field(description="`degraded`: a part is not ok.")
    checks: list[CheckView] = Field(description="By part; empty for who does not send the token, if there is one.")


class DepthView(View):
    """How full a queue is; null where the provider does not tell."""

    ready: Known
    leased: Known
    delayed: Known
    oldest_age: float = Field(description="Seconds since the oldest message was sent; 0 = empty.")


class StatusView(View):
    """How the service stands."""

    version: str
    started_at: Time
    state: Literal["running", "draining"]
    in_flight: int = Field(description="Transfers being worked on by this process.")
    queues: dict[str, DepthView] = Field(description="Those that can be asked.")
    transfers: dict[State, int] = Field(description="What the ledger remembers; empty where it cannot be asked.")
    dead_letters: int | None = Field(description="null where the ledger cannot be asked.")
    unrouted: dict[str, int] = Field(
        description="Dead letters of buckets that no store of the configuration is, by provider://bucket; the 20 most frequent."
    )
    breakers: dict[str, Literal["closed", "half_open", "open"]] = Field(description="By store.")
    held_deletes: dict[str, int] = Field(description="Deletes that wait for a decision, by the source's name.")
    limiter_waiting: dict[str, int] = Field(description="Requests that wait for a store's rate limit.")
    routes: tuple[str, ...]
    receives: dict[str, float] = Field(description="Seconds since the last receive that succeeded, by queue.")
    oldest: dict[str, float] | None = Field(
        description="Age in seconds of the oldest event that is known and not settled, by route; 0 = all are, null = not known."
    )
    checks: tuple[CheckView, ...] = Field(description="As in the answer of `GET /ready`.")

    @classmethod
    def of(cls, status: Status) -> StatusView:
        """From what the service answered."""
        return cls.model_validate(status)
