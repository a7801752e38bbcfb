"""A symmetric key of AWS KMS. Credentials come from where every AWS SDK looks for them."""

from __future__ import annotations

from typing import Any, Final

from daypass.crypto.key_encryption import KeySourceError

_CONTEXT: Final = {"daypass": "key-encryption-key"}  # authenticated; policies of keys may require it
_TEMPORARY: Final = frozenset(
    {"ThrottlingException", "DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException"}
)
_ADVICE: Final = {
    "AccessDeniedException": "Allow kms:Encrypt and kms:Decrypt on the key to the credentials of this process",
    "NotFoundException": "Check the ARN and its region",
    "DisabledException": "Enable the key",
    "KMSInvalidStateException": "The key is pending deletion or unavailable: restore it",
    "InvalidCiphertextException": "Another key wrapped this value, or it was altered",
    "IncorrectKeyException": "Another key wrapped this value",
    "InvalidKeyUsageException": "The key must be symmetric, for ENCRYPT_DECRYPT",
}


class AwsKms:
    """See `crypto.key_encryption.KeySource`.

    Args:
        arn: of a key or of an alias.
        endpoint: "" for that of the region. The endpoints of the environment and of profiles are ignored, because those
            of Daypass itself are often set there.
    """

    kind = "aws-kms"

    def __init__(self, arn: str, region: str, endpoint: str, seconds: float) -> None:
        self.name = f"AWS KMS key {arn}"
        self._arn = arn
        self._region = region
        self._endpoint = endpoint
        self._seconds = seconds

    def wrap(self, data_key: bytes) -> bytes:
        """See `KeySource`."""
        return bytes(self._call("encrypt", Plaintext=data_key)["CiphertextBlob"])

    def unwrap(self, wrapped: bytes) -> bytes:
        """See `KeySource`."""
        return bytes(self._call("decrypt", CiphertextBlob=wrapped)["Plaintext"])

    def _call(self, action: str, **arguments: bytes) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # much to import, for few servers

        try:
            client = self._client()
            try:
                answer: dict[str, Any] = getattr(client, action)(
                    KeyId=self._arn, EncryptionContext=_CONTEXT, **arguments
                )
            finally:
                client.close()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            advice = _ADVICE.get(code, "Check the key and the credentials of this process")
            temporary = code in _TEMPORARY or status >= 500
            raise KeySourceError(f"{self.name} cannot {action}: {code}. {advice}.", temporary=temporary) from None
        except (BotoCoreError, ValueError) as error:
            advice = "Check the credentials of this process, the endpoint and the network"
            message = f"{self.name} cannot {action}: {type(error).__name__}. {advice}."
            raise KeySourceError(message, temporary=True) from None
        return answer

    def _client(self) -> Any:
        from botocore.config import Config  # noqa: PLC0415  # see `_call`
        from botocore.session import get_session  # noqa: PLC0415  # the same

        config = Config(
            connect_timeout=self._seconds,
            read_timeout=self._seconds,
            retries={"total_max_attempts": 1},
            ignore_configured_endpoint_urls=True,
        )
        return get_session().create_client(
            "kms", region_name=self._region, endpoint_url=self._endpoint or None, config=config
        )
