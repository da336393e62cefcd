"""The documents themselves, in each cloud's own form."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.policy.granted import of_aws
from tests.policy.lab import settings

from skyferry.policy import aws, azure, google
from skyferry.policy.document import Policy, format_document
from skyferry.policy.needs import required_access
from skyferry.testing.permissions import Ask

ROLE = "arn:aws:iam::111122223333:role/skyferry"
POOL = "iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/clouds"


def store(url: str, identity: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"url": url, **({"identity": identity} if identity else {}), **more}


def made(folder: Path, a: dict[str, Any], b: dict[str, Any], queue: str = "", **route: Any) -> dict[str, list[Policy]]:
    """By cloud."""
    document: dict[str, Any] = {"stores": {"a": a, "b": b}, "routes": [{"name": "r", "from": "a", "to": "b", **route}]}
    found = required_access(settings(folder, document | ({"queues": [{"name": "q", "url": queue}]} if queue else {})))
    return {"aws": aws.policies(found), "google": google.policies(found), "azure": azure.policies(found)}


def federated(**more: str) -> dict[str, str]:
    return {"kind": "federated", **more}


PHOTOS, ARCHIVE = store("s3://photos?region=eu-west-1"), store("gs://archive")


# --- AWS ---


def test_a_policy_is_what_iam_takes(tmp_path: Path) -> None:
    """Version, Statement; each with a Sid of its own of letters and digits, Effect, sorted actions, resources."""
    same = {"a-b": PHOTOS, "a_b": store("s3://copies?region=eu-west-1")}
    document = {"stores": same, "routes": [{"name": "r", "from": "a-b", "to": "a_b"}]}
    [policy] = aws.policies(required_access(settings(tmp_path, document)))
    body: Any = policy.documents["policy"]
    assert (set(body), body["Version"]) == ({"Version", "Statement"}, "2012-10-17")
    sids = [statement["Sid"] for statement in body["Statement"]]
    assert len(set(sids)) == len(sids)
    assert all(re.fullmatch("[A-Za-z0-9]+", sid) for sid in sids)
    for statement in body["Statement"]:
        assert statement["Effect"] == "Allow"
        assert statement["Action"] == sorted(set(statement["Action"]))
        assert all(re.fullmatch(r"arn:aws:[a-z0-9]+:[^:]*:[^:]*:.+", arn) for arn in statement["Resource"])
        assert not any("*" in action for action in statement["Action"])


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eusc-de-east-1", "aws-eusc")]
)
def test_arns_are_of_the_partition_of_the_region(tmp_path: Path, region: str, partition: str) -> None:
    """Amazon's clouds apart."""
    [policy] = made(tmp_path, store("s3://photos", region=region), ARCHIVE, f"sqs://q?region={region}")["aws"]
    assert {grant.resource.split(":")[1] for grant in of_aws(policy)} == {partition}


def test_a_prefix_is_taken_literally(tmp_path: Path) -> None:
    """Though it has what IAM takes for wildcards and variables."""
    [policy] = made(tmp_path, PHOTOS, ARCHIVE, filter={"prefix": "a*?${b}/"})["aws"]
    [read, *_] = [grant for grant in of_aws(policy) if grant.action == "s3:GetObject"]
    assert read.allows(Ask("s3:GetObject", "arn:aws:s3:::photos/a*?${b}/key"))
    assert not read.allows(Ask("s3:GetObject", "arn:aws:s3:::photos/axx${b}/key"))


