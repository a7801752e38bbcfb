"""Attacks by expensive requests: what one account's requests cost must not be paid by another account (A113)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.attack.installation import (
    ALPHA,
    BETA,
    EVERYTHING,
    ROOT,
    ROOT_OF_BETA,
    Answer,
    Installation,
    Key,
    form,
    installed,
    trust,
)
from tests.attack.tokens import provider
from tests.issuer import Issuer

from daypass.audit.read import THREADS
from daypass.domain.claims import PrincipalKind
from daypass.domain.policy.model import PrincipalFacts
from daypass.domain.question import Principal
from daypass.domain.trust import CallerPolicies
from daypass.operations.access import simulate as simulations
from daypass.operations.access.simulate import SimulationRequest
from daypass.wire.aws import models

AGENT = "b" * 12_000
CONDITION = {"StringLike": {"aws:UserAgent": [f"*?b{number}*" for number in range(150)]}}
NASTY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": CONDITION}],
    },
    separators=(",", ":"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("site"), heavy={}) as made:
        yield made


@pytest.fixture(scope="module")
def session(site: Installation) -> Key:
    """A session of alpha with a session policy of 150 patterns."""
    _, ann = site.user("ann", ROOT, EVERYTHING)
    role = site.role("narrowed", trust(f"arn:aws:iam::{ALPHA}:root"), ROOT, EVERYTHING)
    answer = site.assume(ann, role, Policy=NASTY)
    assert answer.status == 200, answer.body
    return answer.key


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """The processes do nothing meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def answered_meanwhile(
    site: Installation, attacks: list[bytes], attacker: Key, call: tuple[Key, bytes, str, bytes]
) -> list[Answer]:
    """The answer to a call of another account, given while the worker processes stand still; then those to the attacks."""
    key, body, service, path = call
    heavy = site.runtime.heavy
    assert heavy is not None

    async def scene() -> list[Answer]:
        for quick in (False, True):
            await heavy.compute("any", len, "", quick=quick)  # starts the processes
        with stopped(heavy.pids):
            extra = {"user-agent": AGENT}
            running = [
                asyncio.create_task(site.ask("POST", site.signed(attacker, raw, "iam", extra=extra), raw))
                for raw in attacks
            ]
            while heavy.waiting < len(attacks) - 1:  # noqa: ASYNC110  # threads fill the queue, not this loop
                await asyncio.sleep(0.001)
            more = {"path": path.decode(), "extra": {"content-type": "application/json"}} if path != b"/" else {}
            answer = await site.ask("POST", site.signed(key, body, service, **more), body, path=path)
            assert not any(task.done() for task in running)
        return [answer, *await asyncio.gather(*running)]

    return site.run(scene())


def test_a113_session_policy_of_many_patterns_delays_no_other_account(site: Installation, session: Key) -> None:
    attacks = [form("ListRoles", {}, "iam")] * 3
    call = (ROOT_OF_BETA, form("GetCallerIdentity", {}), "sts", b"/")
    other, *answers = answered_meanwhile(site, attacks, session, call)
    assert other.status == 200
    for answer in answers:
        assert (answer.status, answer.code) == (403, "AccessDenied")
        (record,) = site.records(answer.request_id)
        assert record["error"] == "access_denied"


def test_a113_simulations_leave_reads_and_revocations_of_others_alone(site: Installation) -> None:
    params = {f"ActionNames.member.{number}": f"s3:Get{number}" for number in range(1, 6)}
    params |= {f"PolicyInputList.member.{number}": NASTY for number in range(1, 2)}
    params |= {
        "ContextEntries.member.1.ContextKeyName": "aws:UserAgent",
        "ContextEntries.member.1.ContextKeyType": "string",
        "ContextEntries.member.1.ContextKeyValues.member.1": AGENT[:2_000],
    }
    attacks = [form("SimulateCustomPolicy", params, "iam")] * 3
    site.role("idle", trust("arn:aws:iam::444455556666:root"), ROOT_OF_BETA)
    revoke = json.dumps({"subject": "role", "value": "idle"}).encode()
    other, *answers = answered_meanwhile(site, attacks, ROOT, (ROOT_OF_BETA, revoke, "daypass", b"/api/v1/revocations"))
    assert other.status == 201, other.body
    assert {answer.status for answer in answers} == {200}
    other, *_ = answered_meanwhile(site, attacks, ROOT, (ROOT_OF_BETA, form("ListUsers", {}, "iam"), "iam", b"/"))
    assert other.status == 200


