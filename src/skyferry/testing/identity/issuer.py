"""An issuer of signed tokens (RS256), as every cloud has one, and the check against its keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

from skyferry.frozen import dataclass

try:
    import jwt
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
    from jwt.algorithms import RSAAlgorithm
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError("the stand-ins for identity need: pip install cryptography pyjwt") from missing

Clock = Callable[[], float]  # seconds since 1970


class TokenRefused(Exception):
    """A token is refused. `reason` is one of: malformed, issuer, signature, audience, expired, subject."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@cache
def private_key(owner: str) -> RSAPrivateKey:
    """The same for each test: one takes 50 ms to make."""
    return generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs tokens in the name of `url`."""

    url: str
    clock: Clock = time.time
    kid: str = "key-1"
    owner: str = ""  # the owner of the key; "" = the issuer itself

    @property
    def key(self) -> RSAPrivateKey:
        """The key that it signs with."""
        return private_key(self.owner or self.url)

    def token(self, subject: str, audience: str, *, life: float = 600.0, **claims: object) -> str:
        """Sign a token that expires in `life` seconds (or has expired, if it is negative)."""
        now = self.clock()
        whole = {
            "iss": self.url,
            "sub": subject,
            "aud": audience,
            "iat": min(now, now + life),
            "exp": now + life,
            **claims,
        }
        return jwt.encode(whole, self.key, algorithm="RS256", headers={"kid": self.kid})

    def forger(self) -> Issuer:
        """Return an impostor of this issuer, with another key of the same name."""
        return Issuer(self.url, self.clock, self.kid, "a forger")

    def jwks(self) -> dict[str, Any]:
        """Its public keys (RFC 7517)."""
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "RS256"}]}


@dataclass(slots=True)
class Trust:
    """The accepted issuers, audience and subjects."""

    issuers: Mapping[str, Issuer]  # by their URL
    audiences: Collection[str]
    subjects: Collection[str]
    clock: Clock = time.time

    def claims(self, token: str) -> Mapping[str, Any]:
        """Check a token and return its claims. Raises TokenRefused."""
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as broken:
            raise TokenRefused("malformed") from broken
        issuer = self.issuers.get(str(unverified.get("iss")))
        if issuer is None:
            raise TokenRefused("issuer")
        try:  # the times are checked below, by the clock that was given
            options: jwt.types.Options = {
                "verify_aud": False,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            }
            claims: Mapping[str, Any] = jwt.decode(
                token, issuer.key.public_key(), algorithms=["RS256"], options=options
            )
        except jwt.PyJWTError as forged:
            raise TokenRefused("signature") from forged
        if claims.get("aud") not in self.audiences:
            raise TokenRefused("audience")
        if not float(claims.get("iat", 0)) - 60 <= self.clock() < float(claims.get("exp", 0)):
            raise TokenRefused("expired")
        if claims.get("sub") not in self.subjects:
            raise TokenRefused("subject")
        return claims
