"""The pages from nothing to two replicas: Kubernetes accepts their values, and programs have the options that their commands use.

No cloud is reached. Commands of `aws` are compared with the models of its SDK, those of `kubectl`, `helm` and `terraform` with the
programs and with `deploy/terraform`. Those of `gcloud`, `az` and `eksctl` are compared with OPTIONS, from their references.
"""

from __future__ import annotations

import importlib
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore import xform_name  # type: ignore[import-untyped]  # no stubs are published with it
from botocore.loaders import Loader  # type: ignore[import-untyped]
from botocore.model import ServiceModel  # type: ignore[import-untyped]
from tests.absent import absent
from tests.docs.pages import DOCS, Reader
from tools import kubernetes

from skyferry.config.load import check
from skyferry.testing.servers import ServerMissing

PAGES = ("eks", "gke", "aks")
CHART = DOCS.parent / "deploy" / "helm" / "skyferry"
MORE = {
    "AWS_REGION": "us-east-1",
    "CLIENT_ID": "5a5f6e5c-0000-4000-8000-000000000004",
    "DATABASE_ADDRESS": "10.20.30.40",
    "DATABASE_HOST": "db.example.org",
    "LOCATION": "europe-west1",
    "REGISTRY": "registry",
}
AWS_ALWAYS = {"query", "output", "region"}
AWS_ADDED = {  # by the command line to what its SDK has: https://docs.aws.amazon.com/cli/latest/reference
    "ec2 authorize-security-group-ingress": {"protocol", "port", "source-group"},
    "ecr get-login-password": set[str](),
    "s3 cp": set[str](),
    "s3 mb": set[str](),
    "rds wait db-instance-available": {"db-instance-identifier"},
    "rds wait db-instance-deleted": {"db-instance-identifier"},
}
OPTIONS = {  # https://docs.cloud.google.com/sdk/gcloud/reference, `az COMMAND --help` of azure-cli, `eksctl COMMAND --help`
    "eksctl create cluster": "name region nodes node-type with-oidc",
    "eksctl delete cluster": "name region wait",
    "gcloud config set": "",
    "gcloud services enable": "",
    "gcloud services vpc-peerings connect": "service ranges network",
    "gcloud services vpc-peerings delete": "service network",
    "gcloud container clusters create-auto": "location network",
    "gcloud container clusters get-credentials": "location",
    "gcloud container clusters delete": "location",
    "gcloud artifacts repositories create": "repository-format location",
    "gcloud artifacts repositories delete": "location",
    "gcloud auth configure-docker": "",
    "gcloud compute addresses create": "global purpose prefix-length network",
    "gcloud compute addresses delete": "global",
    "gcloud sql instances create": "database-version edition tier region availability-type network no-assign-ip ssl-mode "
    "server-ca-mode backup-start-time",
    "gcloud sql instances describe": "format",
    "gcloud sql instances delete": "",
    "gcloud sql databases create": "instance",
    "gcloud sql users create": "instance password",
    "gcloud sql ssl server-certs list": "instance format",
    "gcloud dns managed-zones create": "description visibility networks dns-name",
    "gcloud dns managed-zones delete": "",
    "gcloud dns record-sets create": "zone type ttl rrdatas",
    "gcloud dns record-sets delete": "zone type",
    "gcloud storage cat": "",
    "gcloud storage cp": "",
    "az group create": "name location",
    "az group delete": "name yes",
    "az network vnet create": "resource-group name address-prefixes",
    "az network vnet subnet create": "resource-group vnet-name name address-prefixes delegations",
    "az network vnet subnet show": "resource-group vnet-name name query output",
    "az network private-dns zone create": "resource-group name",
    "az network private-dns link vnet create": "resource-group name virtual-network registration-enabled zone-name",
    "az acr create": "resource-group name sku",
    "az acr login": "name",
    "az aks create": "resource-group name node-count generate-ssh-keys attach-acr enable-oidc-issuer enable-workload-identity "
    "network-plugin network-plugin-mode network-dataplane service-cidr dns-service-ip vnet-subnet-id",
    "az aks get-credentials": "resource-group name",
    "az aks show": "resource-group name query output",
    "az postgres flexible-server create": "resource-group name location version tier sku-name storage-size zonal-resiliency vnet "
    "subnet private-dns-zone database-name admin-user admin-password yes",
    "az postgres flexible-server show": "resource-group name query output",
    "az storage account create": "resource-group name location min-tls-version allow-blob-public-access",
    "az storage account show": "resource-group name query output",
    "az storage container create": "account-name name auth-mode",
    "az storage queue create": "account-name name auth-mode",
    "az storage blob upload": "account-name container-name name file auth-mode",
    "az provider register": "namespace wait",
    "az eventgrid event-subscription create": "name source-resource-id endpoint-type endpoint included-event-types",
    "az identity create": "resource-group name",
    "az identity show": "resource-group name query output",
    "az identity federated-credential create": "resource-group identity-name name issuer subject audiences",
}
Command = tuple[str, frozenset[str]]  # its text, and its options


def text_of(page: str) -> str:
    return (DOCS / "operations" / f"{page}.md").read_text("utf-8")


@pytest.fixture
def reader() -> Reader:
    found = Reader("123456789012")
    found.words |= MORE
    return found


