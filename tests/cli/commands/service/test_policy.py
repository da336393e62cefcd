"""`skyferry policy`, as people and programs see it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import orjson
import pytest

from skyferry.cli import main

CONFIG = """
stores:
  photos: {url: "s3://photos?region=eu-west-1"}
  archive: {url: gs://archive}
routes: [{name: r, from: photos, to: archive}]
queues: [{name: q, url: "sqs://events?region=eu-west-1"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "skyferry.yaml"
    path.write_text(CONFIG)
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["policy", *arguments])
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    return said.out


def test_json_is_the_stated_contract(capsys: pytest.CaptureFixture[str], file: str) -> None:
    policies = orjson.loads(printed(capsys, "--config", file, "--json"))["policies"]
    assert [each["cloud"] for each in policies] == ["aws", "google"]
    assert all(
        set(each) == {"cloud", "identity", "users", "documents", "commands", "placeholders", "notes"}
        for each in policies
    )
    assert set(policies[0]["documents"]) == {"policy", "trust", "policy of queue q"}


def test_what_is_printed_is_a_script(capsys: pytest.CaptureFixture[str], file: str) -> None:
    """Of commands and comments alone; each document is one word of its command."""
    heard = 'aws() { echo "aws $1 $2"; }; gcloud() { echo "gcloud $1 $2"; }; '
    done = subprocess.run(["sh", "-euc", heard + printed(capsys, "--config", file)], stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().split("\n")[:4] == [
        "aws iam create-role",
        "aws iam put-role-policy",
        "aws sqs set-queue-attributes",
        "gcloud iam roles",
    ]


def test_one_cloud_alone_can_be_asked_for(capsys: pytest.CaptureFixture[str], file: str) -> None:
    text = printed(capsys, "--config", file, "--cloud", "google")
    assert "s3:" not in text
    assert "gcloud storage buckets add-iam-policy-binding gs://archive" in text
    assert printed(capsys, "--config", file, "--cloud", "azure").startswith("no route")


def test_submitting_is_a_permission_of_its_own(capsys: pytest.CaptureFixture[str], file: str) -> None:
    assert "sqs:SendMessage" not in printed(capsys, "--config", file, "--cloud", "aws").partition("aws sqs")[0]
    assert "sqs:SendMessage" in printed(capsys, "--config", file, "--cloud", "aws", "--submit").partition("aws sqs")[0]


def test_folders_need_no_policy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As in the embedded default."""
    assert printed(capsys, "--workspace", str(tmp_path)) == "no route and no queue needs a permission\n"


FEDERATED = "identity: {kind: federated, token: "
HOSTILE = {  # what a configuration says, as its author's texts reach the script
    "billing project": 'a: {url: "gs://b", billing_project: "TEXT"}, z: {url: "gs://z"}',
    "key": 'a: {url: "gs://b"}, z: {url: "gs://z", kms_key: "TEXT"}',
    "role": 'a: {url: "gs://b"}, z: {url: "s3://z?region=r", '
    + FEDERATED
    + 'google, role_arn: "arn:aws:iam::1:role/TEXT"}}',
    "tenant": 'a: {url: "gs://b"}, z: {url: "s3://z?region=r", '
    + FEDERATED
    + 'azure, tenant_id: "TEXT", audience: "TEXT", role_arn: "arn:aws:iam::1:role/y"}}',
    "client": 'a: {url: "gs://b"}, z: {url: "az://acct/c", ' + FEDERATED + 'google, tenant_id: T, client_id: "TEXT"}}',
    "account": 'a: {url: "s3://b?region=r"}, z: {url: "gs://z", '
    + FEDERATED
    + 'aws, project: "1", pool: clouds, provider: prov, service_account: "TEXT"}}',
    "service": 'a: {url: "s3://TEXT", service: minio, endpoint: "https://h"}, z: {url: "gs://z"}',
    "project of a queue": 'a: {url: "gs://b"}, z: {url: "gs://z"}}\n'
    'queues: [{name: q, url: "pubsub://pTEXT/sub"}]\nlog: {level: info',
    "topic": 'a: {url: "gs://b"}, z: {url: "gs://z"}}\n'
    'queues: [{name: q, url: "pubsub://p/sub", topic: "projects/TEXT/topics/t"}]\nlog: {level: info',
}


@pytest.mark.parametrize("text", ["x; touch RAN #", "$(touch RAN)`touch RAN`'\\\"; touch RAN; '", "x\\ntouch RAN\\n#"])
@pytest.mark.parametrize("where", HOSTILE)
def test_no_text_of_a_configuration_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, where: str, text: str
) -> None:
    """It is quoted, or refused; administrators run this script."""
    file, commands = tmp_path / "skyferry.yaml", tmp_path / "bin"
    file.write_text(f"stores: {{{HOSTILE[where].replace('TEXT', text)}}}\nroutes: [{{name: r, from: a, to: z}}]\n")
    commands.mkdir()
    for name in ("aws", "gcloud", "az"):
        (commands / name).write_text("#!/bin/sh\n")
        (commands / name).chmod(0o755)
    with pytest.raises(SystemExit) as ended:
        main(["policy", "--submit", "--config", str(file)])
    script = capsys.readouterr().out
    assert bool(script) is (not ended.value.code)
    subprocess.run(["sh", "-c", script], cwd=tmp_path, env={"PATH": f"{commands}:/usr/bin:/bin"}, check=False)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bin", "skyferry.yaml"]


def test_documents_that_no_command_has_are_comments(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of a service without IAM: what is printed is a script all the same."""
    file = tmp_path / "skyferry.yaml"
    file.write_text(
        "stores: {a: {url: s3://b, service: minio, endpoint: 'https://h'}, z: {url: gs://z}}\nroutes: [{name: r, from: a, to: z}]\n"
    )
    said = printed(capsys, "--config", str(file), "--cloud", "aws")
    assert '#   "Version": "2012-10-17",' in said.split("\n")
    assert all(line.startswith("#") or not line for line in said.split("\n"))
