"""A one-time token over two servers on one database: of all who bring it, one gets a session, now and after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from tests.attack.installation import Answer, SetClock, installed
from tests.attack.tokens import FORM, bring, provider, trust_in, web_identity
from tests.issuer import Issuer

from daypass.server.application import build
from daypass.server.runtime import Runtime


def test_a19_hundred_redemptions_over_two_servers_get_one_session_and_none_after_a_restart(
    url: str, tmp_path: Path
) -> None:
    wall, issuer = SetClock(), Issuer(alg="ES256")
    settings = {"database": {"url": url}}
    with installed(tmp_path, wall, **settings) as site:
        role = site.role("once", trust_in(provider(site, issuer, one_time=True).arn))
        second = Runtime(site.runtime.settings)
        site.run(second.start())
        try:
            other = replace(site, runtime=second, application=build(second))
            token = issuer.token(site.now(), jti="7", exp=site.now() // 1000 + 3600)
            body = web_identity(role, token)

            async def all_at_once() -> list[Answer]:
                return await asyncio.gather(*((site, other)[n % 2].ask("POST", FORM, body) for n in range(100)))

            answers = site.run(all_at_once())
        finally:
            site.run(second.stop())
    assert sorted(answer.status for answer in answers) == [200] + [400] * 99
    assert {answer.code for answer in answers} == {"", "InvalidIdentityToken"}
    with installed(tmp_path, wall, **settings) as site:
        assert bring(site, role, token).code == "InvalidIdentityToken"
        assert bring(site, role, issuer.token(site.now(), jti="8")).status == 200
