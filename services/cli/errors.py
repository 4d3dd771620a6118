"""The failures that an operator can act on: each exception, and the one line shown for it."""

import sys
import traceback
from typing import Final

SENTENCES: Final = {
    "services.settings:SettingsError": "{error}",
    "services.private_files:NotOurs": "{error}",
    "services.backup.places:BackupUnusable": "{error}",
    "services.embedded.home:HomeInUse": "{error}",
    "services.embedded.home:HomeUnusable": "{error}",
    "services.embedded.home:KeysMissing": "{error}",
    "services.embedded.account:NoAccount": "{error}",
    "services.embedded.servers:ServerMissing": "{error}",
    "services.embedded.supervisor:NotStarted": "{error}",
    "events.log.migrate:SchemaTooNew": "{error}",
    "events.log.migrate:MigrationChanged": "{error}",
    "events.log.migrate:LogInUse": "{error}",
    "events.log.citus:CitusMissing": "{error}",
    "events.log.citus:LogNotEmpty": "{error}",
    "events.log.committer:LogUnavailable": "The log cannot be written now: {error}",
    "events.voters:VoterUnknown": "Unknown visitor: {error}",
    "events.integrity:CohortUnknown": "There is no such cohort: see `ballotpress integrity list`",
    "events.integrity:CohortChanged": "The cohort has changed since that revision; it is {error} now: look again",
    "events.integrity:CohortHeld": "{error}",
    "events.commands.webhooks:WebhookUnknown": "There is no such webhook: see `ballotpress webhooks list`",
    "events.commands.webhooks:TooManyWebhooks": "There are as many webhooks as there can be: remove one first",
    "services.webhooks.target:TargetRefused": "The address {error}",
    "events.quarantine:NotHalted": "No view has halted at position {error}: see `ballotpress quarantine list`",
    "events.quarantine:NothingPassed": "{error} can pass over no event: run a release that knows the one there",
    "services.newsletter.issues:IssueUnknown": "There is no issue {error}",
    "services.newsletter.records:FileUnreadable": "{error}",
    "services.newsletter.relayed:MarksNowhere": "{error}",
    "services.newsletter.sent_marks:MarksUnusable": "{error}",
    "emails.relay_log:LogUnreadable": "{error}",
    "services.newsletter.trying:NotMailed": "Nothing is mailed to this address; it is suppressed for: {error}",
    "emails.addresses:AddressRefused": "The address can't be used: {error}",
    "emails.relay_url:RelayMalformed": "SMTP_URL can't be used: {error}",
    "emails.dkim:KeyRefused": "{error}",
    "services.proof.recovery:NotResumed": "{error}",
    "services.proof.recovery:NothingToRestart": "{error}",
    "services.proof.export:NothingPublished": "{error}",
    "services.proof.memory:MemoryUnusable": "{error}",
    "services.purge.hook:PurgeFailed": "{error}",
    "services.proof.note:KeyMalformed": "{error}",
    "services.proof.policy:PolicyMalformed": "{error}",
    "events.log.vault:VaultKeyMissing": "{error}",
    "events.log.vault:SealBroken": "The vault's key of {error} can't be opened: its row was changed",
    "events.log.transfer:LogNotEmpty": "The log holds {error} events already: import into an empty one",
    "events.log.transfer:LogBroken": "{error}",
    "events.log.transfer:LoadRunning": "Another import is running: wait until it is done",
    "events.log.export:ImportRefused": "{error}",
    "events.log.archive.state:ArchiveRefused": "{error}",
    "events.log.archive.state:FileBroken": "{error}",
    "events.log.archive.places:PlaceUnusable": "{error}",
    "projections.engine.projection:RebuildRunning": "Another replay of {error} is running: wait until it is done",
    "services.proof.replayed:BeliesSigned": "{error}",
    "projections.engine.rebuild:NothingKept": "No earlier tables of {error} are kept: only `replay --keep-previous` keeps them",
    "projections.engine.snapshot:ViewsHalted": "{error}: see `ballotpress status`",
    "projections.engine.runner:Halted": "Position {error.position} can't be folded ({error}); the live views are unchanged",
    "events.log.postgres:PoolerBetween": "{error}",
    "events.log.primary:NoPrimary": "{error}",
    "events.log.postgres:EventsArchived": "{error.args[0]}: {error.hint}",
    "asyncpg:TooManyConnectionsError": "PostgreSQL has no connection left for this: raise its `max_connections`, or wait until"
    " other commands are done ({error})",
    "asyncpg:DiskFullError": "PostgreSQL's disk is full: free some space, then try again; nothing live was changed ({error})",
    "asyncpg:LockNotAvailableError": "Somebody's transaction holds what this needs: see `ballotpress status`, then try again",
    "asyncpg:QueryCanceledError": "PostgreSQL stopped this: see `ballotpress status`, then try again ({error})",
    "asyncpg:InvalidPasswordError": "PostgreSQL refused the name or password in DATABASE_URL",
    "asyncpg:InvalidCatalogNameError": "PostgreSQL has no such database: {error}",
    "asyncpg:UndefinedTableError": "The database lacks a table: run `ballotpress migrate` first ({error})",
    "asyncpg:InvalidSchemaNameError": "The database lacks a schema: run `ballotpress migrate` first ({error})",
    "asyncpg:UndefinedColumnError": "The database lacks a column: run `ballotpress migrate` first ({error})",
    "asyncpg:UndefinedFunctionError": "The database lacks a function: run `ballotpress migrate` first ({error})",
    "asyncpg:DeadlockDetectedError": "Somebody's transaction was in the way, and this one was undone: try again",
    "asyncpg:IdleInTransactionSessionTimeoutError": "This process got no time for so long that PostgreSQL let go of what it"
    " held; nothing live was changed: try again when the machine is less busy",
    "asyncpg:PostgresError": "PostgreSQL failed: {error}",
    "asyncpg:InterfaceError": "PostgreSQL cannot be used: {error}",
    "asyncpg:InternalClientError": "PostgreSQL cannot be used: {error}",
    "redis:RedisError": "Valkey cannot be used: {error}",
    "socket:gaierror": "The host of {server} is not known: {error.strerror}",
    "builtins:ConnectionError": "{server} cannot be reached: {error}",
    "builtins:TimeoutError": "{server} did not answer in time",
    "builtins:OSError": "{error}",
}
"""The first match holds. Exceptions stand by name, since a module that isn't loaded can't have raised anything."""


SERVERS: Final = {
    "asyncpg": "PostgreSQL (DATABASE_URL)",
    "redis": "Valkey (REDIS_URL)",
    "arq": "Valkey (REDIS_URL)",
}
"""What each client leads to."""
A_SERVER: Final = "A server"
"""What is said of an error that came out of no client."""


def server_of(error: BaseException | None) -> str:
    """Return which server an error is of, by the client that it came out of."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            client = frame.f_globals.get("__name__", "").partition(".")[0]
            if client in SERVERS:
                return SERVERS[client]
        error = error.__cause__ or error.__context__
    return A_SERVER


def sentence(error: Exception) -> str | None:
    """Return the line to show for a failure; None for a defect of the program."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError | PermissionError) and error.filename is None:  # a socket's, not a file's
        error = ConnectionError(error.strerror).with_traceback(error.__traceback__)
    for name, text in SENTENCES.items():
        module, _, attribute = name.partition(":")
        kind = getattr(sys.modules.get(module), attribute, None)
        if kind is not None and isinstance(error, kind):
            return text.format(error=error, server=server_of(error))
    return None
