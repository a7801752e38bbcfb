from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click
import pytest
from tests.unit.client.servers import as_json

from daypass.cli.provider import merged
from daypass.client.transport import ClientResponse

pytestmark = pytest.mark.usefixtures("key")

SHOWN = {
    "arn": "arn:aws:iam::1:oidc-provider/ci.example.com/a",
    "url": "ci.example.com/a",
    "client_ids": ["x"],
    "created_at": 1_800_000_000_000,
    "settings": {"leeway_seconds": 5, "jwks_bearer": "***"},
}
MADE = ClientResponse(
    200,
    {"content-type": "text/xml"},
    b"<R><CreateOpenIDConnectProviderResult><OpenIDConnectProviderArn>arn:made</OpenIDConnectProviderArn>"
    b"</CreateOpenIDConnectProviderResult></R>",
)


def test_merged_settings_take_json_text_members_and_defaults() -> None:
    now = {"leeway_seconds": 5, "one_time": True, "token_review": {"url": "https://a", "bearer": "***"}}
    changes = (
        "leeway_seconds=10",
        "one_time=",
        "issuer=http://x=y",
        'tag_claims={"ref": "branch"}',
        "token_review.url=https://b",
    )
    assert merged(now, changes) == {
        "leeway_seconds": 10,
        "issuer": "http://x=y",
        "tag_claims": {"ref": "branch"},
        "token_review": {"url": "https://b", "bearer": "***"},
    }
    assert merged(now, ("token_review.url=", "token_review.bearer=")) == {"leeway_seconds": 5, "one_time": True}
    assert now["token_review"] == {"url": "https://a", "bearer": "***"}


def test_merged_settings_take_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca").write_text("PEM\n")
    (tmp_path / "token").write_text("t0ken\n")
    made = merged({}, (f"ca_pem=@{tmp_path}/ca", f"token_review.bearer=@{tmp_path}/token"))
    assert made == {"ca_pem": "PEM\n", "token_review": {"bearer": "t0ken"}}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"12\n")))
    assert merged({}, ("jwks_bearer=@-",)) == {"jwks_bearer": "12"}


@pytest.mark.parametrize(
    "change",
    ["leeway_seconds", "=5", "", "token_review.=x", "leeway_seconds.x=1", "jwks_bearer=x", "token_review.bearer=x"],
)
def test_merged_settings_refuse_what_is_none_or_would_show_a_secret(change: str) -> None:
    with pytest.raises(click.UsageError):
        merged({"leeway_seconds": 5}, (change,))


def test_set_reads_merges_and_writes_whole(cli: Any, serve: Any) -> None:
    server = serve(as_json(SHOWN))
    ran = cli("provider", "set", "ci.example.com/a", "leeway_seconds=7", "--account", "222222222222", "--yes")
    assert (ran.status, ran.out) == (0, "Set for ci.example.com/a.\n")
    read, written = server.sent
    assert (read.method, written.method) == ("GET", "PUT")
    assert read.target == written.target
    assert written.target == "/api/v1/providers/oidc/ci.example.com%2Fa/settings?account=222222222222"
    assert json.loads(written.body) == {"settings": {"leeway_seconds": 7, "jwks_bearer": "***"}}


def test_add_by_url_makes_a_provider_with_settings(cli: Any, serve: Any) -> None:
    server = serve(MADE, as_json(SHOWN))
    ran = cli("provider", "add", "https://ci.example.com/a", "--client-id", "x", "--client-id", "y", "one_time=true")
    assert (ran.status, ran.out) == (0, "Made arn:made.\nSet one_time.\n"), ran.err
    body = server.sent[0].body.decode()
    assert "Url=https%3A%2F%2Fci.example.com%2Fa&ClientIDList.member.1=x&ClientIDList.member.2=y" in body
    assert json.loads(server.sent[1].body) == {"settings": {"one_time": True}}


def test_add_by_preset_knows_url_and_audience(cli: Any, serve: Any) -> None:
    server = serve(MADE)
    assert cli("provider", "add", "github").status == 0
    assert b"Url=https%3A%2F%2Ftoken.actions.githubusercontent.com&" in server.sent[0].body
    assert b"ClientIDList.member.1=sts.amazonaws.com" in server.sent[0].body


