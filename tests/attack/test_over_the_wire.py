"""Attacks on trust, chains and session tokens over the whole application: rows A50 to A62, and their places on the record.

The finer cases are beside this file, on operations alone: test_trust.py, test_chaining.py, test_session_tokens.py.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import (
    ALPHA,
    BETA,
    EVERYTHING,
    ROOT,
    ROOT_OF_BETA,
    Installation,
    Key,
    SetClock,
    document,
    installed,
    trust,
)

Refused = Callable[..., dict[str, Any]]
DENIED = ("AccessDenied", 403, "request.denied")
HOUR = 3_600_000
DAY = 24 * HOUR
TOKEN_ERROR = ("InvalidClientTokenId", 403, "request.unauthenticated")


@pytest.fixture(scope="module")
def ann(site: Installation) -> tuple[str, Key]:
    return site.user("ann", policy=EVERYTHING)


@pytest.fixture(scope="module")
def ops(site: Installation, ann: tuple[str, Key]) -> str:
    return site.role("ops", trust(ALPHA), policy=EVERYTHING)


@pytest.mark.parametrize("external", [{}, {"ExternalId": "  "}, {"ExternalId": "acme-77"}, {"ExternalId": "Acme-77 "}])
def test_a50_external_id_missing_blank_or_miscased_is_denied(
    site: Installation, ann: tuple[str, Key], refused: Refused, external: dict[str, str]
) -> None:
    name = f"vendor-{len(external)}-{abs(hash(str(external))) % 10**9}"
    role = site.role(name, trust(ALPHA, Condition={"StringEquals": {"sts:ExternalId": "Acme-77"}}), ROOT_OF_BETA)
    answer = site.assume(ann[1], role, **external)
    if external.get("ExternalId", "").endswith(" "):  # not of the model's pattern
        refused(answer, "ValidationError", 400)
    else:
        record = refused(answer, *DENIED)
        assert record["account"] == BETA, "the owner of the role learns of it"
        assert "Acme-77" not in answer.body.decode()
    assert site.assume(ann[1], role, ExternalId="Acme-77").status == 200


def test_a51_chained_session_over_an_hour_and_endless_renewal_are_refused(
    site: Installation, ann: tuple[str, Key], ops: str, refused: Refused
) -> None:
    first = site.assume(ann[1], ops)
    refused(site.assume(first.key, ops, DurationSeconds="3601"), "ValidationError", 400, "request.failed")
    answer, depth = first, 1
    while answer.status == 200:
        last, answer, depth = answer, site.assume(answer.key, ops), depth + 1
        assert depth < 10
    refused(answer, answer.code, answer.status)
    assert answer.code in ("AccessDenied", "ValidationError")
    assert site.call(last.key, "GetCallerIdentity").status == 200


@pytest.mark.parametrize("principal", ["role", "session", "*"])
def test_a197_scope_down_policy_limits_what_a_trust_policy_grants_to_the_session_itself(
    site: Installation, ann: tuple[str, Key], ops: str, refused: Refused, principal: str
) -> None:
    """As AWS documents it, a session policy does not limit what is granted to the session's own ARN; a scope-down policy
    is an intersection.
    """
    named = {"role": ops, "session": f"arn:aws:sts::{ALPHA}:assumed-role/ops/job", "*": "*"}[principal]
    target = site.role(f"direct-{principal.replace('*', 'everyone')}", trust(named))
    storage = document({"Action": "s3:*", "Resource": "*"})
    parent = site.assume(ann[1], ops, Policy=storage)
    assert site.assume(parent.key, target).status == (403 if principal == "role" else 200)
    whole = site.assume(ann[1], ops)
    assert site.assume(whole.key, target).status == 200
    narrowed = site.call(whole.key, "GetScopedCredentials", {"Policy": storage})
    record = refused(site.assume(narrowed.key, target), *DENIED)
    assert record["decision"]["blocked_by"] == "session"
    allowing = document({"Action": ["s3:*", "sts:AssumeRole"], "Resource": "*"})
    assert site.assume(site.call(whole.key, "GetScopedCredentials", {"Policy": allowing}).key, target).status == 200


@pytest.mark.parametrize(
    ("tags", "codes"),
    [
        ({"team": "other"}, ("AccessDenied", "InvalidParameterValue")),
        ({"TEAM": "other"}, ("AccessDenied", "InvalidParameterValue")),
        ({"a": "1", "A": "2"}, ("InvalidParameterValue", "ValidationError")),
        ({f"k{i}": "v" for i in range(51)}, ("ValidationError", "InvalidParameterValue")),
        ({f"k{i}": "v" for i in range(50)}, ("ValidationError", "InvalidParameterValue")),  # with the inherited one
        ({"aws:x": "1"}, ("ValidationError", "InvalidParameterValue")),
    ],
)
def test_a53_tags_that_override_or_overflow_are_refused(
    site: Installation, ann: tuple[str, Key], ops: str, refused: Refused, tags: dict[str, str], codes: tuple[str, ...]
) -> None:
    inherited = {"Tags.member.1.Key": "team", "Tags.member.1.Value": "shop", "TransitiveTagKeys.member.1": "team"}
    parent = site.assume(ann[1], ops, **inherited)
    params: dict[str, str] = {}
    for at, (key, value) in enumerate(tags.items(), 1):
        params |= {f"Tags.member.{at}.Key": key, f"Tags.member.{at}.Value": value}
    answer = site.assume(parent.key, ops, **params)
    assert answer.code in codes
    refused(answer, answer.code, answer.status)


@pytest.mark.parametrize("name", ["x\n", "\u0430lice", "a\0b", "a b", "a/b", "", "a", "a" * 65, "\uff21\uff22", "a:b"])
def test_a54_session_name_outside_the_pattern_is_refused(
    site: Installation, ann: tuple[str, Key], ops: str, refused: Refused, name: str
) -> None:
    refused(site.assume(ann[1], ops, name), "ValidationError", 400, "request.failed")


@pytest.mark.parametrize("account_root", [ROOT, ROOT_OF_BETA], ids=["same-account", "other-account"])
def test_a55_principal_deleted_and_made_again_inherits_no_trust(
    site: Installation, refused: Refused, account_root: Key
) -> None:
    name = "phoenix-" + account_root[0][10:14].lower()
    arn, key = site.user(name, policy=EVERYTHING)
    role = site.role(name, trust(arn), account_root)
    assert site.assume(key, role).status == 200
    site.iam("DeleteAccessKey", UserName=name, AccessKeyId=key[0])
    site.iam("DeleteUserPolicy", UserName=name, PolicyName="p")
    site.iam("DeleteUser", UserName=name)
    refused(site.call(key, "GetCallerIdentity"), *TOKEN_ERROR)
    again, new_key = site.user(name, policy=EVERYTHING if account_root is ROOT_OF_BETA else "")
    assert again == arn
    refused(site.assume(new_key, role), *DENIED)


def test_a56_credentials_for_one_account_do_not_serve_in_the_other(
    site: Installation, ann: tuple[str, Key], refused: Refused
) -> None:
    here = site.role("same-name", trust(ann[0]), policy=EVERYTHING)
    there = site.role("same-name", trust(f"arn:aws:iam::{BETA}:root"), ROOT_OF_BETA, EVERYTHING)
    cached = site.assume(ann[1], here)
    refused(site.assume(ann[1], there), *DENIED)
    assert site.call(cached.key, "GetCallerIdentity").text("Account") == ALPHA
    in_beta = site.call(cached.key, "GetRole", {"RoleName": "same-name"}, service="iam")
    assert f"::{ALPHA}:" in in_beta.text("Arn"), "a name means the caller's own account"
    refused(site.assume(cached.key, there), *DENIED)


def test_a58_altered_and_spliced_tokens_are_refused_all_alike(
    site: Installation, ann: tuple[str, Key], ops: str, refused: Refused
) -> None:
    one, other = site.assume(ann[1], ops).key, site.assume(ann[1], ops).key
    data, foreign = base64.b64decode(one[2]), base64.b64decode(other[2])
    altered = [bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]]) for at in range(0, len(data), 7)]
    altered += [data[:at] + foreign[at:] for at in (1, 9, 24, 40, len(data) // 2, len(data) - 1)]
    altered += [data[:-1], data + b"\0", b"", foreign]
    tokens = [base64.b64encode(a).decode() for a in altered]
    tokens += [one[2] + "=", one[2].lower(), one[2] + "A", "A" * 4096, "x", "%", "\u00e9"]
    answers = [site.call((*one[:2], token), "GetCallerIdentity") for token in tokens if token]
    for answer in answers:
        record = refused(answer, *TOKEN_ERROR)
        assert one[2][:64] not in str(record)
    assert len({a.body.replace(a.request_id.encode(), b"") for a in answers}) == 1
    refused(site.call(one[:2], "GetCallerIdentity"), *TOKEN_ERROR)  # without its token
    refused(site.call((one[0], other[1], one[2]), "GetCallerIdentity"), "SignatureDoesNotMatch", 403)


def test_a60_clock_set_back_an_hour_revives_nothing_even_over_a_restart(tmp_path: Path) -> None:
    wall = SetClock()
    with installed(tmp_path, wall) as site:
        _, key = site.user("ann", policy=EVERYTHING)
        role = site.role("ops", trust(ALPHA))
        session = site.assume(key, role, DurationSeconds="900").key
        wall.time += 901_000
        assert site.call(session, "GetCallerIdentity").code == "ExpiredToken"
        wall.time -= HOUR
        assert site.call(session, "GetCallerIdentity").code == "ExpiredToken"
    with installed(tmp_path, wall) as site:
        assert site.call(session, "GetCallerIdentity").code == "ExpiredToken"
        assert site.assume(key, role).status == 200


@pytest.mark.slow  # ninety days of requests; test_session_tokens has the rotation alone
def test_a61_rotation_rejects_no_live_session(tmp_path: Path) -> None:
    """Ninety days in two processes' lives, upkeep every six hours, at every step sessions new and old: none is rejected."""
    wall = SetClock()
    with installed(tmp_path, wall) as site:
        _, key = site.user("ann", policy=EVERYTHING)
        role = site.role("ops", trust(ALPHA), policy=EVERYTHING)
        site.iam("UpdateRole", RoleName="ops", MaxSessionDuration="43200")
        live: list[tuple[int, Key]] = []
        rotate_ms = site.runtime.settings.keys.rotate_days * DAY
        site.runtime.rings._pause = 0.0
        begun = len(site.runtime.rings._keys)
        for _ in range(90 * 4):
            wall.time += 6 * HOUR
            site.run(site.runtime.rings.maintain(site.runtime._rotation.insert, site.now(), rotate_ms))
            answer = site.assume(key, role, DurationSeconds="43200")
            assert answer.status == 200
            live = [(end, k) for end, k in live if end > wall.time + 10_000]
            live.append((wall.time + 43_200_000 - 10_000, answer.key))
            for _, session in live:
                assert site.call(session, "GetCallerIdentity").status == 200
        assert len(site.runtime.rings._keys) >= begun + 6
    with installed(tmp_path, wall) as site:
        assert site.call(live[-1][1], "GetCallerIdentity").status == 200


