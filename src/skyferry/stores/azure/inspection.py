"""Inspection of a container through Blob Storage. Only Azure's management interface reports notifications and region.
Permission: to read and to list (Storage Blob Data Reader).
"""

from __future__ import annotations

from collections.abc import Mapping

from skyferry.clouds.azure import AzureProvider
from skyferry.clouds.callers import azure_caller, skew
from skyferry.ports.inspection import BucketFacts, Unknown, Wrong, await_or_unknown
from skyferry.stores.azure.client import AzureClient, AzureOptions

MANAGEMENT = Unknown("reported by Azure's management interface only")
LOOK = "Storage Blob Data Reader"
NAMESPACE = "the account's namespace is hierarchical, but the settings say it is flat"
FLAT = "the account's namespace is flat, but the settings say it is hierarchical"


async def inspect(client: AzureClient, credential: AzureProvider, options: AzureOptions) -> BucketFacts:
    """See `InspectableStore`."""
    answer = await client.send("GET", query={"restype": "container"}, accept=(403,))
    container = answer.headers if answer.status < 300 else {}
    account = await await_or_unknown(_account(client), LOOK)
    return BucketFacts(
        endpoint=client.account,
        who=await azure_caller(credential),
        region=MANAGEMENT,
        versioning=await await_or_unknown(_versioning(client), LOOK),
        encryption=_encryption(container) if container else Unknown(f"not permitted ({LOOK})"),
        notices=MANAGEMENT,
        skew=skew(answer.headers),
        allowed=Unknown("Azure does not report permissions"),
        kept=_kept(container),
        wrong=() if isinstance(account, Unknown) else namespace(account, options),
    )


async def _account(client: AzureClient) -> Mapping[str, str]:
    return (await client.send("HEAD", query={"restype": "account", "comp": "properties"})).headers


async def _versioning(client: AzureClient) -> str | Unknown:
    """Read whether versioning is on: each blob of a listing with versions then has a version id."""
    query = {"restype": "container", "comp": "list", "include": "versions", "maxresults": "1"}
    blob = (await client.send("GET", query=query)).xml().find("Blobs/Blob")
    if blob is None:
        return Unknown("unknown while the container is empty")
    return "on" if blob.findtext("VersionId") else "off"


def _encryption(headers: Mapping[str, str]) -> str:
    scope = headers.get("x-ms-default-encryption-scope", "")
    return f"scope {scope}" if scope.strip("$") not in ("", "account-encryption-key") else "by the account's key"


def _kept(headers: Mapping[str, str]) -> str:
    kinds = {"x-ms-has-immutability-policy": "an immutability policy", "x-ms-has-legal-hold": "a legal hold"}
    found = [words for name, words in kinds.items() if headers.get(name) == "true"]
    return f"{' and '.join(found)} may keep blobs as they are" if found else ""


def namespace(account: Mapping[str, str], options: AzureOptions) -> tuple[Wrong, ...]:
    """Compare the settings with the account's kind of namespace; `account` are headers of Get Account Information."""
    hierarchical = account.get("x-ms-is-hns-enabled", "")
    if not hierarchical or (hierarchical == "true") is options.hierarchical:
        return ()
    said = FLAT if options.hierarchical else NAMESPACE
    return (Wrong(said, f"set the store's `hierarchical: {hierarchical}`"),)
