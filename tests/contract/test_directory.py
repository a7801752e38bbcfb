"""The cached directory: what its views hold, and that no change passes them by."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.contract.conftest import Follower, Opener
from tests.contract.making import (
    ACCOUNT,
    ALLOW,
    BUILTIN,
    DENY,
    NOW,
    OTHER,
    Recorder,
    insert,
    key,
    policy,
    role,
    user,
    write,
)

from daypass.domain.directory import (
    Account,
    Attachment,
    Crl,
    Group,
    Guardrail,
    InlinePolicy,
    KeyStatus,
    Membership,
    OAuthClient,
    PasswordPolicy,
    PolicyContent,
    PolicyVersion,
    TrustAnchor,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.document import compile_stored
from daypass.ports import PrincipalView
from daypass.stores.directory import Directory
from daypass.stores.engine import Database
from daypass.stores.tx import StoreTx
from daypass.stores.view_codec import ViewDecoder, can_decode, encode_view

ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"
GROUP = Group("AGPA1", ACCOUNT, "Admins", "/", NOW)


def count_reads(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one for each read of the database."""
    reads: list[int] = []
    read = database.read

    def counting(fn: Callable[..., Any], **how: Any) -> Any:
        reads.append(1)
        return read(fn, **how)

    monkeypatch.setattr(database, "read", counting)
    return reads


def names(view: PrincipalView | None) -> list[str]:
    assert view is not None
    return [named.name for named in view.identity]


def managed(name: str, text: str, version: int = 1) -> list[Any]:
    made = policy(name, default_version=version)
    return [made, PolicyVersion(ACCOUNT, made.id, version, text, NOW)]


# --- What the views hold


async def test_user_view_has_its_own_policies_then_its_groups(database: Database, directory: Directory) -> None:
    alice = user("alice", boundary_arn=policy("Bound").arn)
    insert(
        database,
        alice,
        GROUP,
        Membership(ACCOUNT, GROUP.id, alice.id, NOW),
        InlinePolicy(ACCOUNT, alice.id, "own", ALLOW, NOW),
        InlinePolicy(ACCOUNT, GROUP.id, "shared", DENY, NOW),
        Attachment(ACCOUNT, alice.id, policy("Readers").arn, NOW),
        Attachment(ACCOUNT, GROUP.id, ADMIN, NOW),
        Attachment(ACCOUNT, alice.id, "arn:aws:iam::111122223333:policy/Gone", NOW),
        *managed("Readers", DENY),
        *managed("Bound", ALLOW),
    )
    view = await directory.user(alice.id)
    assert view is not None
    assert view.entity == alice
    assert names(view) == ["own", policy("Readers").arn, "shared", ADMIN]
    assert [named.document.text for named in view.identity] == [ALLOW, DENY, DENY, BUILTIN[ADMIN]]
    assert view.boundary is not None
    assert [named.name for named in view.boundary] == [policy("Bound").arn]


async def test_boundary_is_none_without_one_and_denies_when_missing(database: Database, directory: Directory) -> None:
    insert(database, user("free"), user("bound", boundary_arn="arn:aws:iam::111122223333:policy/Gone"))
    free, bound = await directory.user(user("free").id), await directory.user(user("bound").id)
    assert free is not None
    assert bound is not None
    assert free.boundary is None
    assert bound.boundary is not None
    assert [named.document.broken for named in bound.boundary] == [True]


async def test_role_is_found_by_name_without_case_and_by_id(database: Database, directory: Directory) -> None:
    deploy = role("Deploy", trust_bindings=(("arn:a", "AIDA1"),))
    insert(database, deploy, InlinePolicy(ACCOUNT, deploy.id, "p", ALLOW, NOW))
    view = await directory.role(ACCOUNT, "dePLOY")
    assert view is not None
    assert view is await directory.role_by_id(deploy.id)
    assert (view.role, view.bindings, view.trust.document.text) == (deploy, {"arn:a": "AIDA1"}, deploy.trust_document)
    assert names(view.principal) == ["p"]
    assert await directory.role(OTHER, "Deploy") is None


