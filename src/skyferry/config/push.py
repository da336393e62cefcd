"""Notifications that providers send to the server over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from skyferry.config.section import Seconds, Section, Texts

SECRET_MIN = 16  # characters; shorter secrets can be guessed
EVENT_GRID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"  # Microsoft.EventGrid, the application, in every tenant


class PushSettings(Section):
    """An endpoint of the server, /v1/push/NAME, for the notifications of one provider."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="Unique name, the last part of the URL.")
    kind: Literal["pubsub", "sns", "eventgrid", "s3"] = Field(
        description="Sender: a Pub/Sub subscription, an SNS topic, Event Grid, or an S3-compatible store (Ceph, MinIO)."
    )
    queue: str = Field("", description="Name of the queue for the events; empty = the first.")
    audience: str = Field("", description="pubsub, eventgrid: required audience of the token.")
    account: str = Field(
        "",
        description="pubsub: e-mail of the subscription's service account. eventgrid: application id; empty = Event Grid's.",
    )
    tenant_id: str = Field("", description="eventgrid: tenant whose tokens are accepted.")
    topics: Texts = Field((), description="sns: ARNs of the accepted topics. Their subscriptions are confirmed.")
    origins: Texts = Field((), description="eventgrid: accepted origins of CloudEvents; empty = eventgrid.azure.net.")
    secret_env: str = Field("", description="eventgrid, s3: variable with the secret that the provider sends.")
    secret_file: Path | None = Field(
        None, description="eventgrid, s3: file with that secret; reloaded when it changes."
    )
    max_age: Seconds = Field(3600.0, description="sns: maximum age of a message; older ones are rejected as replays.")
    keys_url: str = Field(
        "", description="pubsub, eventgrid: URL of the token keys (JWKS); empty = the provider's own."
    )
    endpoint: str = Field(
        "", description="sns: URL of another service than Amazon's; empty = https://sns.REGION.amazonaws.com."
    )

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        """Require an authentication for each kind."""
        secret = bool(self.secret_env or self.secret_file)
        if self.kind == "pubsub" and not (self.audience and self.account):
            raise ValueError("a push of kind pubsub needs audience and account")
        if self.kind == "sns" and not self.topics:
            raise ValueError("a push of kind sns needs topics")
        if self.kind == "eventgrid" and not secret and not (self.tenant_id and self.audience):
            raise ValueError("a push of kind eventgrid needs tenant_id and audience, or secret_env or secret_file")
        if self.kind == "s3" and not secret:
            raise ValueError("a push of kind s3 needs secret_env or secret_file")
        return self
