"""What readers agreed to: the words of each form that they were shown, and the proof of one reader's consent, from the log."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from events.log.vault import Erased, Key, SealBroken, Vault
from events.subscribers import stream
from services.newsletter.ledger import Database
from services.setting_groups import Pace

SIGN_UP_FORM: Final = "sign-up 1"
ZONED_FORM: Final = "sign-up 2"
UNDO_FORM: Final = "undo 1"

_SIGN_UP: Final = (
    "You get a mail with a link to confirm. Nothing else is sent until you confirm. Every issue has a link to unsubscribe."
)
_CONFIRM: Final = (
    "Press the button to get {newsletter} by mail. Confirm my subscription. Every issue has a link to unsubscribe."
)
_ZONE: Final = "Your browser tells us its time zone, so that issues reach you at {hour}:00 where you are."
WORDS: Final = {
    SIGN_UP_FORM: f"{_SIGN_UP} {_CONFIRM}",
    ZONED_FORM: f"{_SIGN_UP} {_ZONE} {_CONFIRM}",
    UNDO_FORM: "You are unsubscribed. Was that a mistake? Within 24 hours you can undo it. Undo: keep sending me issues.",
}
"""By form, the words that people agree to, with the site's own values in braces. New words, new name: a former one stays."""

READ: Final = """
select position, recorded_at, type, data, meta->>'operator' as operator from log.recorded_events
where stream = $1 order by version
"""


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that changed a consent: when, at which position of the log, what, and the evidence for it.

    `token` is the SHA-256 of the link's token, in hex.
    """

    at: datetime
    position: int
    what: str
    form: str | None = None
    token: str | None = None
    evidence: str | None = None
    operator: str | None = None


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """A reader's consent: how it stands, how it came about, and the words of the forms that were used."""

    email: str | None
    subscriber: str
    status: str
    steps: Sequence[Step]
    words: Mapping[str, str]


_SAID: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "SubscriptionRequested": lambda d: "asked for the newsletter",
    "SubscriptionConfirmed": lambda d: "confirmed by the button of a link that was mailed to the address",
    "SubscriberImported": lambda d: "imported with a consent given elsewhere",
    "PreferencesSet": lambda d: (
        f"chose {', '.join(d['categories']) or 'all categories'}, {d['frequency']}"
        + (f", paused until {d['paused_until']}" if d.get("paused_until") else "")
    ),
    "TimeZoneSet": lambda d: "chose a time zone" if d.get("zone") else "took the time zone back",
    "BookmarksJoined": lambda d: "joined the bookmarks of a browser",
    "Unsubscribed": lambda d: "withdrew",
    "UnsubscribeUndone": lambda d: "took the withdrawal back by the button of the page that followed it",
    "SubscriberSuppressed": lambda d: f"the address was suppressed: {d['reason']}",
    "SubscriberReinstated": lambda d: f"the suppression was taken back: {d['reason']}",
    "PersonErased": lambda d: "erased",
}


def form_of(pace: Pace) -> str:
    """Return the name of the words that who signs up agrees to."""
    return ZONED_FORM if pace.own_hour else SIGN_UP_FORM


async def read_consent(database: Database, vault: Vault, subscriber: str, newsletter: str, hour: int) -> Consent:
    """Return the proof of a subscriber's consent; the newsletter's name and the issues' hour are said as they are now."""
    rows = await database.fetch(READ, stream(subscriber))
    try:
        key = await vault.key_of(database, subscriber)
    except Erased:
        key = None
    happened = [(row, msgspec.json.decode(row["data"])) for row in rows]
    status: str = await database.fetchval("select coalesce(status, 'unknown') from newsletter.subscriber($1)", subscriber)
    sealed = next((data["address"] for _, data in happened if "address" in data), None)
    forms = sorted({data["form"] for _, data in happened if "form" in data})
    return Consent(
        email=_opened(key, "address", sealed),
        subscriber=subscriber,
        status=status,
        steps=[_step(row, data, key) for row, data in happened],
        words={form: WORDS[form].format(newsletter=newsletter, hour=hour) for form in forms if form in WORDS},
    )


def _step(row: Mapping[str, Any], data: Mapping[str, Any], key: Key | None) -> Step:
    return Step(
        at=row["recorded_at"],
        position=row["position"],
        what=_SAID[row["type"]](data),
        form=data.get("form"),
        token=data.get("token"),
        evidence=_opened(key, "proof", data.get("proof")),
        operator=row["operator"],
    )


def _opened(key: Key | None, field: str, sealed: str | None) -> str | None:
    if key is None or sealed is None:
        return None
    try:
        return key.open(field, sealed)
    except SealBroken:
        return None
