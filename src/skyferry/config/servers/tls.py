"""Certificates for servers of one's own."""

from __future__ import annotations

from pathlib import Path

from skyferry.config.sections.section import Section, setting


class TlsSettings(Section):
    """Certificates for a server of your own. They are read again for each connection."""

    ca_file: Path | None = setting(
        default=None, description="Certificates of the authorities to trust; by default the system's."
    )
    cert_file: Path | None = setting(default=None, description="Certificate of this client, in PEM.")
    key_file: Path | None = setting(default=None, description="Its private key; by default it is in cert_file.")