def test_add_by_preset_sets_what_its_tokens_need(cli: Any, serve: Any) -> None:
    server = serve(MADE, as_json(SHOWN))
    assert cli("provider", "add", "spiffe", "--tenant", "td.example.com", "jwks_url=https://b.example.com").status == 0
    assert json.loads(server.sent[1].body) == {
        "settings": {"spiffe_trust_domain": "td.example.com", "jwks_url": "https://b.example.com"}
    }


def test_add_by_preset_without_an_audience_says_where_it_is_found(cli: Any, serve: Any) -> None:
    serve()
    ran = cli("provider", "add", "bitbucket", "--tenant", "acme")
    assert ran.status == 2
    assert "ari:cloud:bitbucket::workspace/UUID" in " ".join(ran.err.split())


@pytest.mark.parametrize(
    "given",
    [
        ["nosuchpreset"],
        ["https://ci.example.com"],
        ["https://ci.example.com", "--client-id", "x", "--tenant", "y"],
        ["kubernetes"],
        ["azure", "--tenant", "6f1c"],
        ["github", "--tenant", "x"],
        ["github", "jwks_bearer=x"],
    ],
)
def test_add_of_what_is_incomplete_sends_nothing(cli: Any, serve: Any, given: list[str]) -> None:
    server = serve(MADE)
    assert cli("provider", "add", *given).status == 2
    assert server.sent == []


def test_keys_show_the_fault_and_end_with_a_finding(cli: Any, serve: Any) -> None:
    good = {
        "arn": "a",
        "kind": "discovery",
        "place": "https://ci.example.com/.well-known/openid-configuration",
        "keys": [{"kid": "key\x1b[1", "kty": "EC", "alg": "", "crv": "P-256"}],
        "fetched_at": 1_800_000_000_000,
        "due_at": 0,
        "usable_until": 0,
        "tried_at": 0,
        "failed_at": 0,
        "error": "",
        "skew_ms": -1500,
    }
    serve(as_json(good))
    ran = cli("provider", "keys", "ci.example.com")
    assert ran.status == 0
    assert "issuer's clock  -1.5 s" in ran.out
    assert "key\\u001b[1  EC    P-256" in ran.out
    server = serve(as_json({**good, "keys": [], "error": "no connection to ci.example.com"}))
    ran = cli("provider", "keys", "ci.example.com", "--refresh")
    assert ran.status == 1
    assert "error           no connection to ci.example.com" in ran.out
    assert (server.sent[0].method, server.sent[0].target) == (
        "POST",
        "/api/v1/providers/oidc/ci.example.com/keys/refresh",
    )


def test_trust_test_says_of_each_condition_whether_it_holds(cli: Any, serve: Any, tmp_path: Path) -> None:
    condition = {"operator": "StringEquals", "wanted": ["acme"], "found": "acme", "held": True}
    conditions = [{**condition, "key": "i:org"}, {**condition, "key": "i:ref", "found": None, "held": False}]
    statement = {"policy": "trust", "sid": "", "effect": "Allow", "line": 1, "matched": False}
    layer = {"layer": "resource", "level": 0, "verdict": "implicit_deny", "policies": ["trust"], "omitted": 0}
    layers = [{**layer, "statements": [{**statement, "failed_at": "condition", "conditions": conditions}]}]
    answer = {"let_in": False, "problem": "", "reason": "", "keys": {}, "explanation": {"layers": layers}}
    serve(as_json(answer))
    (tmp_path / "token").write_text("a.b.c")
    ran = cli("trust", "test", "deployer", "--token", str(tmp_path / "token"))
    assert ran.status == 1, ran.err
    assert "      StringEquals i:org: holds" in ran.out.splitlines()
    assert "      StringEquals i:ref: does not hold" in ran.out.splitlines()


def test_trust_test_of_a_refused_token_says_why_once(cli: Any, serve: Any, tmp_path: Path) -> None:
    expired = "Token expired"
    serve(as_json({"let_in": False, "problem": expired, "reason": expired, "keys": {}, "explanation": {"layers": []}}))
    (tmp_path / "token").write_text("a.b.c")
    assert cli("trust", "test", "deployer", "--token", str(tmp_path / "token")).out.count(expired) == 1
