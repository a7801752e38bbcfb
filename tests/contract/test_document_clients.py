"""The clients that list metadata documents in the cached directory: any change of one shows at the next look-up."""

from __future__ import annotations

from dataclasses import replace

from tests.contract.making import ACCOUNT, NOW, Recorder, insert, write

from daypass.domain.directory import OAuthClient
from daypass.domain.policy.document import compile_stored
from daypass.stores.engine import Database
from daypass.stores.view_codec import ViewDecoder, can_decode, encode_view

LISTS = '{"metadata_documents":["https://agent.example.com/client.json"]}'


def client(client_id: str, settings: str = LISTS, account: str = ACCOUNT) -> OAuthClient:
    return OAuthClient(client_id, account, client_id, NOW, NOW, settings=settings)


async def test_document_clients_are_those_of_the_account_that_list_some_and_follow_changes(database: Database) -> None:
    directory = Recorder().directory(database)
    await directory.start()

    async def ids() -> list[str]:
        await directory.refresh()
        return [each.id for each in await directory.document_clients(ACCOUNT)]

    try:
        assert await ids() == []
        insert(database, client("B"), client("A"), client("C", "{}"), client("D", account="999988887777"))
        assert await ids() == ["A", "B"]
        view = await directory.document_clients(ACCOUNT)
        assert await directory.document_clients(ACCOUNT) is view, "a look-up reads no database"
        write(database, lambda tx: tx.replace(client("C")))
        assert await ids() == ["A", "B", "C"]
        write(database, lambda tx: tx.replace(client("B", "{}")), lambda tx: tx.delete(client("A")))
        assert await ids() == ["C"]
        write(database, lambda tx: tx.replace(replace(client("C"), enabled=False)))
        await directory.refresh()
        assert [each.enabled for each in await directory.document_clients(ACCOUNT)] == [False]
    finally:
        await directory.stop()


class _Unused:
    """This view has no secrets and no policies."""

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        raise AssertionError((sealed, account, owner_id))


def test_document_clients_view_as_bytes_is_the_same_again() -> None:
    key, view = f"document_clients:{ACCOUNT}", (client("A"), client("B"))
    assert can_decode(key)
    assert ViewDecoder(_Unused(), compile_stored).decode(key, encode_view(view)) == view
