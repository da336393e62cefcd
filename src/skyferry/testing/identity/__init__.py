"""Strict fakes of the token services of AWS, Google and Azure, on loopback. The emulators accept any token.

The fakes check signature, issuer, audience, expiry and subject of tokens, issue short-lived tokens, count their requests and
fail on demand. They need cryptography and pyjwt.
"""

from skyferry.testing.identity.clouds import Clouds, ServiceFailure
from skyferry.testing.identity.issuer import Issuer
from skyferry.testing.identity.server import TokenServices, token_services

__all__ = ["Clouds", "Issuer", "ServiceFailure", "TokenServices", "token_services"]
