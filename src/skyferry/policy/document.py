"""The printed policy of one identity at one cloud."""

from __future__ import annotations

import re
from collections.abc import Mapping
from shlex import quote
from types import MappingProxyType
from typing import TypeAlias

import orjson

from skyferry.frozen import dataclass

PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "ACCOUNT": "the number of the AWS account",
        "CLIENT_ID": "of the application or managed identity",
        "IDENTITY": "the name of the managed identity",
        "ISSUER": "of the tokens that are exchanged, without https://; "
        "for AWS run aws iam get-outbound-web-identity-federation-info",
        "POOL": "the name of the workload identity pool",
        "POOL_PROJECT": "the id of the project that has the workload identity pool",
        "PRINCIPAL_OBJECT_ID": "the object id of the managed identity, or of the application's service principal",
        "PROJECT": "the id of the project that has the bucket, or the service account that the machine acts as",
        "PROJECT_NUMBER": "of the project that has the workload identity pool, or the bucket",
        "PROVIDER": "the name of the pool's provider",
        "REGION": "of the queue at AWS",
        "RESOURCE_GROUP": "of the storage account",
        "ROLE": "the name of the role that the machine has at AWS",
        "ROLE_ARN": "of the role to assume",
        "SERVICE": "the service that assigns the role: ec2.amazonaws.com, ecs-tasks.amazonaws.com or pods.eks.amazonaws.com, which "
        "also needs sts:TagSession",
        "SERVICE_ACCOUNT_EMAIL": "of the service account that the machine has at Google",
        "SERVICE_ACCOUNT_UNIQUE_ID": "the number of the service account that the machine has at Google",
        "SUBJECT": "the subject of the tokens: at AWS the ARN of the role, in Kubernetes system:serviceaccount:NAMESPACE:NAME",
        "SUBSCRIPTION": "the id of the Azure subscription",
        "TENANT_ID": "of the tenant in Entra",
        "USER": "the name of the user at AWS",
    }
)
Json: TypeAlias = Mapping[str, object]  # a document in a cloud's own form


@dataclass(frozen=True, slots=True)
class Policy:
    """The complete access of one identity."""

    cloud: str  # aws, google or azure
    identity: str  # for people
    users: tuple[str, ...]  # its stores and queues
    documents: Mapping[str, Json]  # by title, in the form of the cloud
    commands: tuple[str, ...] = ()  # of the cloud's command line, which apply the documents, in order
    notes: tuple[str, ...] = ()  # limits of the documents, and their reasons
    inlined: frozenset[str] = frozenset()  # the documents that the commands contain in full

    @property
    def placeholders(self) -> dict[str, str]:
        """The meanings of the words in capitals that the policy contains."""
        said = " ".join([self.identity, *map(format_document, self.documents.values()), *self.commands])
        found = set(re.findall(r"(?<![A-Z_])[A-Z]+(?:_[A-Z]+)*(?![A-Z_])", said))
        return {name: meaning for name, meaning in PLACEHOLDERS.items() if name in found}

    def contract(self) -> Json:
        """Return the form that `skyferry policy --json` prints."""
        return {
            "cloud": self.cloud,
            "identity": self.identity,
            "users": list(self.users),
            "documents": dict(self.documents),
            "commands": list(self.commands),
            "placeholders": self.placeholders,
            "notes": list(self.notes),
        }


def shell_argument(document: Json) -> str:
    """Quote a document as one word of a shell."""
    return quote(format_document(document))


def format_document(document: Json) -> str:
    """Return a document as indented JSON."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
