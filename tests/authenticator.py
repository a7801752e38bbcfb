"""An authenticator in software: it makes passkeys and assertions as a browser would send them, and every wrong one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from daypass.domain.jws import base64url, from_base64url

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass
class Authenticator:
    """One passkey. `count`: the signature counter of its last assertion; it does not count while it is None."""

    origin: str
    rp_id: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential: bytes = field(default_factory=lambda: os.urandom(32))
    user: bytes = b""
    count: int | None = 0
    flags: int = UP | UV
    client: dict[str, Any] = field(default_factory=dict)
    aaguid: bytes = bytes(16)
    attest: Callable[[bytes, bytes], tuple[str, dict[str, Any]]] = lambda *_: ("none", {})
    """The form and statement of an attestation of authenticator data and the digest of the client data."""

    @property
    def id(self) -> str:
        return base64url(self.credential)

    def register(self, options: str) -> str:
        """The answer to the options of a registration."""
        asked = json.loads(options)
        self.user = from_base64url(asked["user"]["id"])
        public = ES256.from_cryptography_key(self.key.public_key())
        made = AttestedCredentialData.create(Aaguid(self.aaguid), self.credential, public)
        data = AuthenticatorData.create(self._rp_hash(), AuthenticatorData.FLAG(self.flags | AT), self.count or 0, made)
        client = self._client_data("webauthn.create", asked["challenge"])
        form, statement = self.attest(bytes(data), hashlib.sha256(client).digest())
        attestation = AttestationObject.create(form, data, statement)
        response = {
            "clientDataJSON": base64url(client),
            "attestationObject": base64url(attestation),
            "transports": ["internal", "<script>"],
        }
        return self._answer(response)

    def assertion(self, options: str, **changes: Any) -> str:
        """The answer to the options of an assertion; `changes` replace members of its response."""
        asked = json.loads(options)
        if self.count is not None:
            self.count += 1
        data = AuthenticatorData.create(self._rp_hash(), AuthenticatorData.FLAG(self.flags), self.count or 0)
        client = self._client_data("webauthn.get", asked["challenge"])
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": base64url(client),
            "authenticatorData": base64url(data),
            "signature": base64url(signature),
            "userHandle": base64url(self.user),
            **changes,
        }
        return self._answer(response)

    def _answer(self, response: dict[str, Any]) -> str:
        return json.dumps({"id": self.id, "rawId": self.id, "type": "public-key", "response": response})

    def _rp_hash(self) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest()

    def _client_data(self, kind: str, challenge: str) -> bytes:
        given = {"type": kind, "challenge": from_base64url(challenge), "origin": self.origin, **self.client}
        return bytes(CollectedClientData.create(**given))