async def test_access_key_view_has_secret_and_user_or_root(database: Database, directory: Directory) -> None:
    alice = user("alice")
    insert(database, alice, key("AKIAUSER", alice.id), key("AKIAROOT", ACCOUNT), key("AKIAGONE", "AIDAGONE"))
    of_user, of_root = await directory.access_key("AKIAUSER"), await directory.access_key("AKIAROOT")
    assert of_user is not None
    assert of_root is not None
    assert (of_user.secret, of_user.user) == ("secret of AKIAUSER", alice)
    assert (of_root.secret, of_root.user) == ("secret of AKIAROOT", None)
    assert await directory.access_key("AKIAGONE") is None


async def test_access_key_whose_secret_does_not_open_is_unavailable_not_absent(
    database: Database, directory: Directory
) -> None:
    insert(database, key("AKIA1", ACCOUNT, sealed_secret=b"altered"))
    with pytest.raises(DaypassError) as caught:
        await directory.access_key("AKIA1")
    assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_account_view_has_its_guardrails_as_one_level(database: Database, directory: Directory) -> None:
    insert(
        database,
        Account(ACCOUNT, "one", operator=False, created_at=NOW),
        Account(OTHER, "two", operator=True, created_at=NOW),
    )
    insert(database, Guardrail(ACCOUNT, "b", DENY, NOW), Guardrail(ACCOUNT, "a", ALLOW, NOW))
    one, two = await directory.account(ACCOUNT), await directory.account(OTHER)
    assert one is not None
    assert two is not None
    assert [[named.name for named in level] for level in one.guardrails] == [["a", "b"]]
    assert (two.account.operator, two.guardrails) == (True, ())


async def test_managed_policy_view_is_of_the_default_version_or_built_in(
    database: Database, directory: Directory
) -> None:
    insert(database, *managed("Readers", DENY, version=2), PolicyVersion(ACCOUNT, policy("Readers").id, 1, ALLOW, NOW))
    own, builtin = await directory.managed_policy(policy("Readers").arn), await directory.managed_policy(ADMIN)
    assert own is not None
    assert builtin is not None
    assert own.document == DENY
    assert (builtin.document, builtin.policy.account, builtin.policy.name) == (ALLOW, "aws", "AdministratorAccess")
    assert len(builtin.hash) == 64
    assert own.hash != builtin.hash


async def test_policy_content_view_says_how_long_it_is_kept(database: Database, directory: Directory) -> None:
    insert(database, PolicyContent("ab" * 32, ACCOUNT, DENY, NOW + 7))
    view = await directory.policy_content("ab" * 32)
    assert view is not None
    assert (view.policy.document.text, view.keep_until) == (DENY, NOW + 7)


async def test_stored_document_that_does_not_compile_fails_closed(database: Database, directory: Directory) -> None:
    insert(database, role("Broken", trust_document="{nonsense"))
    view = await directory.role(ACCOUNT, "Broken")
    assert view is not None
    assert view.trust.document.broken


async def test_equal_documents_are_compiled_once(database: Database, directory: Directory) -> None:
    insert(database, *(InlinePolicy(ACCOUNT, user(n).id, "p", ALLOW, NOW) for n in "ab"), user("a"), user("b"))
    first, second = await directory.user(user("a").id), await directory.user(user("b").id)
    assert first is not None
    assert second is not None
    assert first.identity[0].document is second.identity[0].document


# --- Hits and misses


