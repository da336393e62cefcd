"""What a listing may be asked for: filters and cursors."""

from __future__ import annotations

import base64
import binascii
import hashlib
from http import HTTPStatus
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from skyferry.model import State
from skyferry.ports import Filter, HeldFilter
from skyferry.ports.held import Decision
from skyferry.server.problems import ApiError, Fault

NAMES = 100  # of a selection or listing at most; unknown ones are counted one by one
_MARK = 6  # bytes of a cursor that tell the query it belongs to
Text = Annotated[str, Field(max_length=2048)]


class Where(BaseModel):
    """Everything given must match. An unknown name is an error, lest a slip widens the filter."""

    model_config = ConfigDict(extra="forbid")

    route: Text = Field("", description="Name of the route.")
    key_prefix: Text = Field("", description="The destination key begins with this.")
    source_key: Text = Field("", description="The source key is exactly this.")
    reason: Text = Field("", description="Why: the reason of a skip, the error of a dead letter.")
    since: AwareDatetime | None = Field(None, description="Updated then or later, RFC 3339.")
    until: AwareDatetime | None = Field(None, description="Updated before, RFC 3339.")

    @model_validator(mode="before")
    @classmethod
    def _few(cls, data: object) -> object:
        """Each unknown name is an error, with all that belongs to one."""
        if isinstance(data, dict) and len(data) > NAMES:
            raise ValueError(f"{len(data):,} names are given, and there are no {NAMES}")
        return data

    def filter(self, state: State | None = None) -> Filter:
        """For the ledger."""
        return Filter(
            state=state,
            route=self.route,
            key_prefix=self.key_prefix,
            source_key=self.source_key,
            reason=self.reason,
            since=self.since.timestamp() if self.since else None,
            until=self.until.timestamp() if self.until else None,
        )


class Listing(Where):
    """One page of what matches."""

    limit: int = Field(100, ge=1, le=1000, description="How many at most.")
    cursor: Text = Field("", description="As the page before gave it; the filters must be the same.")

    def position(self) -> str:
        """The ledger's own cursor. Raises ApiError for one that was not given for this query."""
        if not self.cursor:
            return ""
        try:
            mark, inner = _split(base64.urlsafe_b64decode(self.cursor.encode("ascii")))
            if mark == self._mark() and inner:
                return inner.decode()
        except (ValueError, binascii.Error):
            pass
        fault = Fault(location="query", pointer="/cursor", detail="It does not belong to this query.")
        raise ApiError(HTTPStatus.BAD_REQUEST, "The cursor is not valid.", kind="invalid-cursor", errors=[fault])

    def next(self, cursor: str) -> str:
        """What to hand out for the ledger's cursor."""
        return base64.urlsafe_b64encode(self._mark() + cursor.encode()).decode() if cursor else ""

    def _mark(self) -> bytes:
        query = type(self).__name__ + self.model_dump_json(exclude={"limit", "cursor"})
        return hashlib.blake2b(query.encode(), digest_size=_MARK).digest()


class TransferListing(Listing):
    """One page of transfers."""

    state: State | None = Field(None, description="Where they stand.")


class DeadLetterListing(Listing):
    """One page of dead letters."""


class Selection(Where):
    """Which dead letters to redrive or discard. All of them must be asked for by name."""

    ids: list[Text] | None = Field(None, max_length=10_000, fail_fast=True, description="Only these.")
    all: bool = Field(False, description="Needed where nothing else is given.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.all and self.ids is None and self.filter() == Filter():
            raise ValueError('an empty selection would take every dead letter: say {"all": true} if that is meant')
        return self


class HeldWhere(BaseModel):
    """Everything given must match. An unknown name is an error."""

    model_config = ConfigDict(extra="forbid")

    store: Text = Field("", description="Name of the source.")
    route: Text = Field("", description="Name of a route whose destination has a copy.")
    reason: Literal["", "limit", "empty", "replaced"] = Field("", description="Why it is held.")
    prefix: Text = Field("", description="The source key begins with this.")

    def held(self, state: Decision | None) -> HeldFilter:
        """For the ledger."""
        return HeldFilter(state, self.store, self.route, self.reason, self.prefix)


class HeldListing(HeldWhere):
    """One page of held deletes."""

    state: Decision = Field("held", description="Where they stand.")
    limit: int = Field(100, ge=1, le=1000, description="How many at most.")
    cursor: str = Field("", max_length=20, pattern=r"^[0-9]*$", description="As the page before gave it.")


class HeldSelection(HeldWhere):
    """Which held deletes to decide about. All of them must be asked for by name."""

    ids: list[Text] | None = Field(None, max_length=10_000, description="Only these.")
    all: bool = Field(False, description="Needed where nothing else is given.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.all and self.ids is None and self.held(None) == HeldFilter(None):
            raise ValueError('an empty selection would take every held delete: say {"all": true} if that is meant')
        return self


def _split(raw: bytes) -> tuple[bytes, bytes]:
    return raw[:_MARK], raw[_MARK:]
