"""Whatever is sent to the whole application, it answers in its protocol's form, puts it on the record, and never fails.

`DAYPASS_FUZZ=20` makes twenty times as many requests.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from tests.attack.cast import cast
from tests.attack.installation import (
    ALPHA,
    BETA,
    EVERYTHING,
    HOST,
    ROOT,
    ROOT_OF_BETA,
    Answer,
    Installation,
    Key,
    form,
    installed,
)
from tests.attack.junk import Junk, operations

from daypass.domain.events import decode
from daypass.wire.aws import sts

SEASONS = 4 * int(os.environ.get("DAYPASS_FUZZ", "1"))
ROUNDS = 5
SEED = int(os.environ.get("DAYPASS_FUZZ_SEED", "2026"))
SERVED = {"sts": sts.STS_OPERATIONS, "iam": sts.IAM_OPERATIONS}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("fuzzed")) as made:
        yield made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Another one: in the first, random calls may have left guardrails that let nobody do anything."""
    with installed(tmp_path_factory.mktemp("untouched")) as made:
        yield made


class Judge:
    """Holds answers against the models' own parser, and remembers what must be on the record."""

    def __init__(self) -> None:
        self._parser = create_parser("query")
        self._models = {s: ServiceModel(Loader().load_service_model(s, "service-2"), s) for s in SERVED}
        self.asked: set[str] = set()
        self.requests = 0
        self.served: set[str] = set()
        self.codes: dict[str, int] = {}

    def judge(self, answer: Answer, service: str, operation: str, sent: bytes) -> None:
        said = (operation, sent[:2000], answer.status, answer.body[:500])
        assert answer.status == 200 or 400 <= answer.status < 500, said
        output = self._models[service].operation_model(operation).output_shape
        found = self._parser.parse(
            {"status_code": answer.status, "headers": answer.headers, "body": answer.body}, output
        )
        assert found["ResponseMetadata"]["RequestId"] == answer.request_id, said
        code = found["Error"]["Code"] if answer.status != 200 else ""
        assert code or answer.status == 200, said
        self.codes[code] = self.codes.get(code, 0) + 1
        self.asked.add(answer.request_id)
        self.requests += 1
        if answer.status == 200:
            self.served.add(operation)

    def hold_against_the_record(self, site: Installation) -> None:
        recorded = {decode(data).get("request_id") for data in site.record_bytes()}
        assert self.asked <= recorded
        assert site.log.getvalue() == ""


@pytest.mark.slow
def test_every_operation_with_any_signed_parameters_is_served_or_refused_in_form(site: Installation) -> None:
    judge = Judge()
    table = [(service, *entry) for service, served in SERVED.items() for entry in operations(service, served)]
    assert len(table) > 70
    for season in range(SEASONS):
        keys, names = cast(site, season)
        junk = Junk(SEED + season, names)

        async def one(service: str, name: str, shape: Any, junk: Junk = junk, keys: list[Key] = keys) -> None:
            body = form(name, junk.form(shape), service)
            headers = site.signed(junk.rng.choice(keys), body, service)
            judge.judge(await site.ask("POST", headers, body), service, name, body)

        for _ in range(ROUNDS):
            junk.rng.shuffle(table)
            for at in range(0, len(table), 16):
                site.run(_all([one(*entry) for entry in table[at : at + 16]]))
    judge.hold_against_the_record(site)
    served = judge.codes.pop("")
    assert served > judge.requests / 10, "the principals are alive and the parameters fit"
    unserved = sorted({name for _, name, _ in table} - judge.served)
    assert len(unserved) < len(table) * 0.2, unserved
    assert len(judge.codes) >= 10


async def _all(work: list[Any]) -> None:
    await asyncio.gather(*work)


# --- Requests that are not even requests -------------------------------------------------------------------------------

METHODS = ("GET", "POST", "POST", "POST", "PUT", "HEAD", "OPTIONS", "get", "X" * 300)
PATHS = (b"/", b"/", b"/", b"", b"//", b"/%2e", b"/healthz", b"/readyz", b"/metrics", b"/\xff", b"/..%2f", b"/api/", b"/api/v1/accounts",
         b"/api/v1/sessions/x", b"/api/v1/openapi.json", b"/api/docs", b"/api/v1/audit/tail", b"/api/v1/%00", b"*", b"http://x/",
         b"/sessions", b"/trustanchors", b"/trustanchor/%00", b"/saml/acs", b"/saml/metadata", b"/saml/choose", b"/saml/%ff")  # fmt: skip
NAMES = (b"authorization", b"x-amz-date", b"host", b"date", b"x-amz-security-token", b"x-amz-content-sha256", b"content-length", b"cookie",
         b"content-type", b"x-amz-x509", b"x-amz-x509-chain", b"traceparent", b"x-forwarded-for", b"x-forwarded-proto", b"referer", b"transfer-encoding", b"expect", b"")  # fmt: skip
