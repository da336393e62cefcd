"""Event notifications of Backblaze B2, verified by their signature.

The signature is the HMAC-SHA-256 of the raw body by the rule's signing secret, in hexadecimal after `v1=`
(https://www.backblaze.com/docs/cloud-storage-event-notifications-reference-guide). The body contains the time of each event.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping

import orjson

from skyferry.config.push import PushSettings
from skyferry.server.push.authenticator import Authentication, PushRequest, not_authentic
from skyferry.server.push.shared_secret import SharedSecret

HEADER = "x-bz-event-notification-signature"
SIGNATURE = re.compile(r"v1=([0-9A-Fa-f]{64})")


class BackblazeAuthenticator:
    """Accepts bodies that the configured secret signs and whose events are recent."""

    def __init__(self, settings: PushSettings, env: Mapping[str, str], clock: Callable[[], float]) -> None:
        """Raises ConfigError if the secret is missing or weak."""
        self._secret, self._window, self._clock = SharedSecret(settings, env), settings.replay_window, clock

    async def authenticate(self, request: PushRequest) -> Authentication:
        """See `Authenticator`."""
        given = SIGNATURE.fullmatch(request.headers.get(HEADER, "").strip())
        if given is None:
            raise not_authentic("The request contains no signature.", "add a signing secret to the rule of the bucket")
        secret, body = await self._secret.get(), await request.body()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(given[1].lower(), signature):
            raise not_authentic("The signature is wrong.", "compare the secret with that of the bucket's rule")
        if (newest := _newest(body)) is not None and newest < self._clock() - self._window:
            hint = "check the clock of this machine; raise `max_age` of this push endpoint if deliveries take longer"
            raise not_authentic("The events are too old.", hint)
        return Authentication(id=signature)


def _newest(body: bytes) -> float | None:
    """Return the time of the newest event in seconds since 1970; None if there is none. The worker reports such a body."""
    try:
        return float(max(event["eventTimestamp"] for event in orjson.loads(body)["events"])) / 1000
    except (ValueError, LookupError, TypeError):
        return None
