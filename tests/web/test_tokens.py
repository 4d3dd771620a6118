"""Tokens: who is calling can be told without a look-up, and nobody can make one up."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.log.ids import new_id
from services.settings import OperatorToken
from services.web.http.auth import OperatorTokens, SessionCookies, VisitorTokens, find_visitor
from tests.support.settings import settings

VISITOR = new_id(1_700_000_000_000, b"0123456789")
OLD, NEW = "old-secret-key-of-32-characters--", "new-secret-key-of-32-characters--"
ALPHABET = string.ascii_letters + string.digits + "-_"


def test_a_token_tells_its_visitor() -> None:
    """What was issued is read back."""
    tokens = VisitorTokens([NEW])
    assert tokens.visitor_of(tokens.issue(VISITOR).encode()) == VISITOR


def test_a_token_holds_the_id_and_a_signature_only() -> None:
    """Nothing but the id, which tells when it was issued, can be read from a token."""
    visitor, signature = VisitorTokens([NEW]).issue(VISITOR).split(".")
    assert visitor == VISITOR
    assert len(signature) == 44


def test_tokens_survive_key_rotation() -> None:
    """A token of an old key is valid as long as that key is listed; the newest key signs."""
    before = VisitorTokens([OLD]).issue(VISITOR)
    rotated = VisitorTokens([NEW, OLD])
    assert rotated.visitor_of(before.encode()) == VISITOR
    assert rotated.issue(VISITOR) == VisitorTokens([NEW]).issue(VISITOR)
    assert VisitorTokens([NEW]).visitor_of(before.encode()) is None


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    """Whichever character is changed, to whichever other, the token dies: there is no second spelling of it."""
    tokens = VisitorTokens([NEW])
    token = tokens.issue(VISITOR)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(ALPHABET + ".=+/ ").filter(lambda character: character != token[place]))
    assert tokens.visitor_of((token[:place] + other + token[place + 1 :]).encode()) is None


@given(st.integers(0, 66))
def test_a_cut_token_is_refused(length: int) -> None:
    """No beginning of a token is a token."""
    tokens = VisitorTokens([NEW])
    assert tokens.visitor_of(tokens.issue(VISITOR)[:length].encode()) is None


@given(st.binary(max_size=100))
def test_noise_is_refused(noise: bytes) -> None:
    """Whatever bytes are presented, the answer is a plain no."""
    assert VisitorTokens([NEW]).visitor_of(noise) is None


def test_a_signed_text_that_is_no_id_is_refused() -> None:
    """A signature under our key over something else than an id opens nothing."""
    tokens = VisitorTokens([NEW])
    assert tokens.visitor_of(tokens.issue("not-an-id").encode()) is None
    assert tokens.visitor_of(tokens.issue(VISITOR + "A").encode()) is None


@pytest.mark.parametrize("token", [b"", b"second-token", b"second-token-of-operators2", b"\xff"])
def test_unknown_operator_tokens_are_refused(token: bytes) -> None:
    """Only a configured token, whole and unchanged, is an operator's."""
    assert _operators().operator_of(token) is None


def test_operators_are_told_apart_by_their_tokens() -> None:
    """Each configured token names its own operator."""
    found = _operators().operator_of(b"second-token-of-operators")
    assert found is not None
    assert found.name == "second"


def _operators() -> OperatorTokens:
    return OperatorTokens(
        [
            OperatorToken(name=name, scopes=frozenset({"read"}), token=f"{name}-token-of-operators")
            for name in ("first", "second")
        ]
    )


def test_a_cookie_that_another_site_set_hides_no_valid_one() -> None:
    """Of several cookies of the name the first valid one counts, and one that only this host can set comes before all."""
    tokens = VisitorTokens([NEW])
    mine, other = tokens.issue(VISITOR), tokens.issue(new_id(1_700_000_000_001, b"0123456789"))
    for cookies in (
        f"ballotpress_visitor=broken; ballotpress_visitor={mine}",
        f"ballotpress_visitor={other}; __Host-ballotpress_visitor={mine}",
        f"ballotpress_visitor=; x=y; ballotpress_visitor={mine}; ballotpress_visitor={other}",
    ):
        assert find_visitor({b"cookie": cookies.encode()}, tokens) == VISITOR


def test_a_request_has_few_tries_at_a_session() -> None:
    """A session behind a few broken cookies counts; behind a crowd, each of which costs signatures, it is not reached."""
    cookies = SessionCookies(settings("postgresql://db", "redis://valkey"))
    cookie = cookies.begin("secret")[1].partition(b";")[0]
    for broken, found in ((7, ["secret"]), (8, [])):
        assert cookies.secrets({b"cookie": b"; ".join([b"ballotpress_ops=broken"] * broken + [cookie])}) == found


def test_a_session_is_known_under_older_keys_and_by_no_other_spelling() -> None:
    """Keys may be rotated; what was changed on its way, or never was a cookie of ours, is none."""
    cookie = SessionCookies(settings("", "", secret_keys=("k" * 32,))).begin("secret")[1].partition(b";")[0]
    rotated = SessionCookies(settings("", "", secret_keys=("n" * 32, "k" * 32)))
    assert rotated.secrets({b"cookie": b"other=1; " + cookie}) == ["secret"]
    assert SessionCookies(settings("", "", secret_keys=("n" * 32,))).secrets({b"cookie": cookie}) == []
    for broken in (cookie[:-3] + b"AAA", b"ballotpress_ops=%%%", b"ballotpress_ops=", b"ballotpress_ops=\xff"):
        assert rotated.secrets({b"cookie": broken}) == []


def test_a_sibling_site_can_plant_no_session() -> None:
    """On https only cookies count that no other host can set; over http, on this machine, there are none of those."""
    for base_url, name, found in (
        ("https://verdicts.example", b"__Host-ballotpress_ops", ["secret"]),
        ("https://verdicts.example", b"ballotpress_ops", []),
        ("http://127.0.0.1:8000", b"ballotpress_ops", ["secret"]),
    ):
        cookies = SessionCookies(settings("", "", base_url=base_url))
        value = cookies.begin("secret")[1].partition(b";")[0].partition(b"=")[2]
        assert cookies.secrets({b"cookie": name + b"=" + value}) == found
