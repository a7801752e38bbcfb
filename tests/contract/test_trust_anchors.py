"""Trust anchors in the cached directory: a change of one, or of a CRL, shows at the next look-up."""

from __future__ import annotations

from dataclasses import replace

from tests.contract.making import ACCOUNT, NOW, Recorder, insert, write

from daypass.domain.directory import Crl, TrustAnchor
from daypass.stores.engine import Database

ANCHOR = TrustAnchor("0190-a", ACCOUNT, "eu-central-1", "plant", NOW, NOW, "PEM", enabled=True)


def crl(crl_id: str, *, enabled: bool = True, anchor: str = ANCHOR.id) -> Crl:
    return Crl(crl_id, ACCOUNT, "eu-central-1", crl_id, NOW, NOW, anchor, b"DATA", enabled=enabled)


async def test_trust_anchor_comes_with_its_enabled_crls_and_follows_their_changes(database: Database) -> None:
    directory = Recorder().directory(database)
    await directory.start()
    try:
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
        write(database, lambda tx: tx.delete(crl("c1")), lambda tx: tx.replace(replace(ANCHOR, enabled=False)))
        await directory.refresh()
        view = await directory.trust_anchor(ANCHOR.id)
        assert view is not None
        assert ([one.id for one in view.crls], view.anchor.enabled) == (["c2"], False)
        write(database, lambda tx: tx.delete(replace(ANCHOR, enabled=False)))
        await directory.refresh()
        assert await directory.trust_anchor(ANCHOR.id) is None
    finally:
        await directory.stop()