@pytest.mark.parametrize("accept", [b"text/xml", b"application/json"])
def test_a113_answer_of_a_simulation_is_rendered_in_a_worker_process(
    site: Installation, monkeypatch: pytest.MonkeyPatch, accept: bytes
) -> None:
    """200 decisions, each with 180 statements, are 9 MB of XML: half a second, which would be the event loop's."""

    def render(result: object, request_id: str) -> bytes:
        raise AssertionError("rendered in the server's process")

    name = "SimulateCustomPolicy"
    here = models.load("iam").operation(name)
    assert here is not None
    monkeypatch.setitem(models.load("iam")._compiled, name, replace(here, render=render, render_json=render))
    params = {"ActionNames.member.1": "s3:GetObject", "PolicyInputList.member.1": EVERYTHING}
    raw = form(name, params, "iam")
    headers = [*site.signed(ROOT, raw, "iam"), (b"accept", accept)]
    answer = site.send("POST", headers, raw)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].encode() == accept
    assert answer.request_id.encode() in answer.body
    assert b"allowed" in answer.body


def test_a113_explanations_of_a_simulation_come_from_the_worker_process_as_bytes() -> None:
    """To unpickle 200 explanations as objects takes 0.2 s, in which no other thread of the server runs."""
    request = SimulationRequest(("s3:GetObject", "s3:PutObject"), ("*",), policies=(EVERYTHING,))
    facts = PrincipalFacts(PrincipalKind.USER, ALPHA, ())
    stage = simulations._Stage(Principal(facts, {}, CallerPolicies(())), {}, ALPHA, operator=False)
    answers = simulations._answers(stage, request)
    assert [answer.decision for answer in answers] == ["allowed", "allowed"]
    assert {type(getattr(answer, name)) for answer in answers for name in answer.__slots__} == {str, bytes}
    assert json.loads(answers[0].explanation)["allowed"] is True


def test_a113_long_documents_of_callers_are_parsed_in_worker_processes(site: Installation) -> None:
    long = "{" + " " * 3_000
    arn, ann = site.user("parses", ROOT, EVERYTHING)
    role = site.role("parsed", trust(f"arn:aws:iam::{ALPHA}:root"), ROOT)
    put = {"UserName": arn.rpartition("/")[2], "PolicyName": "own", "PolicyDocument": long}
    create = {"RoleName": "new", "AssumeRolePolicyDocument": long}
    assume = {"RoleArn": role, "RoleSessionName": "session", "Policy": "{" + " " * 1_500}
    heavy = site.runtime.heavy
    assert heavy is not None
    simulate = json.dumps({"actions": ["s3:GetObject"], "policies": ["{"]}).encode()

    async def scene() -> tuple[Answer, list[Answer]]:
        for quick in (False, True):
            await heavy.compute("any", len, "", quick=quick)
        with stopped(heavy.pids):
            bodies = [
                (form("PutUserPolicy", put, "iam"), ROOT, "iam", b"/"),
                (form("CreateRole", create, "iam"), ROOT, "iam", b"/"),
                (form("AssumeRole", assume), ann, "sts", b"/"),
                (simulate, ROOT, "daypass", b"/api/v1/simulate"),
            ]
            running = []
            for raw, who, service, path in bodies:
                kind = {"content-type": "application/json"} if path != b"/" else {}
                headers = site.signed(who, raw, service, path=path.decode(), extra=kind)
                running.append(asyncio.create_task(site.ask("POST", headers, raw, path=path)))
            async with asyncio.timeout(30):
                while heavy.waiting < len(bodies) - 2:  # noqa: ASYNC110  # each of the two processes has one more
                    await asyncio.sleep(0.001)
            raw = form("GetCallerIdentity", {})
            other = await site.ask("POST", site.signed(ROOT_OF_BETA, raw, "sts"), raw)
            assert not any(task.done() for task in running)
        return other, await asyncio.gather(*running)

    other, answers = site.run(scene())
    assert other.status == 200
    assert [answer.status for answer in answers] == [400, 400, 400, 400]
    for answer in answers:
        assert b"MalformedPolicy" in answer.body
        (record,) = site.records(answer.request_id)
        assert record["error"] == "malformed_policy"


