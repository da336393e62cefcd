"""Custom roles and bindings of Google Cloud: the permissions of Cloud Storage and Pub/Sub for the requests that Skyferry makes.

"IAM permissions for JSON methods" (Cloud Storage), "Access control with IAM" (Pub/Sub).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from shlex import join

from skyferry.config.identity import IdentitySettings
from skyferry.frozen import dataclass
from skyferry.policy.document import Json, Policy
from skyferry.policy.needs import IdentityAccess, QueueAccess, RequiredAccess, StoreAccess

SCRATCH = ".skyferry-uploads/"  # where the parts of large objects are
POOLS = "iam.googleapis.com/projects/{project}/locations/global/workloadIdentityPools/{pool}"
KMS_ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"


@dataclass(frozen=True, slots=True)
class CustomRole:
    """A custom role: exactly these permissions."""

    id: str
    permissions: tuple[str, ...]

    def document(self) -> Json:
        """Return the role in the file format of `gcloud iam roles create`."""
        return {"title": self.id, "stage": "GA", "includedPermissions": list(self.permissions)}


LIST = CustomRole(
    "skyferry_list", ("storage.objects.list",)
)  # also distinguishes a missing object from a missing bucket
READ = CustomRole("skyferry_read", ("storage.objects.get",))
REMOVE = CustomRole("skyferry_remove", ("storage.objects.delete",))
# Overwriting needs the permission to delete, and unverified copies are deleted.
WRITE = CustomRole("skyferry_write", ("storage.objects.create", "storage.objects.delete", "storage.objects.get"))
UPDATE = CustomRole("skyferry_update", ("storage.objects.update",))  # of what a copy carries
PAY = CustomRole("skyferry_pay", ("serviceusage.services.use",))
TAKE = CustomRole("skyferry_take", ("pubsub.subscriptions.consume",))
ACT = CustomRole("skyferry_act", ("iam.serviceAccounts.getAccessToken",))
ID_TOKEN = CustomRole("skyferry_id_token", ("iam.serviceAccounts.getOpenIdToken",))
SEND = CustomRole("skyferry_send", ("pubsub.topics.publish",))


@dataclass(frozen=True, slots=True)
class RoleBinding:
    """A member's role at one resource, limited to the keys with these prefixes."""

    resource: str  # as gs://BUCKET, or its full name
    role: CustomRole | str
    member: str
    command: tuple[str, ...]  # of gcloud, up to the resource
    project: str = "PROJECT"  # of the resource: a custom role is bound in its own project alone
    bucket: str = ""
    prefixes: tuple[str, ...] = ("",)

    @property
    def role_name(self) -> str:
        """The name of the role in bindings."""
        return self.role if isinstance(self.role, str) else f"projects/{self.project}/roles/{self.role.id}"

    @property
    def created(self) -> str:
        """The command that creates the role; "" for a predefined role."""
        if isinstance(self.role, str):
            return ""
        permissions = ",".join(self.role.permissions)
        made = ("iam", "roles", "create", self.role.id, f"--project={self.project}", "--stage=GA")
        return join(("gcloud", *made, f"--permissions={permissions}"))

    @property
    def condition(self) -> str:
        """The condition in CEL; "" = none."""
        if "" in self.prefixes:
            return ""
        names = (f"projects/_/buckets/{self.bucket}/objects/{prefix}" for prefix in self.prefixes)
        return " || ".join(f"resource.name.startsWith({_literal(name)})" for name in names)

    def document(self) -> Json:
        """Return the binding in the form of a policy of the resource."""
        body: dict[str, object] = {"resource": self.resource, "role": self.role_name, "members": [self.member]}
        if self.condition:
            body["condition"] = {"title": "skyferry", "expression": self.condition}
        return body

    def line(self) -> str:
        """Return the command that adds the binding."""
        said = [*self.command, f"--role={self.role_name}", f"--member={self.member}"]
        if self.condition:  # a comma in the expression would else begin the next field: see `gcloud topic escaping`
            said.append(f"--condition=^:::^title=skyferry:::expression={self.condition}")
        elif self.command[0] != "pubsub":  # which knows none; elsewhere gcloud asks, if another binding there has one
            said.append("--condition=None")
        return join(("gcloud", *said))


def policies(needs: RequiredAccess) -> list[Policy]:
    """Return one policy for each identity."""
    return [_policy(share) for share in needs.of("google")]


def _policy(share: IdentityAccess) -> Policy:
    who = binding_member(share.identity)
    bindings = [b for store in share.stores for b in _store(store, who)]
    bindings += [b for queue in share.queues for b in _queue(queue, who)]
    bindings += [_account(account, ID_TOKEN, who) for account in share.tokens]
    if share.identity.kind == "federated" and share.identity.service_account:
        bindings.append(_account(share.identity.service_account, ACT, federated_principal(share.identity)))
    roles = {b.role.id: b.role for b in bindings if isinstance(b.role, CustomRole)}
    documents: dict[str, Json] = {"roles": {name: role.document() for name, role in roles.items()}}
    documents["bindings"] = {"bindings": [b.document() for b in bindings]}
    created = dict.fromkeys(b.created for b in bindings if b.created)  # each once, in order
    commands = [*_pool(share.identity), *created, *(b.line() for b in bindings)]
    return Policy("google", who, share.users, documents, tuple(commands), tuple(_notes(share)), frozenset(documents))


