"""The console command `ballotpress`: `COMMANDS` has a line for each command, which is loaded when it is used.

A command's module imports only what its options need. Its function imports the rest, so that `--help` stays fast.
A failure is one line on stderr and a non-zero status. Only a defect of the program shows a traceback.
"""

import importlib
import sys

import rich_click as click
from click.exceptions import NoArgsIsHelpError, NoSuchCommand

from services.cli.errors import A_SERVER, sentence, server_of
from services.cli.options import as_option, complete, home_option
from services.settings import unknown_variables

COMMANDS = {
    "up": "services.cli.up:up",
    "api": "services.cli.processes:api",
    "projector": "services.cli.processes:projector",
    "worker": "services.cli.processes:worker",
    "settings": "services.cli.settings:settings",
    "migrate": "services.cli.processes:migrate",
    "catalog": "services.cli.catalog:catalog",
    "replay": "services.cli.replay:replay",
    "verify": "services.cli.verify:verify",
    "proof": "services.cli.proof:proof",
    "explain": "services.cli.explain:explain",
    "status": "services.cli.status:status",
    "digest": "services.cli.digest:digest",
    "subscribers": "services.cli.subscribers:subscribers",
    "mail": "services.cli.mail:mail",
    "integrity": "services.cli.integrity:integrity",
    "voters": "services.cli.voters:voters",
    "puzzle": "services.cli.puzzle:puzzle",
    "visitors": "services.cli.visitors:visitors",
    "person": "services.cli.person:person",
    "webhooks": "services.cli.webhooks:webhooks",
    "quarantine": "services.cli.quarantine:quarantine",
    "purge": "services.cli.purge:purge",
    "operators": "services.cli.operators:operators",
    "keys": "services.cli.keys:keys",
    "events": "services.cli.events:events",
    "backup": "services.cli.backup:backup",
    "restore": "services.cli.restore:restore",
}


class LazyGroup(click.RichGroup):
    """A group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table names a command
        return complete(command, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name. Raises NoSuchCommand with the names that are near."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@home_option
@as_option
@click.version_option(package_name="ballotpress", message="%(prog)s %(version)s")
def commands() -> None:
    """Votes, bookmarks and reviews of AI tools, kept in an append-only log."""
    for said in unknown_variables():
        click.echo(f"ballotpress: {said}", err=True)


def main() -> None:
    """Run the command line; exit 1 after a failure, 2 after a wrong option, 130 after Ctrl-C."""
    try:
        result = commands.main(prog_name="ballotpress", standalone_mode=False)
    except NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except SystemExit as ended:  # click takes each broken pipe for that of `| head`, and ends without a word
        broken = ended.__context__
        if isinstance(broken, BrokenPipeError) and server_of(broken) != A_SERVER:
            _fail(sentence(broken) or str(broken), 1)
        raise
    except Exception as error:
        if (message := sentence(error)) is None:
            raise
        _fail(message, 1)
    else:
        sys.exit(result if isinstance(result, int) else 0)


def _fail(message: str, status: int) -> None:
    print("ballotpress:", " ".join(message.split()), file=sys.stderr)
    sys.exit(status)
