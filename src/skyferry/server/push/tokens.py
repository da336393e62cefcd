"""OpenID Connect tokens, verified against the keys that their issuer publishes. Needs the extra `push`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

import jwt
import orjson

from skyferry.clouds.identity.exchange import TokenRequest, request_token
from skyferry.errors import SkyferryError, StoreUnavailable
from skyferry.server.push.authenticator import Authentication, PushRequest, bearer_token, not_authentic
from skyferry.server.push.quota import Quota

MAX_AGE = 6 * 3600.0  # seconds until keys are fetched again
PAUSE = 60.0  # seconds between fetches for unknown keys: a request may name any key
FETCHES, REST = 3, 20.0  # failed fetches in a row, and seconds until the next: each forged token asks for one
LEEWAY = 30.0  # seconds that clocks may differ
LAST = 253402300800  # the end of the year 9999, in seconds since 1970


class SigningKeys:
    """The signing keys of an issuer (JWKS, RFC 7517), fetched on first use."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url, self._clock = url, clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._quota = Quota(FETCHES, REST, clock)

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """Return the key with this id, or None if the issuer has none. Raises SkyferryError if the issuer does not answer."""
        if self._is_due(kid):  # a known key never waits for the lock: a request may name a key that has to be fetched
            async with self._fetching:
                if self._is_due(kid):
                    await self._fetch()
        return self._keys.get(kid)

    def _is_due(self, kid: str) -> bool:
        age = self._clock() - self._fetched_at
        return age > MAX_AGE or (kid not in self._keys and age > PAUSE)

    async def _fetch(self) -> None:
        if not self._quota.take():
            raise StoreUnavailable("fetching the keys failed several times", where=self._url, retry_after=REST)
        try:
            found = jwt.PyJWKSet.from_json((await request_token(TokenRequest(self._url, "token keys"))).decode()).keys
        except SkyferryError:
            if not self._keys:
                raise
        except (jwt.PyJWTError, ValueError) as broken:
            if not self._keys:
                raise StoreUnavailable("the answer is not a set of keys", where=self._url) from broken
        else:
            self._keys = {key.key_id: key for key in found if key.key_id and key.public_key_use in (None, "sig")}
        self._fetched_at = self._clock()


class TokenVerifier:
    """Verifies tokens of one issuer for one audience."""

    def __init__(self, keys_url: str, issuers: Sequence[str], audience: str, clock: Callable[[], float]) -> None:
        self._keys, self._issuers = SigningKeys(keys_url, clock), issuers
        self._audience, self._clock = audience, clock

    async def verify(self, token: str) -> Mapping[str, object]:
        """Return the claims of a valid token. Raises ApiError if it is not valid, SkyferryError if the keys are unavailable.

        Only RS256 is accepted: a sender that may choose the algorithm may choose "none".
        """
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.get(str(header.get("kid", "")))
            if key is None or header.get("alg") != "RS256":
                raise not_authentic("The token is signed by a key that the issuer does not publish.")
            claims: Mapping[str, object] = jwt.decode(
                token,
                key.key,
                algorithms=["RS256"],
                audience=self._audience,
                issuer=list(self._issuers),
                options={  # `_check_times` checks the times by the injected clock
                    "require": ["exp", "iat", "aud", "iss"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidAudienceError:
            hint = "compare it with the `audience` of this push endpoint"
            raise not_authentic("The token is for another audience.", hint) from None
        except jwt.InvalidIssuerError:
            raise not_authentic("The token has another issuer.") from None
        except jwt.InvalidSignatureError:
            raise not_authentic("The token's signature is wrong.") from None
        except (jwt.PyJWTError, RecursionError, ValueError, TypeError):  # its parts are untrusted input
            raise not_authentic("The token is malformed.") from None
        self._check_times(claims)
        return claims

    def _check_times(self, claims: Mapping[str, object]) -> None:
        now, begins, ends = self._clock(), _parse_date(claims["iat"]), _parse_date(claims["exp"])
        begins = max(begins, _parse_date(claims.get("nbf", begins)))
        if now > ends + LEEWAY:
            raise not_authentic("The token has expired.", "check the clocks of sender and receiver")
        if now < begins - LEEWAY:
            raise not_authentic("The token is not valid yet.", "check the clocks of sender and receiver")


class TokenAuthenticator:
    """Accepts a valid token that contains the expected claims."""

    def __init__(self, tokens: TokenVerifier, expected: Mapping[str, object]) -> None:
        """`expected` are the claims that the token must contain, with their values."""
        self._tokens, self._expected = tokens, expected

    async def authenticate(self, request: PushRequest) -> Authentication:
        """See `Authenticator`."""
        token = bearer_token(request)
        if not token:
            hint = "configure the subscription to send an authentication token"
            raise not_authentic("The request contains no bearer token.", hint)
        claims = dict(await self._tokens.verify(token))
        claims.setdefault("appid", claims.get("azp"))  # the name in version 2 of Entra's tokens
        if any(claims.get(name) != value for name, value in self._expected.items()):
            hint = "compare it with the `account` of this push endpoint"
            raise not_authentic("The token belongs to another account.", hint, HTTPStatus.FORBIDDEN)
        return Authentication(id=_message_id(await request.body()))


def _parse_date(value: object) -> float:
    """Return seconds since 1970 (NumericDate, RFC 7519). Python's JSON parser accepts NaN and Infinity; these are rejected."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LAST:
        return float(value)
    raise not_authentic("The token contains an invalid time.")


def _message_id(body: bytes) -> str:
    """Return the message id of Pub/Sub; "" if there is none. The worker reports other faults of such a message."""
    try:
        return str(orjson.loads(body)["message"]["messageId"])
    except (ValueError, LookupError, TypeError):
        return ""
