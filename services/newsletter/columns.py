"""Understand the columns of a subscriber file: ours, and those that Mailchimp, Substack, Ghost, listmonk and Buttondown export.

Each column is read, or named as not read. Who left elsewhere, or never confirmed there, is not to be mailed.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date
from typing import Final, Literal

import msgspec

from emails.addresses import AddressRefused, read_address
from services.newsletter.dates import DateRefused, Order, read_date
from services.newsletter.records import FileUnreadable

LONGEST_PROOF: Final = 1000

EMAIL: Final = frozenset({"email", "email address", "e mail", "e mail address", "subscriber email", "mail"})
PROOF: Final = frozenset({"proof"})
CATEGORIES: Final = frozenset({"categories"})
STATUS: Final = frozenset({"status", "subscriber type", "type", "subscription status", "email status", "member status"})
# Mailchimp; Ghost, listmonk and Substack; Buttondown; and others.
CONSENTED: Final = frozenset({"optin time", "confirm time", "created at", "creation date", "confirmation date", "subscribed at",
                              "subscription date", "consent date", "opt in date", "signed up at", "date added"})  # fmt: skip
CONFIRMED: Final = frozenset({"confirm time", "confirmation date"})
LEFT_AT: Final = frozenset({"unsub time", "clean time", "deleted at", "unsubscription date", "unsubscribed at", "bounced at",
                            "undeliverability date", "unsubscribe date", "date unsubscribed", "cleaned at"})  # fmt: skip
LEFT_IF: Final = frozenset({"email disabled", "unsubscribed", "bounced", "opted out", "blocked", "blocklisted", "disabled",
                            "complained", "cleaned", "suppressed"})  # fmt: skip
LEFT_UNLESS: Final = frozenset(
    {"subscribed to emails", "subscribed", "opted in", "email marketing consent", "accepts marketing"}
)

_ACTIVE: Final = frozenset((
    "subscribed", "active", "enabled", "confirmed", "regular", "premium", "gifted", "paid", "free", "comped", "complimentary",
    "trialed", "trialing", "past due", "churning", "churned", "member",
))  # fmt: skip
_LEFT: Final = frozenset((
    "unsubscribed", "unsubscribe", "cleaned", "bounced", "blocklisted", "blacklisted", "blocked", "disabled", "complained",
    "spam", "spammed", "suppressed", "removed", "deleted", "archived", "inactive", "undeliverable", "opted out", "hard bounced",
    "junk", "upstream", "malicious",
))  # fmt: skip
_UNCONFIRMED: Final = frozenset((
    "unconfirmed", "pending", "unactivated", "not confirmed", "non subscribed", "nonsubscribed", "transactional",
))  # fmt: skip
_YES: Final = frozenset({"true", "t", "yes", "y", "1"})
_NO: Final = frozenset({"false", "f", "no", "n", "0", ""})
_KINDS: Final = (EMAIL, PROOF, CATEGORIES, STATUS, CONSENTED, CONFIRMED, LEFT_AT, LEFT_IF, LEFT_UNLESS)

Standing = Literal["subscribed", "left", "unconfirmed"]


class RowRefused(Exception):
    """A row can't be imported; the message says why and doesn't repeat the address."""


class Row(msgspec.Struct, frozen=True):
    """A row that was understood; only those that are `subscribed` are to be imported.

    `day` is that of the last consent, or on which the reader left, if the row says it.
    """

    address: str
    proof: str
    categories: tuple[str, ...]
    standing: Standing
    day: date | None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator says of a file: the proof of its consents, the order of its dates, and columns not to speak of."""

    offered: Collection[str]
    proof: str = ""
    dates: Order | None = None
    ignore: Sequence[str] = ()


def plain(name: str) -> str:
    """Return a column's name or a word of a cell as it is compared: without case, and with spaces for other marks."""
    return " ".join(re.sub(r"[\W_]+", " ", name).split()).casefold()


def is_header(cells: Sequence[str]) -> bool:
    """Return whether a record names a column of addresses."""
    return any(plain(cell) in EMAIL for cell in cells)


