"""TLS contexts for servers of one's own, from files that may be rotated: a context is made for each connection."""

from __future__ import annotations

import ssl

from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import ConfigError


def make_tls_context(settings: TlsSettings, name: str, *, verify: bool = True, host: bool = True) -> ssl.SSLContext:
    """Return a context that verifies the server by the settings. Raises ConfigError for an unreadable file. Blocks.

    Without `verify`, the connection is encrypted, but any server is accepted; without `host`, any name of the certificate.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file and str(settings.ca_file))
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(f) for f in (settings.ca_file, settings.cert_file, settings.key_file) if f)
        reason = (error.strerror if not isinstance(error, ssl.SSLError) else "") or "not a certificate or key in PEM"
        raise ConfigError(f"the files of tls cannot be read: {reason}", where=name, hint=f"Check {files}.") from error
    context.check_hostname = verify and host
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    return context
