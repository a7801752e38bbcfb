"""The fetcher against whoever may name a URL, answer a name, or stand behind an address (server-side request forgery)."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

import pytest
from tests.fake_network import PUBLIC, FakeNetwork, http
from tests.patience import SECONDS
from tests.unit.federation.keys_world import KeyWorld, oidc

from daypass.domain.errors import DaypassError
from daypass.federation.client_proofs import ClientDocuments
from daypass.federation.fetch import Bounds, Fetched, Fetcher, FetchError, FetchReason, Order
from daypass.federation.network import refused

URL = "https://ci.example.com/jwks"
OTHER = "444455556666"


def fetcher(network: FakeNetwork, **bounds: Any) -> Fetcher:
    return Fetcher(Bounds(**{"seconds": 10, "max_bytes": 10_000, **bounds}), network)


async def fetch(network: FakeNetwork, url: str = URL, bounds: dict[str, Any] | None = None, **order: Any) -> Fetched:
    return await fetcher(network, **(bounds or {})).fetch(Order(url, **order))


async def reason(
    network: FakeNetwork, url: str = URL, bounds: dict[str, Any] | None = None, **order: Any
) -> FetchReason:
    with pytest.raises(FetchError) as failed:
        await fetch(network, url, bounds, **order)
    assert all(writer.aborted == 1 for writer in network.writers)  # no connection is left open
    return failed.value.reason


NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "fd00:ec2::254",
    "fd20:ce::254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fe80::1",
    "fe80::1%eth0",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
    "255.255.255.255",
    "240.0.0.1",
    "fec0::1",
    "not an address",
    "",
]
PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("100.64.0.1", "198.18.0.1", "fd12:3456::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
]
NOWHERE = [
    *("192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1", "2002:7f00:1::", "2001:0:7f00:1::", "::7f00:1"),
    *("64:ff9b:1::a00:1", "3fff::1", "4000::1", "5f00::1"),
]
ANYWHERE = [
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:2800:220:1::1",
    "::ffff:93.184.216.34",
    "64:ff9b::5db8:d822",
]


@pytest.mark.parametrize("address", NEVER)
def test_address_of_metadata_or_no_host_refused_even_where_private_is_allowed(address: str) -> None:
    assert refused(address, allow_private=False)
    assert refused(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_refused_unless_allowed(address: str) -> None:
    assert refused(address, allow_private=False)
    assert not refused(address, allow_private=True)


@pytest.mark.parametrize("address", NOWHERE)
def test_unrouted_address_refused(address: str) -> None:
    assert refused(address, allow_private=True)


@pytest.mark.parametrize("address", ANYWHERE)
def test_public_address_allowed(address: str) -> None:
    assert not refused(address, allow_private=False)


async def test_fetch_of_good_answer_returns_it_and_closes() -> None:
    network = FakeNetwork(
        {URL: http({"keys": []}, cache_control="public, max-age=600", date="Sun, 06 Nov 1994 08:49:37 GMT")}
    )
    assert await fetch(network) == (b'{"keys": []}', 600, 784111777000)
    assert network.connected == [(PUBLIC, 443, "ci.example.com")]
    assert network.writers[0].aborted == 1
    assert b"authorization" not in network.requests[0].lower()


@pytest.mark.parametrize("found", [*[[address] for address in (*NEVER[:9], *PRIVATE)], ["93.184.216.34", "10.0.0.1"]])
async def test_name_that_is_known_internally_reads_as_one_that_is_unknown(found: list[str]) -> None:
    """`GetProviderKeys` shows the error to the account: it must not tell which names this network knows."""
    said = []
    for addresses in ([], found):
        with pytest.raises(FetchError) as refusal:
            await fetch(FakeNetwork(names={"ci.example.com": addresses}))
        said.append(str(refusal.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("address", [*NEVER[:9], *PRIVATE[:5]])
async def test_fetch_of_name_in_refused_range_connects_nowhere(address: str) -> None:
    network = FakeNetwork({URL: http({})}, {"ci.example.com": [address]})
    assert await reason(network) is FetchReason.ADDRESS
    assert network.connected == []


async def test_fetch_of_name_with_one_bad_address_among_good_connects_nowhere() -> None:
    network = FakeNetwork({URL: http({})}, {"ci.example.com": [PUBLIC, "127.0.0.1"]})
    assert await reason(network) is FetchReason.ADDRESS
    assert network.connected == []


async def test_dns_rebinding_between_check_and_connect_changes_nothing() -> None:
    network = FakeNetwork({URL: http({"keys": []})}, {"ci.example.com": [[PUBLIC], ["169.254.169.254"]]})
    await fetch(network)
    assert network.looked_up["ci.example.com"] == 1  # what was judged is what is connected to
    assert network.connected == [(PUBLIC, 443, "ci.example.com")]
    assert await reason(network) is FetchReason.ADDRESS
    assert len(network.connected) == 1


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "[::1]"])
async def test_number_in_disguise_is_judged_by_what_it_resolves_to(host: str) -> None:
    network = FakeNetwork({}, {host.strip("[]"): ["127.0.0.1"]})
    assert await reason(network, f"https://{host}/jwks") is FetchReason.ADDRESS
    assert network.connected == []


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
async def test_redirect_to_private_address_is_not_followed(status: str) -> None:
    network = FakeNetwork({URL: http({}, status, location="http://169.254.169.254/latest/meta-data/")})
    assert await reason(network) is FetchReason.REDIRECT
    assert network.asked == [URL]


@pytest.mark.parametrize(
    "url",
    [
        "http://ci.example.com/jwks",
        "HTTP://ci.example.com/jwks",
        "file:///etc/passwd",
        "gopher://ci.example.com/",
        "ftp://ci.example.com/",
        "//ci.example.com/",
        "https://",
        "https:///jwks",
        "https://user:pass@ci.example.com/",
        "https://ci.example.com@169.254.169.254/",
        "https://ci.example.com#@169.254.169.254/",
        "https://169.254.169.254\\@ci.example.com/",
        "https://ci.example.com:0/",
        "https://ci.example.com:65536/",
        "https://ci.example.com:１/",
        "https://ci.example.com/\r\nX-Injected: 1",
        "https://ci.example.com/a b",
        "https://ci.example.com/\x00",
        "https://cı.example.com/",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://-/",
        "https://ci.example.com/" + "a" * 2048,
    ],
)
async def test_url_that_is_not_plain_https_touches_no_network(url: str) -> None:
    network = FakeNetwork()
    assert await reason(network, url) is FetchReason.URL
    assert not network.looked_up


async def test_http_only_where_that_issuer_may() -> None:
    network = FakeNetwork({"http://127.0.0.1:8080/jwks": http({"keys": []})}, {"127.0.0.1": ["127.0.0.1"]})
    url = "http://127.0.0.1:8080/jwks"
    assert await reason(network, url, allow_private=True) is FetchReason.URL
    assert await reason(network, url, allow_http=True) is FetchReason.ADDRESS
    assert (await fetch(network, url, allow_http=True, allow_private=True)).body == b'{"keys": []}'


BODIES = {
    "a length over the limit": (http(b"1" * 10_001), FetchReason.SIZE),
    "no length, too much": (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + b"1" * 10_001,
        FetchReason.SIZE,
    ),
    "chunks, too much": (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        + (b"7d0\r\n" + b"1" * 2000 + b"\r\n") * 6
        + b"0\r\n\r\n",
        FetchReason.SIZE,
    ),
    "gzip that nobody asked for": (http(gzip.compress(b"0" * 9_999_999), content_encoding="gzip"), FetchReason.CONTENT),
    "a length that is a lie": (http(b"{}").replace(b"length: 2", b"length: 9"), FetchReason.PROTOCOL),
    "two lengths": (http(b"{}", content_length="3"), FetchReason.PROTOCOL),
    "a web page": (http(b"<html>", kind="text/html; charset=utf-8"), FetchReason.CONTENT),
    "no type": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", FetchReason.CONTENT),
    "an error": (http({"keys": []}, "503 Service Unavailable"), FetchReason.STATUS),
    "no content": (http(b"", "204 No Content"), FetchReason.STATUS),
    "a huge head": (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n", FetchReason.PROTOCOL),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", FetchReason.PROTOCOL),
    "nothing": (b"", FetchReason.PROTOCOL),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        FetchReason.PROTOCOL,
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_answer_that_is_too_much_or_something_else_is_refused(name: str) -> None:
    page, why = BODIES[name]
    assert await reason(FakeNetwork({URL: page})) is why


@pytest.mark.parametrize("slow", ["name", "connection", "answer"])
async def test_slow_issuer_is_given_up_in_time(slow: str) -> None:
    pages: dict[str, Any] = {URL: "hang"} if slow == "answer" else {"https://ci.example.com": "hang"}
    network = FakeNetwork(pages, {"ci.example.com": "hang"} if slow == "name" else {})
    began = time.monotonic()
    assert await reason(network, bounds={"seconds": 0.2}) is FetchReason.TIMEOUT
    assert 0.15 < time.monotonic() - began < SECONDS  # it would hang for ever


async def test_dead_addresses_leave_time_for_one_of_the_other_family() -> None:
    names = {"ci.example.com": ["2606:2800:220:1::1", "2606:2800:220:1::2", "93.184.216.34", "93.184.216.35"]}
    network = FakeNetwork({URL: http({"keys": []})}, names)
    network.dead = {"2606:2800:220:1::1", "2606:2800:220:1::2"}
    assert (await fetch(network, bounds={"seconds": 1})).body == b'{"keys": []}'
    assert [address for address, _, _ in network.connected] == ["2606:2800:220:1::1", "93.184.216.34"]
    network.dead = set(names["ci.example.com"])
    assert await reason(network, bounds={"seconds": 0.2}) is FetchReason.TIMEOUT


async def test_slow_issuer_of_one_account_holds_up_no_other() -> None:
    network = FakeNetwork({"https://slow.example.com/": "hang", URL: http({"keys": []})})
    one = fetcher(network, at_once=4, for_owner=3)
    slow = [asyncio.create_task(one.fetch(Order("https://slow.example.com/", owner="a"))) for _ in range(20)]
    while len(network.asked) < 3:  # noqa: ASYNC110  # the network has nothing to wait for
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    assert network.asked == ["https://slow.example.com/"] * 3
    found = await one.fetch(Order(URL, owner="b"))
    assert found.body == b'{"keys": []}'
    assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    await one.fetch(Order(URL, owner="a"))  # every place has been given back


@pytest.mark.parametrize("known", [False, True], ids=["first keys", "unknown key"])
async def test_a645_slow_issuers_of_one_account_keep_no_other_from_the_keys_of_a_shared_one(*, known: bool) -> None:
    world = KeyWorld(seconds=0.5)
    if known:
        await world.kids(provider=oidc(account=OTHER))
        world.clock.time += 30_000
    world.issuer.rotate()
    world.publish()
    world.network.pages["https://slow.example.com/"] = "hang"
    one = world.keys._getter.fetcher
    order, long = Order("https://slow.example.com/", owner=OTHER), asyncio.get_running_loop().time() + SECONDS
    slow = [asyncio.create_task(one.fetch(order, long)) for _ in range(one.bounds.for_owner)]
    own = asyncio.create_task(world.kids("key-2", provider=oidc(account=OTHER)))
    await asyncio.sleep(0.01)
    assert "key-2" in await world.kids("key-2")
    assert world.outcomes[-2:] == ["busy", "ok"]
    for task in slow:
        task.cancel()
    await asyncio.gather(own, *slow, return_exceptions=True)


async def test_a645_document_that_an_account_has_no_share_left_to_fetch_is_not_refused_to_others() -> None:
    network = FakeNetwork({"https://slow.example.com/": "hang", URL: "hang"})
    documents = ClientDocuments(fetcher(network, seconds=0.2, for_owner=1))
    slow = asyncio.create_task(documents.fetch("https://slow.example.com/", "a", 0))
    await asyncio.sleep(0.01)
    with pytest.raises(DaypassError):
        await documents.fetch(URL, "a", 0)
    network.pages[URL] = http({"client_id": URL})
    assert json.loads(await documents.fetch(URL, "b", 0)) == {"client_id": URL}
    with pytest.raises(DaypassError):
        await slow


async def test_more_fetches_than_may_wait_are_refused_at_once() -> None:
    network = FakeNetwork({URL: "hang"})
    one = fetcher(network, seconds=0.2, at_once=1, waiting=1)
    tasks = [asyncio.create_task(one.fetch(Order(URL))) for _ in range(3)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [r.reason for r in results if isinstance(r, FetchError)] == [
        FetchReason.TIMEOUT,
        FetchReason.BUSY,
        FetchReason.BUSY,
    ]


async def test_bearer_with_a_line_end_is_not_sent() -> None:
    network = FakeNetwork({URL: http({})})
    assert await reason(network, bearer="a\r\nx-evil: 1") is FetchReason.URL
    assert network.requests == []


def test_bearer_is_not_shown() -> None:
    assert "s3cret" not in repr(Order(URL, bearer="s3cret"))
