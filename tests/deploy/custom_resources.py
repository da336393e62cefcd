"""JSON Schemas of custom resources, from the declarations in the packages `@kubernetes-models/…` of npm.

These are generated from the Go types of each operator, as the operator's CRDs are, so they have every field. A declaration is an
interface in a file of its own: `"field"?: TYPE;` with the types below. Types of Kubernetes itself are not in the packages: pods are
checked with the schemas of Kubernetes, the others are named in KUBERNETES.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

Schema = dict[str, Any]
ANY: Schema = {}
STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
KUBERNETES: dict[str, Schema] = {  # by the last word of the module
    "IntOrString": {"type": ["integer", "string"]},
    "Quantity": {"type": ["number", "string"]},
    "Time": {"type": "string"},
    "Duration": {"type": "string"},
    "ObjectMeta": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "labels": STRINGS, "annotations": STRINGS},
        "additionalProperties": False,
    },
    "LabelSelector": {
        "type": "object",
        "properties": {"matchLabels": STRINGS, "matchExpressions": {"type": "array"}},
        "additionalProperties": False,
    },
    "TypedLocalObjectReference": {
        "type": "object",
        "required": ["kind", "name"],
        "properties": {"apiGroup": {"type": "string"}, "kind": {"type": "string"}, "name": {"type": "string"}},
        "additionalProperties": False,
    },
    "SecretKeySelector": {
        "type": "object",
        "required": ["key"],
        "properties": {"name": {"type": "string"}, "key": {"type": "string"}, "optional": {"type": "boolean"}},
        "additionalProperties": False,
    },
}
IMPORT = re.compile(r'^import \{ (.+) \} from "(.+)";$', re.MULTILINE)
INTERFACE = re.compile(r"^export interface \w+(?: extends ([\w, ]+))? (\{.*?^\})$", re.MULTILINE | re.DOTALL)
ALIAS = re.compile(r"^export type I\w+ = (\{.*?^\}|.+?);$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\w.]+|\[\w+: string\]|[?:;{}<>|]')
PLAIN: dict[str, Schema] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "any": ANY,
    "unknown": ANY,
    "object": {"type": "object"},
    "null": {"type": "null"},
}


def validate(manifest: dict[str, Any], folder: Path) -> None:
    """Raise jsonschema.ValidationError for a field that its kind does not have, lacks, or has with another type."""
    group, _, version = manifest["apiVersion"].partition("/")
    schema = read_declaration(folder / group / version / f"{manifest['kind']}.d.ts")
    jsonschema.validate(manifest, schema, jsonschema.Draft202012Validator)


@cache
def read_declaration(file: Path) -> Schema:
    """Return the schema of the interface, or the type, that a file declares."""
    text = COMMENT.sub("", file.read_text("utf-8"))
    modules = {name: module for names, module in IMPORT.findall(text) for name in names.split(", ")}
    parser = _Parser(file, modules)
    if found := INTERFACE.search(text):
        bases = [parser.refer(name) for name in (found[1] or "").split(", ") if name and name != "TypeMeta"]
        schema = parser.parse(found[2])
        for base in bases:
            schema["properties"] = base["properties"] | schema["properties"]
            schema["required"] = [*base["required"], *schema["required"]]
        return schema
    alias = ALIAS.search(text)
    assert alias, f"{file}: neither interface nor type"
    return parser.parse(alias[1])


class _Parser:
    """Reads one type. `modules` are the files of imported names."""

    def __init__(self, file: Path, modules: dict[str, str]) -> None:
        self._file, self._modules, self._tokens = file, modules, list[str]()

    def parse(self, text: str) -> Schema:
        self._tokens = TOKEN.findall(text)[::-1]
        schema = self._union()
        assert not self._tokens, (self._file, text)
        return schema

    def refer(self, name: str) -> Schema:
        module = self._modules[name]
        if module.startswith("."):
            return read_declaration((self._file.parent / module).with_suffix("").with_suffix(".d.ts"))
        return KUBERNETES.get(module.rpartition("/")[2], ANY)

    def _union(self) -> Schema:
        options = [self._one()]
        while self._tokens and self._tokens[-1] == "|":
            self._tokens.pop()
            options.append(self._one())
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _one(self) -> Schema:
        token = self._tokens.pop()
        if token == "{":
            return self._object()
        if token == "Array":
            self._expect("<")
            items = self._union()
            self._expect(">")
            return {"type": "array", "items": items}
        if token.startswith('"'):
            return {"const": token[1:-1]}
        return PLAIN[token] if token in PLAIN else self.refer(token)

    def _object(self) -> Schema:
        schema: Schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
        while (token := self._tokens.pop()) != "}":
            name, optional = token.strip('"'), self._tokens[-1] == "?"
            if optional:
                self._tokens.pop()
            self._expect(":")
            value = self._union()
            self._expect(";")
            if token.startswith("["):
                schema["additionalProperties"] = value
                continue
            schema["properties"][name] = value
            if not optional:
                schema["required"].append(name)
        return schema

    def _expect(self, token: str) -> None:
        found = self._tokens.pop()
        assert found == token, (self._file, found, token)
