"""Parameters of listings and selections: filters and cursors."""

from __future__ import annotations

import base64
import binascii
import hashlib
from http import HTTPStatus
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from skyferry.model import State
from skyferry.ports import Filter, HeldFilter
from skyferry.ports.ledger.held_deletes import Decision
from skyferry.server.problems import ApiError, RequestFault

MAX_NAMES = 100  # in a selection or listing; each unknown name is a fault
_MARK = 6  # bytes of a cursor that identify its query
Text = Annotated[str, Field(max_length=2048)]


class TransferConditions(BaseModel):
    """Conditions that all must match. An unknown name is an error: a misspelt condition would select more than intended."""

    model_config = ConfigDict(extra="forbid")

    route: Text = Field("", description="The name of the route.")
    key_prefix: Text = Field("", description="A prefix of the destination key.")
    source_key: Text = Field("", description="The source key.")
    reason: Text = Field("", description="The reason of a skip, or the error of a dead letter.")
    since: AwareDatetime | None = Field(None, description="Updated at or after this time, RFC 3339.")
    until: AwareDatetime | None = Field(None, description="Updated before this time, RFC 3339.")

    @model_validator(mode="before")
    @classmethod
    def _limit_names(cls, data: object) -> object:
        """Reject an excess of names early: a fault for each would be expensive."""
        if isinstance(data, dict) and len(data) > MAX_NAMES:
            raise ValueError(f"the query has {len(data):,} names; at most {MAX_NAMES} are allowed")
        return data

    def to_filter(self, state: State | None = None) -> Filter:
        """Return the filter of the ledger."""
        return Filter(
            state=state,
            route=self.route,
            key_prefix=self.key_prefix,
            source_key=self.source_key,
            reason=self.reason,
            since=self.since.timestamp() if self.since else None,
            until=self.until.timestamp() if self.until else None,
        )


class PageQuery(TransferConditions):
    """A query for one page."""

    limit: int = Field(100, ge=1, le=1000, description="The maximum number of items.")
    cursor: Text = Field("", description="The cursor of the previous page; the filters must be the same.")

    def ledger_cursor(self) -> str:
        """Return the cursor of the ledger. Raises ApiError if the cursor belongs to another query."""
        if not self.cursor:
            return ""
        try:
            mark, inner = _split(base64.urlsafe_b64decode(self.cursor.encode("ascii")))
            if mark == self._mark() and inner:
                return inner.decode()
        except (ValueError, binascii.Error):
            pass
        detail = "The cursor belongs to another query. Repeat the filters of the previous page."
        fault = RequestFault(location="query", pointer="/cursor", detail=detail)
        raise ApiError(HTTPStatus.BAD_REQUEST, "The cursor is not valid.", kind="invalid-cursor", errors=[fault])

    def wrap_cursor(self, cursor: str) -> str:
        """Return the public cursor for a cursor of the ledger."""
        return base64.urlsafe_b64encode(self._mark() + cursor.encode()).decode() if cursor else ""

    def _mark(self) -> bytes:
        query = type(self).__name__ + self.model_dump_json(exclude={"limit", "cursor"})
        return hashlib.blake2b(query.encode(), digest_size=_MARK).digest()


class TransferQuery(PageQuery):
    """A query for one page of transfers."""

    state: State | None = Field(None, description="The state.")


class DeadLetterQuery(PageQuery):
    """A query for one page of dead letters."""


class WorkerQuery(BaseModel):
    """A query for one page of workers."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=1000, description="The maximum number of items.")
    cursor: str = Field("", max_length=200, description="The cursor of the previous page.")


class Selection(TransferConditions):
    """The dead letters to redrive or discard. Selecting every dead letter needs `all`."""

    ids: list[Text] | None = Field(None, max_length=10_000, fail_fast=True, description="Only these ids.")
    all: bool = Field(False, description="Select everything; required if no other condition is set.")

    @model_validator(mode="after")
    def _require_condition(self) -> Self:
        if not self.all and self.ids is None and self.to_filter() == Filter():
            raise ValueError('an empty selection would match every dead letter; set {"all": true} to select them all')
        return self


class HeldConditions(BaseModel):
    """Conditions that all must match. An unknown name is an error."""

    model_config = ConfigDict(extra="forbid")

    store: Text = Field("", description="The name of the source store.")
    route: Text = Field("", description="The name of a route whose destination has a copy.")
    reason: Literal["", "limit", "empty", "replaced"] = Field("", description="The reason for holding.")
    prefix: Text = Field("", description="A prefix of the source key.")

    def to_filter(self, state: Decision | None) -> HeldFilter:
        """Return the filter of the ledger."""
        return HeldFilter(state, self.store, self.route, self.reason, self.prefix)


class HeldQuery(HeldConditions):
    """A query for one page of held deletes."""

    state: Decision = Field("held", description="The state.")
    limit: int = Field(100, ge=1, le=1000, description="The maximum number of items.")
    cursor: str = Field("", max_length=20, pattern=r"^[0-9]*$", description="The cursor of the previous page.")


class HeldSelection(HeldConditions):
    """The held deletes to decide about. Selecting every held delete needs `all`."""

    ids: list[Text] | None = Field(None, max_length=10_000, description="Only these ids.")
    all: bool = Field(False, description="Select everything; required if no other condition is set.")

    @model_validator(mode="after")
    def _require_condition(self) -> Self:
        if not self.all and self.ids is None and self.to_filter(None) == HeldFilter(None):
            raise ValueError('an empty selection would match every held delete; set {"all": true} to select them all')
        return self


def _split(raw: bytes) -> tuple[bytes, bytes]:
    return raw[:_MARK], raw[_MARK:]
