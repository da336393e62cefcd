"""The limits of connections, requests and responses."""

from __future__ import annotations

from skyferry.frozen import dataclass

WORKING = 3600.0  # seconds without a byte during a server-side copy or join; the caller's deadline comes first
DOCUMENT = 16 * 2**20  # bytes; limit of an answer other than an object: a listing, an error


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the connections to one bucket."""

    connections: int = 128  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte received or sent
    document: int = DOCUMENT  # bytes of an error
    total_timeout: float = 2 * WORKING  # seconds of a plain request; the caller's deadline comes first

    def first_byte(self, working: bool) -> float:
        """Return the seconds until the response begins. `working`: the provider copies or joins objects first."""
        return max(WORKING, self.read_timeout) if working else self.read_timeout

    @property
    def silence(self) -> str:
        """The error of a connection that made no progress."""
        return f"the connection brought nothing for {self.read_timeout:g} s"

    @property
    def no_connection(self) -> str:
        """The error of a connection that was not established."""
        return f"no connection within {self.connect_timeout:g} s"
