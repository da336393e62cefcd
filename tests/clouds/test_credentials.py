"""Credentials are renewed once, where the answer shows that they have expired, and for no other reason."""

from __future__ import annotations

import pytest

from skyferry.clouds.azure import SharedKey
from skyferry.clouds.credentials import C, CredentialsProvider, Expiry, S3Credentials, call_authorized
from skyferry.errors import IdentityRefused


def _provide(first: C, second: C | None, stale_names: list[str]) -> CredentialsProvider[C]:
    """Return a provider that has `second` after `first` is stale; it refuses if `second` is None."""

    async def provide(*, stale: str = "") -> C:
        if not stale:
            return first
        stale_names.append(stale)
        if second is None:
            raise IdentityRefused
        return second

    return provide


async def _call(first: C, second: C | None, expiry: Expiry) -> tuple[list[C], list[str], C]:
    """Return the credentials of each call, the names that were called stale, and the answer: the last credentials."""
    calls: list[C] = []
    stale_names: list[str] = []

    async def call(credentials: C) -> C:
        calls.append(credentials)
        return credentials

    answer = await call_authorized(_provide(first, second, stale_names), call, lambda answer: expiry)
    return calls, stale_names, answer


async def test_an_answer_with_another_cause_renews_nothing() -> None:
    assert await _call("old", "new", Expiry.NONE) == (["old"], [], "old")


@pytest.mark.parametrize("expiry", [Expiry.SUSPECTED, Expiry.CERTAIN])
async def test_expired_credentials_are_renewed_once_even_if_the_new_ones_are_refused_too(expiry: Expiry) -> None:
    assert await _call("old", "new", expiry) == (["old", "new"], ["old"], "new")


async def test_an_access_key_is_the_name_of_its_credentials() -> None:
    old, new = S3Credentials("A1", "secret"), S3Credentials("A2", "secret")
    assert await _call(old, new, Expiry.CERTAIN) == ([old, new], ["A1"], new)


async def test_the_same_credentials_are_not_sent_again() -> None:
    assert await _call("same", "same", Expiry.CERTAIN) == (["same"], ["same"], "same")


@pytest.mark.parametrize("fixed", ["", SharedKey("account", "a2V5")])
async def test_anonymous_requests_and_account_keys_are_never_renewed(fixed: str | SharedKey) -> None:
    assert await _call(fixed, None, Expiry.CERTAIN) == ([fixed], [], fixed)


async def test_a_refused_renewal_counts_only_where_the_credentials_have_certainly_expired() -> None:
    assert await _call("old", None, Expiry.SUSPECTED) == (["old"], ["old"], "old")
    with pytest.raises(IdentityRefused):
        await _call("old", None, Expiry.CERTAIN)
