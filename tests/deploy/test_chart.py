"""The Helm chart: rendered by helm, checked against the schemas of Kubernetes, its configuration by Skyferry itself."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.absent import absent
from tools import kubernetes

from skyferry.config.load import check
from skyferry.testing.servers import ServerMissing

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "skyferry"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
CUSTOM = {  # kinds of operators, whose schemas are not part of Kubernetes: https://keda.sh, https://prometheus-operator.dev
    "monitoring.coreos.com/v1": {"ServiceMonitor", "PrometheusRule"},
    "keda.sh/v1alpha1": {"ScaledObject", "TriggerAuthentication"},
}
TOKEN = "0123456789abcdef0123456789abcdef"
Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def helm() -> Path:
    return _installed(kubernetes.helm)


def _installed(program: Callable[[], Path]) -> Path:
    try:
        return program()
    except ServerMissing as missing:
        absent(missing)


def run(helm: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False)


def render(helm: Path, values: Path, *options: str) -> dict[str, Manifest]:
    """The manifests by kind."""
    done = run(helm, "template", "prod", CHART, "--namespace", "ferry", "--values", values, *options)
    assert done.returncode == 0, done.stderr
    manifests = [m for m in yaml.safe_load_all(done.stdout) if m]
    return {manifest["kind"]: manifest for manifest in manifests}


def pod_of(manifests: dict[str, Manifest]) -> Manifest:
    pod: Manifest = manifests["Deployment"]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
class TestEachSetOfValues:
    def test_helm_lint_is_content(self, helm: Path, values: Path) -> None:
        done = run(helm, "lint", "--strict", CHART, "--values", values)
        assert done.returncode == 0, done.stdout

    def test_kubernetes_accepts_it_and_knows_every_field(
        self, helm: Path, values: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(_installed(kubernetes.schemas)))
        validator = importlib.import_module("kubernetes_validate")
        for kind, manifest in render(helm, values).items():
            if kind not in CUSTOM.get(manifest["apiVersion"], ()):
                validator.validate(manifest, "1.37", strict=True)

    def test_kustomize_accepts_it(self, helm: Path, values: Path, tmp_path: Path) -> None:
        """The rendered chart is a base for `kubectl kustomize`."""
        rendered = run(helm, "template", "prod", CHART, "--values", values).stdout
        (tmp_path / "skyferry.yaml").write_text(rendered)
        (tmp_path / "kustomization.yaml").write_text("namespace: other\nresources: [skyferry.yaml]\n")
        done = subprocess.run([_installed(kubernetes.kubectl), "kustomize", tmp_path], capture_output=True, check=True)
        kinds = [manifest["kind"] for manifest in yaml.safe_load_all(done.stdout)]
        assert sorted(kinds) == sorted(m["kind"] for m in yaml.safe_load_all(rendered) if m)

    def test_the_configuration_works(self, helm: Path, values: Path, tmp_path: Path) -> None:
        """With the environment and the files that the pod gives it."""
        manifests = render(helm, values)
        text = manifests["ConfigMap"]["data"]["skyferry.yaml"]
        (tmp_path / "secret").write_text(TOKEN)
        for path in ("/etc/skyferry/secrets/push/secret", "/etc/skyferry/secrets/server/token"):
            text = text.replace(path, str(tmp_path / "secret"))
        (tmp_path / "skyferry.yaml").write_text(text)
        (container,) = pod_of(manifests)["containers"]
        environment = {each["name"]: each.get("value", TOKEN) for each in container["env"]}
        assert check(tmp_path / "skyferry.yaml", environment).faults == ()

    def test_the_pod_is_locked_down(self, helm: Path, values: Path) -> None:
        pod = pod_of(render(helm, values))
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
        assert writable == ["/var/lib/skyferry"]

    def test_the_grace_period_is_longer_than_the_drain(self, helm: Path, values: Path) -> None:
        pod = pod_of(render(helm, values, "--set", "drain=50"))
        environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert environment["SKYFERRY_DRAIN"] == "50s"
        assert pod["terminationGracePeriodSeconds"] >= 60

    def test_no_secret_is_in_a_manifest(self, helm: Path, values: Path) -> None:
        manifests = render(helm, values)
        assert "Secret" not in manifests
        (container,) = pod_of(manifests)["containers"]
        values_given = {each["name"] for each in container["env"] if "value" in each}
        assert values_given == {f"SKYFERRY_{name}" for name in ("WORKSPACE", "SERVER__LISTEN", "LOG__FORMAT", "DRAIN")}


def test_there_are_values() -> None:
    assert {file.stem for file in VALUES} >= {"eks", "gke", "aks", "minimal"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--set", "replica=2"), "'replica' not allowed"),
        (("--set", "image.digest=latest"), "digest"),
        (("--set", "replicas=2"), "a ledger that they share"),
        (("--set", "autoscaling.enabled=true,autoscaling.max=3,autoscaling.triggers[0].kind=sqs"), "queueURL"),
        (("--set", "autoscaling.enabled=true"), "name each queue"),
        (("--set", "config.server.token=secret"), "Secret"),
        (("--set-json", "secretEnv=[]"), "needs a token"),
        (("--set-json", "config={}"), "config.routes is empty"),
        (("--set", "ingress.enabled=true,ingress.host=h"), "tlsSecret"),
        (("--set", "service.port=80"), "port"),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Path, options: tuple[str, str], reason: str) -> None:
    done = run(helm, "template", "prod", CHART, "--values", CHART / "ci" / "minimal.yaml", *options)
    assert done.returncode != 0
    assert reason in done.stderr


def test_a_shared_ledger_allows_replicas_and_rolling_updates(helm: Path) -> None:
    options = ("--set", "replicas=3,config.ledger.url=postgresql://db/skyferry")
    manifests = render(helm, CHART / "ci" / "minimal.yaml", *options)
    spec = manifests["Deployment"]["spec"]
    assert (spec["replicas"], spec.get("strategy")) == (3, None)
    assert "PersistentVolumeClaim" not in manifests
    assert {"name": "workspace", "emptyDir": {}} in pod_of(manifests)["volumes"]


def test_a_new_configuration_is_a_new_pod(helm: Path) -> None:
    def checksum(*options: str) -> str:
        template = render(helm, CHART / "ci" / "minimal.yaml", *options)["Deployment"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum()
    assert checksum() != checksum("--set", "config.retry.max_retries=5")


def test_the_scaler_counts_messages_in_flight(helm: Path) -> None:
    """Otherwise it takes pods away from long copies."""
    (sqs,) = render(helm, CHART / "ci" / "eks.yaml")["ScaledObject"]["spec"]["triggers"]
    assert sqs["metadata"]["scaleOnInFlight"] == "true"
    _, ours = render(helm, CHART / "ci" / "gke.yaml")["ScaledObject"]["spec"]["triggers"]
    assert "ready|leased" in ours["metadata"]["query"]


def test_the_schema_of_the_values_describes_each_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def compare(described: Manifest, value: object, place: str) -> None:
        if isinstance(value, dict) and "properties" in described:
            assert set(described["properties"]) - {"global"} == set(value), place
            for name, inner in value.items():
                compare(described["properties"][name], inner, f"{place}.{name}")

    compare(schema, values, "values")


def test_the_chart_has_the_rules_of_the_repository() -> None:
    assert (CHART / "files" / "alerts.yaml").read_text() == (DEPLOY / "prometheus" / "alerts.yaml").read_text()


def test_version_and_documentation_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    done = subprocess.run([sys.executable, "-m", "skyferry", "version"], capture_output=True, text=True, check=True)
    assert chart["appVersion"] in done.stdout
