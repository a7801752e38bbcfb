"""A clock that is wrong for a while, or in one process (A111), and a copy of an installation that runs beside the
original (A441): nobody honest is locked out, no session lives longer.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from tests.attack.installation import ALPHA, EVERYTHING, ROOT, Answer, Installation, SetClock, installed, trust

HOUR = 3_600_000
DAY = 24 * HOUR


def problems(site: Installation) -> list[str]:
    return site.run(site.runtime.readiness.problems(detailed=True))


def lives_ms(answer: Answer, now: int) -> int:
    """For how long the session of an AssumeRole lives."""
    return int(datetime.fromisoformat(answer.text("Expiration")).timestamp() * 1000) - now


def test_a111_clock_a_day_ahead_for_a_moment_locks_nobody_out(tmp_path: Path) -> None:
    wall = SetClock()
    with installed(tmp_path, wall) as site:
        _, key = site.user("ann", policy=EVERYTHING)
        role = site.role("ops", trust(ALPHA))
        session = site.assume(key, role).key
        wall.error = DAY
        assert site.assume(key, role).code == "ServiceUnavailable"
        assert "ahead of the expected time" in problems(site)[0]
        wall.time += 2_500
        wall.error = 0
        assert site.call(session, "GetCallerIdentity").status == 200
        assert problems(site) == []
        made = site.assume(key, role)
        assert made.status == 200
        assert lives_ms(made, wall.time) <= HOUR
        rendered = site.runtime.render_metrics().decode()
        assert "daypass_clock_jumps_total 1.0" in rendered
        assert "clock.jump_refused" in site.log.getvalue()
    with installed(tmp_path, wall) as site:
        assert site.call(session, "GetCallerIdentity").status == 200
        made = site.assume(key, role)
        assert lives_ms(made, wall.time) <= HOUR


def test_a111_replica_two_hours_ahead_issues_nothing_and_spoils_no_restart(tmp_path: Path) -> None:
    wall = SetClock()
    with installed(tmp_path, wall) as healthy:
        _, key = healthy.user("ann", policy=EVERYTHING)
        role = healthy.role("ops", trust(ALPHA))
        session = healthy.assume(key, role).key
        with installed(tmp_path, SetClock(wall.time, error=2 * HOUR), first_keys="") as outlier:
            assert outlier.assume(key, role).code == "ServiceUnavailable"
            assert "ahead of the expected time" in problems(outlier)[0]
        assert healthy.assume(key, role).status == 200
    with installed(tmp_path, wall) as again:
        assert again.call(session, "GetCallerIdentity").status == 200
        assert lives_ms(again.assume(key, role), wall.time) <= HOUR
        assert again.runtime.readiness.warnings(detailed=True) == []


def test_a111_clock_that_was_ahead_since_the_start_locks_nobody_out_when_it_is_set_right(tmp_path: Path) -> None:
    wall = SetClock(error=DAY)
    with installed(tmp_path, wall) as site:  # nobody else says what time it is
        assert site.call(ROOT, "GetCallerIdentity", now=wall.time + DAY).status == 200
    wall.error = 0
    with installed(tmp_path, wall) as site:
        assert site.call(ROOT, "GetCallerIdentity").status == 200
        assert "behind the time that was recorded" in site.runtime.readiness.warnings(detailed=False)[0]


def test_a441_session_that_the_administrator_of_a_copy_issues_is_refused_by_the_original(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    with installed(original) as site:
        role = site.role("deploy", trust(ALPHA), policy=EVERYTHING)
        _, key = site.user("ann")
        assert site.assume(key, role).status == 403
    shutil.copytree(original, copy)
    with installed(copy) as site:
        changed = {"RoleName": "deploy", "PolicyDocument": trust(f"arn:aws:iam::{ALPHA}:user/ann")}
        site.iam("UpdateAssumeRolePolicy", ROOT, **changed)
        forged = site.assume(key, role)
        assert forged.status == 200
        assert site.call(forged.key, "GetCallerIdentity").status == 200
    with installed(original) as site:
        refused = site.call(forged.key, "GetCallerIdentity")
        assert (refused.status, refused.code) == (403, "InvalidClientTokenId")
        (record,) = site.records(refused.request_id)
        assert record["type"] == "request.unauthenticated"
        assert site.assume(key, role).status == 403
