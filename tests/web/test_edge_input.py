"""Input: whatever is wrong with it is a 400 that names the place, and never reaches a rule."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.web.http.answers import takes_gzip
from services.web.http.bodies import BodyReader, Id, Input, Slug
from services.web.http.cursors import Cursors
from services.web.http.problems import BadInput, WrongMediaType
from services.web.http.queries import ListQuery, Position, Query, QueryReader, Time

JSON = b"application/json"


class Part(Input):
    """A nested object."""

    name: Slug
    share: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None


class Whole(Input):
    """A body of every kind of field."""

    title: str
    parts: tuple[Part, ...] = ()
    notes: dict[str, str] | None = None
    kind: Literal["a", "b"] = "a"


class Search(ListQuery, frozen=True, kw_only=True):
    """A query of every kind of field."""

    since: Time | None = None
    corrected: bool = False
    tool: list[Slug] = msgspec.field(default_factory=list)
    sort: Literal["name", "panel"] = "name"


BODIES = BodyReader(Whole)
QUERIES = QueryReader(Search)
CURSORS = Cursors(["new-key", "old-key"])


def refused_at(raw: bytes) -> list[str]:
    """Read a body that must be refused, and give the pointers."""
    with pytest.raises(BadInput) as refused:
        BODIES.read(JSON, raw)
    return [error.pointer for error in refused.value.errors]


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b"{}", "/title"),
        (b'{"title":"x","more":1}', "/more"),
        (b'{"title":"x","a/b~c":1}', "/a~1b~0c"),
        (b'{"title":1}', "/title"),
        (b'{"title":null}', "/title"),
        (b'{"title":"x","parts":[{"name":"ok"},{"name":"No"}]}', "/parts/1/name"),
        (b'{"title":"x","parts":[{}]}', "/parts/0/name"),
        (b'{"title":"x","parts":[{"name":"ok","what":1}]}', "/parts/0/what"),
        (b'{"title":"x","parts":[{"name":"ok","share":101}]}', "/parts/0/share"),
        (b'{"title":"x","parts":[{"name":"ok","share":1e999}]}', "/parts/0/share"),
        (b'{"title":"x","parts":[{"name":"ok","share":%s}]}' % (b"9" * 5000), "/parts/0/share"),
        (b'{"title":"x","parts":[{"name":"ok\\n"}]}', "/parts/0/name"),
        (b'{"title":"x","notes":{"k":1}}', "/notes"),
        (b'{"title":"x","kind":"c"}', "/kind"),
        (b'{"title":"a\\u0000b"}', "/title"),
        (b'{"title":"x","notes":{"k":"\\u0000"}}', "/notes/k"),
        (b'{"title":"x","notes":{"\\u0000":"v"}}', "/notes"),
        (b'{"title":"\xff"}', "/title"),
        (b'{"title":"x","notes":{"k":"\xc3\x28"}}', "/notes/k"),
        (b'{"title":"\\ud800"}', "/title"),
        (b'{"title":"\\udc00\\ud800"}', "/title"),
        (b'{"title":"x"', ""),
        (b'{"title":NaN}', ""),
        (b"", ""),
        (b"null", ""),
        (b"[]", ""),
        (b'{"title":"x"}{}', ""),
        (b"\xef\xbb\xbf{}", ""),
        (b"[" * 100_000, ""),
        (b'{"title":' + b"[" * 100_000, "/title"),
    ],
)
def test_a_bad_body_is_refused_at_its_field(raw: bytes, pointer: str) -> None:
    """The pointer names the field that is wrong, missing or unknown, or the whole where no field can be told."""
    assert refused_at(raw) == [pointer]


@pytest.mark.parametrize(
    ("accepts", "packed"),
    [
        (None, False), (b"", False), (b"br", False), (b"gzip", True), (b"GZIP", True), (b"br, gzip", True),
        (b"gzip;q=0", False), (b"gzip; q=0.0", False), (b"gzip;q=0.00", False), (b"gzip;q=0.000", False),
        (b"gzip;\tQ=0.", False), (b"gzip;q=0.001", True), (b"gzip;q=0.5, br;q=0", True),
        (b"br;q=1, gzip;q=0.00", False), (b"gzipped", False),
    ],
)  # fmt: skip
def test_an_answer_is_packed_for_those_who_take_it(accepts: bytes | None, packed: bool) -> None:
    """A weight of nothing refuses gzip, however many zeros it is spelled with (RFC 9110, 12.4.2)."""
    assert takes_gzip(accepts) is packed


def test_a_whole_number_may_have_a_point() -> None:
    """63.0 is an integer, as JSON Schema has it; 63.5 isn't."""
    found = BODIES.read(JSON, b'{"title":"x","parts":[{"name":"ok","share":63.0}]}')
    assert found.parts[0].share == 63
    assert refused_at(b'{"title":"x","parts":[{"name":"ok","share":63.5}]}') == ["/parts/0/share"]


@pytest.mark.parametrize("around", [b'{"%s":[%%s]}' % (b"n" * 32_000), b'{"n":' * 400 + b"[%s]" + b"}" * 400])
def test_a_refusal_is_never_much_longer_than_the_body(around: bytes) -> None:
    """Of thousands of bad strings, far down or below a very long name, the first are named, by the nearest place around."""
    bad = b'{"title":"\\ud800","parts":%s}' % (around % b",".join([b'"\\u0000"'] * 3_000))
    found = refused_at(bad)
    assert found[0] == "/title"
    assert len(found) <= 100 and max(map(len, found)) <= 500


def test_an_escaped_backslash_is_not_nul() -> None:
    """Text that merely looks like the escape of NUL is text."""
    assert BODIES.read(JSON, b'{"title":"\\\\u0000"}').title == "\\u0000"


