"""A review's text and its author's display name, sealed before their command is queued and opened when served."""

from typing import NamedTuple

from events.log.vault import Key

_TEXT, _NAME = "text", "name"


class Words(NamedTuple):
    """What a reader wrote."""

    body: str
    display_name: str | None


def seal_text(key: Key, body: str) -> str:
    """Seal a review's text."""
    return key.seal(_TEXT, body)


def seal_name(key: Key, display_name: str | None) -> str | None:
    """Seal a display name, if there is one."""
    return None if display_name is None else key.seal(_NAME, display_name)


def open_words(key: Key, text: str, name: str | None) -> Words:
    """Open a review's text and name; SealBroken."""
    return Words(key.open(_TEXT, text), None if name is None else key.open(_NAME, name))