def spellings(secret: str) -> list[str]:
    data = secret.encode()
    return [secret, data.hex(), base64.b64encode(data).decode().rstrip("="), secret[:24]]


def test_a62_canary_secrets_are_nowhere_but_where_they_are_given_out(tmp_path: Path) -> None:
    """Sessions, keys and their tokens go through success, refusal and breakage; log, metrics, record and answers are searched."""
    with installed(tmp_path) as site:
        _, key = site.user("ann", policy=EVERYTHING)
        role = site.role("ops", trust(ALPHA), policy=EVERYTHING)
        session = site.assume(key, role).key
        site.keep_answers = True
        _exercise(site, key, session, role)
        _break(site, session)
        metrics = site.runtime.render_metrics().decode()
        record = b"\n".join(site.record_bytes()).decode()
        answers = b"\n".join(site.answers).decode()
        log = site.log.getvalue()
        material = [ring_key.material for ring_key in site.runtime.rings._keys.values()]
    assert "Traceback" in log
    assert "daypass_requests" in metrics
    for name, place in {"log": log, "metrics": metrics, "record": record, "answers": answers}.items():
        for secret in (ROOT[1], ROOT_OF_BETA[1], key[1], session[1], session[2]):
            assert not [s for s in spellings(secret) if s in place], name
        for raw in material:
            assert not [s for s in (raw.hex(), base64.b64encode(raw).decode(), repr(raw)) if s in place], name


