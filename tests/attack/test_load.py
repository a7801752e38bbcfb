"""Cheap attacks must cost little: refusals, bodies, connections. Operations of AWS that are not served say so, and a
backup's draft is not written through a link (A203).
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.attack.installation import HOST, ROOT, Installation, form, installed

from daypass.config import Settings
from daypass.crypto import age
from daypass.domain.errors import ErrorKind
from daypass.domain.events import decode
from daypass.operations.iam.service import OPERATIONS as IAM
from daypass.server import backup
from daypass.wire.aws.models import load
from daypass.wire.aws.sts import STS_OPERATIONS as STS

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


UNSERVED = [
    (service, name) for service, served in (("sts", STS), ("iam", IAM)) for name in load(service).names - set(served)
]


def test_operations_that_are_not_served_are_unsupported_and_on_the_record(site: Installation) -> None:
    assert ("iam", "SetSecurityTokenServicePreferences") in UNSERVED
    for service, name in UNSERVED:
        operation = load(service).operation(name)
        assert operation is not None
        answer = site.call(ROOT, name, service=service)
        assert (answer.code, answer.status) == ("UnsupportedOperation", 400), name
        assert answer.text("Message") == f"{name} is not supported by this service."
        [record] = site.records(answer.request_id)
        assert (record["operation"], record["error"]) == (f"{service}:{name}", "unsupported_operation")


@pytest.mark.parametrize(("service", "name"), [("iam", "SetSecurityTokenServicePreferences"), ("sts", "AssumeRoot")])
def test_operations_that_are_not_served_tell_nothing_to_whoever_has_not_signed(
    site: Installation, service: str, name: str
) -> None:
    answer = site.send(headers=[(b"host", HOST.encode())], body=form(name, {}, service))
    assert (answer.code, answer.status) == ("MissingAuthenticationToken", 403)


@pytest.mark.parametrize("name", [".daypass.age.partial", ".daypass.age", "daypass.age.partial"])
def test_a203_link_in_the_directory_of_a_backup_is_not_followed(tmp_path: Path, name: str) -> None:
    """The directory may be one that others can write, such as /tmp."""
    victim, shared, data = tmp_path / "victim", tmp_path / "shared", tmp_path / "data"
    shared.mkdir(mode=0o777)
    victim.write_text("kept")
    (shared / name).symlink_to(victim)
    with installed(data):
        pass
    settings = Settings.model_validate({"server": {"data": str(data)}})
    made = backup.make(settings, age.new_identity()[1], shared / "daypass.age")
    assert made.rows
    assert victim.read_text() == "kept"
    assert stat.S_IMODE((shared / "daypass.age").stat().st_mode) == 0o600
    assert {file.name for file in shared.iterdir()} == {"daypass.age", name}