def test_a113_long_guardrails_and_provider_settings_are_parsed_in_worker_processes(site: Installation) -> None:
    provider(site, Issuer("long.example.com", alg="ES256"))
    puts = {
        f"/api/v1/accounts/{BETA}/guardrails/long": {"document": "{" + " " * 3_000},
        "/api/v1/providers/oidc/long.example.com/settings": {"settings": {"static_jwks": "{" + " " * 3_000}},
    }
    heavy = site.runtime.heavy
    assert heavy is not None

    async def scene() -> tuple[Answer, list[Answer]]:
        await heavy.compute("any", len, "", quick=True)
        with stopped(heavy.pids):
            running = []
            for path, content in puts.items():
                raw = json.dumps(content).encode()
                extra = {"content-type": "application/json"}
                headers = site.signed(ROOT, raw, "daypass", method="PUT", path=path, extra=extra)
                running.append(asyncio.create_task(site.ask("PUT", headers, raw, path=path.encode())))
            async with asyncio.timeout(30):
                while heavy.waiting < len(puts) - 1:  # noqa: ASYNC110  # the process has one more
                    await asyncio.sleep(0.001)
            raw = form("GetCallerIdentity", {})
            other = await site.ask("POST", site.signed(ROOT_OF_BETA, raw, "sts"), raw)
            assert not any(task.done() for task in running)
        return other, await asyncio.gather(*running)

    other, answers = site.run(scene())
    assert other.status == 200
    assert [(answer.status, json.loads(answer.body)["error"]["code"]) for answer in answers] == [
        (400, "MalformedPolicyDocument"),
        (400, "ValidationError"),
    ]
    for answer in answers:
        (record,) = site.records(answer.request_id)
        assert record["error"] in ("malformed_policy", "validation")


def test_a113_documents_beyond_every_quota_do_not_occupy_the_process_for_quick_work(site: Installation) -> None:
    """They are parsed before the caller is authorized, so a user without any permission can send them."""
    _, nobody = site.user("nobody")
    long = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*?" * 60_000}]}
    )
    attack = form("PutUserPolicy", {"UserName": "nobody", "PolicyName": "p", "PolicyDocument": long}, "iam")
    role = site.role("quick", trust("arn:aws:iam::444455556666:root"), ROOT_OF_BETA)
    _, caller = site.user("caller", ROOT_OF_BETA, EVERYTHING)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [], "Id": "x" * 1_100})
    ask = form("AssumeRole", {"RoleArn": role, "RoleSessionName": "job", "Policy": policy})
    heavy = site.runtime.heavy
    assert heavy is not None

    async def scene() -> tuple[Answer, Answer]:
        await heavy.compute("any", len, "")
        quick = await heavy.compute("any", os.getpid, quick=True)
        slow = [pid for pid in heavy.pids if pid != quick]
        with stopped(slow):
            running = asyncio.create_task(site.ask("POST", site.signed(nobody, attack, "iam"), attack))
            await asyncio.sleep(0.1)
            answer = await site.ask("POST", site.signed(caller, ask), ask)
            assert not running.done()
        return answer, await running

    answer, refusal = site.run(scene())
    assert (answer.status, answer.code) == (400, "MalformedPolicyDocument")  # parsed by the process for quick work
    assert refusal.status in (400, 403)
    (record,) = site.records(refusal.request_id)
    assert record["error"]


def test_a113_account_with_too_much_heavy_work_is_throttled_and_it_is_on_the_record(site: Installation) -> None:
    heavy = site.runtime.heavy
    assert heavy is not None
    attacks = [form("GetContextKeysForCustomPolicy", {"PolicyInputList.member.1": NASTY}, "iam")] * 120

    async def scene() -> list[Answer]:
        await heavy.compute("any", len, "")
        with stopped(heavy.pids):
            running = [asyncio.create_task(site.ask("POST", site.signed(ROOT, raw, "iam"), raw)) for raw in attacks]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)  # only a refusal can be first
        return await asyncio.gather(*running)

    answers = site.run(scene())
    throttled = [answer for answer in answers if answer.status != 200]
    assert 0 < len(throttled) < len(attacks)
    assert {answer.code for answer in throttled} == {"Throttling"}
    site.run(site.runtime.refusals.close())
    counted = [raw for raw in site.record_bytes() if b"request.repeated" in raw]
    assert any(b"throttled" in raw and b"too much work of the account" in raw for raw in counted)


# --- Rates -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    rates = {
        "principal_per_second": 0.001,
        "principal_burst": 60,
        "account_per_second": 0.001,
        "account_burst": 100,
        "failures_per_second": 0.001,
        "failures_burst": 20,
    }
    with installed(tmp_path_factory.mktemp("limited"), rates=rates, heavy={}) as made:
        yield made


