"""Signed tokens in mails' links, one purpose each: a forwarded link serves that purpose and no other.

A token is a payload, for most of them a time, and an HMAC-SHA256 under a key derived for its purpose.
"""

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from time import time
from typing import Final, Literal

from itsdangerous import BadData, BadSignature, Signer, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode

from events.log.ids import is_id

Purpose = Literal["manage", "export", "erase"]

CONFIRM_HOURS: Final = 48
SKEW_SECONDS: Final = 300
"""How far the clock of the worker that signed a token may be ahead of the clock of who reads it."""
UNDO_HOURS: Final = 24
SECONDS: Final = {"manage": 90 * 24 * 3600, "export": 24 * 3600, "erase": 24 * 3600}


class TokenInvalid(Exception):
    """The token was cut or changed, has an unknown signature, or is too old."""


class _TimedSigner(TimestampSigner):
    """A signer whose clock is given."""

    def __init__(self, keys: Sequence[bytes], purpose: str, clock: Callable[[], float]) -> None:
        super().__init__(keys, salt=f"newsletter {purpose}", digest_method=sha256)
        self._clock = clock

    def get_timestamp(self) -> int:
        """Return the present Unix time in seconds."""
        return int(self._clock())


class MailTokens:
    """Issues and reads the tokens of mails. Keys stand newest first; retired ones verify nothing but unsubscribing."""

    def __init__(self, secret_keys: Sequence[str], retired_keys: Sequence[str] = (), clock: Callable[[], float] = time) -> None:
        oldest_first = [key.encode() for key in reversed(secret_keys)]  # itsdangerous signs with the last
        self._confirm = _TimedSigner(oldest_first, "confirm", clock)
        self._timed = {purpose: _TimedSigner(oldest_first, purpose, clock) for purpose in SECONDS}
        self._undo = _TimedSigner(oldest_first, "undo", clock)
        self._test = Signer(oldest_first, salt="newsletter test", digest_method=sha256)
        older = [key.encode() for key in reversed(retired_keys)]
        self._unsubscribe = Signer([*older, *oldest_first], salt="newsletter unsubscribe", digest_method=sha256)
        self._complaint = Signer([*older, *oldest_first], salt="newsletter complaint", sep=":", digest_method=sha256)

    def confirm(self, subscriber: str, round_: int) -> str:
        """Return a link's token for a round of confirmation."""
        return self._confirm.sign(f"{subscriber}{round_}").decode("ascii")

    def read_confirm(self, token: str) -> tuple[str, int]:
        """Return the subscriber and round of a token of the last 48 hours. Raises TokenInvalid."""
        return _numbered(_unsigned(self._confirm, token, CONFIRM_HOURS * 3600))

    def issue(self, purpose: Purpose, subscriber: str) -> str:
        """Return a token for one purpose."""
        return self._timed[purpose].sign(subscriber).decode("ascii")

    def read(self, purpose: Purpose, token: str) -> str:
        """Return the subscriber of a token that is young enough for its purpose. Raises TokenInvalid."""
        return _subscriber(_unsigned(self._timed[purpose], token, SECONDS[purpose]))

    def undo(self, subscriber: str, position: int) -> str:
        """Return a token that takes the withdrawal at a position of the log back."""
        return self._undo.sign(f"{subscriber}{position}").decode("ascii")

    def read_undo(self, token: str) -> tuple[str, int]:
        """Return the subscriber of a token of the last 24 hours, and the position. Raises TokenInvalid."""
        return _numbered(_unsigned(self._undo, token, UNDO_HOURS * 3600))

    def test(self) -> str:
        """Return the token of a test mail's links, which do nothing."""
        return self._test.sign("test").decode("ascii")

    def is_test(self, token: str) -> bool:
        """Tell whether a token is that of a test mail."""
        return self._test.validate(token)

    def complaint(self, subscriber: str) -> str:
        """Return an id that names a subscriber in complaints, however old, to us alone (RFC 9477 3.2; it allows no dot)."""
        return self._complaint.sign(subscriber).decode("ascii")

    def read_complaint(self, token: str) -> str:
        """Return the subscriber of such an id. Raises TokenInvalid."""
        try:
            return _subscriber(self._complaint.unsign(_spelled(token)).decode("utf-8", "replace"))
        except BadSignature:
            raise TokenInvalid from None

    def unsubscribe(self, subscriber: str) -> str:
        """Return a token that unsubscribes, however old."""
        return self._unsubscribe.sign(subscriber).decode("ascii")

    def read_unsubscribe(self, token: str) -> str:
        """Return the subscriber of a token that unsubscribes. Raises TokenInvalid."""
        try:
            return _subscriber(self._unsubscribe.unsign(_spelled(token)).decode("utf-8", "replace"))
        except BadSignature:
            raise TokenInvalid from None


def _spelled(token: str) -> str:
    """Return a token whose signature is spelled as we spell it: base64 has other spellings. Raises TokenInvalid."""
    signature = re.split("[.:]", token)[-1]
    try:
        if base64_encode(base64_decode(signature)).decode("ascii") == signature:
            return token
    except BadData:
        pass
    raise TokenInvalid


def _unsigned(signer: TimestampSigner, token: str, seconds: int) -> str:
    try:
        text, signed = signer.unsign(_spelled(token), return_timestamp=True)
    except BadSignature:
        raise TokenInvalid from None
    # Not the library's `max_age`, which takes no token of a clock that is a second ahead.
    if not -SKEW_SECONDS <= signer.get_timestamp() - signed.timestamp() <= seconds:
        raise TokenInvalid
    return text.decode("utf-8", "replace")


def _numbered(text: str) -> tuple[str, int]:
    """Return the subscriber and the number that a payload names. Raises TokenInvalid."""
    if not is_id(text[:22]) or not re.fullmatch("[0-9]{1,18}", text[22:]):
        raise TokenInvalid
    return text[:22], int(text[22:])


def _subscriber(text: str) -> str:
    if not is_id(text):
        raise TokenInvalid
    return text