@pytest.mark.parametrize(
    ("key", "resource", "alias"),
    [
        ("1234", "arn:aws:kms:eu-west-1:*:key/1234", ""),
        ("arn:aws:kms:eu-west-1:1:key/2", "arn:aws:kms:eu-west-1:1:key/2", ""),
        ("alias/mine", "arn:aws:kms:eu-west-1:*:key/*", "alias/mine"),
        ("arn:aws:kms:eu-west-1:1:alias/mine", "arn:aws:kms:eu-west-1:1:key/*", "alias/mine"),
    ],
)
def test_a_key_is_named_as_kms_wants_it(tmp_path: Path, key: str, resource: str, alias: str) -> None:
    """By ARN, or by alias in a condition; and only by way of S3."""
    destination = store("s3://copies?region=eu-west-1", encryption="aws:kms", kms_key=key)
    [policy] = made(tmp_path, ARCHIVE, destination)["aws"]
    body: Any = policy.documents["policy"]
    [found] = [statement for statement in body["Statement"] if statement["Sid"] == "BKey"]
    assert (found["Resource"], found["Action"]) == ([resource], ["kms:Decrypt", "kms:GenerateDataKey"])
    assert found["Condition"]["StringEquals"] == {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    assert found["Condition"].get("ForAnyValue:StringEquals", {}) == ({"kms:ResourceAliases": alias} if alias else {})


@pytest.mark.parametrize(
    ("identity", "provider", "demand"),
    [
        (
            federated(token="google", role_arn=ROLE),
            "accounts.google.com",
            {"accounts.google.com:oaud": "sts.amazonaws.com", "accounts.google.com:sub": "SERVICE_ACCOUNT_UNIQUE_ID"},
        ),
        (
            federated(token="azure", role_arn=ROLE, audience="api://skyferry", tenant_id="t"),
            "arn:aws:iam::111122223333:oidc-provider/sts.windows.net/t/",
            {"sts.windows.net/t/:aud": "api://skyferry", "sts.windows.net/t/:sub": "PRINCIPAL_OBJECT_ID"},
        ),
        (
            federated(token="file", token_file="/t", role_arn=ROLE),
            "arn:aws:iam::111122223333:oidc-provider/ISSUER",
            {"ISSUER:aud": "sts.amazonaws.com", "ISSUER:sub": "SUBJECT"},
        ),
    ],
)
def test_a_role_trusts_the_tokens_of_its_identity(
    tmp_path: Path, identity: dict[str, str], provider: str, demand: dict[str, str]
) -> None:
    """Of that issuer, for that audience, about that subject, and no others."""
    [policy] = made(tmp_path, store("s3://photos?region=eu-west-1", identity), ARCHIVE)["aws"]
    trust: Any = policy.documents["trust"]
    [statement] = trust["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert (statement["Principal"], statement["Condition"]) == ({"Federated": provider}, {"StringEquals": demand})


@pytest.mark.parametrize(
    ("identity", "begins"),
    [
        ({}, ["iam create-role --role-name ROLE", "iam put-role-policy --role-name ROLE", "sqs set-queue-attributes"]),
        (
            federated(token="file", token_file="/t", role_arn=ROLE.replace("/", "/of/teams/")),
            [
                "iam create-open-id-connect-provider --url https://ISSUER --client-id-list sts.amazonaws.com",
                "iam create-role --role-name skyferry --path /of/teams/",
                "iam put-role-policy --role-name skyferry",
            ],
        ),
        (federated(token="google", role_arn=ROLE), ["iam create-role --role-name skyferry", "iam put-role-policy"]),
        ({"kind": "static"}, ["iam put-user-policy --user-name USER"]),
    ],
)
def test_the_commands_make_a_role_with_its_documents(
    tmp_path: Path, identity: dict[str, str], begins: list[str]
) -> None:
    """A provider of tokens first, where AWS does not know the issuer by itself; the queue belongs to who takes from it."""
    [policy, *_] = made(tmp_path, store("s3://photos?region=eu-west-1", identity), ARCHIVE, "sqs://q?region=eu-west-1")[
        "aws"
    ]
    assert all(line.startswith(f"aws {begin}") for line, begin in zip(policy.commands, begins, strict=True))
    words = [word for line in policy.commands for word in shlex.split(line)]
    assert all(
        format_document(document) in words
        for name, document in policy.documents.items()
        if not name.startswith("policy of")
    )


def test_a_queue_takes_messages_of_the_sources_alone(tmp_path: Path) -> None:
    """Its own policy, for S3: not of another's bucket of the same name, either."""
    [policy] = made(tmp_path, PHOTOS, ARCHIVE, "sqs://1234/events?region=eu-west-1")["aws"]
    document: Any = policy.documents["policy of queue q"]
    [statement] = document["Statement"]
    assert statement["Resource"] == "arn:aws:sqs:eu-west-1:1234:events"
    assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": ["arn:aws:s3:::photos"]}
    assert not any("is in place of" in note for note in policy.notes)
    assert any("kms:Decrypt on the key, and kms:GenerateDataKey to send" in note for note in policy.notes)


def test_tokens_for_elsewhere_need_a_permission_here(tmp_path: Path) -> None:
    """STS gives them to who may have them, for these audiences; a signed request, as Google takes it, is free."""
    entra = federated(token="aws", tenant_id="t", client_id="c")
    [policy] = made(tmp_path, PHOTOS, store("az://account/container", entra))["aws"]
    assert policy.commands[0] == "aws iam enable-outbound-web-identity-federation"
    body: Any = policy.documents["policy"]
    [found] = [statement for statement in body["Statement"] if statement["Sid"] == "Tokens"]
    assert (found["Action"], found["Condition"]) == (
        ["sts:GetWebIdentityToken"],
        {"ForAllValues:StringEquals": {"sts:IdentityTokenAudience": ["api://AzureADTokenExchange"]}},
    )
    signed = federated(token="aws", project="123", pool="clouds", provider="amazon")
    [policy] = made(tmp_path, PHOTOS, store("gs://archive", signed))["aws"]
    assert "Tokens" not in str(policy.documents["policy"])


def test_a_static_key_gets_the_same_policy_and_no_trust(tmp_path: Path) -> None:
    """And it is said that a key cannot be narrowed."""
    minio = store("s3://photos?service=minio", {"kind": "static"}, endpoint="https://minio.example.org")
    [policy] = made(tmp_path, minio, ARCHIVE)["aws"]
    assert set(policy.documents) == {"policy"}
    assert "long-lived key" in policy.notes[0]
    assert "minio is not Amazon's" in policy.notes[1]


# --- Google ---


def test_a_prefix_is_a_condition_and_parts_have_their_own_place(tmp_path: Path) -> None:
    """The list of a bucket has no condition: it is asked of the bucket."""
    [policy] = made(tmp_path, PHOTOS, ARCHIVE, key='x"/{key}')["google"]
    bindings: Any = policy.documents["bindings"]
    found = {each["role"].rpartition("/")[2]: each.get("condition", {}) for each in bindings["bindings"]}
    root = "projects/_/buckets/archive/objects/"
    assert found["skyferry_list"] == {}
    assert found["skyferry_write"]["expression"] == (
        f'resource.name.startsWith("{root}x\\"/") || resource.name.startsWith("{root}.skyferry-uploads/")'
    )


@pytest.mark.parametrize(
    ("more", "member", "provider"),
    [
        ({"token": "aws"}, "principalSet://{}/attribute.aws_role/arn:aws:sts::ACCOUNT:assumed-role/ROLE", "create-aws"),
        ({"token": "aws", "audience": "x"}, "principal://{}/subject/SUBJECT", "--allowed-audiences=x"),
        ({"token": "azure", "audience": "x"}, "principal://{}/subject/SUBJECT", "https://sts.windows.net/TENANT_ID/"),
        ({"token": "file", "token_file": "/t"}, "principal://{}/subject/SUBJECT", "--issuer-uri=https://ISSUER"),
    ],
)
def test_a_pool_takes_the_tokens_of_its_identity(
    tmp_path: Path, more: dict[str, str], member: str, provider: str
) -> None:
    """And who they are about is who is bound."""
    identity = federated(project="123", pool="clouds", provider="elsewhere", **more)
    [policy] = made(tmp_path, PHOTOS, store("gs://archive", identity))["google"]
    assert policy.identity == member.format(POOL)
    assert provider in policy.commands[1]
    assert all(f"--member={policy.identity}" in line for line in policy.commands if "add-iam-policy-binding" in line)


def test_a_service_account_is_bound_and_the_principal_may_be_it(tmp_path: Path) -> None:
    """Impersonation takes one binding more, and nothing for the principal itself."""
    account = "ferry@p.iam.gserviceaccount.com"
    identity = federated(token="aws", project="123", pool="clouds", provider="amazon", service_account=account)
    [policy] = made(tmp_path, PHOTOS, store("gs://archive", identity))["google"]
    bindings: Any = policy.documents["bindings"]
    assert policy.identity == f"serviceAccount:{account}"
    assert bindings["bindings"][-1]["role"] == "projects/p/roles/skyferry_act"
    assert bindings["bindings"][-1]["members"][0].startswith(f"principalSet://{POOL}")


def test_a_custom_role_is_bound_in_its_own_project(tmp_path: Path) -> None:
    """Google takes it in no other: who pays, the subscription and the bucket may each be elsewhere."""
    source = store("gs://photos", billing_project="payer")
    [policy] = made(tmp_path, source, PHOTOS, "pubsub://messages/events")["google"]
    made_in = {tuple(found) for found in re.findall(r"roles create (\w+) --project=(\S+)", "\n".join(policy.commands))}
    assert {("skyferry_list", "PROJECT"), ("skyferry_pay", "payer"), ("skyferry_take", "messages")} <= made_in
    bound = re.findall(r"--role=projects/([^/]+)/roles/(\w+)", "\n".join(policy.commands))
    assert {(role, project) for project, role in bound} == made_in


def test_an_id_token_of_another_account_needs_a_permission(tmp_path: Path) -> None:
    """The machine's own is free."""
    account = "ferry@p.iam.gserviceaccount.com"
    role = federated(token="google", role_arn=ROLE, service_account=account)
    [policy] = made(tmp_path, store("s3://photos?region=eu-west-1", role), ARCHIVE)["google"]
    roles: Any = policy.documents["roles"]
    assert roles["skyferry_id_token"]["includedPermissions"] == ["iam.serviceAccounts.getOpenIdToken"]
    assert f"tokens for {account}" in policy.users


def test_a_key_is_used_by_cloud_storage_itself(tmp_path: Path) -> None:
    """So its service agent is bound, not we."""
    key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    [policy] = made(tmp_path, PHOTOS, store("gs://archive", kms_key=key))["google"]
    [line] = [line for line in policy.commands if key in line]
    assert "gs-project-accounts" in line


# --- Azure ---


def test_a_role_is_what_azure_takes_and_is_given_for_one_container(tmp_path: Path) -> None:
    """Data actions apart from the others; nothing by wildcard."""
    found = made(tmp_path, store("az://account/photos"), ARCHIVE, "azq://account/events")["azure"]
    documents: Any = found[0].documents
    blobs, messages = documents["role Skyferry store a"], documents["role Skyferry queue q"]
    assert [action.rpartition("containers/")[2] for action in blobs["DataActions"]] == ["blobs/read", "blobs/tags/read"]
    assert messages["Actions"] == ["Microsoft.Storage/storageAccounts/queueServices/queues/read"]
    assert not any("*" in action for role in (blobs, messages) for action in (*role["Actions"], *role["DataActions"]))
    scopes = [given["scope"].partition("storageAccounts/")[2] for given in documents["assignments"]["assignments"]]
    assert scopes == ["account/blobServices/default/containers/photos", "account/queueServices/default/queues/events"]


def test_a_federated_credential_says_whose_tokens_are_taken(tmp_path: Path) -> None:
    """Entra compares issuer, subject and audience."""
    identity = federated(token="google", tenant_id="t", client_id="c")
    [policy] = made(tmp_path, PHOTOS, store("az://account/container", identity))["azure"]
    assert policy.documents["federated credential"] == {
        "name": "skyferry",
        "issuer": "https://accounts.google.com",
        "subject": "SERVICE_ACCOUNT_UNIQUE_ID",
        "audiences": ["api://AzureADTokenExchange"],
    }


# --- all ---


def test_an_anonymous_identity_gets_no_permissions(tmp_path: Path) -> None:
    """There is nobody to give it to."""
    found = made(tmp_path, store("gs://public?identity=anonymous"), store("s3://copies?region=eu-west-1"))
    assert (found["google"], len(found["aws"])) == ([], 1)


def test_every_word_in_capitals_is_explained(tmp_path: Path) -> None:
    """Whatever the configuration leaves open."""
    kinds: tuple[dict[str, Any], ...] = (
        {},
        {"identity": federated(token="google")},
        {"identity": federated(token="azure", audience="x")},
        {"identity": federated(token="file", token_file="/t")},
        {"identity": federated(token="aws")},
    )
    for more in kinds:
        for cloud in ("s3://photos", "gs://photos", "az://account/photos"):
            found = made(tmp_path, store("file://x"), {"url": cloud, **more})
            for policy in (each for policies in found.values() for each in policies):
                said = f"{policy.identity} {policy.documents} {policy.commands}"
                words = set(re.findall(r"(?<![A-Za-z_])[A-Z]{2,}(?:_[A-Z]+)*(?![A-Za-z_])", said))
                assert words - {"GA"} == set(policy.placeholders), said


def test_each_identity_has_a_policy_of_its_own(tmp_path: Path) -> None:
    """Also where two are at one cloud."""
    other = store("s3://copies?region=eu-west-1", federated(token="file", token_file="/t", role_arn=ROLE))
    first, second = made(tmp_path, PHOTOS, other)["aws"]
    assert (first.users, second.users) == (("store a",), ("store b",))
    assert ROLE in second.identity
