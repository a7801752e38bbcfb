"""Answers that are made while their session is recorded, when nobody may have them or waits for them: rows A361 and A362."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from tests.attack.installation import Answer, form, installed, trust

from daypass.operations.assume.forms import Deferred


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were made."""
    made: list[bytes] = []
    make = Deferred.make

    def noting(self: Deferred[object]) -> object:
        value = make(self)
        if isinstance(value, bytes):
            made.append(value)
        return value

    monkeypatch.setattr(Deferred, "make", noting)
    return made


def test_a361_answer_whose_session_is_then_not_recorded_is_not_sent(tmp_path: Path, answers: list[bytes]) -> None:
    with installed(tmp_path) as site:
        arn, key = site.user("ann")
        role = site.role("deploy", trust(arn))
        sink = site.runtime.journal._inner
        begin, calls = sink._before_commit, list[int]()

        def fail() -> None:
            begin()
            calls.append(len(answers))
            if len(calls) == 1:
                for _ in range(6_000):  # until the event loop has made the answer
                    if answers:
                        break
                    time.sleep(0.01)
                raise RuntimeError("the database refuses the row")

        sink._before_commit = fail
        refused = site.assume(key, role)
        assert (refused.status, refused.code) == (503, "ServiceUnavailable")
        [unsent] = answers
        secrets = [text.encode() for text in Answer(200, {}, unsent).key]
        assert all(secrets)
        assert not [secret for secret in secrets if secret in refused.body]
        events = [event["type"] for event in site.records(refused.request_id)]
        assert "session.issued" not in events
        assert not [data for data in site.record_bytes() if any(secret in data for secret in secrets)]
        assert not [secret for secret in secrets if secret.decode() in site.log.getvalue()]
        assert site.assume(key, role).status == 200


def test_a362_caller_who_leaves_while_the_session_is_recorded_leaves_nothing_behind(tmp_path: Path) -> None:
    """The session is on the record, because it may have been issued; the answer is not kept."""
    with installed(tmp_path) as site:
        arn, key = site.user("ann")
        body = form("AssumeRole", {"RoleArn": site.role("deploy", trust(arn)), "RoleSessionName": "job"})
        sink, arrivals = site.runtime.journal._inner, site.runtime.journal._arrivals
        assert arrivals is not None
        begin, tasks = sink._before_commit, list[asyncio.Task[Answer]]()

        async def leave() -> None:
            loop = asyncio.get_running_loop()

            def cancel() -> None:
                loop.call_soon_threadsafe(tasks[0].cancel)
                begin()

            task = loop.create_task(site.ask("POST", site.signed(key, body), body))
            tasks.append(task)
            sink._before_commit = cancel
            with pytest.raises(asyncio.CancelledError):
                await task
            sink._before_commit = begin

        site.run(leave())
        assert site.assume(key, "arn:aws:iam::111122223333:role/deploy", "next").status == 200
        issued = [data for data in site.record_bytes() if b"session.issued" in data]
        assert len(issued) == 2
        assert not arrivals.has_work
        assert "journal_meanwhile_failed" not in site.log.getvalue()
