"""One authorization server for each test module, with a provider, two services and a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, Installation, Key, document
from tests.attack.tokens import provider, trust_in
from tests.issuer import Issuer
from tests.oauth import ID_TOKEN, authorization_server, exchange, given


@dataclass(frozen=True)
class World:
    """A site with a provider, a role that its users may assume, and one that sessions of the first may assume."""

    site: Installation
    issuer: Issuer
    provider: str
    person: str  # role ARN
    target: str  # role ARN
    service: str  # role ARN: what service A runs as
    user: Key
    user_arn: str

    def id_token(self, sub: str = "ann", **claims: object) -> str:
        return self.issuer.token(self.site.now(), sub=sub, **claims)

    def person_token(self, **more: str) -> str:
        """An access token of a person's session."""
        answer = exchange(self.site, self.id_token(), ID_TOKEN, role=self.person, **more)
        return str(given(answer)["access_token"])

    def service_token(self) -> str:
        """An access token of service A's own session."""
        answer = exchange(self.site, self.id_token("service-a"), ID_TOKEN, role=self.service)
        return str(given(answer)["access_token"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with authorization_server(tmp_path_factory.mktemp("site")) as site:
        issuer = Issuer("idp.example.com", "ES256")
        arn = provider(site, issuer).arn
        aud = {"idp.example.com:aud": "daypass"}
        person = site.role("person", trust_in(arn, StringEquals=aud), policy=EVERYTHING)
        service = site.role("service-a", trust_in(arn, StringEquals={**aud, "idp.example.com:sub": "service-a"}))
        user_arn, user = site.user("alice", policy=EVERYTHING)
        trusted = [person, user_arn]
        actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
        target = site.role("target", document({"Principal": {"AWS": trusted}, "Action": actions}), policy=EVERYTHING)
        assert person.split(":")[4] == ALPHA
        yield World(site, issuer, arn, person, target, service, user, user_arn)
