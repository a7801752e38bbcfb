"""The verifier without a network: revocations and their age, the stream's format, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sys
import threading
import time
import zlib
from typing import Any

import pytest
from tests.unit.crypto.rings import FixedClock, Shelf

from daypass.client.profiles import Profile
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer
from daypass.client.verifier import InvalidToken, NotCurrent, Verifier, VerifierSettings, WhenBehind, keys
from daypass.client.verifier.middleware import KEY, AsgiMiddleware, WsgiMiddleware
from daypass.client.verifier.revocations import Revocations
from daypass.client.verifier.stream import StreamEvent, events
from daypass.crypto.signing import RingSigner
from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import RevocationIndex, hop_claims, match_id
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.domain.status_list import STATUSES, encode_statuses
from daypass.wire.http import entity_tag

ISSUER, AUDIENCE, ALPHA, BETA = "https://daypass.test", "https://api.test", "111122223333", "444455556666"
NOW = 1_800_000_000
EPOCH = "0123456789abcdef"
PROFILE = Profile("http://127.0.0.1:1", "AKIA", "secret", "", "eu-central-1")


def session(position: int = 10, issued_at: int = NOW * 1000, epoch: str = EPOCH, account: str = ALPHA) -> SessionClaims:
    seen = FeedPosition(epoch, position)
    root = Hop("", account, "AIDAUSER", issued_at, seen, "AKIAUSER", "ann")
    own = Hop("ab" * 16, ALPHA, "AROAROLE", issued_at, seen, "ASIAKEY", "job", "grant-1", "client-1")
    return SessionClaims(
        SessionKind.ROLE, own.session_id, ALPHA, "AROAROLE", "arn", "job", issued_at, issued_at + 3_600_000, seen,
        (root, own), source_identity="ann@example.com",
    )  # fmt: skip


def event_of(made: Revocation) -> dict[str, Any]:
    return {"id": made.id, "match": match_id(made), "position": made.position, "issued_before": made.issued_before,
            "created_at": made.created_at}  # fmt: skip


def heartbeat(at: int = NOW * 1000, complete_until: int | None = None, *accounts: str) -> dict[str, Any]:
    until = at if complete_until is None else complete_until
    return {"epoch": EPOCH, "position": 1, "at": at, "complete_until": until, "accounts": accounts or ("*",)}


SUBJECTS = [
    ("session", "ab" * 16), ("role", "AROAROLE"), ("principal", "AIDAUSER"), ("access_key", "AKIAUSER"),
    ("access_key", "ASIAKEY"), ("source_identity", "ann@example.com"), ("account", ALPHA), ("grant", "grant-1"),
    ("client", "client-1"), ("role", "AROAOTHER"), ("principal", "AROAROLE"), ("grant", "grant-2"),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "value"), SUBJECTS)
@pytest.mark.parametrize("account", [ALPHA, BETA])
@pytest.mark.parametrize(
    ("position", "issued_before"), [(0, 0), (10, 0), (11, 0), (5, NOW * 1000), (5, NOW * 1000 + 1)]
)
@pytest.mark.parametrize("epoch", [EPOCH, "f" * 16])
def test_verifier_decides_about_revocations_as_the_server_does(
    subject: str, value: str, account: str, position: int, issued_before: int, epoch: str
) -> None:
    made = Revocation("r", account, subject, value, issued_before, NOW * 1000, position)
    index = RevocationIndex(EPOCH)
    index.add(made)
    known = Revocations()
    known.apply("revocation", event_of(made), 0.0)
    known.apply("heartbeat", heartbeat(), 0.0)
    claims = session(epoch=epoch)
    assert known.end(hop_claims(claims)) == (index.revoked(claims) is not None)


def test_revocations_age_by_the_servers_clock_and_not_by_when_they_were_read() -> None:
    known = Revocations()
    assert known.age(0.0) == float("inf")
    known.apply("heartbeat", heartbeat(1_000_000, 999_000), 50.0)
    assert known.age(50.0) == 1.0
    assert known.age(53.0) == 4.0
    known.apply("heartbeat", heartbeat(1_001_000, 1_001_000), 60.0)  # it waited nine seconds in a buffer
    assert known.age(60.0) == 9.0


def test_revocations_stay_in_use_while_the_stream_connects_again() -> None:
    known = Revocations()
    known.apply("heartbeat", heartbeat(1_000_000), 50.0)
    known.connected()
    assert known.age(52.0) == 2.0
    known.apply("heartbeat", heartbeat(1_002_000), 53.0)  # of another server, whose clock is a second behind
    assert known.age(53.0) == 0.0
    assert known.age(54.5) == 1.5


def test_revocations_start_over_with_a_reset() -> None:
    known = Revocations()
    known.apply("revocation", event_of(Revocation("r", ALPHA, "account", ALPHA, 0, NOW * 1000, 0)), 0.0)
    known.apply("heartbeat", heartbeat(), 0.0)
    known.apply("reset", {}, 2.0)
    assert (known.end(hop_claims(session())), known.age(2.0)) == (True, 2.0)  # until all that there are have come
    known.apply("revocation", event_of(Revocation("s", BETA, "account", BETA, 0, NOW * 1000, 0)), 2.0)
    known.apply("heartbeat", heartbeat(NOW * 1000 + 2000), 2.0)
    assert (known.end(hop_claims(session())), len(known)) == (False, 1)


def test_revocations_of_a_reset_that_was_cut_off_are_not_used() -> None:
    known = Revocations()
    known.apply("revocation", event_of(Revocation("r", ALPHA, "account", ALPHA, 0, NOW * 1000, 0)), 0.0)
    known.apply("heartbeat", heartbeat(), 0.0)
    known.apply("reset", {}, 0.0)
    known.connected()
    known.apply("heartbeat", heartbeat(), 0.0)
    assert known.end(hop_claims(session()))


def test_revocations_that_end_no_session_any_more_are_dropped() -> None:
    known = Revocations()
    known.apply("revocation", event_of(Revocation("r", ALPHA, "account", ALPHA, 0, 0, 5)), 0.0)
    known.apply("heartbeat", heartbeat(4 * 24 * 3_600_000), 0.0)
    assert len(known) == 0


def test_a_revocation_is_replaced_by_its_later_form() -> None:
    known = Revocations()
    for position in (0, 4):
        known.apply("revocation", event_of(Revocation("r", ALPHA, "account", ALPHA, 0, 0, position)), 0.0)
    known.apply("heartbeat", heartbeat(), 0.0)
    assert not known.end(hop_claims(session(position=10)))


def test_events_are_parsed_as_the_standard_says() -> None:
    lines = [b": comment\n", b"event: a\n", b"data: 1\n", b"data:2\n", b"id: x\r\n", b"\n", b"data\n", b"\n", b"\n",
             b"data: 3\n", b"\n"]  # fmt: skip
    assert list(events(lines)) == [
        StreamEvent("a", "1\n2", "x"),
        StreamEvent("message", "", "x"),
        StreamEvent("message", "3", "x"),
    ]
    with pytest.raises(ValueError, match="too long"):
        list(events([b"data: " + b"x" * 70_000]))


# --- Tokens


class World:
    """A server of paper: its keys, its lists, and its answer to introspection."""

    def __init__(self, when_behind: WhenBehind = WhenBehind.REFUSE, accounts: tuple[str, ...] = ()) -> None:
        self.now = float(NOW)
        self.mono = 0.0
        shelf = Shelf().fill()
        rings = shelf.rings()
        rings.adopt(shelf.keys)
        self.signer = RingSigner(rings, FixedClock(), ("ES256", "EdDSA"))
        self.introspection: dict[str, Any] | None = None
        self.lst, self.listed_at = encode_statuses([], 64), NOW
        self.down = False
        self.asked: list[str] = []
        settings = VerifierSettings(ISSUER, AUDIENCE, PROFILE, accounts, when_behind=when_behind)
        self.verifier = Verifier(settings, clock=lambda: self.now, monotonic=lambda: self.mono, transport=self.answer)

    def answer(self, request: ClientRequest, _: float) -> ClientResponse:
        self.asked.append(request.target)
        if self.down:
            raise NoAnswer("unreachable")
        if request.target == "/.well-known/jwks.json":
            return ClientResponse(200, {}, self.signer.jwks())
        if request.target.startswith("/statuslists/"):
            held = {"sub": ISSUER + request.target, "iat": self.listed_at, "exp": NOW + 100, "ttl": 10,
                    "status_list": {"bits": 1, "lst": self.lst}}  # fmt: skip
            return ClientResponse(200, {}, self.signer.sign(held, "ES256", "statuslist+jwt").encode())
        if self.introspection is None:
            raise NoAnswer("unreachable")
        return ClientResponse(200, {}, json.dumps(self.introspection).encode())

    def claims(self, of: SessionClaims | None = None, **more: Any) -> dict[str, Any]:
        hops = hop_claims(of or session())
        return {"iss": ISSUER, "aud": AUDIENCE, "sub": "AROAROLE:job", "iat": NOW, "exp": NOW + 600, "scope": "read",
                "urn:daypass:session": {"id": "ab" * 16, "account": ALPHA, "hops": hops},
                "status": {"status_list": {"uri": f"{ISSUER}/statuslists/x-0", "idx": 3}}, **more}  # fmt: skip

    def token(self, algorithm: str = "ES256", typ: str = "at+jwt", **more: Any) -> str:
        return self.signer.sign(self.claims(**more), algorithm, typ)

    def beat(self, *accounts: str, keys: str = "") -> None:
        data = heartbeat(int((NOW + self.mono) * 1000), None, *accounts) | {"keys": keys}
        self.verifier.revocations.apply("heartbeat", data, self.mono)

    def rotate(self) -> str:
        """Replaces the keys; the entity tag of the new ones."""
        shelf = Shelf().fill()
        rings = shelf.rings()
        rings.adopt(shelf.keys)
        self.signer = RingSigner(rings, FixedClock(), ("ES256", "EdDSA"))
        return entity_tag(self.signer.jwks()).decode().strip('"')


@pytest.fixture
def world() -> World:
    made = World()
    made.beat()
    return made


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_verify_of_a_valid_token_returns_its_claims(world: World, algorithm: str) -> None:
    verified = world.verifier.verify(world.token(algorithm))
    assert (verified.subject, verified.scope, verified.expires_at) == ("AROAROLE:job", ("read",), NOW + 600)
    world.verifier.verify(world.token(algorithm))
    assert world.asked.count("/.well-known/jwks.json") == 1


@pytest.mark.parametrize(
    "more",
    [{"iss": "https://evil.test"}, {"aud": "https://other.test"}, {"aud": ["a", "b"]}, {"exp": NOW}, {"exp": "9" * 12},
     {"exp": True}, {"iat": NOW + 31}, {"nbf": NOW + 31}, {"sub": None}, {"urn:daypass:session": "x"},
     {"urn:daypass:session": {}}, {"urn:daypass:session": {"hops": [["a"]]}}],
)  # fmt: skip
def test_verify_of_a_token_with_a_wrong_claim_is_refused(world: World, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        world.verifier.verify(world.token(**more))


def test_verify_of_a_token_that_the_issuer_has_not_signed_is_refused(world: World) -> None:
    good = world.token()
    head, body, signature = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    forged = [
        World().token(), f"{head}.{body}.", f"{none}.{body}.", f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}",
        good + "=", "", "é", world.token(typ="statuslist+jwt"), world.token(typ="jwt"), f"{head}.{head}.{signature}",
    ]  # fmt: skip
    for text in forged:
        with pytest.raises(InvalidToken):
            world.verifier.verify(text)
    assert world.asked.count("/.well-known/jwks.json") <= 2, "unknown keys cause no further fetches at once"


def test_verify_refuses_a_key_that_the_issuer_has_ended_even_for_a_known_token(world: World) -> None:
    """After an emergency rotation somebody else may have the old key, and can write any hops."""
    forged = world.token()
    world.verifier.verify(forged)
    tag = world.rotate()
    world.verifier.verify(forged)  # nothing says yet that the keys have changed
    world.mono += 1.5
    world.beat(keys=tag)
    with pytest.raises(InvalidToken, match="key of the issuer"):
        world.verifier.verify(forged)
    world.verifier.verify(world.token())
    world.verifier.verify(world.token())
    assert world.asked.count("/.well-known/jwks.json") == 2


@pytest.mark.parametrize("when", WhenBehind)
def test_verify_while_changed_keys_cannot_be_fetched_fails_closed(when: WhenBehind) -> None:
    world = World(when)
    world.beat()
    token = world.token()
    world.verifier.verify(token)
    world.mono += 1.5
    world.beat(keys=world.rotate())
    world.down = True
    for _ in range(2):
        with pytest.raises(NotCurrent):
            world.verifier.verify(token)
    assert world.asked.count("/.well-known/jwks.json") == 2, "it is tried once in a second"


def test_verify_introspects_a_token_whose_keys_cannot_be_fetched_if_configured() -> None:
    world = World(WhenBehind.INTROSPECT)
    world.beat()
    token = world.token()
    world.signer = World().signer
    world.verifier.keys._fetch = _unreachable
    world.introspection = {"active": True, **world.claims()}
    assert world.verifier.verify(token).subject == "AROAROLE:job"
    assert world.asked == ["/oauth2/introspect"]


def _unreachable() -> bytes:
    raise OSError("no answer")


def test_verify_of_unknown_keys_while_the_issuer_does_not_answer_does_not_delay_a_good_token(world: World) -> None:
    world.verifier.verify(world.token())
    fetching, go_on = threading.Event(), threading.Event()
    keys_fetched = world.verifier.keys._fetch

    def hang() -> bytes:
        fetching.set()
        assert go_on.wait(20)
        raise OSError("no answer")

    world.verifier.keys._fetch = hang
    world.mono += 1.5
    forged = World().token()
    outcome: list[BaseException] = []

    def verify_forged() -> None:
        try:
            world.verifier.verify(forged)
        except NotCurrent as error:
            outcome.append(error)

    threads = [threading.Thread(target=verify_forged) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert fetching.wait(20)
    world.verifier.verify(world.token(sub="another"))  # it would wait for ever
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(outcome) == 3
    world.verifier.keys._fetch = keys_fetched


def test_verify_on_a_machine_whose_clock_is_behind_accepts_no_expired_token(world: World) -> None:
    token = world.token(exp=NOW + 10)
    world.now = NOW - 25.0
    world.verifier.verify(token)
    world.mono += 4.0
    world.verifier.verify(token)
    world.verifier.revocations.apply("heartbeat", heartbeat((NOW + 10) * 1000), world.mono)
    with pytest.raises(InvalidToken, match="expired"):
        world.verifier.verify(token)


def test_verify_without_credentials_fails_closed(world: World) -> None:
    def broken() -> Profile:
        raise RuntimeError("no credentials")

    for when in WhenBehind:
        verifier = Verifier(VerifierSettings(ISSUER, AUDIENCE, broken, when_behind=when), transport=world.answer)
        with pytest.raises(NotCurrent, match="no credentials"):
            verifier.verify(world.token())


def test_follower_goes_on_after_credentials_that_cannot_be_had() -> None:
    called = threading.Semaphore(0)

    def broken() -> Profile:
        called.release()
        raise RuntimeError("no credentials")

    verifier = Verifier(VerifierSettings(ISSUER, AUDIENCE, broken)).start()
    try:
        for _ in range(3):
            assert called.acquire(timeout=20)
    finally:
        verifier.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="it reads a clock of Linux")
def test_age_of_revocations_counts_the_time_in_which_the_machine_sleeps() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    now = Verifier(VerifierSettings(ISSUER, AUDIENCE, PROFILE)).monotonic()
    assert before <= now <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_verify_of_a_revoked_token_is_refused_even_after_it_was_accepted(world: World) -> None:
    token = world.token()
    world.verifier.verify(token)
    world.verifier.revocations.apply("revocation", event_of(Revocation("r", ALPHA, "role", "AROAROLE", 0, 0, 11)), 0.0)
    with pytest.raises(InvalidToken, match="revoked"):
        world.verifier.verify(token)


def test_verify_fails_closed_when_the_revocations_are_older_than_the_limit(world: World) -> None:
    token = world.token()
    world.verifier.verify(token)
    world.mono = 5.5
    with pytest.raises(NotCurrent):
        world.verifier.verify(token)
    unconnected = World()
    with pytest.raises(NotCurrent):
        unconnected.verifier.verify(unconnected.token())


def test_verify_introspects_when_behind_if_configured() -> None:
    world = World(WhenBehind.INTROSPECT, (ALPHA,))
    token = world.token()
    with pytest.raises(NotCurrent, match="introspected"):
        world.verifier.verify(token)
    world.introspection = {"active": True, **world.claims()}
    assert world.verifier.verify(token).subject == "AROAROLE:job"
    world.introspection = {"active": False}
    with pytest.raises(InvalidToken):
        world.verifier.verify(token)


@pytest.mark.parametrize(
    ("accounts", "followed", "refused"),
    [((), ALPHA, False), ((), BETA, True), ((BETA,), ALPHA, True), ((BETA, ALPHA), BETA, False), (("*",), BETA, False)],
)
def test_verify_of_a_token_of_an_account_that_is_not_served_is_refused(
    accounts: tuple[str, ...], followed: str, *, refused: bool
) -> None:
    world = World(accounts=accounts)
    world.beat(followed)
    if refused:
        with pytest.raises(InvalidToken, match="not served"):
            world.verifier.verify(world.token())
    else:
        assert world.verifier.verify(world.token()).session["account"] == ALPHA


def test_verify_of_a_chain_through_an_account_that_is_not_followed_uses_the_status_list(world: World) -> None:
    world.beat(ALPHA)
    token = world.token(of=session(account=BETA))
    world.verifier.verify(token)
    assert "/statuslists/x-0" in world.asked
    world.mono, world.lst, world.listed_at = 5.0, encode_statuses([3], 64), NOW + 1
    with pytest.raises(InvalidToken, match="revoked"):
        world.verifier.verify(token)
    world.beat(ALPHA)
    world.now += 32.0
    with pytest.raises(NotCurrent, match="too old"):
        world.verifier.verify(token)


@pytest.mark.parametrize(
    "status", [None, {}, {"status_list": {"uri": "https://evil.test/statuslists/x-0", "idx": 3}},
               {"status_list": {"uri": f"{ISSUER}/statuslists/x-0", "idx": 64}}]
)  # fmt: skip
def test_verify_with_a_status_list_that_cannot_be_used_fails_closed(world: World, status: Any) -> None:
    world.beat(ALPHA)
    with pytest.raises(NotCurrent):
        world.verifier.verify(world.token(of=session(account=BETA), status=status))


def test_verify_with_an_older_copy_of_a_status_list_keeps_the_newer_one(world: World) -> None:
    world.lst, world.listed_at = encode_statuses([3], 64), NOW + 1
    world.beat(ALPHA)
    token = world.token(of=session(account=BETA))
    for lst, listed_at in ((world.lst, NOW + 1), (encode_statuses([], 64), NOW), (encode_statuses([], 64), NOW + 1)):
        world.lst, world.listed_at = lst, listed_at
        with pytest.raises(InvalidToken, match="revoked"):
            world.verifier.verify(token)
        world.mono += 5.0
        world.beat(ALPHA)
    assert world.asked.count("/statuslists/x-0") == 3


def test_verify_reads_a_full_status_list_of_which_half_is_revoked(world: World) -> None:
    scattered = random.Random(1).sample(range(4, STATUSES), STATUSES // 2)
    world.lst = encode_statuses(scattered, STATUSES)
    world.beat(ALPHA)
    world.verifier.verify(world.token(of=session(account=BETA)))


def test_verify_while_lists_cannot_be_fetched_tries_once_in_a_second(world: World) -> None:
    world.beat(ALPHA)
    token = world.token(of=session(account=BETA))
    world.verifier.verify(world.token())
    world.down = True
    for _ in range(3):
        with pytest.raises(NotCurrent):
            world.verifier.verify(token)
    assert world.asked.count("/statuslists/x-0") == 1


def test_verify_refuses_a_list_that_inflates_without_end(world: World) -> None:
    world.beat(ALPHA)
    bomb = zlib.compress(bytes(4_000_000))
    world.lst = base64.urlsafe_b64encode(bomb).rstrip(b"=").decode()
    with pytest.raises(NotCurrent, match="too large"):
        world.verifier.verify(world.token(of=session(account=BETA)))


def test_verify_without_a_signature_library_introspects_each_token_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "AVAILABLE", False)
    token = world.token()
    with pytest.raises(NotCurrent):
        world.verifier.verify(token)
    world.introspection = {"active": True, **world.claims()}
    world.verifier.verify(token)
    world.verifier.verify(token)
    assert world.asked == ["/oauth2/introspect"] * 2
    world.verifier.revocations.apply("revocation", event_of(Revocation("r", ALPHA, "role", "AROAROLE", 0, 0, 11)), 0.0)
    with pytest.raises(InvalidToken, match="revoked"):
        world.verifier.verify(token)


# --- Middleware


def asked(world: World, authorization: str | None, scope: str = "") -> tuple[int, dict[str, str], Any]:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ[KEY])
        start_response("200 OK", [])
        return [b"ok"]

    started: list[Any] = []
    environ = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
    WsgiMiddleware(app, world.verifier, scope)(environ, lambda *given: started.append(given))
    return int(started[0][0][:3]), dict(started[0][1]), seen


def test_wsgi_middleware_lets_only_valid_tokens_through(world: World) -> None:
    status, _, seen = asked(world, f"Bearer {world.token()}")
    assert (status, seen[0].subject) == (200, "AROAROLE:job")
    for authorization, expected in (
        (None, 401),
        ("Basic x", 401),
        ("Bearer x", 401),
        (f"Bearer {world.token(exp=1)}", 401),
    ):
        status, headers, seen = asked(world, authorization)
        assert (status, seen) == (expected, [])
        assert headers["www-authenticate"].startswith("Bearer")
    assert asked(world, f"Bearer {world.token()}", "write")[0] == 403
    world.mono = 10.0
    assert asked(world, f"Bearer {world.token()}")[0] == 503


@pytest.mark.parametrize(("kind", "expected"), [("http", 401), ("websocket", 0), ("lifespan", None)])
def test_asgi_middleware_lets_only_valid_tokens_through(world: World, kind: str, expected: int | None) -> None:
    served: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, _: Any, __: Any) -> None:
        served.append(scope.get(KEY))

    async def send(message: Any) -> None:
        sent.append(message)

    middleware = AsgiMiddleware(app, world.verifier)
    asyncio.run(middleware({"type": kind, "headers": []}, None, send))
    assert served == ([None] if expected is None else [])
    if expected:
        assert sent[0]["status"] == expected
    header = (b"authorization", f"Bearer {world.token()}".encode())
    asyncio.run(middleware({"type": "http", "headers": [header]}, None, send))
    assert served[-1].subject == "AROAROLE:job"
