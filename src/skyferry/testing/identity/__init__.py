"""Strict stand-ins for the token services of AWS, Google and Azure, on loopback: the emulators take any token at all.

They check signature, issuer, audience, expiry and subject of what they are given, give away short-lived tokens, count
their requests and fail when they are told to. They need cryptography and pyjwt.
"""

from skyferry.testing.identity.clouds import Clouds, ServiceFailure
from skyferry.testing.identity.issuer import Issuer
from skyferry.testing.identity.server import TokenServices, token_services

__all__ = ["Clouds", "Issuer", "ServiceFailure", "TokenServices", "token_services"]
