"""Who may be a role of AWS: its trust policy."""

from __future__ import annotations

from skyferry.config.identity import IdentitySettings
from skyferry.policy.document import Json

AUDIENCE = "sts.amazonaws.com"


def who(identity: IdentitySettings) -> str:
    """For people."""
    match identity.kind:
        case "federated":
            return f"the role {identity.role_arn or 'ROLE_ARN'}, by a token ({identity.token})"
        case "static":
            return "the user whose access key it is"
        case _:
            return "the role that the machine has"


def trust(identity: IdentitySettings) -> Json | None:
    """None where there is no role."""
    if identity.kind == "static":
        return None
    if identity.kind == "auto":
        return _allowing({"Action": "sts:AssumeRole", "Principal": {"Service": "SERVICE"}})
    audience = identity.audience or AUDIENCE
    if identity.token == "google":  # noqa: S105 - no secret
        demand = {"accounts.google.com:oaud": audience, "accounts.google.com:sub": "SERVICE_ACCOUNT_UNIQUE_ID"}
        return _by_token("accounts.google.com", demand)
    azure = identity.token == "azure"  # noqa: S105 - no secret
    issuer = f"sts.windows.net/{identity.tenant_id or 'TENANT_ID'}/" if azure else "ISSUER"
    demand = {f"{issuer}:aud": audience, f"{issuer}:sub": "PRINCIPAL_OBJECT_ID" if azure else "SUBJECT"}
    account = (identity.role_arn.split(":") + [""] * 5)[4] or "ACCOUNT"
    return _by_token(f"arn:aws:iam::{account}:oidc-provider/{issuer}", demand)


def _by_token(provider: str, demand: Json) -> Json:
    return _allowing(
        {
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": provider},
            "Condition": {"StringEquals": demand},
        }
    )


def _allowing(what: Json) -> Json:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **what}]}