def _exercise(site: Installation, key: Key, session: Key, role: str) -> None:
    for who in (key, session, (key[0], "wrong"), (session[0], session[1], session[2][:-8] + "AAAAAAAA")):
        for action, params in (
            ("GetCallerIdentity", {}),
            ("AssumeRole", {"RoleArn": role + "x", "RoleSessionName": "x"}),
            ("AssumeRole", {"RoleArn": role, "RoleSessionName": "\n", "TokenCode": "123456", "SerialNumber": "x" * 9}),
            ("GetAccessKeyInfo", {"AccessKeyId": session[0]}),
            ("NoSuchAction", {}),
        ):
            site.call(who, action, params)
    body = f"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&WebIdentityToken={session[2].replace('+', '%2B')}"
    site.send(headers=[(b"host", b"x")], body=body.encode())
    headers = site.signed(session, b"")
    site.send(headers=headers, body=b'{"SecretAccessKey": "' + session[1].encode() + b'"}')
    site.send("PUT", headers, b"")
    for path in (b"/healthz", b"/readyz", b"/metrics", b"/nothing", b"/api/v1/accounts", b"/api/v1/nothing"):
        site.send("GET", headers, path=path)
        query = f"X-Amz-Security-Token={session[2].replace('+', '%2B')}&X-Amz-Signature=00"
        site.send("GET", [(b"host", b"x")], path=path, query=query.encode())


def _break(site: Installation, session: Key) -> None:
    """The unexpected, in the middle of an authenticated request: the log gets a traceback."""

    def broken(*_: Any) -> None:
        raise RuntimeError("broken on purpose")

    directory = site.runtime.directory
    real = directory.revoked
    directory.revoked = broken  # type: ignore[assignment,method-assign]
    answer = site.call(session, "GetCallerIdentity")
    directory.revoked = real  # type: ignore[method-assign]
    assert (answer.status, answer.code) == (500, "InternalFailure")
    assert "broken on purpose" not in answer.body.decode()
