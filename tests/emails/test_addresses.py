"""Addresses: what sign-up accepts can be mailed to, and has one spelling."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emails.addresses import AddressRefused, ascii_address, read_address
from emails.message import prepare
from emails.rendering import render_shared
from tests.support.mails import CONTENT, LIST_ID, READER, SENDER

ATOMS = st.text("aZ09!#$%&'*+/=?^_`{|}~-.", min_size=1, max_size=70)
QUOTED = st.text('aZ09 ."\\@()<>,;:[]\t', max_size=66).map(lambda text: f'"{text}"')
LABELS = st.text("aZ09-_äßéИ中ア\u200dﬁＡ", min_size=1, max_size=66)
DOMAINS = st.lists(LABELS, min_size=1, max_size=5).flatmap(
    lambda labels: st.sampled_from(["com", "Org", "ch", "中国", "xn--fiqs8s", "test", "c"]).map(
        lambda top: ".".join([*labels, top])
    )
)
ADDRESSES = st.builds("{}@{}".format, ATOMS | QUOTED, DOMAINS)

PREPARED = prepare(render_shared(CONTENT), SENDER, LIST_ID)


@given(ADDRESSES | st.text(max_size=300))
@example('"plain"@Example.ORG')
@example(r'"a\"b@c"@example.com')
@example("o'hara+news@exÄmple.ch")
@example("a" * 64 + "@" + "b" * 60 + ".example.com")
@example("a" * 65 + "@example.com")
def test_what_sign_up_accepts_sending_accepts_in_the_same_form(text: str) -> None:
    """Sending spells an accepted address as sign-up did, reading it again changes nothing, and its mail can be built."""
    with suppress(AddressRefused):
        address = read_address(text)
        assert ascii_address(address) == address == read_address(address)
        assert f"To: {address}\r\n".encode() in PREPARED.fill(READER._replace(address=address))


@pytest.mark.parametrize(
    "text", ["", "nobody", "a@b", "x@example.test", "a" * 65 + "@example.com", "ü@example.com", "a@x.com\n.b"]
)
def test_sign_up_refuses_without_repeating_the_address(text: str) -> None:
    """One sentence for everything that is no address, so that the refusal never quotes it."""
    with pytest.raises(AddressRefused, match=r"^it is not an address that mail can be sent to$"):
        read_address(text)
    with pytest.raises(AddressRefused, match=r"^it is too long$"):
        read_address("a" * 255)
