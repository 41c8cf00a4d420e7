"""What two JSON parsers could read differently is refused, and says so with the right scimType."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.scim import strict
from agent.scim.errors import ScimRefused


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b'{"a":1}}',
        b'{"a":1} {"b":2}',
        b"\xef\xbb\xbf{}",
        '{"userName":"a"}'.encode("utf-16"),
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"active":true,"active":false}',
        b'{"active":true,"Active":false}',
        b'{"name":{"givenName":"a","GIVENNAME":"b"}}',
        b'{"active":true,"active" :false}',
        b'{"active" :true,"active":false,"a":"b"}',
        b'{"emails":[{"value":"a"},{"value":"b","Value":"c"}]}',
        b'{"a\\":":1,"active":true,"active":false}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\x00"}',
        b'{"a":"line\nbreak"}',
        b'{"a":' + b"9" * 5000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b'"' + b'\\"' * 400_000,
        b"{'a':1}",
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_what_is_not_one_plain_json_object_is_invalid_syntax(body: bytes) -> None:
    with pytest.raises(ScimRefused) as caught:
        strict.decode(body)
    assert caught.value.scim_type == "invalidSyntax"


@pytest.mark.parametrize("text", ["\\ud800", "x\\udc00", "\\u0000", "a\\u0000b"])
@pytest.mark.parametrize("shape", ['{"a":"%s"}', '{"%s":1}', '{"a":[{"b":"%s"}]}'])
def test_text_that_no_database_can_hold_is_an_invalid_value(shape: str, text: str) -> None:
    with pytest.raises(ScimRefused) as caught:
        strict.decode((shape % text).encode())
    assert caught.value.scim_type == "invalidValue"


def test_depth_is_counted_outside_strings_only() -> None:
    assert strict.decode(b'{"a":"' + b"[{" * 200 + b'"}') == {"a": "[{" * 200}
    assert strict.decode(b'{"a":"\\"' + b"[{" * 200 + b'"}') == {"a": '"' + "[{" * 200}
    flat = json.dumps({"a": [{} for _ in range(500)]}).encode()
    assert strict.decode(flat) == {"a": [{}] * 500}
    deepest = b'{"a":' * 32 + b"1" + b"}" * 32
    assert strict.decode(deepest)


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert strict.decode(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)


def _one_case(value: object) -> bool:
    if isinstance(value, dict):
        return len({key.lower() for key in value}) == len(value) and all(map(_one_case, value.values()))
    return all(map(_one_case, value)) if isinstance(value, list) else True


@given(st.dictionaries(_TEXT, _VALUES, max_size=4).filter(_one_case), st.booleans())
def test_every_other_object_is_read_as_the_standard_library_reads_it(
    value: dict[str, object], ascii_only: bool
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert strict.decode(body) == json.loads(body)