def binding_member(identity: IdentitySettings) -> str:
    """Return the member of bindings. Words in capitals are placeholders."""
    if identity.kind == "federated" and not identity.service_account:
        return federated_principal(identity)
    return f"serviceAccount:{identity.service_account or 'SERVICE_ACCOUNT_EMAIL'}"


def federated_principal(identity: IdentitySettings) -> str:
    """Return the principal of a federated token."""
    pool = POOLS.format(project=identity.project or "PROJECT_NUMBER", pool=identity.pool or "POOL")
    if _signed(identity):
        return f"principalSet://{pool}/attribute.aws_role/arn:aws:sts::ACCOUNT:assumed-role/ROLE"
    return f"principal://{pool}/subject/SUBJECT"


def _signed(identity: IdentitySettings) -> bool:
    """Return whether a signed request proves the identity at AWS, instead of an OIDC token."""
    return identity.token == "aws" and not identity.audience  # noqa: S105 - no secret


def _store(store: StoreAccess, who: str) -> Iterator[RoleBinding]:
    bucket = store.url.bucket

    def bound(role: CustomRole, prefixes: tuple[str, ...] = ("",)) -> RoleBinding:
        command = ("storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}")
        return RoleBinding(f"gs://{bucket}", role, who, command, bucket=bucket, prefixes=prefixes)

    yield bound(LIST)
    if store.read:
        yield bound(READ, store.read)
    if store.removed:
        yield bound(REMOVE, store.removed)
    if store.written:
        composed = store.large and store.settings.large_upload_mode == "compose"
        scratch = (SCRATCH,) if composed and "" not in store.written else ()
        yield bound(WRITE, (*store.written, *scratch))
    if store.updated:
        yield bound(UPDATE, store.updated)
    if project := store.settings.billing_project:
        yield RoleBinding(f"projects/{project}", PAY, who, ("projects", "add-iam-policy-binding", project), project)
    if (key := store.settings.kms_key) and store.written:  # it is Cloud Storage itself that uses the key
        agent = "serviceAccount:service-PROJECT_NUMBER@gs-project-accounts.iam.gserviceaccount.com"
        yield RoleBinding(key, KMS_ROLE, agent, ("kms", "keys", "add-iam-policy-binding", key))


def _queue(queue: QueueAccess, who: str) -> Iterator[RoleBinding]:
    name = f"projects/{queue.url.account}/subscriptions/{queue.url.queue}"
    if queue.url.account:  # dead letters may be sent without a subscription to read them from
        command = ("pubsub", "subscriptions", "add-iam-policy-binding", name)
        yield RoleBinding(name, TAKE, who, command, queue.url.account)
    if queue.sent and queue.settings.topic:
        topic = queue.url.topic(queue.settings.topic)
        yield RoleBinding(topic, SEND, who, ("pubsub", "topics", "add-iam-policy-binding", topic), topic.split("/")[1])


def _account(account: str, role: CustomRole, who: str) -> RoleBinding:
    """Return the binding that allows to act as a service account."""
    command = ("iam", "service-accounts", "add-iam-policy-binding", account)
    own = re.fullmatch(r"[^@]+@([a-z0-9-]+)\.iam\.gserviceaccount\.com", account)
    return RoleBinding(f"serviceAccounts/{account}", role, who, command, own[1] if own else "PROJECT")


def _pool(identity: IdentitySettings) -> list[str]:
    """Return the commands that create the workload identity pool and its provider."""
    if identity.kind != "federated":
        return []
    pool, provider = identity.pool or "POOL", identity.provider or "PROVIDER"
    pools, where = ("gcloud", "iam", "workload-identity-pools"), ("--project=POOL_PROJECT", "--location=global")
    made = join((*pools, "create", pool, *where))
    if _signed(identity):
        kind, said = "aws", ["--account-id=ACCOUNT"]
    else:
        issuer = "https://sts.windows.net/TENANT_ID/" if identity.token == "azure" else "https://ISSUER"  # noqa: S105 - no secret
        kind, said = "oidc", [f"--issuer-uri={issuer}", "--attribute-mapping=google.subject=assertion.sub"]
        said += [f"--allowed-audiences={identity.audience}"] if identity.audience else []
    return [
        made,
        join((*pools, "providers", f"create-{kind}", provider, *where, f"--workload-identity-pool={pool}", *said)),
    ]


def _literal(text: str) -> str:
    """Return a string literal of CEL."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _notes(share: IdentityAccess) -> Iterator[str]:
    if share.identity.kind == "static":
        yield "A long-lived key has no policy. Attach this one to its service account."
    if any("" not in prefixes for s in share.stores for prefixes in (s.read, s.removed, s.written) if prefixes):
        yield "Conditions by prefix require uniform bucket-level access."
    yield "A custom role is created once in a project. The role or the pool may already exist."