@pytest.mark.parametrize(
    "media", [JSON, b"application/json; charset=utf-8", b"Application/JSON;charset=UTF-8", b"application/merge-patch+json"]
)
def test_json_is_read_by_any_of_its_names(media: bytes) -> None:
    """JSON and what is built on it are read, with or without a charset."""
    assert BODIES.read(media, b'{"title":"x"}').title == "x"


@pytest.mark.parametrize(
    "media",
    [
        None,
        b"",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/json; charset=latin-1",
        b"application/jsonx",
        b"json",
    ],
)
def test_other_media_are_refused(media: bytes | None) -> None:
    """What isn't said to be JSON isn't read: so no form on another site can write."""
    with pytest.raises(WrongMediaType):
        BODIES.read(media, b'{"title":"x"}')


@given(
    st.binary(max_size=200) | st.text(max_size=50).map(lambda text: b'{"title":"%s"}' % text.encode("utf-8", "surrogatepass"))
)
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Whatever the bytes: a value without NUL, or a refusal."""
    try:
        assert "\0" not in BODIES.read(JSON, raw).title
    except BadInput as refused:
        assert refused.errors
        msgspec.json.encode(refused.errors)


def test_a_query_is_read_by_its_struct() -> None:
    """Numbers, times, flags and lists are read as what they are; what we don't know is left alone."""
    found = QUERIES.read(b"limit=5&since=2026-01-02T03:04:05Z&corrected=true&tool=a&tool=b&after=7&utm=x")
    assert found == Search(limit=5, since=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), corrected=True, tool=["a", "b"], after=7)
    assert QUERIES.read(b"") == Search()


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b"limit=0", "/limit"),
        (b"limit=101", "/limit"),
        (b"limit=ten", "/limit"),
        (b"limit=1e1", "/limit"),
        (b"limit=", "/limit"),
        (b"limit=+5", "/limit"),
        (b"limit=%D9%A1", "/limit"),
        (b"limit=1&limit=2", "/limit"),
        (b"limit=" + b"9" * 5000, "/limit"),
        (b"after=-1", "/after"),
        (b"after=9223372036854775808", "/after"),
        (b"since=yesterday", "/since"),
        (b"since=2026-01-02", "/since"),
        (b"since=2026-01-02T03:04:05", "/since"),
        (b"since=1700000000", "/since"),
        (b"corrected=1", "/corrected"),
        (b"sort=trending", "/sort"),
        (b"tool=a&tool=B", "/tool/1"),
        (b"sort=na%00me", "/sort"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(raw: bytes, pointer: str) -> None:
    """The pointer names the parameter."""
    with pytest.raises(BadInput) as refused:
        QUERIES.read(raw)
    assert [error.pointer for error in refused.value.errors] == [pointer]


@pytest.mark.parametrize("raw", [b"%ff=1", b"limit=%ff", b"\xff", b"&".join([b"a=1"] * 101)])
def test_a_query_that_cannot_be_read_is_refused(raw: bytes) -> None:
    """Broken UTF-8 and endless lists of parameters are bad input."""
    with pytest.raises(BadInput):
        QUERIES.read(raw)


def test_a_required_parameter_is_missed_by_name() -> None:
    """A parameter without default must be there."""

    class Needs(Query, frozen=True, kw_only=True):
        position: Position

    with pytest.raises(BadInput) as refused:
        QueryReader(Needs).read(b"")
    assert refused.value.errors[0].pointer == "/position"


@given(st.tuples(st.text(max_size=20), st.integers(0, 2**62)))
def test_a_cursor_leads_back(place: tuple[str, int]) -> None:
    """What was sealed is opened, by a process with a newer key as well."""
    sealed = CURSORS.seal("tools:name", place)
    assert CURSORS.open("tools:name", sealed, tuple[str, int]) == place
    assert Cursors(["newest", "new-key"]).open("tools:name", sealed, tuple[str, int]) == place


@pytest.mark.parametrize("list_", ["tools:panel", "tools:name:cat", ""])
def test_a_cursor_belongs_to_its_list(list_: str) -> None:
    """A cursor of one list is none of another."""
    assert_forged(list_, CURSORS.seal("tools:name", ("a", 1)))


@given(st.data())
def test_a_forged_cursor_is_refused(data: st.DataObject) -> None:
    """A changed, cut or invented cursor is bad input that names `cursor`."""
    sealed = CURSORS.seal("tools:name", ("a", 1))
    place = data.draw(st.integers(0, len(sealed) - 2))
    other = data.draw(st.characters().filter(lambda character: character != sealed[place]))
    for forged in (sealed[:place] + other + sealed[place + 1 :], sealed[:place], data.draw(st.text(max_size=60))):
        assert_forged("tools:name", forged)


def assert_forged(list_: str, cursor: str) -> None:
    """Check that a cursor is refused by name."""
    with pytest.raises(BadInput) as refused:
        CURSORS.open(list_, cursor, tuple[str, int])
    assert refused.value.errors[0].pointer == "/cursor"


def test_ids_are_spelled_one_way() -> None:
    """The id type of bodies takes ids only, in the one spelling they have."""
    reader: BodyReader[Any] = BodyReader(msgspec.defstruct("Holder", [("id", Id)]))
    assert reader.read(JSON, b'{"id":"AaIBaD4Jdt2r0cFH3ftnxQ"}').id
    for wrong in (b"AaIBaD4Jdt2r0cFH3ftnxR", b"AaIBaD4Jdt2r0cFH3ftnxQ\\n", b"AaIBaD4Jdt2r0cFH3ftnx", b""):
        with pytest.raises(BadInput):
            reader.read(JSON, b'{"id":"%s"}' % wrong)
