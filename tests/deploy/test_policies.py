"""Nothing in what the chart renders, and in the image's file, is insecure in the eyes of Checkov, but for known exceptions.

Trivy would look at the same files (`trivy config`); its program can only be had from its forge.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.test_chart import CHART, VALUES, _installed, render_all
from tools import kubernetes

CONTAINERFILE = CHART.parents[1] / "container" / "Containerfile"
EXCEPTIONS = {  # each occurs, or it has to go
    "CKV_DOCKER_7": "the base is an argument, which a release pins by its digest; the last stage starts from nothing",
    "CKV_K8S_11": "no limit of CPU: a limit slows copies down while the node is idle; the request is a share of it",
    "CKV_K8S_15": "IfNotPresent: a tag of a release does not move",
    "CKV_K8S_35": "secrets as variables are what `..._env` and drivers such as that of PostgreSQL read; files are possible",
    "CKV_K8S_43": "the digest is that of the image that the user built",
}
Failures = set[tuple[str, str]]  # check, resource


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Failures:
    """Run Checkov once, for it takes seconds: on all renderings, an insecure one in the namespace `bad`, and the image."""
    checkov, helm, folder = (
        _installed(kubernetes.checkov),
        _installed(kubernetes.helm),
        tmp_path_factory.mktemp("policies"),
    )
    for values in VALUES:
        write_pods(folder / values.name, render_all(helm, values), "ferry")
    manifests = render_all(helm, CHART / "ci" / "rollout.yaml")
    [rollout] = [manifest for manifest in manifests if manifest["kind"] == "Rollout"]
    rollout["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    write_pods(folder / "bad.yaml", manifests, "bad")
    shutil.copy(CONTAINERFILE, folder / "Dockerfile")
    command: list[str | Path] = [
        checkov,
        "--directory",
        folder,
        "--framework",
        "kubernetes",
        "dockerfile",
        "--output",
        "json",
        "--compact",
    ]
    environ = {**os.environ, "LOG_LEVEL": "ERROR"}
    done = subprocess.run([*command, "--skip-download"], capture_output=True, text=True, env=environ, check=False)
    reports: list[dict[str, Any]] = json.loads(done.stdout)
    assert {report["check_type"] for report in reports} == {"kubernetes", "dockerfile"}
    assert [report["summary"]["parsing_errors"] for report in reports] == [0, 0]
    assert all(report["summary"]["passed"] > 20 for report in reports)
    return {(each["check_id"], each["resource"]) for r in reports for each in r["results"]["failed_checks"]}


def write_pods(file: Path, manifests: list[dict[str, Any]], namespace: str) -> None:
    """Write the manifests. Checkov does not know a Rollout, so its pod becomes that of a Deployment; the namespace is Helm's."""
    for manifest in manifests:
        manifest["metadata"]["namespace"] = namespace
        if manifest["kind"] == "Rollout":
            manifest |= {"apiVersion": "apps/v1", "kind": "Deployment"}
    file.write_text(yaml.safe_dump_all(manifests))


def test_chart_and_image_are_secure_but_for_the_exceptions(failures: Failures) -> None:
    found = {(check, resource) for check, resource in failures if ".bad." not in resource}
    assert {(check, resource) for check, resource in found if check not in EXCEPTIONS} == set()
    assert {check for check, _ in found} == set(EXCEPTIONS)


def test_a_pod_that_is_not_secure_is_found(failures: Failures) -> None:
    found = {check for check, resource in failures if resource == "Deployment.bad.prod-skyferry"}
    assert {"CKV_K8S_16", "CKV_K8S_20", "CKV_K8S_22"} <= found  # privileged, may escalate, may write
