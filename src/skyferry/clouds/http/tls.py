"""TLS settings, and sessions that later connections to the same server resume."""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from functools import cache

AGE = 3600.0  # seconds after which a server proves its identity by a certificate again
_offered: ContextVar[ssl.SSLSession | None] = ContextVar("tls_session", default=None)


@cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS settings: those of Python, so certificates and names are verified, by the CAs of the system.

    A connection resumes the session that a TlsSession offers where it is opened.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    wrap = context.wrap_bio

    def wrap_bio(
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return wrap(incoming, outgoing, server_side, server_hostname, session or _offered.get())

    context.wrap_bio = wrap_bio  # type: ignore[method-assign]  # create_default_context makes no subclass that could override it
    return context


class TlsSession:
    """The session of one server at one port, from a full handshake with TLS 1.3. Connections resume it for AGE seconds.

    A resumed handshake verifies no certificate, so its own tickets are not used: they would prolong the session for ever.
    The same ticket serves many connections. RFC 8446, C.4 advises against it, because observers see that they belong together;
    those of one worker do anyway, by their addresses. There is no early data. At most one session is read in AGE seconds,
    whatever the server does, because Python leaks 7 KB for each (until 3.12.7 and 3.13.0, gh-116810).
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        """All connections are made with `context`, from `tls_context`."""
        self.context = context
        self._session: ssl.SSLSession | None = None
        self._ends: float | None = None

    def offer(self, now: float) -> ssl.SSLSession | None:
        """Let connections that are opened in this task resume the session. Return it. `now` in seconds, as below."""
        offered = self._session if self._ends is not None and now < self._ends else None
        _offered.set(offered)
        return offered

    def check(self, offered: ssl.SSLSession | None, connected: ssl.SSLObject) -> None:
        """Forget what was offered if the server made a full handshake instead."""
        if offered is not None and offered is self._session and not connected.session_reused:
            self._session = None

    def learn(self, answered: ssl.SSLObject, now: float) -> None:
        """Take the session of a connection, unless there was one within AGE. Tickets come before the first answer."""
        if (self._ends is None or now >= self._ends) and not answered.session_reused:
            self._ends = now + AGE
            session = answered.session if answered.version() == "TLSv1.3" else None
            self._session = session if session is not None and session.has_ticket else None
