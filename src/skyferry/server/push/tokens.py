"""Tokens of OpenID Connect, checked against the keys that their issuer publishes. Needs the extra `push`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import jwt

from skyferry.clouds.identity.exchange import Request, ask
from skyferry.errors import SkyferryError, StoreUnavailable
from skyferry.server.push.endpoints import refused
from skyferry.server.push.quota import Quota

KEEP = 6 * 3600.0  # seconds that keys are used before they are fetched again
PAUSE = 60.0  # seconds between fetches for keys that we do not have: anybody may name one
FETCHES, REST = 3, 20.0  # that fail at once, and seconds until the next: each forged token asks for one
LEEWAY = 30.0  # seconds that clocks may differ
LAST = 253402300800  # the end of the year 9999, in seconds since 1970


class Keys:
    """The signing keys of an issuer (JWKS, RFC 7517), fetched when they are first needed."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url, self._clock = url, clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._quota = Quota(FETCHES, REST, clock)

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """The key of that name, or None where the issuer has none. Raises SkyferryError if it cannot be asked."""
        if self._due(kid):  # else nobody waits: anybody may name one that has to be fetched
            async with self._fetching:
                if self._due(kid):
                    await self._fetch()
        return self._keys.get(kid)

    def _due(self, kid: str) -> bool:
        age = self._clock() - self._fetched_at
        return age > KEEP or (kid not in self._keys and age > PAUSE)

    async def _fetch(self) -> None:
        if not self._quota.take():
            raise StoreUnavailable("they were asked for several times in vain", where=self._url, retry_after=REST)
        try:
            found = jwt.PyJWKSet.from_json((await ask(Request(self._url, "token keys"))).decode()).keys
        except SkyferryError:
            if not self._keys:
                raise
        except (jwt.PyJWTError, ValueError) as broken:
            if not self._keys:
                raise StoreUnavailable("the answer is no set of keys", where=self._url) from broken
        else:
            self._keys = {key.key_id: key for key in found if key.key_id and key.public_key_use in (None, "sig")}
        self._fetched_at = self._clock()


class Tokens:
    """Checks tokens of one issuer for one audience."""

    def __init__(self, keys_url: str, issuers: Sequence[str], audience: str, clock: Callable[[], float]) -> None:
        self._keys, self._issuers, self._audience, self._clock = Keys(keys_url, clock), issuers, audience, clock

    async def claims(self, token: str) -> Mapping[str, object]:
        """See `Checker`. Only RS256: who may choose how a token is signed may choose not to sign it."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.get(str(header.get("kid", "")))
            if key is None or header.get("alg") != "RS256":
                raise refused("The token is signed by a key that the issuer does not have.")
            found: Mapping[str, object] = jwt.decode(
                token,
                key.key,
                algorithms=["RS256"],
                audience=self._audience,
                issuer=list(self._issuers),
                options={  # the times are looked at below, by our clock
                    "require": ["exp", "iat", "aud", "iss"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidAudienceError:
            raise refused("The token is for another audience.", "see the audience of this push endpoint") from None
        except jwt.InvalidIssuerError:
            raise refused("The token has another issuer.") from None
        except jwt.InvalidSignatureError:
            raise refused("The token's signature is wrong.") from None
        except (jwt.PyJWTError, RecursionError, ValueError, TypeError):  # its parts are whatever a stranger wrote
            raise refused("The token is none that can be read.") from None
        return self._timely(found)

    def _timely(self, claims: Mapping[str, object]) -> Mapping[str, object]:
        now, begins, ends = self._clock(), _moment(claims["iat"]), _moment(claims["exp"])
        begins = max(begins, _moment(claims.get("nbf", begins)))
        if now > ends + LEEWAY:
            raise refused("The token has expired.", "see that the clocks are right")
        if now < begins - LEEWAY:
            raise refused("The token is of the future.", "see that the clocks are right")
        return claims


def _moment(value: object) -> float:
    """Seconds since 1970 (NumericDate, RFC 7519): a number that a calendar has. JSON as Python reads it knows NaN and Infinity."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LAST:
        return float(value)
    raise refused("The token has a time that cannot be read.")
