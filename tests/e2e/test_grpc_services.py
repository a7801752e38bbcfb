"""The verifier in front of gRPC servers of both kinds, with a stock client, and what it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.e2e.test_policies import World, until, world
from tests.issuer import b64
from tests.unit.client.test_verifier import AUDIENCE as PAPER_AUDIENCE
from tests.unit.client.test_verifier import World as Paper
from tests.unit.client.test_verifier_holder import Key
from tests.x509 import Authority, Holder

from daypass.client.verifier.grpc import AsyncVerifierInterceptor, VerifierInterceptor, current
from daypass.client.verifier.policy import Policies

__all__ = ["world"]
pytestmark = pytest.mark.slow
PUBLIC = "/grpc.health.v1.Health/Check"


class Orders:
    """The service. `ran`: the methods that were reached."""

    def __init__(self, policies: Policies) -> None:
        self.policies, self.ran = policies, list[str]()

    def get(self, order: bytes, context: Any) -> bytes:
        self.ran.append("Get")
        if not self.policies.allows(current(), "orders:Read", order.decode()):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "policies do not allow it")
        return current().subject.encode()

    def follow(self, _: bytes, __: Any) -> Iterator[bytes]:
        self.ran.append("Follow")
        yield current().subject.encode()
        yield current().subject.encode()

    def join(self, orders: Iterator[bytes], _: Any) -> bytes:
        self.ran.append("Join")
        return b",".join(orders) + b" " + current().subject.encode()

    def health(self, _: bytes, __: Any) -> bytes:
        with pytest.raises(LookupError):
            current()
        return b"ok"

    async def get_later(self, order: bytes, context: Any) -> bytes:
        self.ran.append("Get")
        if not await asyncio.to_thread(self.policies.allows, current(), "orders:Read", order.decode()):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "policies do not allow it")
        return current().subject.encode()

    async def follow_later(self, _: bytes, __: Any) -> Any:
        self.ran.append("Follow")
        yield current().subject.encode()
        yield current().subject.encode()

    async def join_later(self, orders: Any, _: Any) -> bytes:
        self.ran.append("Join")
        return b",".join([each async for each in orders]) + b" " + current().subject.encode()

    async def health_later(self, request: bytes, context: Any) -> bytes:
        return self.health(request, context)

    def handlers(self, suffix: str = "") -> tuple[Any, Any]:
        methods = {
            "Get": grpc.unary_unary_rpc_method_handler(getattr(self, f"get{suffix}")),
            "Follow": grpc.unary_stream_rpc_method_handler(getattr(self, f"follow{suffix}")),
            "Join": grpc.stream_unary_rpc_method_handler(getattr(self, f"join{suffix}")),
        }
        health = {"Check": grpc.unary_unary_rpc_method_handler(getattr(self, f"health{suffix}"))}
        service, public = PUBLIC[1:].split("/")
        assert public in health
        return grpc.method_handlers_generic_handler("orders.Orders", methods), grpc.method_handlers_generic_handler(
            service, health
        )


def listen(server: Any, credentials: Any) -> int:
    if credentials is None:
        return int(server.add_insecure_port("127.0.0.1:0"))
    return int(server.add_secure_port("127.0.0.1:0", credentials))


@contextmanager
def threads(world: World | Paper, orders: Orders, credentials: Any = None) -> Iterator[int]:
    interceptor = VerifierInterceptor(world.verifier, scope="all", public={PUBLIC})
    server = grpc.server(ThreadPoolExecutor(2), orders.handlers(), interceptors=[interceptor])
    port = listen(server, credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(20)


@contextmanager
def tasks(world: World | Paper, orders: Orders, credentials: Any = None) -> Iterator[int]:
    ports, loop, stopped = list[int](), asyncio.new_event_loop(), asyncio.Event()
    ready = threading.Event()

    async def serve() -> None:
        interceptor = AsyncVerifierInterceptor(world.verifier, scope="all", public={PUBLIC})
        server = grpc.aio.server(None, orders.handlers("_later"), interceptors=[interceptor])
        ports.append(listen(server, credentials))
        await server.start()
        ready.set()
        await stopped.wait()
        await server.stop(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


class Client:
    def __init__(self, port: int, orders: Orders, credentials: Any = None) -> None:
        place = f"localhost:{port}"
        self._channel = grpc.secure_channel(place, credentials) if credentials else grpc.insecure_channel(place)
        self.orders = orders

    def call(self, name: str, *messages: bytes, metadata: Any = ()) -> Any:
        given: Any = {"metadata": list(metadata.items() if isinstance(metadata, Mapping) else metadata), "timeout": 30}
        if name == "Follow":
            return list(self._channel.unary_stream("/orders.Orders/Follow")(messages[0], **given))
        if name == "Join":
            return self._channel.stream_unary("/orders.Orders/Join")(iter(messages), **given)
        path = name if name.startswith("/") else f"/orders.Orders/{name}"
        return self._channel.unary_unary(path)(messages[0], **given)

    def refusal(self, name: str, *messages: bytes, metadata: Any = ()) -> tuple[str, dict[str, str]]:
        with pytest.raises(grpc.RpcError) as raised:
            self.call(name, *messages, metadata=metadata)
        return raised.value.code().name, dict(raised.value.trailing_metadata() or ())

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(scope="module", params=[threads, tasks], ids=["threads", "tasks"])
def client(request: pytest.FixtureRequest, world: World) -> Iterator[Client]:
    policies = Policies(world.verifier, "orders").start()
    orders = Orders(policies)
    with request.param(world, orders) as port:
        made = Client(port, orders)
        yield made
        made.close()
    policies.stop()


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_call_with_a_token_knows_its_sender_and_is_decided_by_policies(client: Client, world: World) -> None:
    text = world.text()
    subject = world.verifier.verify(text).subject.encode()
    assert client.call("Get", b"order/7", metadata=bearer(text)) == subject
    assert client.call("Follow", b"", metadata=bearer(text)) == [subject, subject]
    assert client.call("Join", b"1", b"2", metadata=bearer(text)) == b"1,2 " + subject
    assert client.call(PUBLIC, b"") == b"ok"
    assert client.refusal("Get", b"invoice/7", metadata=bearer(text))[0] == "PERMISSION_DENIED"
    assert client.refusal("Nothing", b"", metadata=bearer(text))[0] == "UNIMPLEMENTED"


def test_a609_call_without_a_valid_token_reaches_no_method(client: Client, world: World) -> None:
    text = world.text()
    client.orders.ran.clear()
    two = [("authorization", f"Bearer {text}"), ("authorization", f"Bearer {text}")]
    refused = {
        "none": {},
        "altered": bearer(text[:-4] + "AAAA"),
        "for another service": bearer(world.text_for("https://other.example")),
        "another scheme": {"authorization": f"Basic {text}"},
        "no scheme": {"authorization": text},
        "two": two,
        "as DPoP": {"authorization": f"DPoP {text}"},
    }
    for name in ("Get", "Follow", "Join"):
        for why, metadata in refused.items():
            code, trailing = client.refusal(name, b"order/7", metadata=metadata)
            assert (why, code) == (why, "UNAUTHENTICATED")
            assert "www-authenticate" in trailing
    code, trailing = client.refusal("Get", b"order/7", metadata=bearer(world.text("first")))
    assert (code, "insufficient_scope" in trailing["www-authenticate"]) == ("PERMISSION_DENIED", True)
    assert client.orders.ran == []


def test_revoked_token_is_refused_within_a_second(client: Client, world: World) -> None:
    text = world.text()
    assert client.call("Get", b"order/7", metadata=bearer(text))
    session = world.verifier.verify(text).session["id"]
    world.server.api("POST", "/revocations", body={"subject": "session", "value": session})
    until(lambda: not _serves(client, text))
    assert client.refusal("Get", b"order/7", metadata=bearer(text))[0] == "UNAUTHENTICATED"


def _serves(client: Client, text: str) -> bool:
    try:
        client.call("Get", b"order/7", metadata=bearer(text))
    except grpc.RpcError:
        return False
    return True


@pytest.mark.parametrize("serve", [threads, tasks])
def test_a609_bound_token_takes_a_proof_of_its_key_or_its_certificate(serve: Any) -> None:
    paper, key, authority = Paper(), Key(), Authority.make(at=datetime.now(UTC))
    paper.beat()
    server, own, other = (
        authority.host("O=Acme/CN=localhost", sans=[x509.DNSName("localhost")], at=datetime.now(UTC)) for _ in range(3)
    )

    def pair(holder: Holder) -> tuple[bytes, bytes]:
        private = holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return private, holder.pem.encode()

    ca, orders = authority.pem.encode(), Orders(None)  # type: ignore[arg-type]  # Join is not decided by policies
    to_key = paper.token(scope="all", cnf=key.cnf)
    to_certificate = paper.token(scope="all", cnf={"x5t#S256": b64(hashlib.sha256(own.der).digest())})
    path = "/orders.Orders/Join"

    def proven(token: str, **changes: Any) -> dict[str, str]:
        proof = key.proof(token, **{"htm": "POST", "htu": f"{PAPER_AUDIENCE}{path}", **changes})
        return {"authorization": f"DPoP {token}", "dpop": proof}

    with serve(paper, orders, grpc.ssl_server_credentials([pair(server)], ca, require_client_auth=True)) as port:
        mine, another = (Client(port, orders, grpc.ssl_channel_credentials(ca, *pair(each))) for each in (own, other))
        assert mine.call("Join", b"1", metadata=bearer(to_certificate)).startswith(b"1 ")
        assert another.call("Join", b"1", metadata=proven(to_key, jti="first")).startswith(b"1 ")
        orders.ran.clear()
        for client, metadata in (
            (another, bearer(to_certificate)),
            (mine, bearer(to_key)),
            (mine, proven(to_key, jti="first")),  # a second time
            (mine, proven(to_key, jti="a", htm="GET")),
            (mine, proven(to_key, jti="b", htu=f"{PAPER_AUDIENCE}/orders.Orders/Get")),
            (mine, {**proven(to_key, jti="c"), "authorization": f"Bearer {to_key}"}),
            (mine, [*proven(to_key, jti="d").items(), ("dpop", proven(to_key, jti="e")["dpop"])]),
        ):
            code, trailing = client.refusal("Join", b"1", metadata=metadata)
            assert (code, "www-authenticate" in trailing) == ("UNAUTHENTICATED", True)
        assert orders.ran == []
        mine.close(), another.close()
