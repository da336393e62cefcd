"""The schemas of Terraform's providers, for the resources that `deploy/terraform` uses: `python -m tools.terraform`.

Terraform checks a configuration against the schemas that its providers report. The registry of providers may be out of reach, so
the schemas are kept in `tests/deploy/terraform/schemas.json`. They come from the generated bindings of CDK Terrain on PyPI
(`requirements/terraform.txt`, 135 MB), which state for each attribute its name and type, and if it is required or computed.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "deploy" / "terraform"
LOCK = ROOT / "requirements" / "terraform.txt"
SCHEMAS = ROOT / "tests" / "deploy" / "terraform" / "schemas.json"
PROVIDERS = ("aws", "google")
USED = re.compile(r'^(resource|data) "(\w+)"', re.MULTILINE)
MEMBER = re.compile(
    r"// (?P<name>\w+) - computed: (?P<computed>\w+), optional: (?P<optional>\w+), required: (?P<required>\w+)\n"
    r"(?:\s+_\w+ = new (?P<nested>\w+)\(this, .*\n|\s+_\w+;\n)?"
    r"(?:\s+get \w+\(\) \{\n\s+return (?P<getter>[^\n]+);)?"
)
STORED = re.compile(r'(\w+): \{\n\s+value: [^\n]+\n\s+isBlock: \w+,\n\s+type: "(\w+)",\n\s+storageClassType: "(\w+)"')
Block = dict[str, Any]
Cty = str | list[str]


def used_types() -> list[tuple[str, str]]:
    """Return the kinds (resource or data) and types that the examples use, sorted."""
    texts = [file.read_text("utf-8") for file in EXAMPLES.rglob("*.tf")]
    return sorted({(kind, name) for text in texts for kind, name in USED.findall(text)})


def collect() -> dict[str, Any]:
    """Download the bindings, and return the schemas by provider."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--dest",
            folder,
        ]
        subprocess.run([*command, "--requirement", LOCK], check=True)
        return {name: _provider(name, *Path(folder).glob(f"cdktn_provider_{name}-*.whl")) for name in PROVIDERS}


def _provider(name: str, wheel: Path) -> dict[str, Any]:
    folders = {f"package/lib/{_folder(name, kind, type_)}/index.js": (kind, type_) for kind, type_ in used_types()}
    folders["package/lib/provider/index.js"] = ("provider", name)
    found: dict[str, Any] = {"version": "", "provider": {}, "resource": {}, "data": {}}
    with zipfile.ZipFile(wheel) as archive:
        (bindings,) = (entry for entry in archive.namelist() if entry.endswith(".jsii.tgz"))
        content = io.BytesIO(archive.read(bindings))
    with tarfile.open(fileobj=content) as package:
        for member in package:
            if member.name in folders and (file := package.extractfile(member)):
                kind, type_ = folders[member.name]
                source = file.read().decode("utf-8")
                found[kind][type_] = _last_class(source)
                if version := re.search(r"providerVersion: '([^']+)'", source):
                    found["version"] = version[1]
    return found


def _folder(provider: str, kind: str, type_: str) -> str:
    """Return the folder of a type in the bindings: data sources keep the provider's name, resources do not."""
    if kind == "data":
        return f"data-{type_}".replace("_", "-")
    return type_.removeprefix(f"{provider}_").replace("_", "-")


def _last_class(source: str) -> Block:
    """Return the block of a module's last class, which is the resource itself."""
    classes = dict(re.findall(r"^class (\w+) extends [^\n]+\{\n(.*?)^\}", source, re.MULTILINE | re.DOTALL))
    return _block(classes, list(classes)[-1])


def _block(classes: dict[str, str], name: str) -> Block:
    body = classes[name]
    stored = {name: (kind, storage) for name, kind, storage in STORED.findall(body)}
    block: Block = {"attributes": {}, "blocks": {}}
    for member in MEMBER.finditer(body):
        flags = [flag for flag in ("required", "optional", "computed") if member[flag] == "true"]
        kind, storage = stored.get(member["name"], ("", ""))
        nested = (member["nested"] or storage).removesuffix("List").removesuffix("OutputReference")
        inner = next((c for c in (f"{nested}OutputReference", nested) if nested and c in classes), None)
        if inner is None or flags == ["computed"]:
            block["attributes"][member["name"]] = [_type(kind, storage, member["getter"] or ""), *flags]
        elif not member["name"].endswith("_custom_endpoint"):
            block["blocks"][member["name"]] = {"kind": kind or "list", "is": flags, **_block(classes, inner)}
    return block


def _type(kind: str, storage: str, getter: str) -> Cty:
    """Return the type in the notation of cty. What the bindings do not say is `dynamic`, which accepts any."""
    for name, cty in {"string": "string", "number": "number", "boolean": "bool"}.items():
        if storage == name or f"get{name.title()}Attribute(" in getter:
            return cty
        if storage in (f"{name}List", f"{name}Map"):
            return [kind, cty]
    if "getStringMapAttribute(" in getter:
        return ["map", "string"]
    if "this.getListAttribute(" in getter:  # of strings, as far as the bindings have them
        return ["set" if "tolist(" in getter else "list", "string"]
    return "dynamic"


def lines(schemas: dict[str, Any]) -> Iterator[str]:
    """Yield one line for each type, so that a new version of a provider is a diff that people can read."""
    for provider, found in schemas.items():
        for kind in ("provider", "resource", "data"):
            for type_, block in sorted(found[kind].items()):
                place = f"{provider} {found['version']} {kind} {type_}"
                yield f"{json.dumps(place)}: {json.dumps(block, sort_keys=True)}"


if __name__ == "__main__":
    SCHEMAS.parent.mkdir(exist_ok=True)
    SCHEMAS.write_text("{\n" + ",\n".join(lines(collect())) + "\n}\n", "utf-8")
