"""Custom roles of Azure: the permissions of Blob and Queue Storage for the requests that Skyferry makes.

"Permissions for calling data operations", in "Authorize with Microsoft Entra ID" (Azure Storage REST API). The built-in
roles either lack a permission (tags of blobs, the renewal of a lease) or allow more.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from skyferry.config.identity import IdentitySettings
from skyferry.policy.document import Json, Policy, shell_argument
from skyferry.policy.needs import ENTRA_AUDIENCE, IdentityAccess, QueueAccess, RequiredAccess, StoreAccess

_STORAGE = "Microsoft.Storage/storageAccounts"
_BLOBS = f"{_STORAGE}/blobServices/containers/blobs"
_QUEUES = f"{_STORAGE}/queueServices/queues"
READ, REMOVE, WRITE = f"{_BLOBS}/read", f"{_BLOBS}/delete", f"{_BLOBS}/write"
READ_TAGS, WRITE_TAGS = f"{_BLOBS}/tags/read", f"{_BLOBS}/tags/write"
LOOK = f"{_QUEUES}/read"  # the number of messages; not a data action
TAKE, RENEW, SEND = (f"{_QUEUES}/messages/{what}" for what in ("process/action", "write", "add/action"))
ACCOUNT = "/subscriptions/SUBSCRIPTION/resourceGroups/RESOURCE_GROUP/providers/Microsoft.Storage/storageAccounts"


def policies(needs: RequiredAccess) -> list[Policy]:
    """Return one policy for each identity."""
    return [_policy(share) for share in needs.of("azure")]


def _policy(share: IdentityAccess) -> Policy:
    found = [*map(_store, share.stores), *map(_queue, share.queues)]
    documents: dict[str, Json] = {f"role {role['Name']}": role for role, _ in found}
    documents["assignments"] = {"assignments": [given for _, given in found]}
    created = (f"az role definition create --role-definition {shell_argument(role)}" for role, _ in found)
    given = (
        f"az role assignment create --assignee-object-id PRINCIPAL_OBJECT_ID --assignee-principal-type ServicePrincipal "
        f"--role {quote(str(each['role']))} --scope {quote(str(each['scope']))}"
        for _, each in found
    )
    trusted = _credential(share.identity)
    if trusted:
        documents["federated credential"] = trusted
    commands = [*created, *given, *([_federated(trusted)] if trusted else [])]
    return Policy(
        "azure",
        describe_azure_identity(share.identity),
        share.users,
        documents,
        tuple(commands),
        tuple(_notes(share)),
        frozenset(documents),
    )


def describe_azure_identity(identity: IdentitySettings) -> str:
    """Describe the identity for people."""
    match identity.kind:
        case "federated":
            return f"the application {identity.client_id or 'CLIENT_ID'}, by a token ({identity.token})"
        case "sdk":
            return "the identity that the SDK finds"
        case "static":
            return "the holder of the account key"
        case _:
            return f"the managed identity {identity.client_id}".rstrip()


def _store(store: StoreAccess) -> tuple[Json, Json]:
    """Return a role, and its assignment."""
    tagged = store.where.profile.tags
    actions = {READ}
    actions |= {READ_TAGS} if store.read and tagged else set()
    actions |= {REMOVE} if store.removed else set()
    actions |= {WRITE, REMOVE} if store.written else set()
    actions |= {READ_TAGS, WRITE_TAGS} if store.tags_written else set()
    account = store.where.account
    return _role(store.what, set(), actions, f"{ACCOUNT}/{account}/blobServices/default/containers/{store.url.bucket}")


def _queue(queue: QueueAccess) -> tuple[Json, Json]:
    actions = {TAKE, RENEW} | ({SEND} if queue.sent else set())
    account = queue.where.account
    return _role(queue.what, {LOOK}, actions, f"{ACCOUNT}/{account}/queueServices/default/queues/{queue.url.queue}")


def _role(what: str, actions: set[str], data: set[str], scope: str) -> tuple[Json, Json]:
    """Return a role in the form of `az role definition create`, and its assignment."""
    role = {
        "Name": f"Skyferry {what}",
        "IsCustom": True,
        "Description": f"Exactly the access of Skyferry to its {what}.",
        "Actions": sorted(actions),
        "NotActions": [],
        "DataActions": sorted(data),
        "NotDataActions": [],
        "AssignableScopes": ["/subscriptions/SUBSCRIPTION/resourceGroups/RESOURCE_GROUP"],
    }
    return role, {"role": role["Name"], "scope": scope, "principalId": "PRINCIPAL_OBJECT_ID"}


def _credential(identity: IdentitySettings) -> Json | None:
    """Return the federated credential that accepts tokens of another issuer."""
    if identity.kind != "federated":
        return None
    google = identity.token == "google"  # noqa: S105 - no secret
    return {
        "name": "skyferry",
        "issuer": "https://accounts.google.com" if google else "https://ISSUER",
        "subject": "SERVICE_ACCOUNT_UNIQUE_ID" if google else "SUBJECT",
        "audiences": [identity.audience or ENTRA_AUDIENCE],
    }


def _federated(credential: Json) -> str:
    audiences = credential["audiences"]
    assert isinstance(audiences, list)
    options = {**{name: credential[name] for name in ("name", "issuer", "subject")}, "audiences": audiences[0]}
    named = " ".join(f"--{option} {quote(str(value))}" for option, value in options.items())
    return "az identity federated-credential create --resource-group RESOURCE_GROUP --identity-name IDENTITY " + named


def _notes(share: IdentityAccess) -> Iterator[str]:
    if share.identity.kind == "static":
        yield "The account key allows everything in the account. Use an identity with this role instead."
    yield "A role applies to a whole container or queue; it does not contain the prefixes of the routes."
    yield "The name of a custom role is unique in the tenant. Change it if another deployment uses it."
    if any((s.read and s.where.profile.tags) or s.tags_written for s in share.stores):
        yield "Tags are a separate permission, which the built-in reader and contributor lack."
