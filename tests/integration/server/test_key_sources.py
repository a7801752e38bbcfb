"""Key sources against their peers: SoftHSM, Vault's transit engine (ours, and OpenBao where it is installed), moto's KMS."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import boto3
import msgspec
import pytest
from moto.server import ThreadedMotoServer
from tests.key_sources import TOKEN, SoftToken, Transit, open_bao, soft_token, transit

from daypass.config import ConfigError, Settings, load
from daypass.crypto.key_encryption import KeyEncryptionKey, KeySource, KeySourceError, RingError
from daypass.ports.directory import StoredKey
from daypass.server.key_sources import key_source
from daypass.server.ring_keys import await_source, key_encryption_key

SECONDS = 60.0  # only a failure waits so long
DATA_KEY = bytes(range(32))
ARN = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-1234-1234-123456789012"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "vault-token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def vault() -> Iterator[Transit]:
    with transit() as started:
        yield started


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    return soft_token(tmp_path_factory.mktemp("softhsm"))


@pytest.fixture
def hsm(token: SoftToken, monkeypatch: pytest.MonkeyPatch) -> SoftToken:
    for name, value in token.environment.items():
        monkeypatch.setenv(name, value)
    return token


@pytest.fixture(scope="module")
def kms_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def kms(kms_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The endpoint, and the ARN of a new key."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # that of a Daypass: never used for KMS
    client = boto3.client("kms", endpoint_url=kms_endpoint, region_name="eu-central-1")
    return kms_endpoint, client.create_key()["KeyMetadata"]["Arn"]


def source(uri: str) -> KeySource:
    return key_source(uri, SECONDS)


def failure(uri: str, wrapped: bytes | None = None) -> KeySourceError:
    with pytest.raises(KeySourceError) as failed:
        if wrapped is None:
            source(uri).wrap(DATA_KEY)
        else:
            source(uri).unwrap(wrapped)
    return failed.value


# --- Vault


def test_vault_unwraps_what_it_wrapped_and_nothing_else(vault: Transit, token_file: Path) -> None:
    uri = vault.uri(token_file)
    wrapped = source(uri).wrap(DATA_KEY)
    assert DATA_KEY not in wrapped
    assert source(uri).unwrap(wrapped) == DATA_KEY
    source(vault.uri(token_file, "other")).wrap(DATA_KEY)
    for refused in (failure(vault.uri(token_file, "other"), wrapped), failure(uri, wrapped[:-8] + b"AAAAAAA=")):
        assert not refused.temporary
        assert "status 400" in str(refused)


def test_openbao_unwraps_what_it_wrapped(token_file: Path) -> None:
    with open_bao() as port:
        uri = Transit(port).uri(token_file)
        wrapped = source(uri).wrap(DATA_KEY)
        assert source(uri).unwrap(wrapped) == DATA_KEY
        assert not failure(uri, wrapped[:-8] + b"AAAAAAA=").temporary
        token_file.write_text("another")
        assert "status 403" in str(failure(uri, wrapped))


def test_vault_that_is_sealed_is_tried_again_later(vault: Transit, token_file: Path) -> None:
    vault.sealed = True
    failed = failure(vault.uri(token_file))
    assert failed.temporary
    assert "unseal" in str(failed)


def test_vault_that_does_not_listen_is_tried_again_later(token_file: Path) -> None:
    with socket.socket() as silent:  # it has the port and does not listen
        silent.bind(("127.0.0.1", 0))
        assert failure(Transit(silent.getsockname()[1]).uri(token_file)).temporary


def test_vault_token_is_read_at_every_call_and_is_in_no_message(vault: Transit, token_file: Path) -> None:
    uri = vault.uri(token_file)
    made = source(uri)
    token_file.write_text("an-expired-token")
    refused = failure(uri)
    assert not refused.temporary
    assert "policy" in str(refused)
    assert "expired-token" not in str(refused)
    token_file.write_text(TOKEN)
    assert made.wrap(DATA_KEY)
    token_file.unlink()
    assert str(token_file) in str(failure(uri))


def test_vault_whose_answer_is_not_base64_is_named(
    vault: Transit, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = vault.uri(token_file)
    wrapped = source(uri).wrap(DATA_KEY)
    monkeypatch.setattr(vault, "answer", lambda *_: (200, {"data": {"plaintext": "abc"}}))
    assert "not Vault's" in str(failure(uri, wrapped))


def test_key_source_is_checked_by_opening_the_data_key_again(vault: Transit, token_file: Path) -> None:
    local = KeyEncryptionKey(b"k" * 32)
    kek = KeyEncryptionKey(source(vault.uri(token_file))).accepting([local])
    kek.check()
    assert vault.calls == []  # it has no data key yet
    kek.prove()
    kek.check()
    assert [call.split("/")[3] for call in vault.calls] == ["encrypt", "decrypt"]
    vault.sealed = True
    with pytest.raises(KeySourceError, match="unseal"):
        kek.check()
    local.check()


def test_vault_namespace_is_sent(vault: Transit, token_file: Path) -> None:
    source(vault.uri(token_file, more="&namespace=team")).wrap(DATA_KEY)
    assert vault.namespaces == {"team"}


def test_vault_without_tls_is_refused_except_on_this_machine() -> None:
    with pytest.raises(RingError, match="on this machine"):
        source("hcvault://vault.example/transit/keys/k?token-file=/t&tls=off")


# --- AWS KMS


def test_kms_unwraps_what_it_wrapped_and_nothing_else(kms: tuple[str, str]) -> None:
    endpoint, arn = kms
    uri = f"aws-kms://{arn}?endpoint={endpoint}"
    wrapped = source(uri).wrap(DATA_KEY)
    assert DATA_KEY not in wrapped
    assert source(uri).unwrap(wrapped) == DATA_KEY
    refused = failure(uri, wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
    assert not refused.temporary
    assert "InvalidCiphertextException" in str(refused)


def test_kms_key_that_does_not_exist_is_named_and_not_tried_again(kms: tuple[str, str]) -> None:
    refused = failure(f"aws-kms://{ARN}?endpoint={kms[0]}")
    assert not refused.temporary
    assert ARN in str(refused)
    assert "NotFoundException" in str(refused)


def test_kms_that_does_not_listen_is_tried_again_later(kms: tuple[str, str]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert failure(f"aws-kms://{kms[1]}?endpoint={endpoint}").temporary


def test_kms_without_credentials_says_so(kms: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "NoCredentialsError" in str(failure(f"aws-kms://{kms[1]}?endpoint={kms[0]}"))


# --- PKCS#11


def test_token_unwraps_what_it_wrapped_and_nothing_else(hsm: SoftToken) -> None:
    wrapped = source(hsm.uri()).wrap(DATA_KEY)
    assert DATA_KEY not in wrapped
    assert source(hsm.uri()).unwrap(wrapped) == DATA_KEY
    with pytest.raises(KeySourceError, match="key kek cannot decrypt"):
        source(hsm.uri()).unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]))


def test_token_key_that_may_be_read_out_is_refused(hsm: SoftToken) -> None:
    hsm.make_key("extractable", extractable=True)
    refused = failure(hsm.uri("extractable"))
    assert not refused.temporary
    assert "CKA_EXTRACTABLE" in str(refused)


def test_token_with_a_wrong_pin_is_not_tried_again(hsm: SoftToken, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong-pin"
    wrong.write_text("11112222")
    refused = failure(hsm.uri(pin_file=wrong))
    assert not refused.temporary
    assert "the PIN is wrong" in str(refused)
    assert "11112222" not in str(refused)


def test_pin_that_the_token_has_refused_is_not_tried_until_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, calls = tmp_path / "answer", tmp_path / "calls"
    answer.write_bytes(msgspec.msgpack.encode({"error": "PinIncorrect: the PIN is wrong", "temporary": False}))
    refusing = tmp_path / "python"
    refusing.write_text(f"#!/bin/sh\necho call >> {calls}\ncat {answer}\n")
    refusing.chmod(refusing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("sys.executable", str(refusing))
    pin = tmp_path / "pin"
    pin.write_text("1111")
    made = source(f"pkcs11:token=t;object=o?module-path=/m.so&pin-source=file:{pin}")
    for _ in range(5):
        with pytest.raises(KeySourceError, match="the PIN is wrong"):
            made.unwrap(b"x" * 40)
    assert calls.read_text().count("call") == 1
    pin.write_text("22222")
    with pytest.raises(KeySourceError, match="the PIN is wrong"):
        made.unwrap(b"x" * 40)
    assert calls.read_text().count("call") == 2


@pytest.mark.parametrize(
    ("key", "name", "temporary", "text"),
    [("absent", "daypass", False, "no such AES key"), ("kek", "absent", True, "NoSuchToken")],
)
def test_token_or_key_that_is_absent_is_named(hsm: SoftToken, key: str, name: str, temporary: bool, text: str) -> None:
    failed = failure(hsm.uri(key, name))
    assert failed.temporary == temporary
    assert text in str(failed)


def test_token_whose_library_hangs_is_left_after_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("sys.executable", str(slow))
    made = key_source("pkcs11:token=t;object=o?module-path=/m.so&pin-source=file:/p", 0.2)
    with pytest.raises(KeySourceError, match=r"no answer within 0\.2 s") as failed:
        made.wrap(DATA_KEY)
    assert failed.value.temporary


def test_token_whose_library_crashes_is_a_failure_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(crashing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("sys.executable", str(crashing))
    uri = "pkcs11:token=t;object=o?module-path=/m.so&pin-source=file:/p"
    assert "has ended" in str(failure(uri))


def test_token_library_does_not_get_the_settings_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    printing = tmp_path / "python"
    printing.write_text(f"#!/bin/sh\nenv > {seen}\n")
    printing.chmod(printing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("DAYPASS_BOOTSTRAP", "AKIA:a-secret:1:admin")
    monkeypatch.setattr("sys.executable", str(printing))
    failure("pkcs11:token=t;object=o?module-path=/m.so&pin-source=file:/p")
    assert "DAYPASS" not in seen.read_text()


# --- URIs


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("gcp-kms://projects/p", "begins with one of"),
        ("/etc/daypass/key", "begins with one of"),
        ("pkcs11:object=k?module-path=/m&pin-source=file:/p", "token or serial"),
        ("pkcs11:token=t?module-path=/m&pin-source=file:/p", "object or id"),
        ("pkcs11:token=t;object=k?pin-source=file:/p", "module-path"),
        ("pkcs11:token=t;object=k?module-path=/m", "pin-source"),
        ("pkcs11:token=t;object=k?module-path=/m&pin-value=1234", "pin-value"),
        ("aws-kms://key-1", "ARN"),
        ("aws-kms://arn:aws:s3:eu-central-1:1:b", "ARN"),
        (f"aws-kms://{ARN}?region=x", "region"),
        ("hcvault://vault/transit/keys/k", "token-file"),
        ("hcvault://vault/keys/k?token-file=/t", "MOUNT"),
        ("hcvault://user:secret@vault/transit/keys/k?token-file=/t", "HOST"),
        ("hcvault://vault/transit/keys/k?token-file=/t&token=x", "token"),
    ],
)
def test_uri_that_is_not_complete_is_refused(uri: str, text: str) -> None:
    with pytest.raises(RingError, match=text) as refused:
        source(uri)
    assert "1234" not in str(refused.value)
    assert "user:secret" not in str(refused.value)


def test_uri_is_decoded(hsm: SoftToken) -> None:
    made = source("pkcs11:token=my%20token;id=%01%ff?module-path=/m.so&pin-source=file:/p")
    assert made.name == "PKCS#11 token my token, key 01ff"


# --- Settings and the wait at start


def settings(data: Path, **keys: object) -> Settings:
    return load(None, {}, {"server": {"data": data}, "keys": keys})


def test_source_and_file_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give one"):
        settings(tmp_path, encryption_key_source=f"aws-kms://{ARN}", encryption_key_file="/k")


def test_former_keys_may_be_files_and_sources(vault: Transit, token_file: Path, tmp_path: Path) -> None:
    old = KeyEncryptionKey.from_file(tmp_path / "old.key", create=True)
    former = KeyEncryptionKey(source(vault.uri(token_file, "former")))
    keys = [
        StoredKey("sealing", "00" * 8, kek.wrap("sealing", "00" * 8, (1, 2, 3), b"m" * 32), 1, 2, 3, 0)
        for kek in (old, former)
    ]
    kek = key_encryption_key(
        settings(
            tmp_path,
            encryption_key_source=vault.uri(token_file),
            former_encryption_key_files=(tmp_path / "old.key",),
            former_encryption_key_sources=(vault.uri(token_file, "former"),),
        ),
        new=False,
    )
    kek.learn(key.wrapped for key in keys)
    assert [kek.unwrap(key) for key in keys] == [b"m" * 32] * 2
    assert not (tmp_path / "master.key").exists()


def test_start_waits_for_a_source_that_comes_back(
    vault: Transit, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kek = KeyEncryptionKey(source(vault.uri(token_file)))
    vault.sealed = True
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        vault.sealed = len(pauses) < 3

    await_source(kek, (), 30, sleep=sleep, monotonic=lambda: float(len(pauses)))
    assert len(pauses) == 3
    told = capsys.readouterr().err
    assert told.count("trying again for 30 s (keys.wait_seconds)") == 1
    assert "unseal" in told


def test_start_gives_up_after_the_time(vault: Transit, token_file: Path) -> None:
    kek = KeyEncryptionKey(source(vault.uri(token_file)))
    vault.sealed = True
    pauses: list[float] = []
    with pytest.raises(KeySourceError, match="sealed"):
        await_source(kek, (), 3, sleep=pauses.append, monotonic=lambda: float(len(pauses)))
    assert len(pauses) == 3


def test_start_does_not_repeat_a_refusal(vault: Transit, token_file: Path) -> None:
    token_file.write_text("wrong")
    kek = KeyEncryptionKey(source(vault.uri(token_file)))
    with pytest.raises(KeySourceError, match="403"):
        await_source(kek, (), 30, sleep=lambda _: pytest.fail("it waited"))
    assert len(vault.calls) == 1
