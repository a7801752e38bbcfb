"""Whatever is done to a log, verification names the first record at which it shows."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.audit.columns import altered_session_column, session_columns
from daypass.audit.format import chain_hash, chain_seed, leaf_hash
from daypass.audit.verify import BadRecord, Head, RecordRow, VerifiedLog, named_heads, verify_log

LOG = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2


def event(kind: str, **detail: object) -> bytes:
    body = {"v": 1, "type": kind, "at": 1, "detail": detail}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def log_of(*events: bytes, log: str = LOG) -> list[RecordRow]:
    rows, chain = [], chain_seed(log)
    for seq, data in enumerate(events):
        leaf = leaf_hash(data)
        chain = chain_hash(chain, leaf, seq)
        rows.append(RecordRow(log, seq, leaf, chain, data))
    return rows


def sample(count: int = 6) -> list[RecordRow]:
    opened = event("log.opened", heads=[{"log": OTHER, "seq": 7, "chain": "ab" * 32}])
    return log_of(opened, *(event("request.allowed", n=n) for n in range(count - 1)))


def test_format_is_the_one_that_is_written_down() -> None:
    data = event("log.opened")
    leaf = hashlib.sha256(b"\x00" + data).digest()
    seed = hashlib.sha256(b"\x03" + LOG.encode()).digest()
    chain = hashlib.sha256(b"\x02" + seed + leaf + bytes(8)).digest()
    assert verify_log(LOG, [RecordRow(LOG, 0, leaf, chain, data)]) == VerifiedLog(
        LOG, 1, Head(LOG, 0, chain), closed=False
    )


def test_verify_whole_log_reports_its_head_and_the_heads_it_names() -> None:
    rows = sample()
    found = verify_log(LOG, iter(rows))
    assert isinstance(found, VerifiedLog)
    assert (found.records, found.head, found.closed) == (6, Head(LOG, 5, rows[5].chain), False)
    assert found.heads == (Head(OTHER, 7, b"\xab" * 32),)


def test_verify_withheld_bytes_still_verifies_the_chain() -> None:
    rows = [replace(row, data=None) if row.seq % 2 else row for row in sample()]
    found = verify_log(LOG, rows)
    assert isinstance(found, VerifiedLog)
    assert found.withheld == 3
    rows[3] = replace(rows[3], leaf=b"\1" * 32)
    assert verify_log(LOG, rows) == BadRecord(
        LOG, 3, "altered: the chain does not follow from the record before and this leaf"
    )


ROWS = sample()
TAMPERED = {
    "gap": ([*ROWS[:3], *ROWS[4:]], 3, "missing"),
    "first missing": (ROWS[1:], 0, "missing"),
    "empty": ([], 0, "missing"),
    "altered bytes": ([*ROWS[:2], replace(ROWS[2], data=event("request.allowed", n=99)), *ROWS[3:]], 2, "leaf"),
    "altered bytes and leaf": (
        [
            *ROWS[:2],
            replace(ROWS[2], data=event("request.allowed", n=99), leaf=leaf_hash(event("request.allowed", n=99))),
            *ROWS[3:],
        ],
        2,
        "chain",
    ),
    "altered leaf": ([*ROWS[:2], replace(ROWS[2], leaf=b"\0" * 32), *ROWS[3:]], 2, "leaf"),
    "broken chain": ([*ROWS[:4], replace(ROWS[4], chain=b"\0" * 32), *ROWS[5:]], 4, "chain"),
    "swapped": ([*ROWS[:2], ROWS[3], ROWS[2], *ROWS[4:]], 2, "missing"),
    "twice": ([*ROWS[:3], ROWS[2], *ROWS[3:]], 3, "out of order"),
    "swapped and renumbered": ([*ROWS[:2], replace(ROWS[3], seq=2), replace(ROWS[2], seq=3), *ROWS[4:]], 2, "chain"),
    "another log's": ([*ROWS[:2], replace(ROWS[2], log=OTHER)], 2, "another log"),
    "not opened": (log_of(event("request.allowed")), 0, "log.opened must be the first"),
    "opened twice": (log_of(event("log.opened"), event("log.opened")), 1, "log.opened again"),
    "not an event": (log_of(b"{"), 0, "not an event"),
    "after its end": (log_of(event("log.opened"), event("log.closed"), event("request.allowed")), 2, "closed"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_verify_tampered_log_names_the_first_bad_record(name: str) -> None:
    rows, seq, why = TAMPERED[name]
    found = verify_log(LOG, rows)
    assert isinstance(found, BadRecord)
    assert (found.log, found.seq) == (LOG, seq)
    assert why in found.why


def test_verify_truncated_log_shows_against_a_head_known_elsewhere() -> None:
    rows = sample()
    known = [Head(LOG, 5, rows[5].chain), Head(OTHER, 9, b"")]
    assert isinstance(verify_log(LOG, rows, known), VerifiedLog)
    found = verify_log(LOG, rows[:4], known)
    assert found == BadRecord(LOG, 4, "missing: the log is known to go on to record 5")


def test_verify_log_rewritten_with_a_fresh_chain_shows_against_a_known_head() -> None:
    rows = sample()
    forged = log_of(rows[0].data or b"", *(event("request.allowed", n=-1) for _ in range(5)))
    assert isinstance(verify_log(LOG, forged), VerifiedLog)
    found = verify_log(LOG, forged, [Head(LOG, 3, rows[3].chain)])
    assert isinstance(found, BadRecord)
    assert (found.seq, "rewritten" in found.why) == (3, True)


def test_verify_heads_that_disagree_are_reported() -> None:
    found = verify_log(LOG, sample(), [Head(LOG, 2, b"a"), Head(LOG, 2, b"b")])
    assert isinstance(found, BadRecord)


def test_verify_passes_only_gaps_that_are_named_and_reports_them() -> None:
    rows = sample(9)
    body = {"detail": {"lost": 2, "missing": 5, "since": 10, "until": 20, "heads": []}}
    body["detail"]["heads"] = [{"log": LOG, "seq": seq, "chain": rows[seq].chain.hex()} for seq in (3, 8, 5)]
    named = named_heads(body)
    assert [head.lost for head in named] == [(5, 10, 20), (5, 10, 20), None]

    def without(*seqs: int) -> VerifiedLog | BadRecord:
        return verify_log(LOG, [row for row in rows if row.seq not in seqs], named)

    whole = without()
    assert isinstance(whole, VerifiedLog)
    assert whole.gaps == ()
    both = without(2, 3, 7, 8)
    assert isinstance(both, VerifiedLog)
    assert [(gap.first, gap.last, gap.since, gap.until) for gap in both.gaps] == [(2, 3, 10, 20), (7, 8, 10, 20)]
    assert (both.records, both.head) == (5, Head(LOG, 8, rows[8].chain))
    for bad, at in (((5, 6), 5), ((3, 4), 3), ((4,), 4), ((3, 5, 6), 5), (range(9), 0)):
        found = without(*bad)
        assert isinstance(found, BadRecord), bad
        assert found.seq == at, bad
    altered = [*rows[:2], replace(rows[4], leaf=rows[5].leaf, data=None), *rows[5:]]
    assert isinstance(verify_log(LOG, altered, named), BadRecord)


def test_verify_goes_on_behind_a_verified_head() -> None:
    rows = sample()
    found = verify_log(LOG, rows[3:], after=Head(LOG, 2, rows[2].chain))
    assert isinstance(found, VerifiedLog)
    assert (found.records, found.head.seq) == (3, 5)
    assert isinstance(verify_log(LOG, rows[3:], after=Head(LOG, 2, rows[1].chain)), BadRecord)


def test_closed_inside_a_callers_text_does_not_close_a_log() -> None:
    hostile = event("request.denied", text='"type":"log.closed"', type="log.closed")
    found = verify_log(LOG, log_of(event("log.opened"), hostile, event("request.allowed")))
    assert isinstance(found, VerifiedLog)
    assert not found.closed


@given(st.binary(max_size=200), st.integers(0, 2**63 - 1), st.booleans())
def test_row_json_round_trip(data: bytes, seq: int, withheld: bool) -> None:
    row = RecordRow(
        LOG, seq, leaf_hash(data), chain_hash(chain_seed(LOG), leaf_hash(data), seq), None if withheld else data
    )
    assert RecordRow.from_json(json.loads(json.dumps(row.to_json()))) == row


@pytest.mark.parametrize(
    "change",
    [
        {"log": "x"},
        {"log": None},
        {"log": LOG.upper()},
        {"seq": -1},
        {"seq": True},
        {"seq": "1"},
        {"seq": 2**63},
        {"leaf": "zz" * 32},
        {"leaf": "ab" * 31},
        {"chain": "ab" * 32 + "\n"},
        {"bytes": None},
        {"bytes": "e30"},
        {"bytes": "e30=\n"},
        {"bytes": "e31="},
        {"bytes": "A" * 200_000},
    ],
)
def test_row_from_bad_json_raises_value_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        RecordRow.from_json({**sample()[0].to_json(), **change})


def test_verify_imports_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; import daypass.audit, daypass.audit.verify;"
        "print([m for m in sys.modules if m.split('.')[0] in ('sqlalchemy','structlog','psycopg','pydantic','asyncio')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


HOP = ["s", "a", "AROA", 1, ["e", 1], "ASIA", ""]


@pytest.mark.parametrize(
    "session",
    [
        {"hops": [HOP], "issued_at": "x", "expires_at": 9},
        {"hops": [HOP], "issued_at": 1.5, "expires_at": None},
        *({"hops": [hop], "issued_at": 1, "expires_at": 9} for hop in (
            5, [], HOP[:6], [*HOP, "g", "c", "more"], [["s"], *HOP[1:]], [*HOP[:3], "1", *HOP[4:]],
            [*HOP[:4], 5, *HOP[5:]], [*HOP[:4], ["e"], *HOP[5:]], [*HOP[:5], {}, ""],
        )),
    ],
)  # fmt: skip
def test_a266_session_of_an_event_with_values_of_other_types_has_no_row_that_fits(session: dict[str, object]) -> None:
    body = {"type": "session.issued", "session": session}
    columns = session_columns(body)
    assert columns is not None
    assert None in columns.values(), "no column of the table is NULL"
    assert altered_session_column({**dict.fromkeys(columns, "x"), "session_id": "s"}, body)