def commands(page: str, *programs: str) -> Iterator[Command]:
    """Yield the commands of programs, also those inside of others."""
    for block in re.findall(r"```sh\n(.*?)```", text_of(page), re.DOTALL):
        lines = block.replace("\\\n", " ")
        while inner := re.search(r"\$\(([^()]*)\)", lines):
            lines = f"{lines[: inner.start()]}X{lines[inner.end() :]}\n{inner[1]}"
        for part in re.split(r"\n| \| | > ", lines):
            text = " ".join(re.sub(r"^[A-Z]+=", "", part.strip()).partition(" -- ")[0].split())
            if text.partition(" ")[0] in programs:
                yield text, frozenset(re.findall(r"(?<= )--([a-z][a-z0-9-]*)", text))


@pytest.mark.parametrize("page", PAGES)
def test_the_values_render_to_what_kubernetes_accepts(
    page: str, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        helm, site = kubernetes.helm(), kubernetes.schemas()
    except ServerMissing as missing:
        absent(missing)
    (values,) = reader.blocks(text_of(page), "yaml")
    (tmp_path / "values.yaml").write_text(values)
    command: list[str | Path] = [
        helm,
        "template",
        "skyferry",
        CHART,
        "--namespace",
        "skyferry",
        "--values",
        tmp_path / "values.yaml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(str(site))
    validator = importlib.import_module("kubernetes_validate")
    manifests = {m["kind"]: m for m in yaml.safe_load_all(done.stdout) if m}
    for manifest in manifests.values():
        validator.validate(manifest, "1.37", strict=True)
    assert manifests["Deployment"]["spec"]["replicas"] == 2
    assert "PersistentVolumeClaim" not in manifests
    assert manifests["Deployment"]["metadata"]["name"] == manifests["ServiceAccount"]["metadata"]["name"] == "skyferry"


@pytest.mark.parametrize("page", PAGES)
def test_the_configuration_has_no_faults(page: str, reader: Reader, tmp_path: Path) -> None:
    (values,) = reader.blocks(text_of(page), "yaml")
    text = yaml.safe_dump(yaml.safe_load(values)["config"])
    files = set(re.findall(r"/etc/skyferry/secrets/[a-z]+/([a-z.]+)", text))
    for name in files:
        (tmp_path / name).write_text("0123456789abcdef0123456789abcdef")
        (tmp_path / name).chmod(0o440)
    (tmp_path / "skyferry.yaml").write_text(re.sub(r"/etc/skyferry/secrets/[a-z]+/", f"{tmp_path}/", text))
    found = check(tmp_path / "skyferry.yaml", {})
    assert (found.faults, found.warnings) == ((), ())


@pytest.mark.parametrize("page", PAGES)
def test_each_secret_file_is_created_and_mounted(page: str, reader: Reader) -> None:
    text = text_of(page)
    (values,) = map(yaml.safe_load, reader.blocks(text, "yaml"))
    mounted = {each["name"]: each["secret"] for each in values["secretFiles"]}
    for name, key in re.findall(r"/etc/skyferry/secrets/([a-z]+)/([a-z.]+)", str(values["config"])):
        created = re.search(rf"create secret generic {mounted[name]} (.*)", text)
        assert created is not None, name
        assert f"--from-file={key}" in created[1] or f"--from-literal={key}=" in created[1]


@cache
def aws_options(service: str, operation: str) -> frozenset[str]:
    model = ServiceModel(Loader().load_service_model(service, "service-2"))
    operations: Mapping[str, Any] = {xform_name(name, "-"): name for name in model.operation_names}
    members = model.operation_model(operations[operation]).input_shape.members
    return frozenset(xform_name(member, "-") for member in members)


@pytest.mark.parametrize("page", PAGES)
def test_aws_has_the_options(page: str) -> None:
    for command, options in commands(page, "aws"):
        words = command.split()[1:]
        name = " ".join(words[: 3 if words[1] == "wait" else 2])
        unknown = {option.removeprefix("no-") for option in options} - AWS_ALWAYS - AWS_ADDED.get(name, set())
        assert unknown <= (aws_options(*words[:2]) if unknown else set()), command


@pytest.mark.parametrize("page", PAGES)
def test_other_clouds_have_the_options(page: str) -> None:
    count = 0
    for command, options in commands(page, "gcloud", "az", "eksctl"):
        known = max((name for name in OPTIONS if command.startswith(name)), key=len, default="")
        assert known, command
        assert options <= set(OPTIONS[known].split()), command
        count += 1
    assert count >= 2


@pytest.mark.parametrize("page", PAGES)
def test_kubectl_and_helm_have_the_options(page: str) -> None:
    try:
        programs = {"kubectl": kubernetes.kubectl(), "helm": kubernetes.helm()}
    except ServerMissing as missing:
        absent(missing)
    depth = {"create secret": 3, "rollout status": 2, "create namespace": 2}
    for command, options in commands(page, "kubectl", "helm"):
        program, *words = command.replace("--namespace skyferry ", "").split()
        verb = words[: depth.get(" ".join(words[:2]), 1)]
        done = subprocess.run([programs[program], *verb, "--help"], capture_output=True, text=True, check=True)
        globals_ = subprocess.run([programs[program], "options"], capture_output=True, text=True, check=False).stdout
        known = set(re.findall(r"--([a-z][a-z-]+)", done.stdout + globals_))
        assert options <= known, (command, options - known)


@pytest.mark.parametrize("page", PAGES)
def test_terraform_has_the_variables(page: str) -> None:
    for folder, arguments in re.findall(r"terraform -chdir=(\S+) apply((?:[^\n]*\\\n)*[^\n]*)", text_of(page)):
        variables = (DOCS.parent / folder / "variables.tf").read_text("utf-8")
        defined = dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', variables, re.MULTILINE | re.DOTALL))
        given = set(re.findall(r"-var (\w+)=", arguments))
        assert given <= set(defined)
        assert {name for name, body in defined.items() if "default" not in body} <= given
