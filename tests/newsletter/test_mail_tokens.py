"""The tokens in mails' links: one purpose each, old ones as promised."""

from collections.abc import Callable
from functools import partial
from typing import get_args

import pytest

from services.clock import fresh_id
from services.newsletter.tokens import MailTokens, Purpose, TokenInvalid

OLD, NEW = "the-old-secret-key-32-characters", "the-new-secret-key-32-characters"
READER = fresh_id()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def other_spelling(token: str) -> str:
    """Change the bit of the last letter that base64 ignores: the signature's bytes stay the same."""
    return token[:-1] + LETTERS[LETTERS.index(token[-1]) ^ 1]


def test_a_token_is_for_its_purpose_alone() -> None:
    """A token that unsubscribes neither confirms nor manages nor erases, and the other way round."""
    tokens = MailTokens((NEW,))
    issued = {
        "confirm": tokens.confirm(READER, 1),
        "unsubscribe": tokens.unsubscribe(READER),
        **{purpose: tokens.issue(purpose, READER) for purpose in ("manage", "export", "erase")},
    }
    readers = {
        "confirm": lambda token: tokens.read_confirm(token)[0],
        "unsubscribe": tokens.read_unsubscribe,
        "manage": lambda token: tokens.read("manage", token),
        "export": lambda token: tokens.read("export", token),
        "erase": lambda token: tokens.read("erase", token),
    }
    for purpose, token in issued.items():
        for other, read in readers.items():
            if purpose == other:
                assert read(token) == READER
            else:
                with pytest.raises(TokenInvalid):
                    read(token)


def test_tokens_survive_rotation_and_unsubscribing_retirement() -> None:
    """A key that still stands verifies everything; a retired one nothing but unsubscribing."""
    before = MailTokens((OLD,))
    rotated, retired = MailTokens((NEW, OLD)), MailTokens((NEW,), (OLD,))
    assert rotated.read_confirm(before.confirm(READER, 3)) == (READER, 3)
    assert retired.read_unsubscribe(before.unsubscribe(READER)) == READER
    with pytest.raises(TokenInvalid):
        retired.read_confirm(before.confirm(READER, 3))
    with pytest.raises(TokenInvalid):
        MailTokens((NEW,)).read_unsubscribe(before.unsubscribe(READER))


def test_a_link_to_confirm_works_for_48_hours_and_one_to_leave_for_ever() -> None:
    """Age ends every token but the one that unsubscribes."""
    clock = [1_800_000_000]
    tokens = MailTokens((NEW,), clock=lambda: clock[0])
    confirm, leave, manage = tokens.confirm(READER, 1), tokens.unsubscribe(READER), tokens.issue("manage", READER)
    clock[0] += 48 * 3600
    assert tokens.read_confirm(confirm) == (READER, 1)
    clock[0] += 1
    with pytest.raises(TokenInvalid):
        tokens.read_confirm(confirm)
    clock[0] += 10 * 365 * 24 * 3600
    assert tokens.read_unsubscribe(leave) == READER
    with pytest.raises(TokenInvalid):
        tokens.read("manage", manage)


@pytest.mark.parametrize(
    "broken",
    ["", "x", "é", READER, f"{READER}.", "a" * 300],
    ids=["empty", "short", "not ascii", "unsigned", "signature empty", "long"],
)
def test_what_is_no_token_is_refused(broken: str) -> None:
    """The refusal is the same for every fault."""
    tokens = MailTokens((NEW,))
    for read in (tokens.read_confirm, tokens.read_unsubscribe):
        with pytest.raises(TokenInvalid):
            read(broken)


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token + "=",
        lambda token: token + "==",
        lambda token: token + "A",
        lambda token: token[:-1],
        other_spelling,
    ],
)
def test_a_token_has_one_spelling(change: Callable[[str], str]) -> None:
    """Padding, a letter more or less, and bits that base64 ignores make it another token, which is refused."""
    tokens = MailTokens((NEW,))
    reads: dict[str, Callable[[str], object]] = {
        tokens.confirm(READER, 1): tokens.read_confirm,
        tokens.unsubscribe(READER): tokens.read_unsubscribe,
        **{tokens.issue(purpose, READER): partial(tokens.read, purpose) for purpose in get_args(Purpose)},
    }
    for token, read in reads.items():
        assert read(token)
        with pytest.raises(TokenInvalid):
            read(change(token))


@pytest.mark.parametrize(("ahead", "taken"), [(1, True), (200, True), (400, False)])
def test_a_token_of_a_clock_that_is_some_minutes_ahead_is_taken(ahead: int, taken: bool) -> None:
    """The worker's clock and the API's may differ by minutes; a token from further ahead was made up."""
    worker = MailTokens((NEW,), clock=lambda: 1_800_000_000.0 + ahead)
    api = MailTokens((NEW,), clock=lambda: 1_800_000_000.0)
    reads = [
        lambda: api.read_confirm(worker.confirm(READER, 1))[0],
        *(
            lambda purpose=purpose: api.read(purpose, worker.issue(purpose, READER))
            for purpose in ("manage", "export", "erase")
        ),
    ]
    for read in reads:
        if taken:
            assert read() == READER
        else:
            with pytest.raises(TokenInvalid):
                read()
