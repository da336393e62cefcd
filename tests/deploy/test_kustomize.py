"""The overlay that the page shows, on what the chart renders."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.test_chart import CHART, _installed, group_of
from tests.docs.pages import DOCS
from tools import kubernetes

PAGE = (DOCS / "operations" / "kubernetes.md").read_text("utf-8")


@pytest.fixture
def overlay(tmp_path: Path) -> list[dict[str, Any]]:
    """Follow the page."""
    files = re.findall(r"^```text\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == ["base/kustomization.yaml", "overlays/production/kustomization.yaml"]
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert "helm template skyferry deploy/helm/skyferry --values values.yaml > base/skyferry.yaml" in PAGE
    values = CHART / "ci" / "minimal.yaml"
    base = subprocess.run(
        [_installed(kubernetes.helm), "template", "skyferry", CHART, "--values", values],
        capture_output=True,
        check=True,
    )
    (tmp_path / "base" / "skyferry.yaml").write_bytes(base.stdout)
    assert "kubectl kustomize overlays/production" in PAGE
    command: list[str | Path] = [_installed(kubernetes.kubectl), "kustomize", tmp_path / "overlays" / "production"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "nothing is deprecated"
    return list(yaml.safe_load_all(done.stdout))


def test_the_overlay_of_the_page_changes_what_it_says(overlay: list[dict[str, Any]]) -> None:
    [deployment] = [manifest for manifest in overlay if manifest["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.org/skyferry:0.1.0"
    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert deployment["spec"]["replicas"] == 0
    assert {manifest["metadata"]["namespace"] for manifest in overlay} == {"skyferry-production"}
    assert {manifest["metadata"]["labels"]["team"] for manifest in overlay} == {"data"}
    assert {group_of(manifest) for manifest in overlay} >= {"apps", "v1", "policy", "networking.k8s.io"}
