"""Cheap attacks must cost little: refusals, bodies, connections."""

from __future__ import annotations

from pathlib import Path

from tests.attack.installation import ROOT, form, installed

from daypass.domain.errors import ErrorKind
from daypass.domain.events import decode

TOKEN = {"RoleArn": "arn:aws:iam::111122223333:role/ops", "RoleSessionName": "me", "WebIdentityToken": "x" * 9_000}


def test_a114_anonymous_refusals_write_little_and_none_is_forgotten(tmp_path: Path) -> None:
    agent = [(b"user-agent", b"\xe9" * 8_000)]
    with installed(tmp_path, server={"anonymous_refusals": 5}) as site:
        before = sum(map(len, site.record_bytes()))
        for _ in range(200):
            assert (
                site.send(headers=agent, body=form("AssumeRoleWithWebIdentity", TOKEN)).code == "InvalidIdentityToken"
            )
        site.run(site.runtime.refusals.close())
        found = [body for body in map(decode, site.record_bytes()) if body.get("error") == "invalid_identity_token"]
        assert sum(body["detail"]["count"] if body["type"] == "request.repeated" else 1 for body in found) == 200
        assert len(found) == 6
        assert sum(map(len, site.record_bytes())) - before < 200 * 100


def test_a108_what_is_refused_before_it_is_a_request_is_counted_on_the_record(tmp_path: Path) -> None:
    with installed(tmp_path) as site:
        refusals, busy = site.runtime.refusals, "too many connections"
        for _ in range(3):
            refusals.count_unparsed("192.0.2.1", ErrorKind.MALFORMED_REQUEST, "Invalid HTTP request received.")
        refusals.count_unparsed("192.0.2.1", ErrorKind.OVERLOADED, busy)
        site.run(refusals.close())
        found = [body for body in map(decode, site.record_bytes()) if body["type"] == "request.repeated"]
        assert [(body["error"], body["detail"]["count"], body["source"]["ip"]) for body in found] == [
            ("malformed_request", 3, "192.0.2.1"),
            ("overloaded", 1, "192.0.2.1"),
        ]
        assert busy in str(found[1]["detail"])


def test_a114_large_body_is_read_for_those_alone_who_name_credentials_of_ours(tmp_path: Path) -> None:
    body = form("GetCallerIdentity", {"x": "a" * 400_000})
    with installed(tmp_path) as site:
        session = site.call(site.user("ann")[1], "GetSessionToken").key
        spare = site.user("bob")[1]
        site.iam("UpdateAccessKey", UserName="bob", AccessKeyId=spare[0], Status="Inactive")
        spoiled = (session[0], session[1], session[2][:-8] + "AAAAAAAA")
        for key in (ROOT, session):
            assert site.send("POST", site.signed(key, body), body).code != "RequestEntityTooLarge"
        unknown = ("AKIAUNKNOWNUNKNOWN00", "secret")
        for key in (unknown, spare, spoiled, (session[0], session[1])):
            answer = site.send("POST", site.signed(key, body), body)
            assert (answer.code, answer.status) == ("RequestEntityTooLarge", 413)
            assert site.records(answer.request_id)[0]["error"] == "request_too_large"
        for headers in ([], [(b"authorization", b"Bearer x")]):
            assert site.send("POST", headers, body).status == 413
