"""Notifications that providers send to the server over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skyferry.config.sections.kinds import NAME
from skyferry.config.sections.section import Seconds, Section, Texts, setting

SECRET_MIN = 16  # characters; shorter secrets can be guessed
_REPLAY_WINDOWS = {"b2": 86400.0}  # seconds; Backblaze sends a notification again for longer than SNS
EVENT_GRID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"  # Microsoft.EventGrid, the application, in every tenant


class PushSettings(Section):
    """An endpoint of the server, /v1/push/NAME, for the notifications of one provider."""

    name: str = setting(pattern=NAME, description="Unique name, the last part of the URL.")
    kind: Literal["pubsub", "eventarc", "sns", "eventgrid", "s3", "b2", "tigris"] = setting(
        description="Sender: a Pub/Sub subscription, a trigger of Eventarc, an SNS topic, Event Grid, an S3-compatible store "
        "(Ceph, MinIO), Backblaze B2, or Tigris."
    )
    queue: str = setting(default="", description="Name of the queue for the events; empty = the first.")
    audience: str = setting(default="", description="pubsub, eventarc, eventgrid: required audience of the token.")
    account: str = setting(
        default="",
        description="pubsub, eventarc: e-mail of the service account of the subscription or trigger. eventgrid: application id; "
        "empty = Event Grid's.",
    )
    tenant_id: str = setting(default="", description="eventgrid: tenant whose tokens are accepted.")
    topics: Texts = setting(
        default=(), description="sns: ARNs of the accepted topics. Their subscriptions are confirmed."
    )
    origins: Texts = setting(
        default=(), description="eventgrid: accepted origins of CloudEvents; empty = eventgrid.azure.net."
    )
    secret_env: str = setting(
        default="",
        description="eventgrid, s3, tigris: variable with the secret that the provider sends. b2: variable with the secret that it "
        "signs by.",
    )
    secret_file: Path | None = setting(
        default=None, description="eventgrid, s3, tigris, b2: file with that secret; reloaded when it changes."
    )
    max_age: Seconds | None = setting(
        default=None,
        description="sns, b2: maximum age of a message; older ones are rejected as replays. Empty = an hour for sns, a day for b2.",
    )
    keys_url: str = setting(
        default="", description="pubsub, eventarc, eventgrid: URL of the token keys (JWKS); empty = the provider's own."
    )
    endpoint: str = setting(
        default="", description="sns: URL of another service than Amazon's; empty = https://sns.REGION.amazonaws.com."
    )

    def check(self) -> None:
        """Require an authentication for each kind."""
        secret = bool(self.secret_env or self.secret_file)
        if self.kind in ("pubsub", "eventarc") and not (self.audience and self.account):
            raise ValueError(f"a push of kind {self.kind} needs audience and account")
        if self.kind == "sns" and not self.topics:
            raise ValueError("a push of kind sns needs topics")
        if self.kind == "eventgrid" and not secret and not (self.tenant_id and self.audience):
            raise ValueError("a push of kind eventgrid needs tenant_id and audience, or secret_env or secret_file")
        if self.kind in ("s3", "b2", "tigris") and not secret:
            raise ValueError(f"a push of kind {self.kind} needs secret_env or secret_file")

    @property
    def replay_window(self) -> float:
        """Seconds after which a message counts as a replay."""
        return self.max_age if self.max_age is not None else _REPLAY_WINDOWS.get(self.kind, 3600.0)
