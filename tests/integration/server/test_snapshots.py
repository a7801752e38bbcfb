"""The snapshot of the directory: what it holds, how old it may be, and what a start does not accept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, Installation, installed, trust
from tests.contract.making import one_of_each
from tests.integration.oauth.test_status_lists import revoke
from tests.patience import SECONDS

from daypass.crypto.key_encryption import KeyEncryptionKey
from daypass.domain.errors import DaypassError
from daypass.domain.policy.document import compile_stored
from daypass.domain.session import FeedPosition
from daypass.server.nodes import Peers, running_peers
from daypass.server.ring_keys import key_encryption_key
from daypass.server.snapshots import SnapshotUnusable, SnapshotWriter, read_snapshot
from daypass.stores.cache import Tuning
from daypass.stores.directory import Directory
from daypass.stores.entities import ENTITY_TABLES
from daypass.stores.view_codec import DirectoryImage, ViewDecoder, encode_view


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("site")) as site:
        arn, key = site.user("ann", policy=EVERYTHING)
        role = site.role("deploy", trust(arn), policy=EVERYTHING)
        boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess"
        site.iam("PutRolePermissionsBoundary", RoleName="deploy", PermissionsBoundary=boundary)
        site.iam("AttachRolePolicy", RoleName="deploy", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        assert site.assume(key, role).status == 200
        yield site


@pytest.fixture
def writer(site: Installation) -> Iterator[SnapshotWriter]:
    runtime = site.runtime
    peers = Peers(runtime.settings.spool_directory(), "this", runtime.directory)
    writer = SnapshotWriter(runtime.settings, kek(site), runtime.directory, runtime.rings, runtime.journal, peers)
    yield writer
    writer.close()


def kek(site: Installation) -> KeyEncryptionKey:
    return key_encryption_key(site.runtime.settings, new=False)


def decoder(site: Installation) -> ViewDecoder:
    return ViewDecoder(site.runtime.env.sealer, compile_stored)


def restored(site: Installation, image: DirectoryImage) -> Directory:
    """The directory of a process that starts from an image while its database does not answer."""
    runtime = site.runtime
    tuning = Tuning(monotonic=site.wall.monotonic)
    make = partial(Directory, runtime.database, runtime.env.sealer, runtime.clock, builtin={}, poll_seconds=0)
    directory = make(node="this", tuning=tuning)
    site.run(directory.start(image))
    return directory


def test_every_view_in_the_cache_survives_the_snapshot(site: Installation) -> None:
    views = site.runtime.directory.image(1000).views
    assert {"role", "role_name", "user", "account", "access_key"} <= {v.key.partition(":")[0] for v in views}
    for view in views:
        data = encode_view(view.view)
        again = decoder(site).decode(view.key, data)
        assert type(again) is type(view.view)
        assert encode_view(again) == data
        assert getattr(again, "secret", "") == getattr(view.view, "secret", ""), "opened again, and not in the snapshot"
        assert getattr(view.view, "secret", "none to find").encode() not in data


@pytest.mark.parametrize("entity", [e for e in one_of_each() if ENTITY_TABLES[type(e)].cached], ids=type)
def test_every_cached_entity_survives_the_snapshot(site: Installation, entity: Any) -> None:
    key = ENTITY_TABLES[type(entity)].keys(entity)[0]
    assert decoder(site).decode(key, encode_view(entity)) == entity


def test_snapshot_that_was_written_is_read_with_its_time_and_revocations(
    site: Installation, writer: SnapshotWriter
) -> None:
    revoke(site, "source_identity", "mallory", force=True)
    site.run(site.runtime.directory.refresh())
    site.run(writer.write())
    snapshot = read_snapshot(site.runtime.settings, kek(site), site.wall.time)
    spools = site.runtime._spool_place()
    assert spools is not None
    image = snapshot.image(site.runtime.env.sealer, spools, "this")
    assert image.position == site.runtime.directory.seen()
    assert "mallory" in {made.value for made in image.revocations}
    assert {view.key for view in image.views} == {view.key for view in site.runtime.directory.image(1000).views}
    assert snapshot.start.detail["snapshot"]["as_of"] == image.as_of


def test_snapshot_is_not_written_by_two_processes(site: Installation, writer: SnapshotWriter) -> None:
    site.run(writer.write())
    runtime = site.runtime
    peers = Peers(runtime.settings.spool_directory(), "other", runtime.directory)
    other = SnapshotWriter(runtime.settings, kek(site), runtime.directory, runtime.rings, runtime.journal, peers)
    state = runtime.settings.snapshot_directory() / "state.sealed"
    written = state.stat().st_mtime_ns
    site.run(site.runtime.directory.refresh())
    site.run(other.write())
    assert state.stat().st_mtime_ns == written
    other.close()


def test_snapshot_with_a_changed_view_has_the_change_or_the_earlier_time(
    site: Installation, writer: SnapshotWriter
) -> None:
    site.run(writer.write())
    before = read_snapshot(site.runtime.settings, kek(site), site.wall.time)
    site.iam("DeleteUserPolicy", UserName="ann", PolicyName="p")
    site.run(writer.write())
    after = read_snapshot(site.runtime.settings, kek(site), site.wall.time)
    users = [view for view in after._views if view.key.startswith("user:")]
    assert after._state.position > before._state.position
    assert not any(b'"*"' in view.data for view in users if b"ann" in view.data)


@pytest.mark.parametrize(
    ("later_ms", "says"), [(961_000, "old .directory.max_staleness_seconds: 960"), (-60_000, "clock is 6[01] s behind")]
)
def test_snapshot_of_another_time_is_not_used(
    site: Installation, writer: SnapshotWriter, later_ms: int, says: str
) -> None:
    site.run(writer.write())
    as_of = site.runtime.directory.image(1).as_of
    with pytest.raises(SnapshotUnusable, match=says):
        read_snapshot(site.runtime.settings, kek(site), as_of + later_ms)


def test_snapshot_whose_files_do_not_belong_together_is_not_used(site: Installation, writer: SnapshotWriter) -> None:
    site.run(writer.write())
    views = site.runtime.settings.snapshot_directory() / "views.sealed"
    old = views.read_bytes()
    site.iam("TagUser", UserName="ann", **{"Tags.member.1.Key": "team", "Tags.member.1.Value": "a"})
    site.run(writer.write())
    views.write_bytes(old)
    with pytest.raises(SnapshotUnusable, match="does not belong"):
        read_snapshot(site.runtime.settings, kek(site), site.wall.time)


def test_snapshot_of_another_release_is_not_used(
    site: Installation, writer: SnapshotWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run(writer.write())
    monkeypatch.setattr("daypass.server.snapshots.program_format", lambda: "9999")
    with pytest.raises(SnapshotUnusable, match="another release"):
        read_snapshot(site.runtime.settings, kek(site), site.wall.time)


# --- What a process that starts from it serves


def image(site: Installation, age_ms: int, *others: str) -> DirectoryImage:
    found = site.runtime.directory.image(1000)
    return found._replace(as_of=site.now() - age_ms, others=frozenset(others))


def test_directory_from_a_snapshot_serves_its_views_and_no_others(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = restored(site, image(site, 10_000))

    def unavailable(*_: Any, **__: Any) -> Any:
        raise OSError("the database is unavailable")

    monkeypatch.setattr(site.runtime.database, "read", unavailable)
    found = site.run(directory.role(ALPHA, "deploy"))
    assert found is not None
    assert found.principal.boundary is not None
    assert 9 < directory.staleness_seconds() < 10 + SECONDS
    with pytest.raises((DaypassError, OSError)):
        site.run(directory.role(ALPHA, "not-in-the-snapshot"))
    site.run(directory.stop())


@pytest.mark.parametrize(
    ("age_ms", "others", "stale", "unknown"),
    [
        (50_000, ("elsewhere",), False, False),
        (61_000, ("elsewhere",), False, True),
        (61_000, (), False, False),
        (961_000, (), True, True),
    ],
)
def test_a134_snapshot_does_not_make_revocations_look_newer_than_they_are(
    site: Installation, age_ms: int, others: tuple[str, ...], stale: bool, unknown: bool
) -> None:
    directory = restored(site, image(site, age_ms, *others))
    assert (directory.stale, directory.revocations_unknown) == (stale, unknown)
    site.run(directory.stop())


def test_directory_from_a_snapshot_follows_the_feed_from_its_position(site: Installation) -> None:
    directory = restored(site, image(site, 10_000))
    assert site.run(directory.role(ALPHA, "deploy")) is not None
    site.iam("TagRole", RoleName="deploy", **{"Tags.member.1.Key": "team", "Tags.member.1.Value": "b"})
    site.run(directory.refresh())
    found = site.run(directory.role(ALPHA, "deploy"))
    assert found is not None
    assert ("team", "b") in found.role.tags
    assert directory.seen() == FeedPosition(directory.seen().epoch, site.runtime.directory.seen().position)
    site.run(directory.stop())


def test_running_peers_are_those_that_hold_their_lock(site: Installation, tmp_path: Path) -> None:
    one, two = (Peers(tmp_path, name, site.runtime.directory) for name in ("one", "two"))
    one.poll()
    two.poll()
    assert running_peers(tmp_path, "one") == {"two"}
    assert one.local() == {"one", "two"}
    file = (tmp_path / "two.peer").read_bytes()
    two.close()
    (tmp_path / "two.peer").write_bytes(file)  # what a kill leaves
    assert running_peers(tmp_path, "one") == frozenset()
    assert one.local() == {"one", "two"}
    one.close()


def test_snapshot_is_written_again_after_any_failure(
    site: Installation, writer: SnapshotWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [TypeError("a view of a new kind"), OSError("disk full")]

    async def scene() -> None:
        written = asyncio.Event()

        async def write() -> None:
            if failures:
                raise failures.pop()
            written.set()

        monkeypatch.setattr(writer, "write", write)
        monkeypatch.setattr(writer, "_seconds", 0)
        running = asyncio.create_task(writer.run())
        await asyncio.wait_for(written.wait(), 60)
        running.cancel()

    asyncio.run(scene())