class Columns:
    """The columns of one file. Raises FileUnreadable when made of a header that doesn't say enough, or says a thing twice."""

    def __init__(self, header: Sequence[str], rules: Rules, form: object) -> None:
        self._rules = rules
        self._header = [name.strip() for name in header]
        names = [plain(name) for name in header]
        self._at: Mapping[str, int] = {name: n for n, name in enumerate(names)}
        for name in filter(None, names):
            if names.count(name) > 1:
                raise FileUnreadable(
                    f"Two columns are named {self._header[names.index(name)]!a}: say which counts, and rename the other"
                )
        self._email = self._only(EMAIL, f"The first line must name the columns, one for the email address among them; {form}")
        said = {plain(name) for name in rules.ignore}
        if missing := said - set(names):
            raise FileUnreadable(f"--ignore names a column that the file doesn't have: {sorted(missing)[0]!a}")
        if not rules.proof and not PROOF & set(names):
            raise FileUnreadable(
                "The columns don't say how consent was given: add a column proof, or say it for all with --proof TEXT"
            )
        read = frozenset().union(*_KINDS)
        self.not_read = [title or f"column {n + 1}" for n, title in enumerate(self._header) if names[n] not in read | said]

    def _only(self, names: Collection[str], fault: str) -> int:
        found = [n for name, n in self._at.items() if name in names]
        if not found:
            raise FileUnreadable(fault)
        if len(found) > 1:
            both = " and ".join(repr(self._header[n]) for n in found[:2])
            raise FileUnreadable(f"Two columns hold an address, {both}: rename the one that doesn't count")
        return found[0]

    def row(self, cells: Sequence[str]) -> Row:
        """Return what a record says. Raises RowRefused."""
        if len(cells) != len(self._header):
            raise RowRefused(f"it has {len(cells)} cells, the first line {len(self._header)}")
        values = {name: cells[n].strip() for name, n in self._at.items()}
        standing = self._standing(values)
        try:
            address = read_address(cells[self._email].strip())
        except AddressRefused as error:
            raise RowRefused(f"its address can't be used: {error}") from None
        if standing != "subscribed":
            return Row(address, "", (), standing, self._day(values, LEFT_AT))
        return Row(address, self._proof(values), self._categories(values), standing, self._day(values, CONSENTED))

    def _day(self, values: Mapping[str, str], names: AbstractSet[str]) -> date | None:
        """Return the last day that some columns say; None if they say none, or say it in a way that could be two."""
        days = []
        for name in names & values.keys():
            with suppress(DateRefused):
                days.append(date.fromisoformat(read_date(values[name], self._rules.dates)[:10]))
        return max(days, default=None)

    def _standing(self, values: Mapping[str, str]) -> Standing:
        """Return whether the reader may be mailed. To have left goes before everything else."""
        found: set[Standing] = {self._of_status(name, values[name]) for name in STATUS & values.keys()}
        has_left = any(values[name] for name in LEFT_AT & values.keys())
        has_left |= any(self._is_yes(name, values[name]) for name in LEFT_IF & values.keys())
        has_left |= any(not self._is_yes(name, values[name]) for name in LEFT_UNLESS & values.keys())
        if has_left or "left" in found:
            return "left"
        if "unconfirmed" in found or any(not values[name] for name in CONFIRMED & values.keys()):
            return "unconfirmed"
        return "subscribed"

    def _of_status(self, name: str, value: str) -> Standing:
        word = plain(value)
        if word in _ACTIVE:
            return "subscribed"
        if word in _LEFT:
            return "left"
        if word in _UNCONFIRMED:
            return "unconfirmed"
        raise RowRefused(f"{self._title(name)} says {value[:40]!a}, which could mean anything")

    def _is_yes(self, name: str, value: str) -> bool:
        if plain(value) in _YES:
            return True
        if plain(value) in _NO:
            return False
        raise RowRefused(f"{self._title(name)} says {value[:40]!a}, not yes or no")

    def _proof(self, values: Mapping[str, str]) -> str:
        """Return how and when consent was given, as the row says it, or else the operator; with the file's own dates."""
        said = values.get("proof", "") or self._rules.proof
        if not said or len(said) > LONGEST_PROOF or not said.isprintable():
            raise RowRefused("it must say how consent was given, in one line")
        parts = [said]
        for name in sorted(CONSENTED & values.keys()):
            if values[name]:
                try:
                    parts.append(f"{name} {read_date(values[name], self._rules.dates)}")
                except DateRefused as error:
                    raise RowRefused(f"{self._title(name)} says {values[name][:40]!a}: {error}") from None
        return "; ".join(parts)

    def _categories(self, values: Mapping[str, str]) -> tuple[str, ...]:
        chosen = {word.strip() for word in values.get("categories", "").split(";") if word.strip()}
        if unknown := sorted(chosen.difference(self._rules.offered)):
            known = ", ".join(self._rules.offered) or "none yet"
            raise RowRefused(f"the catalog has no category {unknown[0][:80]!a}; it has: {known}")
        return tuple(sorted(chosen))

    def _title(self, name: str) -> str:
        return f"its column {self._header[self._at[name]]!a}"