def test_a113_principal_over_its_rate_is_throttled_in_each_protocol_and_on_the_record(limited: Installation) -> None:
    answers = [limited.call(ROOT, "GetCallerIdentity") for _ in range(70)]
    assert [answer.status for answer in answers] == [200] * 60 + [400] * 10
    assert {answer.code for answer in answers[60:]} == {"Throttling"}
    assert answers[-1].text("Message") == "Rate exceeded"
    headers = limited.signed(ROOT, b"", "daypass", method="GET", path="/api/v1/accounts")
    rest = limited.send("GET", headers, path=b"/api/v1/accounts")
    assert (rest.status, rest.headers["retry-after"], json.loads(rest.body)["error"]["code"]) == (
        429,
        "1",
        "Throttling",
    )
    anchors = limited.send(
        "GET", limited.signed(ROOT, b"", "rolesanywhere", method="GET", path="/trustanchors"), path=b"/trustanchors"
    )
    assert (anchors.status, anchors.headers["retry-after"]) == (429, "1")
    assert limited.call(ROOT_OF_BETA, "GetCallerIdentity").status == 200
    shown = limited.runtime.render_metrics().decode()
    assert 'daypass_throttled_total{rate="principal"} 12.0' in shown
    limited.run(limited.runtime.refusals.close())
    counted = [raw for raw in limited.record_bytes() if b"request.repeated" in raw]
    assert any(b"throttled" in raw and b"principal" in raw for raw in counted)


def test_a113_a643_source_that_proves_nothing_is_throttled_and_valid_requests_from_it_are_not(
    limited: Installation,
) -> None:
    params = {"RoleArn": "x", "RoleSessionName": "job", "WebIdentityToken": "x" * 9}
    body = form("AssumeRoleWithWebIdentity", params)
    codes = [
        limited.send("POST", [(b"content-type", b"application/x-www-form-urlencoded")], body).code for _ in range(30)
    ]
    assert codes[0] != "Throttling"
    assert codes[-1] == "Throttling"
    wrong = (ROOT_OF_BETA[0], "not the secret")
    assert limited.call(wrong, "GetCallerIdentity").code == "Throttling"
    assert limited.call(ROOT_OF_BETA, "GetCallerIdentity").status == 200
    session = limited.send("POST", [], b"{}", path=b"/sessions")
    assert (session.status, session.headers["retry-after"]) == (429, "1")
    guess = limited.send("GET", path=f"/statuslists/{'0' * 32}-0".encode())  # it costs a read of the record
    assert guess.status == 429


def test_a113_reads_that_fill_the_readers_leave_a_thread_for_revocations_and_loads(site: Installation) -> None:
    held = threading.Event()
    site.role("held", trust("arn:aws:iam::444455556666:root"), ROOT_OF_BETA)
    body = json.dumps({"subject": "role", "value": "held"}).encode()
    path = "/api/v1/revocations"
    headers = site.signed(ROOT_OF_BETA, body, "daypass", path=path, extra={"content-type": "application/json"})

    async def scene() -> Answer:
        directory = site.runtime.directory
        reads = [asyncio.create_task(directory.read(lambda _: held.wait(60), account=ALPHA)) for _ in range(20)]
        await asyncio.sleep(0)
        try:
            assert await directory.role("444455556666", "held") is not None
            answer = await site.ask("POST", headers, body, path=path.encode())
            assert not any(task.done() for task in reads)
        finally:
            held.set()
        await asyncio.gather(*reads)
        return answer

    assert site.run(scene()).status == 201


def test_a321_reads_that_fill_the_threads_of_the_directory_leave_the_connections_of_the_record(
    site: Installation,
) -> None:
    held, together = threading.Event(), threading.Barrier(THREADS)

    async def scene() -> None:
        directory, records = site.runtime.directory, site.runtime.records
        reads = [asyncio.create_task(directory._on_thread(lambda _: held.wait(60))) for _ in range(20)]
        await asyncio.sleep(0)
        try:
            searches = [records.run(lambda _: together.wait(60), each, urgent=not each) for each in (ALPHA, "beta", "")]
            assert len(await asyncio.gather(*searches, directory.refresh())) == THREADS + 1
            assert not any(task.done() for task in reads)
        finally:
            held.set()
            together.abort()
        await asyncio.gather(*reads)

    site.run(scene())
