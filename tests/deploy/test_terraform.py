"""The examples for Terraform: checked by Terraform itself, and what they grant is what `skyferry policy` prints.

The registry of providers is not needed: `tests/deploy/terraform` serves the schemas of both providers, and Terraform's own mocks
answer for the clouds. So names, types, references and expressions are checked, and no request is made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.absent import absent
from tests.deploy.terraform.provider import SCHEMAS, providers
from tools.terraform import used_types

from skyferry.config.load import check, load
from skyferry.doctor.leases import expected_receives
from skyferry.policy import aws, google
from skyferry.policy.document import Policy
from skyferry.policy.needs import required_access
from skyferry.queues.pubsub.scheme import PUBSUB
from skyferry.queues.sqs.scheme import SQS
from skyferry.testing.servers import ServerMissing

EXAMPLES = Path(__file__).parents[2] / "deploy" / "terraform"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())
ROLE = "arn:aws:sts::123456789012:assumed-role/skyferry"
WORDS = {
    "ACCOUNT": "123456789012",
    "ROLE": "skyferry",
    "SERVICE_ACCOUNT_UNIQUE_ID": "112233445566778899001",
    "SERVICE_ACCOUNT_EMAIL": "skyferry@example-project.iam.gserviceaccount.com",
    "PROJECT_NUMBER": "210987654321",
    "SERVICE": "ec2.amazonaws.com",
}
Values = dict[str, Any]


@dataclass
class State:
    """The resources that Terraform would make."""

    resources: Sequence[Values]
    configuration: str

    def of(self, *types: str) -> list[Values]:
        return [{**each["values"], "type": each["type"]} for each in self.resources if each["type"] in types]

    def one(self, address: str) -> Values:
        (found,) = (each["values"] for each in self.resources if each["address"] == address)
        return dict(found)

    @cached_property
    def roles(self) -> dict[str, Values]:
        """The custom roles by the name that bindings use."""
        return {role["name"]: role for role in self.of("google_project_iam_custom_role")}

    def bindings(self) -> set[tuple[str, ...]]:
        """Resource, role, member and condition of each binding of the worker, and of Cloud Storage to a key."""
        places: dict[str, Callable[[Values], str]] = {
            "google_storage_bucket_iam_member": lambda v: f"gs://{v['bucket']}",
            "google_pubsub_subscription_iam_member": lambda v: v["subscription"],
            "google_pubsub_topic_iam_member": lambda v: v["topic"],
            "google_kms_crypto_key_iam_member": lambda v: v["crypto_key_id"],
        }
        return {
            (
                places[v["type"]](v),
                self.role(v["role"]),
                v["member"],
                *(c["expression"] for c in v.get("condition") or ()),
            )
            for v in self.of(*places)
            if v["role"] in self.roles
            or (v["role"].endswith("EncrypterDecrypter") and "gcp-sa-pubsub" not in v["member"])
        }

    def role(self, name: str) -> str:
        return str(self.roles[name]["role_id"]) if name in self.roles else name


@dataclass
class Example:
    """A copy of an example that Terraform has checked."""

    name: str
    folder: Path
    states: list[State]


@pytest.fixture(scope="module")
def attached() -> Iterator[str]:
    if shutil.which("terraform") is None:
        absent(ServerMissing("terraform", "install it from developer.hashicorp.com/terraform"))
    with providers("aws", "google") as value:
        yield value


def terraform(folder: Path, attached: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TF_REATTACH_PROVIDERS": attached,
        "CHECKPOINT_DISABLE": "1",
    }
    command = ["terraform", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=NAMES)
def example(request: pytest.FixtureRequest, attached: str, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """An example, and what Terraform would make of it."""
    folder = prepare(request.param, attached, tmp_path_factory.mktemp("terraform"))
    return Example(request.param, folder, apply(folder, attached))


def prepare(name: str, attached: str, folder: Path) -> Path:
    """Return a copy of an example, in which Terraform may write."""
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy)
    done = terraform(copy, attached, "init", "-backend=false")
    assert done.returncode == 0, done.stderr
    return copy


def test_the_schemas_are_those_of_the_resources_that_are_used() -> None:
    kept = {tuple(place.split()[2:]) for place in json.loads(SCHEMAS.read_text("utf-8"))}
    assert {place for place in kept if place[0] != "provider"} == set(used_types()), "python -m tools.terraform"


def test_terraform_accepts_it(example: Example, attached: str) -> None:
    for command in (("fmt", "-check", "-recursive"), ("validate",)):
        done = terraform(example.folder, attached, *command)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "right", "wrong", "reason"),
    [
        (NAMES[1], "visibility_timeout_seconds = 60", "visibility_timeout = 60", "Unsupported argument"),
        (NAMES[0], "ack_deadline_seconds       = 60", "ack_deadline_seconds = [60]", "number required"),
        (NAMES[0], "dead_letter_policy {", "dead_letters {", "Unsupported block type"),
        (NAMES[1], "aws_sqs_queue.dead.arn,", "aws_sqs_queue.death.arn,", "undeclared resource"),
        (NAMES[0], "topic                      = google_pubsub_topic.dead.id\n", "", "Missing required argument"),
    ],
)
def test_what_is_misspelt_is_refused(
    tmp_path: Path, attached: str, name: str, right: str, wrong: str, reason: str
) -> None:
    folder = prepare(name, attached, tmp_path)
    source = folder / "source.tf"
    text = source.read_text("utf-8")
    assert right in text
    source.write_text(text.replace(right, wrong))
    done = terraform(folder, attached, "validate", "-no-color")
    assert done.returncode != 0
    assert reason in done.stderr


def apply(folder: Path, attached: str) -> list[State]:
    """Apply an example with made-up answers, once for each run of its test file."""
    done = terraform(folder, attached, "test", "-json", "-verbose")
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, "\n".join(m["@message"] for m in messages)
    found = [m["test_state"] for m in messages if m["type"] == "test_state"]
    return [State(s["root_module"]["resources"], s["outputs"]["configuration"]["value"]) for s in found]


def policies(state: State, folder: Path) -> dict[str, Policy]:
    file = folder / "skyferry.yaml"
    file.write_text(state.configuration)
    found = check(file, {})
    assert (found.faults, found.warnings) == ((), ()), state.configuration
    needs = required_access(load(file, {}))
    (amazon,), (other,) = aws.policies(needs), google.policies(needs)
    return {"aws": amazon, "google": other}


def fill(document: object) -> Any:
    """Replace the words in capitals, and sort what has no order."""
    text = json.dumps(document)
    for word in sorted(WORDS, key=len, reverse=True):
        text = text.replace(word, WORDS[word])
    return ordered(json.loads(text))


def ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: ordered(inner) for key, inner in value.items()}
    if isinstance(value, list):
        inner = [ordered(each) for each in value]
        return inner[0] if len(inner) == 1 else sorted(inner, key=lambda each: json.dumps(each, sort_keys=True))
    return value


def test_it_grants_what_skyferry_policy_prints(example: Example, tmp_path: Path) -> None:
    assert len(example.states) == 2, "one without options, one with a prefix, keys and pods"
    for state in example.states:
        expected = policies(state, tmp_path)
        _same_at_aws(state, expected["aws"].documents)
        _same_at_google(state, expected["google"].documents)


def _same_at_aws(state: State, documents: Mapping[str, Any]) -> None:
    policy = ordered(json.loads(state.one("aws_iam_role_policy.worker")["policy"]))
    assert policy == fill(documents["policy"])
    trust = ordered(json.loads(state.one("aws_iam_role.worker")["assume_role_policy"]))
    if "oidc-provider" not in json.dumps(trust):
        assert trust == fill(documents["trust"])
    for queue in state.of("aws_sqs_queue_policy"):
        assert ordered(json.loads(queue["policy"])) == fill(documents["policy of queue photos"])


def _same_at_google(state: State, documents: Mapping[str, Any]) -> None:
    permissions = {role["role_id"]: sorted(role["permissions"]) for role in state.of("google_project_iam_custom_role")}
    assert permissions == {name: role["includedPermissions"] for name, role in documents["roles"].items()}
    expected = {
        (
            binding["resource"],
            binding["role"].rpartition("/roles/")[2] if "/roles/" in binding["role"] else binding["role"],
            *(fill(member) for member in binding["members"]),
            *([binding["condition"]["expression"]] if "condition" in binding else []),
        )
        for binding in documents["bindings"]["bindings"]
    }
    assert state.bindings() == expected


def test_only_the_worker_gets_the_identity(example: Example) -> None:
    state = example.states[-1]
    if example.name == "s3-to-cloud-storage":
        (statement,) = json.loads(state.one("aws_iam_role.worker")["assume_role_policy"])["Statement"]
        issuer = "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE"
        assert statement["Condition"]["StringEquals"] == {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": "system:serviceaccount:skyferry:skyferry",
        }
        provider = state.one("google_iam_workload_identity_pool_provider.amazon")
        assert provider["attribute_condition"] == f"attribute.aws_role == '{ROLE}'"
    else:
        member = state.one("google_service_account_iam_member.pods[0]")["member"]
        assert member == "serviceAccount:example-project.svc.id.goog[skyferry/skyferry]"


def test_no_long_lived_key_is_made(example: Example) -> None:
    assert {"aws_iam_access_key", "aws_iam_user", "google_service_account_key", "google_storage_hmac_key"}.isdisjoint(
        resource["type"] for state in example.states for resource in state.resources
    )


def test_dead_letters_come_late_enough_and_are_kept(example: Example) -> None:
    """`skyferry doctor` wants as many receives for an outage; each queue of dead letters has an alarm, as the age has."""
    state = example.states[0]
    if example.name == "s3-to-cloud-storage":
        redrive = json.loads(state.one("aws_sqs_queue.events")["redrive_policy"])
        assert redrive["maxReceiveCount"] >= expected_receives(SQS.traits.max_hold)
    for subscription in state.of("google_pubsub_subscription"):
        for policy in subscription["dead_letter_policy"]:
            assert policy["max_delivery_attempts"] >= expected_receives(PUBSUB.traits.max_lease)
        assert subscription["expiration_policy"] == [{"ttl": ""}]
    alarms = state.of("aws_cloudwatch_metric_alarm", "google_monitoring_alert_policy")
    assert len(alarms) == 2
    assert yaml.safe_load(state.configuration)["dead_letters"]
