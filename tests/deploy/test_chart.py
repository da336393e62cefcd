"""The Helm chart: rendered by helm, checked against the schemas of Kubernetes, its configuration by Skyferry itself."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.absent import absent
from tests.deploy import custom_resources
from tools import kubernetes

from skyferry.config.load import check
from skyferry.ledgers.postgres.scheme import FORM as LEDGER
from skyferry.postgres.address import parse_postgres
from skyferry.testing.servers import ServerMissing

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "skyferry"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
OPERATORS = {"monitoring.coreos.com", "keda.sh", "argoproj.io", "postgresql.cnpg.io"}
# The metadata of KEDA's triggers, whose own schema takes any name: `pkg/scalers` in https://github.com/kedacore/keda (2.20)
SCALERS = {
    "aws-sqs-queue": {"queueURL", "awsRegion", "queueLength", "scaleOnInFlight"},
    "gcp-pubsub": {"subscriptionName", "mode", "value"},
    "azure-queue": {"accountName", "queueName", "queueLength", "queueLengthStrategy"},
    "redis-streams": {"address", "enableTLS", "username", "databaseIndex", "stream", "streamLength"},
    "redis-cluster-streams": {"addresses", "enableTLS", "username", "stream", "streamLength"},
    "redis": {"address", "enableTLS", "username", "databaseIndex", "listName", "listLength"},
    "redis-cluster": {"addresses", "enableTLS", "username", "listName", "listLength"},
    "nats-jetstream": {"natsServerMonitoringEndpoint", "useHttps", "account", "stream", "consumer", "lagThreshold"},
    "postgresql": {"host", "port", "userName", "dbName", "sslmode", "query", "targetQueryValue"},
    "prometheus": {"serverAddress", "query", "threshold"},
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
    """The manifests by kind; the last one of each."""
    return {manifest["kind"]: manifest for manifest in render_all(helm, values, *options)}


def render_all(helm: Path, values: Path, *options: str) -> list[Manifest]:
    """All manifests."""
    done = run(helm, "template", "prod", CHART, "--namespace", "ferry", "--values", values, *options)
    assert done.returncode == 0, done.stderr
    return [m for m in yaml.safe_load_all(done.stdout) if m]


def pod_of(manifests: dict[str, Manifest]) -> Manifest:
    workload = manifests.get("Deployment") or manifests["Rollout"]
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def group_of(manifest: Manifest) -> str:
    return str(manifest["apiVersion"]).partition("/")[0]


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
        for manifest in render_all(helm, values):
            if group_of(manifest) not in OPERATORS:
                validator.validate(manifest, "1.37", strict=True)
            elif manifest["kind"] == "Rollout":  # its pods, and what it has in common with a Deployment
                spec = {name: manifest["spec"].get(name) for name in ("replicas", "selector", "template")}
                deployment = manifest | {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
                validator.validate(deployment, "1.37", strict=True)

    def test_operators_accept_it_and_know_every_field(self, helm: Path, values: Path) -> None:
        models = _installed(kubernetes.models)
        for manifest in render_all(helm, values):
            if group_of(manifest) in OPERATORS:
                custom_resources.validate(manifest, models)

    def test_keda_knows_each_scaler(self, helm: Path, values: Path) -> None:
        """Every name in the metadata, and a TriggerAuthentication for each reference to one."""
        manifests = render_all(helm, values)
        authentications = {m["metadata"]["name"] for m in manifests if m["kind"] == "TriggerAuthentication"}
        scaled = [m for m in manifests if m["kind"] == "ScaledObject"]
        triggers = [trigger for m in scaled for trigger in m["spec"]["triggers"]]
        for trigger in triggers:
            assert set(trigger["metadata"]) <= SCALERS[trigger["type"]]
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert {t["authenticationRef"]["name"] for t in triggers if "authenticationRef" in t} == authentications

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
        names = ["WORKSPACE", "SERVER__LISTEN", "LOG__FORMAT", "DRAIN"]
        if "Cluster" in manifests:
            names += ["LEDGER__URL", "LEDGER__TLS__CA_FILE"]
        assert values_given == {f"SKYFERRY_{name}" for name in names}


def test_there_are_values() -> None:
    assert {file.stem for file in VALUES} >= {"eks", "gke", "aks", "minimal", "fleet", "queues", "rollout"}


@pytest.mark.parametrize(
    ("values", "kind", "path", "value", "reason"),
    [
        ("rollout", "Rollout", "strategy/canary/step", [], "'step' was unexpected"),
        ("rollout", "Rollout", "strategy/canary/steps", [{"setWeigth": 20}], "'setWeigth' was unexpected"),
        ("rollout", "Rollout", "progressDeadlineAbort", "yes", "not of type 'boolean'"),
        ("rollout", "AnalysisTemplate", "metrics", [{"provider": {}}], "'name' is a required property"),
        ("rollout", "ServiceMonitor", "endpoints", [{"prot": "http"}], "'prot' was unexpected"),
        ("eks", "PrometheusRule", "groups", [{"name": "x", "rules": [{"alert": "X"}]}], "'expr' is a required"),
        ("eks", "ScaledObject", "minReplicas", 1, "'minReplicas' was unexpected"),
        ("eks", "ScaledObject", "triggers", [{"type": "redis", "metadata": {"a": 1}}], "1 is not of type 'string'"),
        ("database", "Cluster", "instance", 3, "'instance' was unexpected"),
        ("database", "Cluster", "storage", {"size": 20}, "20 is not of type 'string'"),
        ("database", "Cluster", "postgresql/synchronous", {"method": "any", "number": "1"}, "'1' is not of"),
        ("eks", "TriggerAuthentication", "podIdentity", {"provider": "aws", "owner": "x"}, "'owner' was unexpected"),
    ],
)
def test_a_wrong_field_of_a_custom_resource_is_found(
    helm: Path, values: str, kind: str, path: str, value: object, reason: str
) -> None:
    manifest = render(helm, CHART / "ci" / f"{values}.yaml")[kind]
    *parents, name = path.split("/")
    place = manifest["spec"]
    for parent in parents:
        place = place[parent]
    place[name] = value
    with pytest.raises(jsonschema.ValidationError, match=re.escape(reason)):
        custom_resources.validate(manifest, _installed(kubernetes.models))


def test_a_shared_ledger_allows_replicas_and_rolling_updates(helm: Path) -> None:
    options = ("--set", "replicas=3,config.ledger.url=postgresql://db/skyferry")
    manifests = render(helm, CHART / "ci" / "minimal.yaml", *options)
    spec = manifests["Deployment"]["spec"]
    assert (spec["replicas"], spec.get("strategy")) == (3, None)
    assert "PersistentVolumeClaim" not in manifests
    assert {"name": "workspace", "emptyDir": {}} in pod_of(manifests)["volumes"]


def test_the_chart_can_bring_a_database(helm: Path) -> None:
    """Its Service, its Secrets and the label of its pods have the names that CloudNativePG gives them."""
    manifests = render(helm, CHART / "ci" / "database.yaml")
    database = manifests["Cluster"]["metadata"]["name"]
    pod = pod_of(manifests)
    environment = {each["name"]: each for each in pod["containers"][0]["env"]}
    url = parse_postgres(environment["SKYFERRY_LEDGER__URL"]["value"], LEDGER, names=0, allow_plain=False)
    initial = manifests["Cluster"]["spec"]["bootstrap"]["initdb"]
    assert (url.server.user, url.database) == (initial["owner"], initial["database"])
    assert url.server.hosts == ((f"{database}-rw", 5432),)
    assert url.sslmode == "verify-full"
    assert environment["PGPASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": f"{database}-app", "key": "password"}
    [authority] = [each["secret"] for each in pod["volumes"] if each["name"] == "postgresql"]
    assert authority == {"secretName": f"{database}-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    peers = [peer for rule in manifests["NetworkPolicy"]["spec"]["egress"] for peer in rule.get("to", ())]
    assert {"podSelector": {"matchLabels": {"cnpg.io/cluster": database}}} in peers
    assert "PersistentVolumeClaim" not in manifests


def test_a_new_configuration_is_a_new_pod(helm: Path) -> None:
    def checksum(*options: str) -> str:
        template = render(helm, CHART / "ci" / "minimal.yaml", *options)["Deployment"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum()
    assert checksum() != checksum("--set", "config.retry.max_retries=5")


def test_the_scalers_count_messages_in_flight(helm: Path) -> None:
    """Otherwise they take pods away from long copies."""
    triggers = render(helm, CHART / "ci" / "queues.yaml")["ScaledObject"]["spec"]["triggers"]
    metadata = {trigger["type"]: trigger["metadata"] for trigger in triggers[:-1]}
    assert metadata["aws-sqs-queue"]["scaleOnInFlight"] == "true"
    assert metadata["azure-queue"]["queueLengthStrategy"] == "all"
    assert metadata["gcp-pubsub"]["mode"] == "NumUndeliveredMessages"
    assert "streamLength" in metadata["redis-streams"]  # and not the lag of the group
    assert "until" not in metadata["postgresql"]["query"]  # whatever the state of the message
    assert 'state="leased"' in metadata["prometheus"]["query"]
    assert "skyferry_in_flight" in metadata["prometheus"]["query"]


def test_a_queue_may_have_quotes_in_its_name(helm: Path) -> None:
    options = ("--set", "autoscaling.triggers[6].queue=it's,autoscaling.triggers[6].schema=a\"b")
    triggers = render(helm, CHART / "ci" / "queues.yaml", *options)["ScaledObject"]["spec"]["triggers"]
    assert """FROM "a""b".message WHERE queue = 'it''s'""" in triggers[6]["metadata"]["query"]


@pytest.mark.parametrize(
    "files", ["config.queues[0].url=sqlite://queue.db", "config.dead_letters.url=sqlite://dead.db"]
)
def test_a_queue_in_a_file_survives_the_pod(helm: Path, files: str) -> None:
    """Also if the ledger is on a server: it has events that no provider has any more."""
    manifests = render(helm, CHART / "ci" / "minimal.yaml", "--set", f"config.ledger.url=postgresql://db/s,{files}")
    [workspace] = [volume for volume in pod_of(manifests)["volumes"] if volume["name"] == "workspace"]
    claim = manifests["PersistentVolumeClaim"]["metadata"]["name"]
    assert workspace["persistentVolumeClaim"]["claimName"] == claim
    assert manifests["Deployment"]["spec"]["strategy"]["type"] == "Recreate"


def test_a_rollout_has_a_configuration_for_each_version(helm: Path) -> None:
    """Pods of the version before need theirs until the new one has proved itself, and after a rollback."""

    def configuration(*options: str) -> str:
        manifests = render(helm, CHART / "ci" / "rollout.yaml", *options)
        [name] = [volume["configMap"]["name"] for volume in pod_of(manifests)["volumes"] if "configMap" in volume]
        assert manifests["ConfigMap"]["metadata"]["name"] == name
        assert manifests["ConfigMap"]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert "Deployment" not in manifests
        return str(name)

    assert configuration() == configuration()
    assert configuration() != configuration("--set", "config.retry.max_retries=5")


def test_a_rollout_is_what_keda_scales(helm: Path) -> None:
    options = ("--set", "autoscaling.enabled=true,autoscaling.max=9,autoscaling.triggers[0].kind=skyferry")
    manifests = render(
        helm, CHART / "ci" / "rollout.yaml", *options, "--set", "autoscaling.triggers[0].prometheus=http://p"
    )
    target = manifests["ScaledObject"]["spec"]["scaleTargetRef"]
    rollout = manifests["Rollout"]
    assert target == {name: rollout[name] for name in ("apiVersion", "kind")} | {"name": rollout["metadata"]["name"]}
    assert "replicas" not in rollout["spec"]


@pytest.mark.parametrize("ledger", ["postgresql://db/skyferry", "redis://redis/ledger", "rediss://redis/ledger"])
def test_a_ledger_on_a_server_may_have_many_pods(helm: Path, ledger: str) -> None:
    options = ("--set", f"replicas=3,config.ledger.url={ledger},podDisruptionBudget.maxUnavailable=50%")
    manifests = render(helm, CHART / "ci" / "minimal.yaml", *options)
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == "50%"
    assert "PersistentVolumeClaim" not in manifests


def test_the_chart_has_the_rules_of_the_repository() -> None:
    assert (CHART / "files" / "alerts.yaml").read_text() == (DEPLOY / "prometheus" / "alerts.yaml").read_text()


def test_version_and_documentation_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    done = subprocess.run([sys.executable, "-m", "skyferry", "version"], capture_output=True, text=True, check=True)
    assert chart["appVersion"] in done.stdout
