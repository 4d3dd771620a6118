"""The commands on subscriptions to webhooks: no event, since nothing that anybody sees changes, but whole or not at all.

Each notes what its operator did (`by`), where it changed something.
"""

from collections.abc import Sequence
from typing import Any, Final

from asyncpg import Connection

from events.log import vault
from events.log.command import Command, Decision, Effect, Found, Receipt, Seen

MOST: Final = 32
"""Subscriptions of a site: each may keep a connection busy for ten seconds at a time."""
MOST_SECRETS: Final = 4
"""Secrets that sign at a time."""

COUNT: Final = "select count(*) from webhooks.subscriptions"
EXISTS: Final = "select exists (select from webhooks.subscriptions where id = $1)"
ADD: Final = """
insert into webhooks.subscriptions (id, url, kinds, note, made_by, position)
select $1, $2, $3::text[], $4, $5, h.position from log.head h
"""
ADD_SECRET: Final = "insert into webhooks.secrets (subscription, sealed) values ($1, $2)"  # noqa: S105 - SQL
END_SECRETS: Final = """
update webhooks.secrets set ends_at = now() + make_interval(hours => $2) where subscription = $1 and ends_at is null
"""
DROP_SECRETS: Final = f"""
delete from webhooks.secrets s
where s.subscription = $1 and (s.ends_at <= now() or s.made_at < (
    select min(n.made_at) from (select made_at from webhooks.secrets where subscription = $1
                                order by made_at desc limit {MOST_SECRETS}) n))
"""  # noqa: S608 - a constant
# Of an address its host alone is noted: the rest may be as good as a secret.
HOST: Final = "substring(url from '//([^/?#]*)') as host"
SWITCH_ON: Final = f"""
with switched as (
    update webhooks.subscriptions set is_on = true, off_reason = null, off_at = null, failures = 0, not_before = now()
    where id = $1 and not is_on returning {HOST}
)
select operators.note($2, 'turned-webhook-on', $1, s.host) from switched s
"""  # noqa: S608 - a constant
SWITCH_OFF: Final = f"""
with switched as (
    update webhooks.subscriptions set is_on = false, off_reason = $3, off_at = now(), failures = 0
    where id = $1 and is_on returning {HOST}
)
select operators.note($2, 'turned-webhook-off', $1, s.host, $4) from switched s
"""  # noqa: S608 - a constant
# Whoever delivers now loses its lease, so that it can't take the cursor further from where it was.
MOVE: Final = f"""
with moved as (
    update webhooks.subscriptions s
    set position = least($2::bigint - 1, h.position), part = 0, not_before = now(), lease = null, leased_until = null
    from log.head h where s.id = $1 returning {HOST}
)
select operators.note($3, 'replayed-webhook', $1, m.host || ' from position ' || $2 || ' on') from moved m
"""  # noqa: S608 - a constant
REMOVE: Final = f"""
with removed as (delete from webhooks.subscriptions where id = $1 returning {HOST})
select operators.note($2, 'removed-webhook', $1, r.host) from removed r
"""  # noqa: S608 - a constant
NOTE: Final = f"select operators.note($2, $3, $1, s.host) from (select {HOST} from webhooks.subscriptions where id = $1) s"  # noqa: S608


class WebhookUnknown(Exception):
    """There is no webhook with this id."""


class TooManyWebhooks(Exception):
    """A site has as many webhooks as it can: remove one that isn't needed."""


class AddWebhook(Command[str], frozen=True, kw_only=True):
    """Subscribe an address, from the log's head on. The secret comes sealed under a new key, which `keep` stores."""

    id: str
    url: str
    kinds: Sequence[str]
    note: str
    by: str
    sealed: str
    keep: Effect

    exclusive = True
    receipt_type = Receipt[str]

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Count the subscriptions."""
        return Found(await connection.fetchval(COUNT))

    def decide(self, seen: Seen) -> Decision[str]:
        """Add it. Raises TooManyWebhooks."""
        if seen.found >= MOST:
            raise TooManyWebhooks
        add = Effect(ADD, (self.id, self.url, list(self.kinds), self.note, self.by))
        noted = Effect(NOTE, (self.id, self.by, "added-webhook"))
        return Decision(events=[], value=self.id, effects=[self.keep, add, Effect(ADD_SECRET, (self.id, self.sealed)), noted])


class _OfWebhook(Command[None], frozen=True, kw_only=True):
    """A command on a subscription that there is."""

    id: str
    by: str

    exclusive = True

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Look whether there is such a subscription."""
        return Found(await connection.fetchval(EXISTS, self.id))

    def decide(self, seen: Seen) -> Decision[None]:
        """Do it. Raises WebhookUnknown."""
        if not seen.found:
            raise WebhookUnknown(self.id)
        return Decision(events=[], value=None, effects=self.effects())

    def effects(self) -> list[Effect]:
        """Return what it does."""
        raise NotImplementedError


class SwitchWebhook(_OfWebhook, frozen=True, kw_only=True):
    """Turn a subscription off, for a reason if there is one, or on again: what happened meanwhile is then told."""

    on: bool
    reason: str = ""

    def effects(self) -> list[Effect]:
        """Return what it does."""
        if self.on:
            return [Effect(SWITCH_ON, (self.id, self.by))]
        why = f"{self.by} turned it off{': ' if self.reason else ''}{self.reason}"
        return [Effect(SWITCH_OFF, (self.id, self.by, why, self.reason))]


class ReplayWebhook(_OfWebhook, frozen=True, kw_only=True):
    """Take a subscription's cursor back, or on: the messages from a position on are sent, again if they were before."""

    position: int

    def effects(self) -> list[Effect]:
        """Return what it does."""
        return [Effect(MOVE, (self.id, self.position, self.by))]


class RotateSecret(_OfWebhook, frozen=True, kw_only=True):
    """Sign under a new secret, which comes sealed, and under those before for some hours more."""

    sealed: str
    hours: int

    def effects(self) -> list[Effect]:
        """Return what it does."""
        ends = Effect(END_SECRETS, (self.id, self.hours))
        noted = Effect(NOTE, (self.id, self.by, "rotated-secret"))
        return [ends, Effect(ADD_SECRET, (self.id, self.sealed)), Effect(DROP_SECRETS, (self.id,)), noted]


class RemoveWebhook(_OfWebhook, frozen=True, kw_only=True):
    """Remove a subscription, and destroy the key that its secrets are sealed under."""

    def effects(self) -> list[Effect]:
        """Return what it does."""
        return [Effect(REMOVE, (self.id, self.by)), vault.destroy(self.id)]
