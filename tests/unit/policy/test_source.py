import json

import pytest
from tests.cost import costs_less_than

from daypass.domain.policy.source import MAX_CHARACTERS, Kind, PolicyError, Positions, read


def plain(node):
    if node.kind is Kind.OBJECT:
        return {key: plain(value) for key, value in node.members.items()}
    if node.kind is Kind.ARRAY:
        return [plain(item) for item in node.items]
    return node.text if node.kind is Kind.STRING else json.loads(node.text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, -2.5e3, true, false, null, "x"], "b": {}, "c": []}',
        " [ ] ",
        '"\\u00e9\\n\\"\\ud83d\\ude00"',
        "0",
        '{"":""}',
    ],
)
def test_read_valid_json_equals_standard_reader(text):
    assert plain(read(text)) == json.loads(text)


def test_read_numbers_keep_their_spelling():
    assert read("1.50").text == "1.50"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "[1,]",
        "[1 2]",
        '{"a":1 "b":2}',
        "{a:1}",
        '"\n"',
        '"\\x"',
        '"abc',
        "01",
        "+1",
        "1.",
        "NaN",
        "Infinity",
        "tru",
        "{} x",
        "\ufeff{}",
        "'a'",
        "{1:2}",
        "１",
        "\x0c1",
        '{"a" 1}',
    ],
)
def test_read_malformed_json_raises_syntax_error(text):
    with pytest.raises(PolicyError, match=r"^Syntax errors in policy\.$"):
        read(text)


def test_a38_read_duplicate_key_raises_at_the_duplicate():
    with pytest.raises(PolicyError) as caught:
        read('{"a": 1,\n "a": 2}')
    assert (caught.value.line, caught.value.column) == (2, 2)


def test_a38_read_duplicate_key_spelled_by_escape_raises():
    with pytest.raises(PolicyError):
        read('{"a": 1, "\\u0061": 2}')


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000,
        "9" * 5000,
        "[" + "9" * 5000 + "]",
        '"\\ud800"',
        '"\udc00"',
        '"\\udc00\\ud800"',
        '{"\\ud800": 1}',
        "1e" + "9" * 100,
        '"' + "a" * MAX_CHARACTERS + '"',
    ],
)
def test_a49_read_hostile_json_raises_at_once(text):
    def refused() -> None:
        with pytest.raises(PolicyError):
            read(text)

    assert costs_less_than(1, refused)


def test_read_positions_are_offsets_of_values():
    text = '{\n  "a": [1,\n   "b"]}'
    item = read(text).members["a"].items[1]
    positions = Positions(text)
    assert positions.at(item.start) == (3, 4)
    assert positions.at(item.end) == (3, 7)
    assert positions.at(0) == (1, 1)


def test_read_long_string_of_escapes_is_fast():
    text = '"' + "\\n" * 60_000 + '"'
    assert read(text).text == "\n" * 60_000
