"""`make vectors` takes exactly the pinned files, or nothing."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from tests.vectors import fetch


def _archive(files: dict[str, bytes], *, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    return buffer.getvalue()


def test_files_below_takes_regular_files_within_the_folder_alone() -> None:
    suite = "x/tests/aws-signing-test-suite"
    files = {f"{suite}/v4/a/context.json": b"1", f"{suite}/v4a/a/context.json": b"2", f"{suite}/v4/../../out": b"3"}
    archive = _archive(files, link=f"{suite}/v4/link")
    assert fetch.files_below(archive, ("aws-signing-test-suite", "v4")) == {"a/context.json": b"1"}


@pytest.mark.parametrize(
    ("take", "name", "content"),
    [
        (fetch.fetch_wycheproof, "json_web_signature_test.json", b'{"testGroups": []}'),
        (fetch.fetch_c_auth, "aws-c-auth.tar.gz", _archive({"x/aws-signing-test-suite/v4/a/context.json": b"{}"})),
    ],
)
def test_fetch_of_other_content_than_pinned_is_refused_and_leaves_nothing(
    take: fetch.Fetch, name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("DAYPASS_VECTORS_DIR", str(tmp_path))
    into = tmp_path / "into"
    with pytest.raises(fetch.FetchError, match="digest"):
        take(into)
    assert not into.exists()


def test_fetch_from_a_folder_without_the_file_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYPASS_VECTORS_DIR", str(tmp_path))
    with pytest.raises(fetch.FetchError, match=r"aws-c-auth\.tar\.gz"):
        fetch.fetch_c_auth(tmp_path / "into")
