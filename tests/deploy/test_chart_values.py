"""The values of the Helm chart: wrong ones are refused, and any text stays a text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.deploy.test_chart import CHART, Manifest, helm, render, render_all, run
from tools.values_schema import describe_values

__all__ = ["helm"]  # the fixture
SCALED = ("--set", "autoscaling.enabled=true", "--set")


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
        (("--set", "rollout.enabled=true,rollout.analysis.prometheus=http://p"), "a ledger that they share"),
        (("--set", "rollout.enabled=true,config.ledger.url=postgresql://d/s"), "rollout.analysis.prometheus is empty"),
        (("--set-json", 'rollout.steps=[{"setWeigth": 20}]'), "setWeigth"),
        (
            ("--set", "replicas=2,config.ledger.url=postgresql://d/s", "--set-json", "config.queues=[]"),
            "are files: events",
        ),
        (
            ("--set", "replicas=2,config.ledger.url=postgresql://d/s,config.dead_letters.url=sqlite://dead.db"),
            "are files: dead_letters",
        ),
        (("--set", "rollout.analysis.window=soon"), "window"),
        (("--set", "replicas=2,config.ledger.url=/var/lib/skyferry/l.db"), "a ledger that they share"),
        (("--set", "postgresql.enabled=true,config.ledger.url=postgresql://d/s"), "leave out one of them"),
        (("--set", "config.drain=60s"), "set `drain` of the chart"),
        (("--set", "config.retry.max_retires=5"), "'max_retires' not allowed"),
        (("--set", "config.ledger.url=postgresql://skyferry:password@db/skyferry"), "a URL with a password"),
        (("--set", "replicas=2,config.ledger.url=postgresql://d/s,config.stores.a.url=file://a"), "are files: a."),
        (
            ("--set", "replicas=2,config.ledger.url=postgresql://d/s,config.routes[0].to=file://b"),
            "are files: file://b.",
        ),
        (("--set", "serviceMonitor.enabled=true"), "serviceMonitor.tokenSecret is empty"),
        (("--set", "podLabels.tier=1"), "got number, want string"),
        (
            ("--set-string", r"podLabels.app\.kubernetes\.io/instance=other"),
            "podLabels.app.kubernetes.io/instance: the chart",
        ),
        (("--set-string", "podAnnotations.checksum/config=x"), "podAnnotations.checksum/config: the chart"),
        (
            (
                *SCALED,
                "autoscaling.min=5,autoscaling.triggers[0].kind=skyferry,autoscaling.triggers[0].prometheus=http://p",
            ),
            "autoscaling.min is above autoscaling.max",
        ),
        (("--set", "podDisruptionBudget.maxUnavailable=0"), "maxUnavailable"),
        ((*SCALED, "autoscaling.triggers[0].kind=nats"), "monitoring"),
        ((*SCALED, "autoscaling.triggers[0].kind=kafka"), "kind"),
        ((*SCALED, "autoscaling.triggers[0].kind=redis,autoscaling.triggers[0].address=redis:6379"), "stream"),
        (
            (
                *SCALED,
                "autoscaling.triggers[0].kind=pubsub,autoscaling.triggers[0].subscription=projects/p/subscriptions/s",
            ),
            "no queue under config.queues is of the kind pubsub",
        ),
        (
            (
                *SCALED,
                "autoscaling.min=0,autoscaling.triggers[0].kind=skyferry,autoscaling.triggers[0].prometheus=http://p",
            ),
            "set autoscaling.min to 1",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Path, options: tuple[str, ...], reason: str) -> None:
    done = run(helm, "template", "prod", CHART, "--values", CHART / "ci" / "minimal.yaml", *options)
    assert done.returncode != 0
    assert reason in done.stderr


HOSTILE = "x\n  evil: {{ .Values }}\nkind: Pod # \"'\\"


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ("minimal", "image.repository"),
        ("minimal", "priorityClassName"),
        ("minimal", "serviceAccount.name"),
        ("minimal", "podAnnotations.note"),
        ("minimal", "nodeSelector.zone"),
        ("minimal", "persistence.existingClaim"),
        ("aks", "ingress.className"),
        ("aks", "ingress.host"),
        ("aks", "ingress.tlsSecret"),
        ("database", "postgresql.image"),
        ("database", "postgresql.size"),
        ("database", "postgresql.storageClass"),
        ("eks", "serviceMonitor.interval"),
        ("eks", "serviceMonitor.labels.release"),
        ("eks", "serviceMonitor.tokenSecret"),
        ("eks", "autoscaling.triggers[0].region"),
        ("queues", "autoscaling.triggers[6].queue"),
    ],
)
def test_a_value_stays_a_value(helm: Path, values: str, option: str, tmp_path: Path) -> None:
    """Whatever it has: line breaks, quotes, templates."""
    (tmp_path / "value").write_text(HOSTILE)
    options = ["--set-file", f"{option}={tmp_path / 'value'}"]
    if option.startswith("persistence"):
        options += ["--set-json", "config.queues=[]"]
    file = CHART / "ci" / f"{values}.yaml"
    found, usual = render_all(helm, file, *options), render_all(helm, file)
    assert {m["kind"] for m in found} <= {m["kind"] for m in usual} | {"PersistentVolumeClaim"}
    assert all("evil" not in manifest and "evil" not in manifest["spec"] for manifest in found if "spec" in manifest)
    assert "evil: {{ .Values }}" in json.dumps(found)


def test_the_file_of_the_configuration_is_taken_as_it_is(helm: Path, tmp_path: Path) -> None:
    """With its comments, and an indented first line."""
    values = yaml.safe_load((CHART / "ci" / "minimal.yaml").read_text("utf-8"))
    text = "  # the first line\n" + yaml.safe_dump(values.pop("config"))
    (tmp_path / "skyferry.yaml").write_text(text)
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    options = ("--set-file", f"config={tmp_path / 'skyferry.yaml'}")
    manifests = render(helm, tmp_path / "values.yaml", *options)
    assert manifests["ConfigMap"]["data"]["skyferry.yaml"].strip() == text.strip()
    assert manifests["Deployment"]["spec"].get("strategy") == {"type": "Recreate"}
    for broken, reason in (("routes: [", "config is not a map in YAML"), ("", "config.routes is empty")):
        (tmp_path / "skyferry.yaml").write_text(broken)
        done = run(helm, "template", "prod", CHART, "--values", tmp_path / "values.yaml", *options)
        assert done.returncode != 0
        assert reason in done.stderr


def test_large_numbers_are_written_out(helm: Path, tmp_path: Path) -> None:
    """Helm reads numbers of a file as floats, and prints those from a million on with an exponent."""
    (tmp_path / "values.yaml").write_text(
        "autoscaling: {messagesPerReplica: 1000000, cooldownPeriod: 1000000}\nconfig: {limits: {memory: 134217728}}\n"
    )
    manifests = render(helm, CHART / "ci" / "queues.yaml", "--values", str(tmp_path / "values.yaml"))
    spec = manifests["ScaledObject"]["spec"]
    assert spec["triggers"][0]["metadata"]["queueLength"] == "1000000"
    assert repr(spec["cooldownPeriod"]) == "1000000"
    assert "memory: 134217728" in manifests["ConfigMap"]["data"]["skyferry.yaml"]


def test_a_release_counts_its_own_pods_only(helm: Path) -> None:
    """Two releases in one namespace, of which one has the name of the other and a suffix; also with the longest of names."""

    def pods(release: str) -> re.Pattern[str]:
        done = run(helm, "template", release, CHART, "--values", CHART / "ci" / "queues.yaml")
        name = re.search(r"kind: Deployment\nmetadata:\n  name: (\S+)", done.stdout)
        selector = re.search(r'pod=~"([^"]+)"', done.stdout)
        assert name
        assert selector
        generated = f"{name[1]}-5f6d7c8b9f-"[:58] + "x2x7k"  # as Kubernetes names a pod
        assert re.fullmatch(selector[1], generated)
        return re.compile(selector[1])

    assert not pods("skyferry").fullmatch("skyferry-eu-5f6d7c8b9f-x2x7k")
    pods("a" * 53)


def notes(helm: Path, values: str, *options: str) -> str:
    done = run(
        helm, "install", "prod", CHART, "--dry-run=client", "--values", CHART / "ci" / f"{values}.yaml", *options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


def test_the_notes_name_what_the_network_policy_blocks(helm: Path) -> None:
    assert "networkPolicy." not in notes(helm, "minimal")
    assert "networkPolicy." not in notes(helm, "rollout")
    assert "networkPolicy.ingressFrom" in notes(helm, "eks")
    assert "networkPolicy.extraEgress" in notes(helm, "queues")
    assert "networkPolicy." not in notes(helm, "queues", "--set", "networkPolicy.enabled=false")


def test_the_schema_of_the_values_describes_each_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def compare(described: Manifest, value: object, place: str) -> None:
        if isinstance(value, dict) and "properties" in described and place != "values.config":
            assert set(described["properties"]) - {"global"} == set(value), place
            for name, inner in value.items():
                compare(described["properties"][name], inner, f"{place}.{name}")

    compare(schema, values, "values")


def test_the_schema_of_the_values_has_that_of_the_configuration() -> None:
    assert json.loads((CHART / "values.schema.json").read_text("utf-8")) == describe_values(), "make docs"