VALUES = (b"", b" ", b"\xff", b"\0", b"a" * 9000, b"-1", b"1", b"chunked", b"127.0.0.1", b"UNSIGNED-PAYLOAD", b"20260101T000000Z",
          b"Fri, 01 Jan 2027 00:00:00 GMT", b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;,Signature=",
          b"AWS4-HMAC-SHA256 Credential=AKIAROOTOFALPHA00000/20270115/r/sts/aws4_request, SignedHeaders=host, Signature=0",
          b"AWS4-X509-ECDSA-SHA256 Credential=1/20270115/r/rolesanywhere/aws4_request, SignedHeaders=host;x-amz-date;x-amz-x509, Signature=00",
          b"MAA=", b"application/x-www-form-urlencoded", b"AWS4-HMAC-SHA256 Credential=\xff/20270115/r/sts/aws4_request, SignedHeaders=\xe9, Signature=\xe9", b"Bearer x", b"application/json",
          b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00", b"https", b"text/xml; charset=utf-\xff")  # fmt: skip
PARTS = (b"Action=AssumeRole", b"Action=GetCallerIdentity", b"Version=2011-06-15", b"Version=2010-05-08", b"X-Amz-Algorithm=AWS4-HMAC-SHA256",
         b"X-Amz-Credential=AKIAROOTOFALPHA00000/20270115/r/sts/aws4_request", b"X-Amz-Signature=00", b"X-Amz-Expires=900", b"X-Amz-SignedHeaders=host",
         b"X-Amz-Date=20270115T080000Z", b"X-Amz-Security-Token=%00", b"%", b"%f", b"%FF", b"=", b"&", b"a" * 9000, b"\xff", b"\0", b"+", b"{}",
         b'{"account": "1"}', b"[" * 5000, b"limit=-1", b"before=x", b"account=*", b"SAMLResponse=PGE%2BPC9hPg==", b"SAMLResponse=%00", b"RelayState=x", b"role=0", b"ticket=x", b"Tags.member.1.Key=a")  # fmt: skip


def soup(rng: random.Random, most: int = 6) -> bytes:
    return b"&".join(rng.choice(PARTS) if rng.random() < 0.8 else rng.randbytes(9) for _ in range(rng.randrange(most)))


def in_form(answer: Answer, path: bytes) -> None:
    said = (path, answer)
    assert answer.status < 500 or (path == b"/readyz" and answer.status == 503), said
    assert answer.request_id
    if path in (b"/", b""):
        assert 400 <= answer.status < 500, said
        assert answer.code, said
        assert answer.text("RequestId") == answer.request_id, said
    elif answer.status >= 400 and not path.startswith((b"/saml", b"/sessions", b"/trustanchor")):
        assert json.loads(answer.body)["error"]["code"], said


def test_any_request_at_all_is_answered_in_form(site: Installation) -> None:
    rng = random.Random(SEED)
    unread: set[str] = set()
    for _ in range(300 * SEASONS):
        path = rng.choice(PATHS)
        headers = [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randrange(7))]
        method, body, query = rng.choice(METHODS), soup(rng), soup(rng, 9)
        answer = site.send(method, headers, body, path=path, query=query, chunks=rng.choice((1, 1, 3)))
        if method != "HEAD":
            in_form(answer, path)
        if path in (b"/", b""):
            unread.add(answer.request_id)
    recorded = {decode(data).get("request_id") for data in site.record_bytes()}
    assert unread <= recorded
    assert site.log.getvalue() == ""


def test_correctly_signed_requests_with_wrong_bytes_are_refused_in_form(site: Installation) -> None:
    """One to four bytes of the body, the query or one header of a good request are others."""
    rng = random.Random(SEED)
    params = {"RoleArn": f"arn:aws:iam::{ALPHA}:role/x", "RoleSessionName": "job", "Policy": EVERYTHING}
    good = form("AssumeRole", params)
    for _ in range(200 * SEASONS):
        body = bytearray(good)
        headers = site.signed(ROOT, good)
        for _ in range(rng.randrange(1, 5)):
            if rng.random() < 0.4:
                body[rng.randrange(len(body))] = rng.randrange(256)
                continue
            which = rng.randrange(len(headers))
            name, value = headers[which]
            cut = rng.randrange(len(value) + 1)
            headers[which] = (name, value[:cut] + rng.randbytes(rng.randrange(3)) + value[cut + rng.randrange(2) :])
        in_form(site.send("POST", headers, bytes(body)), b"/")
    assert site.log.getvalue() == ""


# --- The management API ------------------------------------------------------------------------------------------------

