"""Access requests over two processes of one installation: nothing is lost and nothing happens twice, on both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.heavy import IN_PROCESS
from tests.integration.api.access import Place
from tests.integration.api.conftest import BOOTSTRAP, ROOT, TENANT, Server
from tests.patience import PATIENT_JOURNAL, PATIENT_POSTGRES, SECONDS

from daypass.config import Settings
from daypass.domain.directory import Grant, ReplayEntry
from daypass.operations.accounts import bootstrap, parse
from daypass.operations.grants.use import used_once
from daypass.ports import Tx
from daypass.server.application import build
from daypass.server.runtime import Runtime
from daypass.stores import postgres

AT_ONCE = 16


@pytest.fixture
async def two(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Server, Server]]:
    """Two runtimes over one database, as two processes have them: each with its own cache, writer and log."""
    monkeypatch.setattr(postgres, "_PAUSE_MS", int(SECONDS * 1000))
    made: list[Runtime] = []
    for _ in range(2):
        settings = {
            "server": {"data": str(tmp_path)},
            "database": {"url": url, **PATIENT_POSTGRES["database"]},
            "spool": PATIENT_POSTGRES["spool"],
            "access": {"sweep_seconds": 300},
            "journal": PATIENT_JOURNAL,
            "heavy": IN_PROCESS,
        }
        runtime = Runtime(Settings.model_validate(settings))
        await runtime.start()
        made.append(runtime)
    await bootstrap(made[0].env, parse(BOOTSTRAP))
    yield Server(made[0], build(made[0])), Server(made[1], build(made[1]))
    for runtime in made:
        await runtime.stop()


async def _all(calls: list[Any]) -> list[Any]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(call: Any) -> Any:
        async with turns:
            return await call

    return await asyncio.gather(*map(one, calls))


@pytest.mark.parametrize("count", [pytest.param(20, id="20"), pytest.param(500, id="500", marks=pytest.mark.slow)])
async def test_parallel_requests_and_approvals_over_two_processes_are_neither_lost_nor_doubled(
    two: tuple[Server, Server], count: int
) -> None:
    """`count` requests, each sent to both processes with one client token, then approved in both by two approvers."""
    place = Place(two[0])
    await place.fill()
    askers = [f"asker{number}" for number in range(max(2, count // 40))]
    for name in askers:
        await place.person(
            name,
            '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"daypass:*","Resource":"*"}}',
            "engineers",
        )
    await two[1].runtime.directory.refresh()

    def create(number: int, server: Server) -> Any:
        body = place.wanted(client_token=f"token-{number}", reason=f"Incident {number}: orders are not written")
        return server.api(place.keys[askers[number % len(askers)]], "POST", "/access-requests", body=body)

    made = await _all([create(number, server) for number in range(count) for server in two])
    assert Counter(answer.status for answer in made) == {201: 2 * count}
    requests = {answer.json["id"]: answer.json["binding"] for answer in made}
    assert len(requests) == count

    def approve(request_id: str, binding: str, who: str, server: Server) -> Any:
        path = f"/access-requests/{request_id}/approve"
        return server.api(place.keys[who], "POST", path, body={"binding": binding})

    votes = await _all(
        [
            approve(request_id, binding, who, server)
            for request_id, binding in requests.items()
            for who, server in zip(("lee", "lou"), two, strict=True)
        ]
    )
    assert Counter(answer.status for answer in votes) == {200: count, 409: count}
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await two[1].api(ROOT, "GET", "/grants", {"account": TENANT, "limit": 1000, "after": after})).json
        found += page["grants"]
        after = page["next"]
        if not after:
            break
    assert Counter(grant["request_id"] for grant in found) == dict.fromkeys(requests, 1)


async def test_a84_one_time_grant_is_redeemed_once_over_two_processes(two: tuple[Server, Server]) -> None:
    place = Place(two[0])
    await place.fill()
    await place.granted(max_uses=1)
    await two[1].runtime.directory.refresh()
    arn = place.roles["prod"].arn
    answers = await _all(
        [
            server.sts(place.keys["ann"], "AssumeRole", RoleArn=arn, RoleSessionName=f"shift{number}")
            for number in range(20)
            for server in two
        ]
    )
    assert [answer.tag for answer in answers].count("AssumeRoleResponse") == 1


async def test_grant_ended_in_one_process_ends_in_the_other(two: tuple[Server, Server]) -> None:
    place = Place(two[0])
    await place.fill()
    request = await place.granted()
    credentials = await place.assume("ann")
    await two[1].runtime.directory.refresh()
    assert await two[1].works(credentials)
    ended = await two[1].api(place.keys["ann"], "POST", f"/access-requests/{request['id']}/done")
    assert ended.status == 200
    assert not await two[1].works(credentials)
    await two[0].runtime.directory.refresh()
    assert not await two[0].works(credentials)
    await place.denied("ann")


@pytest.mark.parametrize("uses", [None, AT_ONCE])
async def test_parallel_first_uses_of_a_grant_over_two_processes_all_succeed(
    two: tuple[Server, Server], uses: int | None
) -> None:
    """Whoever comes second is a later use."""
    place = Place(two[0])
    await place.fill(**({"max_uses": uses} if uses else {}))
    await place.granted()
    await two[1].runtime.directory.refresh()
    arn = place.roles["prod"].arn
    answers = await asyncio.gather(
        *(
            two[number % 2].sts(place.keys["ann"], "AssumeRole", RoleArn=arn, RoleSessionName=f"shift{number}")
            for number in range(AT_ONCE)
        )
    )
    assert Counter(answer.tag for answer in answers) == {"AssumeRoleResponse": AT_ONCE}
    read = two[1].runtime.env.directory.read
    [grant] = await read(lambda tx: tx.find(Grant, role_id=place.roles["prod"].id), account=TENANT)
    assert grant.uses == (uses or 0)


async def test_a430_lost_first_use_that_another_server_sends_again_meanwhile_starts_the_clock(
    two: tuple[Server, Server],
) -> None:
    """After a failover, the other server's transaction with the one-time proof is not yet committed when this one looks."""
    place = Place(two[0])
    await place.fill()
    await place.granted(seconds=3600)
    read = two[0].runtime.env.directory.read
    [grant] = await read(lambda tx: tx.find(Grant, role_id=place.roles["prod"].id), account=TENANT)
    sent = ReplayEntry("grant", f"{grant.id}:1", TENANT, grant.starts_at, grant.starts_at + 86_400_000)

    class Late:
        """The transaction of the use, to which the proof is visible only after it has waited for the other server."""

        def __init__(self, tx: Tx) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> Any:
            return getattr(self._tx, name)

        def insert_if_absent(self, entity: ReplayEntry) -> bool:
            self._tx.insert_if_absent(sent)
            return self._tx.insert_if_absent(entity)

    ended: list[int] = []

    def use(tx: Tx) -> None:
        ended.append(used_once(cast(Tx, Late(tx)), grant, grant.starts_at + 60_000).ends_at)

    await place.change(use)
    assert ended == [grant.starts_at + 3_600_000]