async def test_hit_reads_no_database_and_never_suspends(
    database: Database, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(database, role("Deploy"))
    view = await directory.role(ACCOUNT, "Deploy")
    reads = count_reads(database, monkeypatch)
    coroutine = directory.role(ACCOUNT, "DEPLOY")
    with pytest.raises(StopIteration) as caught:
        coroutine.send(None)
    assert caught.value.value is view
    assert not reads


async def test_misses_at_the_same_time_share_one_load(
    database: Database, directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(database, role("Deploy"))
    reads = count_reads(database, monkeypatch)
    views = await asyncio.gather(*(directory.role(ACCOUNT, name) for name in ("deploy", "DEPLOY", "Deploy") * 20))
    assert len(reads) == 1
    assert len(set(map(id, views))) == 1


async def test_cancelled_waiter_does_not_end_the_load_of_others(database: Database, directory: Directory) -> None:
    insert(database, role("Deploy"))
    first, second = (asyncio.create_task(directory.role(ACCOUNT, "Deploy")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_absent_keys_are_remembered_in_bounded_number_and_time(
    database: Database, follow: Follower, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = await follow(database, absent=3, absent_seconds=30)
    for number in range(8):
        assert await directory.access_key(f"AKIA{number}") is None
    assert directory._cache.absent == 3
    reads = count_reads(database, monkeypatch)
    assert await directory.access_key("AKIA7") is None
    assert not reads
    assert await directory.access_key("AKIA0") is None
    assert len(reads) == 1
    recorder.seconds += 30
    assert await directory.access_key("AKIA7") is None
    assert len(reads) == 2


async def test_cache_is_bounded_and_keeps_what_is_used(
    database: Database, follow: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = await follow(database, entries=3)
    insert(database, *(user(f"u{number}") for number in range(6)))
    for number in range(6):
        await directory.user(user("u0").id)
        await directory.user(user(f"u{number}").id)
    assert directory.entries == 3
    reads = count_reads(database, monkeypatch)
    await directory.user(user("u0").id)
    assert not reads
    await directory.user(user("u2").id)
    assert len(reads) == 1


@pytest.mark.parametrize("hostile", ["\0", "\ud800", "a" * 100_000, "", "x\ny", "％"])
async def test_hostile_keys_are_absent_without_an_error(directory: Directory, hostile: str) -> None:
    lookups = [
        directory.access_key(hostile),
        directory.user(hostile),
        directory.role(hostile, hostile),
        directory.role_by_id(hostile),
        directory.account(hostile),
        directory.managed_policy(hostile),
        directory.policy_content(hostile),
    ]
    assert await asyncio.gather(*lookups) == [None] * 7


# --- Every change reaches every view that rests on it

ALICE = user("alice", boundary_arn=policy("Bound").arn)
DEPLOY = role("Deploy", boundary_arn=policy("Bound").arn)
WORLD = (
    Account(ACCOUNT, "one", operator=False, created_at=NOW),
    ALICE,
    DEPLOY,
    GROUP,
    Membership(ACCOUNT, GROUP.id, ALICE.id, NOW),
    InlinePolicy(ACCOUNT, ALICE.id, "own", ALLOW, NOW),
    InlinePolicy(ACCOUNT, GROUP.id, "shared", ALLOW, NOW),
    Attachment(ACCOUNT, GROUP.id, policy("Readers").arn, NOW),
    Attachment(ACCOUNT, DEPLOY.id, policy("Readers").arn, NOW),
    *managed("Readers", ALLOW),
    *managed("Bound", ALLOW),
    key("AKIA1", ALICE.id),
    Guardrail(ACCOUNT, "g", ALLOW, NOW),
    PolicyContent("ab" * 32, ACCOUNT, ALLOW, NOW),
)
READERS_2 = PolicyVersion(ACCOUNT, policy("Readers").id, 2, DENY, NOW)
LOOKUPS: dict[str, Callable[[Directory], Any]] = {
    "key": lambda d: d.access_key("AKIA1"),
    "user": lambda d: d.user(ALICE.id),
    "role": lambda d: d.role(ACCOUNT, "deploy"),
    "role_id": lambda d: d.role_by_id(DEPLOY.id),
    "account": lambda d: d.account(ACCOUNT),
    "policy": lambda d: d.managed_policy(policy("Readers").arn),
    "content": lambda d: d.policy_content("ab" * 32),
    "no_role": lambda d: d.role(ACCOUNT, "new"),
    "no_key": lambda d: d.access_key("AKIANEW"),
    "no_policy": lambda d: d.managed_policy(policy("New").arn),
}


def second_version(tx: StoreTx) -> None:
    tx.insert(READERS_2)
    tx.replace(policy("Readers", default_version=2, latest_version=2))


CHANGES: dict[str, tuple[Callable[[StoreTx], object], set[str]]] = {
    "user tagged": (lambda tx: tx.replace(dataclasses.replace(ALICE, tags=(("a", "b"),))), {"key", "user"}),
    "user gone": (lambda tx: tx.delete(ALICE), {"key", "user"}),
    "role renamed": (lambda tx: tx.replace(dataclasses.replace(DEPLOY, name="New")), {"role", "role_id", "no_role"}),
    "role gone": (lambda tx: tx.delete(DEPLOY), {"role", "role_id"}),
    "role made": (lambda tx: tx.insert(role("NEW")), {"no_role"}),
    "inline policy": (lambda tx: tx.insert(InlinePolicy(ACCOUNT, ALICE.id, "x", DENY, NOW)), {"user"}),
    "role's policy": (lambda tx: tx.insert(InlinePolicy(ACCOUNT, DEPLOY.id, "x", DENY, NOW)), {"role", "role_id"}),
    "group's policy": (lambda tx: tx.delete(InlinePolicy(ACCOUNT, GROUP.id, "shared", ALLOW, NOW)), {"user"}),
    "group's attachment": (lambda tx: tx.delete(Attachment(ACCOUNT, GROUP.id, policy("Readers").arn, NOW)), {"user"}),
    "left the group": (lambda tx: tx.delete(Membership(ACCOUNT, GROUP.id, ALICE.id, NOW)), {"user"}),
    "attached": (lambda tx: tx.insert(Attachment(ACCOUNT, DEPLOY.id, ADMIN, NOW)), {"role", "role_id"}),
    "new default version": (second_version, {"user", "role", "role_id", "policy"}),
    "boundary's policy gone": (lambda tx: tx.delete(policy("Bound")), {"user", "role", "role_id"}),
    "key made": (lambda tx: tx.insert(key("AKIANEW", ALICE.id)), {"no_key"}),
    "key disabled": (lambda tx: tx.replace(key("AKIA1", ALICE.id, status=KeyStatus.INACTIVE)), {"key"}),
    "guardrail": (lambda tx: tx.delete(Guardrail(ACCOUNT, "g", ALLOW, NOW)), {"account"}),
    "users may change passwords": (lambda tx: tx.insert(PasswordPolicy(ACCOUNT, users_may_change=True)), {"user"}),
    "account": (lambda tx: tx.replace(Account(ACCOUNT, "new name", operator=False, created_at=NOW)), {"account"}),
    "content kept longer": (lambda tx: tx.replace(PolicyContent("ab" * 32, ACCOUNT, ALLOW, NOW + 1)), {"content"}),
    "policy made": (lambda tx: [tx.insert(one) for one in managed("New", ALLOW)], {"no_policy"}),
}


async def look(directory: Directory) -> dict[str, Any]:
    return {name: await lookup(directory) for name, lookup in LOOKUPS.items()}


@pytest.mark.parametrize("how", ["local", "polled"])
@pytest.mark.parametrize("what", CHANGES)
async def test_change_reaches_every_view_that_rests_on_it(
    database: Database, directory: Directory, what: str, how: str
) -> None:
    insert(database, *WORLD)
    await directory.refresh()
    before = await look(directory)
    assert all((view is None) == name.startswith("no_") for name, view in before.items())
    step, touched = CHANGES[what]
    changes = write(database, step)
    if how == "local":
        directory.apply_local(changes)
    else:
        assert await directory.refresh()
    after = await look(directory)
    assert {name for name in before if before[name] != after[name]} == touched
    fresh = await look_afresh(database, directory)
    assert {name: differs for name in after if (differs := after[name] != fresh[name])} == {}


async def look_afresh(database: Database, other: Directory) -> dict[str, Any]:
    """The view of a directory that has cached only compiled documents, which compare by identity."""
    directory = Recorder().directory(database)
    directory._views = other._views
    await directory.start()
    found = await look(directory)
    await directory.stop()
    return found


async def eventually(happens: Callable[[], Awaitable[object]]) -> bool:
    for _ in range(12_000):
        if await happens():
            return True
        await asyncio.sleep(0.005)
    return False


async def absent(directory: Directory) -> bool:
    return await directory.user(ALICE.id) is None


async def test_write_of_another_process_is_seen_by_the_poller_alone(opener: Opener, follow: Follower) -> None:
    ours, theirs = opener(), opener()
    directory = await follow(ours, poll_seconds=0.25)
    assert await directory.user(ALICE.id) is None
    insert(theirs, ALICE)
    assert await eventually(lambda: directory.user(ALICE.id))
    write(theirs, lambda tx: tx.delete(ALICE))
    assert await eventually(lambda: absent(directory))


async def test_read_runs_in_one_snapshot(database: Database, directory: Directory) -> None:
    insert(database, ALICE)

    def both(reader: Any) -> tuple[int, int]:
        first = reader.count(User)
        insert(database, user("bob"))
        return first, reader.count(User)

    assert await directory.read(both, account="") == (1, 1)
    assert await directory.read(lambda reader: reader.count(User), account="") == 2


# --- Views of several entities

ANCHOR = TrustAnchor("0190-a", ACCOUNT, "eu-central-1", "plant", NOW, NOW, "PEM", enabled=True)


def crl(crl_id: str, *, enabled: bool = True, anchor: str = ANCHOR.id) -> Crl:
    return Crl(crl_id, ACCOUNT, "eu-central-1", crl_id, NOW, NOW, anchor, b"DATA", enabled=enabled)


async def test_trust_anchor_comes_with_its_enabled_crls_and_follows_their_changes(
    database: Database, directory: Directory
) -> None:
    assert await directory.trust_anchor(ANCHOR.id) is None
    insert(database, ANCHOR, crl("c1"), crl("c2", enabled=False), crl("c3", anchor="other"))
    await directory.refresh()
    view = await directory.trust_anchor(ANCHOR.id)
    assert view is not None
    assert (view.anchor, [one.id for one in view.crls]) == (ANCHOR, ["c1"])
    assert await directory.trust_anchor(ANCHOR.id) is view
    write(database, lambda tx: tx.replace(crl("c2")))
    await directory.refresh()
    view = await directory.trust_anchor(ANCHOR.id)
    assert view is not None
    assert [one.id for one in view.crls] == ["c1", "c2"]
    write(database, lambda tx: tx.delete(crl("c1")), lambda tx: tx.replace(dataclasses.replace(ANCHOR, enabled=False)))
    await directory.refresh()
    view = await directory.trust_anchor(ANCHOR.id)
    assert view is not None
    assert ([one.id for one in view.crls], view.anchor.enabled) == (["c2"], False)
    write(database, lambda tx: tx.delete(dataclasses.replace(ANCHOR, enabled=False)))
    await directory.refresh()
    assert await directory.trust_anchor(ANCHOR.id) is None


LISTS = '{"metadata_documents":["https://agent.example.com/client.json"]}'


def client(client_id: str, settings: str = LISTS, account: str = ACCOUNT) -> OAuthClient:
    return OAuthClient(client_id, account, client_id, NOW, NOW, settings=settings)


async def test_document_clients_are_those_of_the_account_that_list_some_and_follow_changes(
    database: Database, directory: Directory
) -> None:
    async def ids() -> list[str]:
        await directory.refresh()
        return [each.id for each in await directory.document_clients(ACCOUNT)]

    assert await ids() == []
    insert(database, client("B"), client("A"), client("C", "{}"), client("D", account="999988887777"))
    assert await ids() == ["A", "B"]
    view = await directory.document_clients(ACCOUNT)
    assert await directory.document_clients(ACCOUNT) is view, "a look-up reads no database"
    write(database, lambda tx: tx.replace(client("C")))
    assert await ids() == ["A", "B", "C"]
    write(database, lambda tx: tx.replace(client("B", "{}")), lambda tx: tx.delete(client("A")))
    assert await ids() == ["C"]
    write(database, lambda tx: tx.replace(dataclasses.replace(client("C"), enabled=False)))
    await directory.refresh()
    assert [each.enabled for each in await directory.document_clients(ACCOUNT)] == [False]


class _Unused:
    """This view has no secrets and no policies."""

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        raise AssertionError((sealed, account, owner_id))


def test_document_clients_view_as_bytes_is_the_same_again() -> None:
    key, view = f"document_clients:{ACCOUNT}", (client("A"), client("B"))
    assert can_decode(key)
    assert ViewDecoder(_Unused(), compile_stored).decode(key, encode_view(view)) == view
