"""Trust policies of AWS roles."""

from __future__ import annotations

from skyferry.config.identity import IdentitySettings
from skyferry.policy.document import Json

AUDIENCE = "sts.amazonaws.com"


def describe_aws_identity(identity: IdentitySettings) -> str:
    """Describe the identity for people."""
    match identity.kind:
        case "federated":
            return f"the role {identity.role_arn or 'ROLE_ARN'}, by a token ({identity.token})"
        case "sdk":
            return "the identity that the SDK finds"
        case "static":
            return "the user whose access key it is"
        case _:
            return "the role that the machine has"


def trust_policy(identity: IdentitySettings) -> Json | None:
    """Return the trust policy, or None if there is no role."""
    if identity.kind in ("static", "sdk"):
        return None
    if identity.kind == "auto":
        return _allowing({"Action": "sts:AssumeRole", "Principal": {"Service": "SERVICE"}})
    known = token_issuer(identity)
    if not known:
        demand = {
            "accounts.google.com:oaud": token_audience(identity),
            "accounts.google.com:sub": "SERVICE_ACCOUNT_UNIQUE_ID",
        }
        return _by_token("accounts.google.com", demand)
    subject = "PRINCIPAL_OBJECT_ID" if identity.token == "azure" else "SUBJECT"  # noqa: S105 - no secret
    account = (identity.role_arn.split(":") + [""] * 5)[4] or "ACCOUNT"
    provider = f"arn:aws:iam::{account}:oidc-provider/{known}"
    return _by_token(provider, {f"{known}:aud": token_audience(identity), f"{known}:sub": subject})


def token_issuer(identity: IdentitySettings) -> str:
    """Return the issuer of tokens without https://; "" if AWS knows it already, or if there are no tokens."""
    if identity.kind != "federated" or identity.token == "google":  # noqa: S105 - no secret
        return ""
    return f"sts.windows.net/{identity.tenant_id or 'TENANT_ID'}/" if identity.token == "azure" else "ISSUER"  # noqa: S105 - no secret


def token_audience(identity: IdentitySettings) -> str:
    """Return the audience of the tokens."""
    return identity.audience or AUDIENCE


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
