"""The context keys of a request to assume a role: what it requests of the new session.

Every entry point, the simulator and the trust test build this value. A new context key takes one field and one line in
`keys`.
Source: AWS page "IAM and AWS STS condition context keys".
"""

from __future__ import annotations

from msgspec import Struct

from daypass.domain.access.request import keys_of
from daypass.domain.context import requested_tags
from daypass.domain.directory import Grant, Tags
from daypass.domain.policy.model import Value
from daypass.domain.trust import ASSUME_ROLE, SET_SOURCE_IDENTITY, TAG_SESSION


class Assumption(Struct, frozen=True):
    """The properties of the new session.

    `tags`, `transitive_keys` and `source_identity` include those inherited from the chain, so the conditions of a trust
    policy apply to all of them. `grant`: the access grant that the applicant uses; None: the request is not approved.
    `client_id`: the OAuth client.
    """

    session_name: str
    external_id: str = ""
    source_identity: str = ""
    tags: Tags = ()
    transitive_keys: tuple[str, ...] = ()
    grant: Grant | None = None
    client_id: str = ""

    @property
    def grant_id(self) -> str:
        """The id of the grant, or ""."""
        return self.grant.id if self.grant is not None else ""

    def keys(self) -> dict[str, Value]:
        """The context keys of the request, lower-cased. An unknown value has no key."""
        keys: dict[str, Value] = {"sts:rolesessionname": self.session_name, "daypass:approved": "false"}
        if self.tags:
            keys |= requested_tags(self.tags)
        if self.external_id:
            keys["sts:externalid"] = self.external_id
        if self.source_identity:
            keys["sts:sourceidentity"] = self.source_identity
        if self.transitive_keys:
            keys["sts:transitivetagkeys"] = self.transitive_keys
        if self.grant is not None:
            keys |= keys_of(self.grant)
        if self.client_id:
            keys["daypass:clientid"] = self.client_id
        return keys

    def actions(self, assume: str = ASSUME_ROLE) -> tuple[str, ...]:
        """The permissions that the request requires. `assume` is the action of the entry point: "sts:AssumeRoleWithSAML" …."""
        if self.tags:
            return (assume, TAG_SESSION, SET_SOURCE_IDENTITY) if self.source_identity else (assume, TAG_SESSION)
        return (assume, SET_SOURCE_IDENTITY) if self.source_identity else (assume,)
