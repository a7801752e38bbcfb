"""Documents with one odd value anywhere are read or refused, and never fail: each reader raises only its own refusal."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daypass.domain.access.rule import RuleError, read_rule
from daypass.domain.oauth.client import ClientSettings, dump_client, parse_client
from daypass.domain.oauth.client_metadata import read_document
from daypass.domain.oauth.resource_server import parse_resource_server, policy_of
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import parse
from daypass.domain.policy.lint.run import lint_text
from daypass.domain.policy.source import PolicyError
from daypass.domain.provider_settings import dump_settings, parse_settings
from daypass.domain.scim import ScimError, group_of, user_of
from daypass.domain.scim_patch import PATCH_SCHEMA, apply_patch
from daypass.domain.ssf import InvalidSubject, parsed_subject
from daypass.domain.strict_json import read_json

ODD: tuple[Any, ...] = (
    *(None, True, -1, 1.5, 10**39, "", "\n", "*", "${", "\0", "a" * 300, [], {}, [[]], [{}], {"a": 1}, ["x", 1]),
    {"members": 5},
)
PEOPLE = {"principals": ["user/a"], "condition": {"NumericLessThan": {"shop:total": 1}, "Bool": {"a:b": True}}}
RULE = {
    "roles": ["role/a*"],
    "requesters": PEOPLE,
    "stages": [{"approvers": PEOPLE, "threshold": 2}],
    "windows": [{"days": ["mon"], "begin": "08:00", "until": "18:00"}],
    "automatic": [{"name": "x", "condition": {"Bool": {"a:b": "true"}}}],
}
CLIENT = {"jwks": {"keys": [{"kty": "EC", "x": "AA"}]}, "redirect_uris": ["https://a.example/cb"], "roles": ["*"]}
CLIENT["grant_types"] = ["authorization_code"]
ID = "https://a.example/client"
DOCUMENT = {"client_id": ID, "client_name": "n", "token_endpoint_auth_method": "private_key_jwt", **CLIENT}
CONDITION = {
    "NumericLessThan": {"x:y": 1},
    "IpAddress": {"x:z": "10.0.0.0/8"},
    "ArnLike": {"x:a": ["arn:aws:iam::*:*"]},
}
STATEMENT = {"Sid": "a", "Effect": "Allow", "Action": ["iam:*"], "Resource": ["*"], "Condition": CONDITION}
POLICY = {"Version": "2012-10-17", "Id": "i", "Statement": [STATEMENT]}
PRINCIPAL = {"AWS": ["111122223333"], "Federated": "accounts.google.com", "Service": "x.example.com"}
TRUST = {"Statement": [{"Effect": "Allow", "Principal": PRINCIPAL, "Action": "sts:AssumeRole", "Condition": CONDITION}]}
SCOPES = {"scopes": {"a": {"policy": POLICY}}, "default_scopes": ["a"], "token_seconds": 60}
PROVIDER = {"static_jwks": {"keys": [{"kty": "RSA"}]}, "tag_claims": {"a": "b"}, "token_review": {"url": "https://x"}}
SUBJECT = {"format": "complex", "user": {"format": "iss_sub", "iss": "a", "sub": "b"}}
PATCH = {
    "schemas": [PATCH_SCHEMA],
    "Operations": [
        {"op": "add", "path": 'emails[type eq "work"]', "value": {"members": []}},
        {"op": "add", "path": 'emails[type eq "work"].members', "value": 1},
        {"op": "remove", "path": "members", "value": [{"value": "z"}]},
        {"op": "replace", "value": {"displayName": "x", "members": [{"value": "y"}]}},
    ],
}
USER = {"userName": "a", "emails": [{"value": "a@b.example", "type": "work"}], "name": {"givenName": "A"}}
LIMITS = ClientSettings(grant_types=("authorization_code",))


def variants(document: Any) -> Iterator[Any]:
    """The document with each of its values replaced by each odd value."""
    for path in list(_paths(document, ())):
        for odd in ODD:
            changed = copy.deepcopy(document)
            *outer, last = path
            place = changed
            for step in outer:
                place = place[step]
            place[last] = odd
            yield changed


def _paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from _paths(inner, (*path, key))


READERS: dict[str, tuple[Any, type[Exception] | tuple[()], Callable[[str], object]]] = {
    "rule": (RULE, RuleError, lambda text: read_rule("111122223333", "r", text)),
    "client": (CLIENT, ValueError, lambda text: dump_client(parse_client(text))),
    "document": (DOCUMENT, ValueError, lambda text: read_document(ID, text.encode(), LIMITS)),
    "scopes": (SCOPES, ValueError, lambda text: policy_of(parse_resource_server(text).scopes.values())),
    "provider": (PROVIDER, ValueError, lambda text: dump_settings(parse_settings(text))),
    "subject": (SUBJECT, InvalidSubject, lambda text: parsed_subject(read_json(text))),
    "policy": (POLICY, PolicyError, lambda text: parse(text, PolicyKind.IDENTITY)),
    "trust": (TRUST, PolicyError, lambda text: parse(text, PolicyKind.TRUST)),
    "lint": (TRUST, (), lambda text: lint_text(text, PolicyKind.TRUST)),
    "patch": (PATCH, ScimError, lambda text: group_of(apply_patch({"displayName": "g"}, read_json(text)))),
    "user": (USER, ScimError, lambda text: user_of(read_json(text))),
}


@pytest.mark.parametrize("name", READERS)
def test_read_with_an_odd_value_is_read_or_refused(name: str) -> None:
    document, refusal, read = READERS[name]
    for changed in variants(document):
        text = json.dumps(changed)
        try:
            read(text)
        except refusal:
            continue
        except Exception as error:
            raise AssertionError(text) from error