API_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**53, 2**63, 10**400, 1.5, "", "x", "*", ALPHA, BETA, "99999999999", "\uff11" * 12, ALPHA + "\n", "\0", "\ud800",
    "a" * 5000, [], ["*"], {}, {"": 1}, {"a" * 32: 0}, {"x": 2**63}, "session", "role", "principal", "access_key_id", "source_identity", "account",
    "sts:AssumeRole", "0" * 32, "AROA" + "A" * 17, f"arn:aws:iam::{ALPHA}:role/ops-0", ROOT[0], EVERYTHING, "1,2", "1800000000000",
    "1800000000000," + "0" * 32 + ",3", "request.denied",
)  # fmt: skip
API_FITTING: dict[str, tuple[Any, ...]] = {
    "name": ("team", "Team \u00e9"), "id": ("",), "root_key": (True, False), "subject": ("session", "role", "source_identity", "access_key"),
    "value": ("0" * 32, "AROA" + "A" * 17, "acme", "AKIANOBODYNOBODY0000"), "account": ("", BETA), "block": (True, False),
    "block_until": (None, 2_000_000_000_000), "reason": ("", "lost"), "cursor": (None, {}), "limit": (1, 100), "wait": (0, 0.0),
}  # fmt: skip
PLACES = (
    "x",
    ALPHA,
    BETA,
    "*",
    "0" * 32,
    "%00",
    "%ff",
    "..",
    "a%2fb",
    "-1",
    "0",
    "99999999999999999999",
    "%E2%84%AA",
    "a" * 200,
)


API_PLACES = {"account_id": BETA, "name": "g", "session_id": "0" * 32, "log": "0" * 32, "seq": "0"}


class ApiJunk:
    """Calls of the management API, from its own description, with anything in them."""

    def __init__(self, seed: int, description: dict[str, Any]) -> None:
        self.rng = random.Random(seed)
        self._documents = Junk(seed, {})
        self.calls = [(m.upper(), p, o) for p, methods in description["paths"].items() for m, o in methods.items()]

    def make(self, method: str, path: str, operation: dict[str, Any]) -> tuple[str, str, str, bytes]:
        rng = self.rng
        query = []
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                fitting_place = API_PLACES.get(parameter["name"], "x")
                place = fitting_place if rng.random() < 0.6 else rng.choice(PLACES)
                path = path.replace(f"{{{parameter['name']}}}", place)
            elif rng.random() < 0.3:
                value = rng.choice(API_VALUES)
                query.append((parameter["name"], value if isinstance(value, str) else json.dumps(value)))
        body = b""
        if "requestBody" in operation:
            names = list(operation["requestBody"]["content"]["application/json"]["schema"]["properties"])
            wrong = rng.choice((0.0, 0.3, 0.9))
            fitting = {**API_FITTING, "document": (self._documents.document(),)}
            sent = {n: rng.choice(API_VALUES if rng.random() < wrong else fitting.get(n, API_VALUES)) for n in names}
            for name in rng.sample(names, rng.randrange(len(names) + 1) if wrong > 0.5 else 0):
                del sent[name]
            body = rng.choice((json.dumps(sent).encode(), json.dumps(sent).encode(), soup(rng), b"", b"[" * 50_000))
        return method, path, urlencode(query, errors="surrogatepass", quote_via=quote), body


@pytest.mark.slow
def test_any_signed_call_of_the_management_api_is_answered_in_form(site: Installation) -> None:
    description = json.loads(site.send("GET", [(b"host", HOST.encode())], path=b"/api/v1/openapi.json").body)
    junk = ApiJunk(SEED, description)
    assert len(junk.calls) > 10
    bob = site.user("Bob-api")[1]
    session = site.call(ROOT, "GetSessionToken").key
    kinds: dict[int, int] = {}
    asked: set[str] = set()
    for _ in range(10 * SEASONS):
        for call in junk.calls:
            method, path, query, body = junk.make(*call)
            key = junk.rng.choice((ROOT, ROOT, session, bob, ROOT_OF_BETA))
            extra = {"content-type": "application/json"}
            headers = site.signed(key, body, "daypass", method=method, path=path, query=query, extra=extra)
            answer = site.send(method, headers, body, path=path.encode(), query=query.encode())
            assert answer.status < 500, (method, path, query, body[:500], answer)
            if answer.status >= 400:
                assert json.loads(answer.body)["error"]["code"]
            kinds[answer.status] = kinds.get(answer.status, 0) + 1
            asked.add(answer.request_id)
    recorded = {decode(data).get("request_id") for data in site.record_bytes()}
    assert asked <= recorded
    assert site.log.getvalue() == ""
    assert {200, 201, 400, 403, 404} <= set(kinds), kinds


@pytest.mark.parametrize("after", [2**63 - 1, 2**63, 10**18, 10**19, 10**100])
def test_a_place_beyond_every_number_of_a_database_has_nothing_after_it(untouched: Installation, after: int) -> None:
    """Found by the above: SQLite has 63 bits."""
    site = untouched
    headers = site.signed(
        ROOT_OF_BETA, b"", "daypass", method="GET", path="/api/v1/revocations", query=f"after={after}"
    )
    answer = site.send("GET", headers, path=b"/api/v1/revocations", query=f"after={after}".encode())
    assert answer.status == 200
    assert json.loads(answer.body)["revocations"] == []
