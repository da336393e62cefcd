"""The short-lived tokens and keys that the fakes have issued."""

from __future__ import annotations

import secrets
import time
from dataclasses import field

from skyferry.frozen import dataclass
from skyferry.testing.identity.issuer import Clock


@dataclass(frozen=True, slots=True)
class Grant:
    """A token or key that was given."""

    principal: str  # the identity that has it
    expires: float  # seconds since 1970
    secret: str = field(default="", repr=False)  # of AWS's keys
    session: str = field(default="", repr=False)  # token of AWS's keys


@dataclass(slots=True)
class Grants:
    """All of them."""

    clock: Clock = time.time
    life: float = 3600.0  # seconds, of the next ones
    all: dict[str, Grant] = field(default_factory=dict)  # by token or access key

    def token(self, principal: str) -> str:
        """A new access token."""
        token = f"token-{secrets.token_urlsafe(24)}"
        self.all[token] = Grant(principal, self.clock() + self.life)
        return token

    def key(self, principal: str) -> tuple[str, Grant]:
        """New temporary keys of AWS."""
        key = f"ASIA{secrets.token_hex(8).upper()}"
        grant = Grant(principal, self.clock() + self.life, secrets.token_urlsafe(30), secrets.token_urlsafe(60))
        self.all[key] = grant
        return key, grant

    def valid(self, name: str) -> Grant | None:
        """Return the grant, or None if it has expired or is unknown."""
        grant = self.all.get(name)
        return grant if grant is not None and self.clock() < grant.expires else None
