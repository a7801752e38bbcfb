"""Attacks on the record, and on the database below it: rows A99, A100 and A106."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.attack.installation import ALPHA, EVERYTHING, HOST, ROOT, Installation, form, installed, trust

from daypass.audit.format import leaf_hash
from daypass.audit.stored import event_bytes
from daypass.audit.verify import BadRecord, RecordRow, verify_log
from daypass.domain.events import MAX_EVENT_BYTES
from daypass.stores.engine import UnusableDatabase
from daypass.stores.records import audit_records

Refused = Callable[..., dict[str, Any]]
HOSTILE = "\r\n\x1b[2Jforged\x00\u2028\u202e\ud800"


def verified(site: Installation) -> int:
    """Every log verifies from its rows alone; the number of records."""

    def read(conn: Any) -> list[RecordRow]:
        rows = conn.execute(select(audit_records).order_by(audit_records.c.log, audit_records.c.seq)).all()
        data = {place: bytes(found) for place, found in event_bytes(conn, rows).items()}
        return [
            RecordRow(r.log, r.seq, leaf_hash(data[r.log, r.seq]), bytes(r.chain), data[r.log, r.seq]) for r in rows
        ]

    logs: dict[str, list[RecordRow]] = {}
    for row in site.runtime.database.read(read):
        logs.setdefault(row.log, []).append(row)
    for log, rows in logs.items():
        assert not isinstance(verify_log(log, rows), BadRecord)
    return sum(map(len, logs.values()))


@pytest.mark.parametrize("where", ["user-agent", "parameter", "action", "name", "unsigned"])
def test_a99_hostile_fields_become_one_escaped_record(site: Installation, where: str) -> None:
    latin = HOSTILE.encode("utf-8", "replace").decode("latin-1")
    params = {"RoleArn": f"arn:aws:iam::{ALPHA}:role/x", "RoleSessionName": "job"}
    if where == "user-agent":
        body = form("AssumeRole", params)
        headers = [*site.signed(ROOT, body), (b"user-agent", latin.encode("latin-1"))]
        answer = site.send(headers=headers, body=body)
    elif where == "parameter":
        answer = site.call(ROOT, "AssumeRole", {**params, "RoleSessionName": HOSTILE[:-1]})
    elif where == "action":
        answer = site.call(ROOT, HOSTILE[:-1])
    elif where == "name":
        answer = site.call(ROOT, "AssumeRole", {**params, HOSTILE[:-1]: "x", "Tags." + HOSTILE[:-1]: "y"})
    else:
        answer = site.send(headers=[(b"host", latin.encode("latin-1"))], body=HOSTILE.encode("utf-8", "surrogatepass"))
    assert 400 <= answer.status < 500
    about = [data for data in site.record_bytes() if answer.request_id.encode() in data]
    assert len(about) == 1
    assert about[0].isascii()
    assert not [byte for byte in about[0] if byte < 0x20 or byte == 0x7F]
    verified(site)


@pytest.mark.parametrize("where", ["user-agent", "parameter", "parameters", "body"])
def test_a99_fields_of_a_megabyte_are_cut(site: Installation, where: str) -> None:
    params = {"RoleArn": f"arn:aws:iam::{ALPHA}:role/x", "RoleSessionName": "job"}
    if where == "user-agent":  # within the limit of headers
        body = form("GetCallerIdentity", {})
        answer = site.send(headers=[*site.signed(ROOT, body), (b"user-agent", b"\xff" * 15_000)], body=body)
        assert answer.status == 200
    elif where == "parameter":
        answer = site.call(ROOT, "AssumeRole", {**params, "Policy": "\x01" * 300_000})
        assert (answer.code, answer.status) == ("ValidationError", 400)
    elif where == "parameters":
        tags = {f"Tags.member.{at}.Key": "\u00e9" * 100 for at in range(1, 900)}
        answer = site.call(ROOT, "AssumeRole", {**params, **tags})
        assert (answer.code, answer.status) == ("ValidationError", 400)
    else:
        answer = site.send(headers=[(b"host", HOST.encode())], body=b"a" * 1_100_000, chunks=9)
        assert (answer.code, answer.status) == ("RequestEntityTooLarge", 413)
    about = [data for data in site.record_bytes() if answer.request_id.encode() in data]
    assert len(about) == 1
    assert len(about[0]) <= MAX_EVENT_BYTES
    assert len(answer.body) < 65_536


def test_a100_every_kind_of_failure_is_on_the_record_and_redacted(site: Installation, refused: Refused) -> None:
    """CVE-2024-8365: what fails, what cannot be read and what administrators do are recorded, secrets left out."""
    _, key = site.user("ann", policy=EVERYTHING)
    secrets_sent = ("654321", "canary-password-1", "canary-password-2", "canary.web.identity", "Y2FuYXJ5LXNhbWw=")
    mfa = {"SerialNumber": f"arn:aws:iam::{ALPHA}:mfa/ann", "TokenCode": secrets_sent[0]}
    role = site.role("ops", trust(ALPHA))
    unsigned = [(b"host", HOST.encode())]
    cases = [
        (site.assume(key, role, **mfa), "AccessDenied", "request.denied"),
        (site.assume(key, role, **{**mfa, "SerialNumber": "\n"}), "ValidationError", "request.failed"),
        (
            site.call(
                key,
                "ChangePassword",
                {"OldPassword": secrets_sent[1], "NewPassword": secrets_sent[2]},
                service="iam",
            ),
            "NoSuchEntity",  # ann has no password
            "request.failed",
        ),
        (
            site.send(
                headers=unsigned,
                body=form(
                    "AssumeRoleWithWebIdentity",
                    {"RoleArn": role, "RoleSessionName": "job", "WebIdentityToken": secrets_sent[3]},
                ),
            ),
            "",
            "",
        ),
        (
            site.send(
                headers=unsigned,
                body=form(
                    "AssumeRoleWithSAML", {"RoleArn": role, "PrincipalArn": role, "SAMLAssertion": secrets_sent[4]}
                ),
            ),
            "",
            "",
        ),
        (site.call(key, "GetUser", {"UserName": "nobody"}, service="iam"), "NoSuchEntity", "request.failed"),
        (site.call(key, "NoSuchAction"), "InvalidAction", "request.malformed"),
        (site.send(headers=unsigned, body=b"%zz"), "MalformedInput", "request.malformed"),
        (site.send(headers=unsigned, body=b"\xff"), "MalformedInput", "request.malformed"),
        (site.send("DELETE", unsigned), "MalformedInput", "request.malformed"),
        (site.send(headers=unsigned, body=form("GetCallerIdentity", {})), "MissingAuthenticationToken", "request.unauthenticated"),
    ]  # fmt: skip
    for answer, code, kind in cases:
        record = refused(answer, code or answer.code, answer.status, kind)
        assert not [secret for secret in secrets_sent if secret in json.dumps(record)]
        assert not [secret for secret in secrets_sent if secret.encode() in answer.body]


def test_a100_what_administrators_do_is_on_the_record_without_the_secrets_made(site: Installation) -> None:
    site.iam("CreateUser", UserName="made")
    answer = site.iam("CreateAccessKey", UserName="made")
    (record,) = site.records(answer.request_id)
    assert (record["type"], record["operation"]) == ("directory.changed", "iam:CreateAccessKey")
    assert record["detail"]["result"]["AccessKeyId"] == answer.text("AccessKeyId")
    assert answer.text("SecretAccessKey") not in json.dumps(record)


def test_a100_record_of_what_was_done_and_what_was_refused_verifies(site: Installation) -> None:
    _, key = site.user("verifier")
    for _ in range(6):
        assert site.call(key, "GetCallerIdentity").status == 200
        assert site.call(key, "ListUsers", service="iam").code == "AccessDenied"
        assert site.call(key, "NoSuchAction").code == "InvalidAction"
        assert site.send(headers=[(b"host", HOST.encode())], body=b"%zz").status == 400
    assert verified(site) > 20


@pytest.mark.parametrize("damage", ["header", "every page", "truncated"])
def test_a106_corrupt_database_refuses_start(tmp_path: Path, damage: str) -> None:
    with installed(tmp_path) as site:
        site.user("ann", policy=EVERYTHING)
    file = tmp_path / "daypass.db"
    size = file.stat().st_size
    with file.open("r+b") as handle:
        if damage == "header":
            handle.write(os.urandom(100))
        elif damage == "truncated":
            handle.truncate(size // 2)
        else:
            for page in range(4096, size, 4096):
                handle.seek(page)
                handle.write(b"\xa5" * 512)
    with pytest.raises(UnusableDatabase), installed(tmp_path):
        pass
