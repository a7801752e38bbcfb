"""A copy of an installation that runs beside the original: row A441."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.attack.installation import ALPHA, EVERYTHING, ROOT, installed, trust


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
