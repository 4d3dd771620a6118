"""The site: everything a web process works with, in one place."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import structlog
from redis.asyncio import Redis

from emails.sns import Signers
from events.commands.erasure import Erasure
from events.log import postgres
from events.log.command import IdempotencyKey, Receipt
from events.log.committer import Committer, LogUnavailable
from events.log.reads import Reads
from events.log.store import Log
from events.log.tasks import end
from events.log.vault import Finder, Vault
from events.registry import REGISTRY
from projections.engine import notify
from services import valkey
from services.integrity import decisions, under_review
from services.integrity.marks import Marks
from services.integrity.puzzle import Switches
from services.newsletter import holds, periods
from services.newsletter.look import check_mails, look_of
from services.newsletter.schedule import schedule_of
from services.newsletter.tokens import MailTokens
from services.operators.fetching import Web
from services.operators.provider import Provider
from services.operators.sessions import Sessions
from services.operators.signing_in import SigningIn
from services.person import erasure
from services.person.copies import Sources
from services.proof import health
from services.proof.packs import Packs
from services.proof.published import CHANNEL
from services.replicas.readers import Readers, leave_as_it_is, open_readers
from services.settings import Settings
from services.starting import await_schema
from services.status.processes import Life, read_processes, said_wrong
from services.tracing.opening import open_tracing
from services.web import path_parameters
from services.web.ahead import telling
from services.web.badge_hosts import BadgeHosts
from services.web.card_cache import Cards
from services.web.drawings import Drawings
from services.web.erased import ErasedVisitors
from services.web.filters import FILTERS, GLOBALS
from services.web.following import Followers
from services.web.http import call
from services.web.http.admission import Admission
from services.web.http.auth import BegunSignIns, OperatorTokens, SessionCookies, VisitorTokens
from services.web.http.checks import Check, Checks, database_check
from services.web.http.counters import Counter, Headers
from services.web.http.cursors import Cursors
from services.web.http.endpoints import PATH_PATTERNS, PATH_TAILS
from services.web.http.limits import Limits
from services.web.http.metrics import Load, Metrics, SpansSent
from services.web.http.networks import LOCAL, Network, Networks
from services.web.http.patience import Patience
from services.web.http.puzzles import Puzzles
from services.web.http.spent import Spent
from services.web.http.theme import Theme
from services.web.live import Live
from services.web.log_check import Batches, log_check, servers_check
from services.web.public_tree import PublicTree
from services.web.quotas import Quotas
from services.web.replica_check import watch_replicas
from services.web.sign_ups import SignUps
from services.web.wait import ViewProgress, clock_check, history_check, schema_check, view_checks
from services.webhooks.posting import Poster

CARRY_SECONDS = 1.5
"""So long a call waits for what it began; larger corrections go on without it."""

RING_SECONDS = 0.025
"""So far apart ballots alone are announced: a view rests for longer after each window, so it hears of them in time."""

PATH_PATTERNS.update(path_parameters.PATTERNS)
PATH_TAILS.update(path_parameters.TAILS)


class Site:
    """The wiring of one process. What needs an event loop exists only while the site is open."""

    database: "asyncpg.Pool[asyncpg.Record]"
    reading: Reads
    reading_log: Log
    readers: Readers | None
    valkey: Redis
    sessions: Sessions
    limits: Limits
    patience: Patience
    spent: Spent
    erased: ErasedVisitors
    log: Log
    committer: Committer
    cards: Cards
    live: Live
    followers: Followers
    views: ViewProgress
    marks: Marks
    switches: Switches
    badge_hosts: BadgeHosts
    tree: PublicTree
    packs: Packs

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tokens = VisitorTokens(settings.secret_keys)
        self.operators = OperatorTokens(settings.operator_tokens)
        self.session_cookies = SessionCookies(settings)
        self.begun_sign_ins = BegunSignIns(settings)
        self.signing_in = SigningIn(settings, Provider(settings.signing_in, Web())) if settings.signing_in.issuer else None
        self.cursors = Cursors(settings.secret_keys)
        self.puzzles = Puzzles(settings.secret_keys)
        self.networks = Networks(settings.trusted_proxies)
        self.tracing = open_tracing(settings, "api")
        self.admission = Admission()
        self.metrics = Metrics(Load(self.admission), *([] if self.tracing is None else [SpansSent(self.tracing.spans)]))
        self.look = look_of(settings)
        check_mails(self.look)
        self.drawings = Drawings()
        self.theme = _theme(settings)
        self.is_leaving = False
        self.is_migrated = False  # it wasn't seen yet that the database has this release's schema
        self.vault = Vault(settings.vault_keys)
        self.checks = Checks()
        self._quotas = Quotas(settings)
        self.signers = Signers()
        self.poster = Poster(allow_loopback=settings.webhook_loopback)
        self.mail_tokens = MailTokens(settings.secret_keys, settings.newsletter.retired_keys)
        self.schedule = schedule_of(settings.newsletter)
        self._carrying: set[asyncio.Task[None]] = set()
        self._finder: tuple[int, Finder] | None = None
        self._sign_ups = SignUps(settings.newsletter)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open everything, and close it in reverse. PostgreSQL and Valkey may be away meanwhile."""
        async with (
            postgres.pool(
                self.settings.database_url, "web", size=10, seconds=5, connect_seconds=2, reset=leave_as_it_is
            ) as self.database,
            valkey.client(self.settings.redis_url) as self.valkey,
        ):
            self._equip()
            try:
                async with self._append():
                    yield
            finally:
                await self.limits.close()
                if self.tracing is not None:
                    await asyncio.to_thread(self.tracing.close)

    def _equip(self) -> None:
        """Make what works on the database and on Valkey."""
        self._life = Life(self.settings.database_url, "api")
        self.readers = open_readers(self.settings, self.database)
        self.reading = self.readers or self.database
        self.sessions = Sessions(self.database, self.settings)
        self.limits = Limits(self.valkey)
        self.patience = Patience()
        self.spent = Spent(self.limits)
        self.erased = ErasedVisitors(self.database)
        self.log = Log(self.database, REGISTRY)
        self.reading_log = Log(self.reading, REGISTRY)
        self.cards = Cards(self.database, None if self.tracing is None else self.tracing.refreshes, self.readers)
        self.live = Live(self.cards, self.settings.network_viewers or self.settings.network_writes_per_minute // 6)
        self.followers = Followers()
        self.views = ViewProgress(self.reading, self.readers)
        self.marks = Marks(self.database, are_kept=self.settings.network_marks)
        self.switches = Switches(self.database)
        self.badge_hosts = BadgeHosts(self.database)
        self.tree = PublicTree(self.reading)
        self.packs = Packs(self.reading, self.settings.public_log.pack_folder or self.settings.home / "packs")
        self.checks.add(*self._checks())
        watch_replicas(self.readers, self.checks, self.metrics)

    def _checks(self) -> list[Check]:
        return [
            database_check(self.reading),
            schema_check(self.reading),
            *view_checks(self.reading),
            Check("listing", True, self._listing_read),
            history_check(self.database),
            clock_check(self.database),
            self.limits.check(),
            Check("proof", False, self._unsigned),
            Check("newsletter", False, self._newsletter_trouble),
            Check("refusals", False, self._held_providers),
            Check("processes", False, self._process_trouble),
        ]

    async def _follow_reviews(self) -> None:
        """Ask each second which tools are under review, until cancelled."""
        while True:
            with suppress(*postgres.FAILED):  # what was known stays until the database answers again
                self.cards.review(await under_review.read(self.database))
            await asyncio.sleep(1)

    async def carry_out(self, cohort: str) -> None:
        """Carry a decision on a cohort out; what takes longer than a moment goes on beside the call that began it.

        What ends with this process, or because the log is away, is taken up by the worker.
        """
        task = asyncio.create_task(self._carry_out(cohort))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        await asyncio.wait([task], timeout=CARRY_SECONDS)

    async def _carry_out(self, cohort: str) -> None:
        try:
            await decisions.carry_out(self.settings.database_url, self.committer, cohort)
        except (LogUnavailable, *postgres.FAILED) as error:
            structlog.get_logger().warning("a decision is carried out later", cohort=cohort, error=repr(error))

    @asynccontextmanager
    async def _append(self) -> AsyncIterator[None]:
        """Run the committer and the tasks that keep this process in step with the log and the views."""
        dsn = self.settings.database_url
        rung = notify.Bell(dsn, notify.LOG, pace=RING_SECONDS)
        self.views.hurry = rung.hurry
        commands, told = None, None
        if self.tracing is not None:
            commands, told = self.tracing.commands, self.tracing.refreshes.hear
            commands.tell = rung.say
        tasks = [asyncio.create_task(one) for one in self._beside(dsn, rung, told)]
        try:
            async with Committer(dsn, REGISTRY, on_commit=telling(self.cards.ahead, rung), tracing=commands) as self.committer:
                self.checks.add(log_check(self.database, self.committer.course), servers_check(dsn))
                self.metrics.registry.register(Batches(self.committer.course))
                yield
        finally:
            self.live.close()
            self.followers.close()
            await end(*tasks, *self._carrying)
            await self.marks.write()
            await self.badge_hosts.write()
        await self._life.leave()

    def _beside(self, dsn: str, rung: notify.Bell, told: Callable[[str], None] | None) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the calls, until cancelled."""
        return [
            *([] if self.readers is None else [self.readers.run()]),
            rung.run(),
            notify.listen(dsn, notify.VIEWS, self._views_moved, told),
            self.cards.run(),
            self.live.run(),
            self.erased.run(),
            self.marks.run(),
            self.switches.run(),
            self.badge_hosts.run(),
            self.tree.run(),
            notify.listen(dsn, CHANNEL, self.tree.wake),
            self._follow_reviews(),
            self._life.run(),
            postgres.watch(dsn),
            self._await_schema(),
        ]

    async def _await_schema(self) -> None:
        await await_schema(self.settings.database_url, "API")
        self.is_migrated = True

    async def _listing_read(self) -> str | None:
        return None if self.committer.is_ready else "this process still reads which tools are listed"

    async def _process_trouble(self) -> str | None:
        return "; ".join(what for _, what in said_wrong(await read_processes(self.database))) or None

    async def _unsigned(self) -> str | None:
        wrong = health.said(await health.read(self.database))
        return None if wrong is None else wrong[0]

    async def _newsletter_trouble(self) -> str | None:
        late = await periods.late(self.database, self.schedule, await periods.time_of(self.database))
        return await periods.held(self.database) or late

    async def _held_providers(self) -> str | None:
        held = (await holds.standing(self.database)).held
        return f"{holds.said_held(held)}: {holds.RESUME_HELD}" if held else None

    async def late_editions(self) -> Sequence[str]:
        """Return the editions so late that they wait for an operator."""
        return (await periods.look(self.database, self.schedule, await periods.time_of(self.database))).late

    def _views_moved(self) -> None:
        self.cards.wake.set()
        self.views.wake()
        self.followers.wake()

    async def limit_write(self, visitor: str, network: Network) -> Headers:
        """Count a visitor's write. Raises TooManyRequests."""
        return await self.limits.take((self._quotas.visitor_writes, visitor), *self._quotas.network_writes.counters(network))

    async def limit_subscriber(self, subscriber: str) -> Headers:
        """Count a write of a subscriber. Raises TooManyRequests."""
        return await self.limits.take((self._quotas.visitor_writes, f"subscriber {subscriber}"))

    async def limit_open_write(self, network: Network) -> Headers:
        """Count a write of nobody in particular. Raises TooManyRequests."""
        return await self.limits.take(*self._quotas.network_writes.counters(network))

    async def limit_signup(self, network: Network) -> Headers:
        """Count a sign-up. Raises TooManyRequests."""
        return await self._sign_ups.take(self.limits, network)

    async def limit_sign_in(self, network: Network) -> Headers:
        """Count a sign-in by a token, whatever comes of it. Programs need none. Raises TooManyRequests."""
        return await self.limits.take(*self._quotas.sign_ins.counters(network))

    async def limit_review(self, network: Network) -> Headers:
        """Count a review, an edit or a report of one, that a moderator will have to read. Raises TooManyRequests."""
        return await self.limits.take(*self._quotas.reviews.counters(network))

    def refuse_vote(self, visitor: str, tool: str, network: Network) -> None:
        """Refuse a ballot changed too often today, or a tool with too many first votes of a network. Raises TooManyRequests."""
        self.spent.check(lambda: [self._change(visitor, tool), *self._quotas.first_votes.counters(network, f" {tool}")])

    def note_vote(self, visitor: str, tool: str, network: Network, position: int | None, *, is_first: bool) -> None:
        """Count a vote that was appended, and mark the network of the one at a position; None is a vote that was taken back."""
        if position is not None and network is not LOCAL:
            self.marks.note(position, network[0].name)
        self.spent.note(self._quotas.first_votes.counters(network, f" {tool}") if is_first else [self._change(visitor, tool)])

    def _change(self, visitor: str, tool: str) -> Counter:
        return self._quotas.changes, f"{visitor} {tool}"

    def is_erased(self, visitor: str) -> bool:
        """Tell whether a visitor was erased: it writes nothing any more."""
        return visitor in self.erased

    def refuse_erased(self, visitor: str) -> None:
        """Refuse a write of an erased visitor. Raises VisitorIsErased."""
        self.erased.refuse(visitor)

    def refuse_guesses(self, network: Network) -> None:
        """Refuse a network that tried too many wrong operators' tokens. Raises TooManyRequests."""
        self.spent.check(lambda: self._quotas.guesses.counters(network))

    def note_guess(self, network: Network, route: str) -> None:
        """Count, log and measure a wrong operator's token."""
        self.metrics.wrong_tokens.inc()
        structlog.get_logger().warning("an operator's token was wrong", network=network[0].name, route=route)
        self.spent.note(self._quotas.guesses.counters(network))

    async def erase_visitor(self, visitor: str, key: IdempotencyKey | None = None) -> Receipt[Erasure]:
        """Erase a visitor who asks for it; this process refuses its writes at once."""
        receipt = await erasure.erase_visitor(self.committer, self.database, self.valkey, visitor, key=key)
        self.erased.add(visitor)
        return receipt

    @property
    def sources(self) -> Sources:
        """Where a person's data is read from."""
        return Sources(self.database, self.vault, self.valkey)

    async def limit_copy(self, visitor: str) -> Headers:
        """Count a copy of a visitor's data: it reads all that there is. Raises TooManyRequests."""
        return await self.limits.take((self._quotas.copies, visitor))

    async def finder(self) -> Finder:
        """Return what finds a person by an address; read once, and again when the log went back."""
        if self._finder is None or self._finder[0] != self.cards.rewinds:
            self._finder = self.cards.rewinds, await self.vault.finder(self.database)
        return self._finder[1]

    async def limit_new_visitor(self, network: Network) -> Headers:
        """Count a visitor that is about to be created. Raises TooManyRequests."""
        return await self.limits.take(*self._quotas.new_visitors.counters(network))

    async def reach(self, position: int, network: Network) -> None:
        """Wait until views and cached cards have reached a position. Raises ViewsBehind after 2 s, TooManyWait."""
        await self.views.reach(position, network)
        await self.cards.reach(position)


def _theme(settings: Settings) -> Theme:
    own_hour = settings.newsletter.hour if settings.pace.own_hour else None
    return Theme(settings.identity, FILTERS, GLOBALS | {"base_url": settings.base_url, "own_hour": own_hour})


class Call(call.Call):
    """A request, with everything that this process works with."""

    __slots__ = ()

    site: Site
    """What this process works with."""
