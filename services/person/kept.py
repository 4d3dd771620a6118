"""How the table of everything that is kept says what, about whom, where, how long, why, and how it goes.

Its rows stand in a file a subject, and all together in `table`. The page of readers, docs/privacy.md, the copy of a person's
data and the tests are made from them: what is kept and isn't named there fails a test.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Whom = Literal["visitors", "reviewers", "reporters", "subscribers", "operators"]
When = Literal["vote", "bookmark", "review", "report", "subscribe", "call", "operate"]
"""What a person does of whom this is kept."""
Ground = Literal["asked", "consent", "proof", "interest"]
Copies = Literal["log", "beside", "view", "memory", "home"]
Fate = Literal["stays", "key", "deleted", "expires"]
Needs = Literal["always", "marks", "outbox"]
"""What a site must do for a row to hold: mark the networks of votes, or keep mails in an outbox because it has no relay."""

WHENS: Final[Mapping[When, str]] = {
    "vote": "When you vote",
    "bookmark": "When you bookmark a tool",
    "review": "When you write a review",
    "report": "When you report a review",
    "subscribe": "When you sign up for the newsletter",
    "call": "Whenever your browser sends something",
    "operate": "When you work for this site",
}
GROUNDS: Final[Mapping[Ground, str]] = {
    "asked": "you asked for it (GDPR, Art. 6(1)(b))",
    "consent": "you agreed to it (GDPR, Art. 6(1)(a))",
    "proof": "a consent must be provable (GDPR, Art. 7(1))",
    "interest": "numbers that nobody can fake, on a site that stays up (GDPR, Art. 6(1)(f))",
}
COPIES: Final[Mapping[Copies, str]] = {
    "log": "standbys, backups, exports and archives of the log; a sealed text can be read in none without its key",
    "beside": "standbys, and backups until they are deleted; no export of the log",
    "view": "standbys, and backups until they are deleted; it is made anew from the log",
    "memory": "no standby and no backup",
    "home": "a backup of the home folder, if you make one",
}
FATES: Final[Mapping[Fate, str]] = {
    "stays": "It stays, under a number that names nobody.",
    "key": "Its key is destroyed, so that nobody can read it any more.",
    "deleted": "It is deleted.",
    "expires": "It goes by itself.",
}


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table: one kind of thing that is kept about people.

    `until` says how long; `found` by what a person's are found; `fate` what an erasure does, and `remains` what it leaves, if
    anything is. Places: `events` are types of the log, `tables` name each table with its columns that this is about ("" for
    all of them), `keys` are families in Valkey and `files` those of the home folder, both with `*` for what differs.
    """

    name: str
    what: str
    about: Whom
    when: When
    ground: Ground
    until: str
    found: str
    fate: Fate
    copies: Copies
    remains: str = ""
    needs: Needs = "always"
    events: tuple[str, ...] = ()
    tables: Mapping[str, str] = {}
    keys: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def erasure(self) -> str:
        """What an erasure does to it, and what it leaves."""
        return FATES[self.fate] + (f" What remains: {self.remains}" if self.remains else "")


class Impersonal(msgspec.Struct, frozen=True, kw_only=True):
    """A row of what is kept about nobody, and where."""

    what: str
    events: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
