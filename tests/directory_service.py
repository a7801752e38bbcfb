"""A directory that provisions an account by SCIM, as Entra ID and Okta do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.attack.installation import ROOT, Answer, Installation, Key, document
from tests.oauth_client import api

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PROVISION = document({"Action": "daypass:Provision", "Resource": "*"})


@dataclass
class DirectoryService:
    site: Installation
    token: str

    def send(self, method: str, path: str, body: Any = None, *headers: tuple[bytes, bytes]) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        sent = [(b"authorization", f"Bearer {self.token}".encode()), *headers]
        if data:
            sent.append((b"content-type", b"application/scim+json"))
        target, _, query = path.partition("?")
        return self.site.send(method, sent, data, path=f"/scim/v2/{target}".encode(), query=query.encode())

    def ok(self, method: str, path: str, body: Any = None, *headers: tuple[bytes, bytes]) -> Any:
        answer = self.send(method, path, body, *headers)
        assert answer.status < 300, answer.body
        return json.loads(answer.body) if answer.body else None

    def refused(self, status: int, method: str, path: str, body: Any = None, *headers: tuple[bytes, bytes]) -> str:
        """The scimType of a refusal, "" for none."""
        answer = self.send(method, path, body, *headers)
        assert answer.status == status, (answer.status, answer.body)
        error = json.loads(answer.body)
        assert error["status"] == str(status)
        return str(error.get("scimType", ""))

    def user(self, name: str, **more: Any) -> Any:
        return self.ok("POST", "Users", {"schemas": [USER], "userName": name, **more})

    def group(self, name: str, *members: Any, **more: Any) -> Any:
        listed = [{"value": each["id"]} for each in members]
        return self.ok("POST", "Groups", {"schemas": [GROUP], "displayName": name, "members": listed, **more})

    def patch(self, resource: Any, *operations: dict[str, Any]) -> Any:
        kind = resource["meta"]["resourceType"]
        body = {"schemas": [PATCH], "Operations": list(operations)}
        return self.ok("PATCH", f"{kind}s/{resource['id']}", body)


def directory_of(
    site: Installation, name: str = "entra", root: Key = ROOT, policy: str = PROVISION, days: int = 180
) -> DirectoryService:
    """A directory with a token of the account whose root's key this is."""
    site.user(f"scim-{name}", root, policy)
    answer = api(site, "POST", "/scim-tokens", {"name": name, "user": f"scim-{name}", "days": days}, root)
    assert answer.status == 201, answer.body
    return DirectoryService(site, json.loads(answer.body)["token"])
