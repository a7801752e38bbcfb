"""The API's documentation page, made from its OpenAPI document. It loads no scripts, fonts or other hosts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h2{margin-top:2.5rem;border-bottom:1px solid #8884}code{font:14px ui-monospace,monospace}"
    "b.m{display:inline-block;width:4.5rem}li{margin:.15rem 0}@media(prefers-color-scheme:dark){"
    "body{background:#111;color:#ddd}a{color:#8bf}}"
)
STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(openapi: Mapping[str, Any]) -> str:
    """The HTML page of an OpenAPI document. Everything from the document is escaped."""
    info = openapi["info"]
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>',
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info.get('description', ''))}</p>",
        '<p>For programs: <a href="/api/v1/openapi.json">openapi.json</a></p>',
        *_operations(openapi),
    ]
    return "".join(parts)


def _operations(openapi: Mapping[str, Any]) -> Iterator[str]:
    section = ""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            tag = operation["tags"][0]
            if tag != section:
                section = tag
                yield f"<h2>{escape(tag.title())}</h2>"
            yield f'<h3 id="{escape(operation["operationId"])}">{escape(operation["operationId"])}</h3>'
            yield f'<p><b class="m">{escape(method.upper())}</b><code>{escape(path)}</code></p>'
            yield f"<p>{escape(operation.get('description', ''))} Action: <code>daypass:{escape(operation['summary'])}</code></p>"
            yield from _members("Parameters", [(p["name"], p) for p in operation.get("parameters", ())], openapi)
            yield from _body(operation, openapi)


def _body(operation: Mapping[str, Any], openapi: Mapping[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        schema = _resolved(content["schema"], openapi)
        yield from _members("Body (JSON)", list(schema.get("properties", {}).items()), openapi)


def _members(title: str, members: list[tuple[str, Mapping[str, Any]]], openapi: Mapping[str, Any]) -> Iterator[str]:
    if not members:
        return
    yield f"<p>{title}</p><ul>"
    for name, member in members:
        text = member.get("description") or _resolved(member.get("schema", {}), openapi).get("description", "")
        yield f"<li><code>{escape(name)}</code> {escape(text)}</li>"
    yield "</ul>"


def _resolved(schema: Mapping[str, Any], openapi: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref", "")
    if not reference:
        return schema
    found: Mapping[str, Any] = openapi["components"]["schemas"][reference.rpartition("/")[2]]
    return found
