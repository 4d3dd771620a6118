"""Arguments and options that several commands take, each with a sentence for a wrong value."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import rich_click as click

from events.log import ids
from services.cli.examples import shown
from services.settings import choose_home, choose_person, home_folder, process_environ

LONGEST_REASON = 1000
"""Characters."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
yes_option = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")


def _choose(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Work on a home folder. Raises click.UsageError if the `up` there has another database than the environment names."""
    if not value:
        return
    choose_home(value)
    named = process_environ()
    if (url := named.get("DATABASE_URL", "").strip()) and _database_of(home_folder(named)) not in (None, url):
        raise click.UsageError(
            f"--home names the `up` of {value}, and DATABASE_URL another database, which this command would use:"
            " unset DATABASE_URL, or leave --home out"
        )


def _database_of(home: Path) -> str | None:
    """Return the database of the `up` that runs on a home folder."""
    from services.embedded.runfile import settings_of_running

    return settings_of_running(home).get("DATABASE_URL")


home_option = click.option(
    "--home",
    metavar="DIR",
    expose_value=False,
    callback=_choose,
    help="Folder of all that `up` keeps.  [default: BALLOTPRESS_HOME, else .ballotpress]",
)


def _choose_person(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        choose_person(value)


as_option = click.option(
    "--as",
    "person",
    metavar="NAME",
    expose_value=False,
    callback=_choose_person,
    help="Who you are, for the log: it says `shell:NAME`.  [default: BALLOTPRESS_OPERATOR, else `shell`]",
)


def complete(command: click.Command, path: str) -> click.Command:
    """Let a command, and each below it, take `--home` and `--as`, and end its help with examples; `path` is its whole name."""
    if all(param.name != "home" for param in command.params):
        home_option(as_option(command))
    command.epilog = shown(path)
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            complete(one, f"{path} {name}")
    return command


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal, unless `yes` was given. Raises click.Abort for a no, click.UsageError where nobody can be asked."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("This needs a yes, and there is no terminal to ask on: add --yes if you mean it")
    click.confirm(question, abort=True, err=True)


class Whole(click.IntRange):
    """A whole number within bounds."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            bounds = [f"{word} {bound}" for word, bound in (("from", self.min), ("to", self.max)) if bound is not None]
            self.fail(f"{value!r} is not a whole number {' '.join(bounds)}".rstrip(), param, ctx)

    def _describe_range(self) -> str:
        return ""  # the options' own texts say what a number is


class Reason(click.ParamType[str]):
    """A reason in one line of text. It is kept for ever, and some reasons are public."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text without space around it."""
        text = value.strip()
        if not text:
            self.fail("say why", param, ctx)
        if len(text) > LONGEST_REASON:
            self.fail(f"say it in at most {LONGEST_REASON} characters", param, ctx)
        if not text.isprintable():
            self.fail("say it in one line of printable characters", param, ctx)
        return text


class Visitor(click.ParamType[str]):
    """A visitor's id."""

    name = "visitor"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id."""
        if not ids.is_id(value):
            self.fail(f"{value!r} is not a visitor's id", param, ctx)
        return value


def visitors(words: Iterable[str]) -> list[str]:
    """Return the ids in some words, once each: an id, `@FILE` with one a line, or `-` for such lines on stdin.

    Raises click.ClickException for a word or line that isn't an id, for an unreadable file, and for no id at all.
    """
    found = dict.fromkeys(id_ for word in words for id_ in _named(word))
    if not found:
        raise click.ClickException("No voter was named")
    return list(found)


def _named(word: str) -> Iterator[str]:
    if word != "-" and not word.startswith("@"):
        yield _checked(word, "")
        return
    name = "stdin" if word == "-" else word[1:]
    try:
        text = (sys.stdin.buffer.read() if word == "-" else Path(name).read_bytes()).decode()
    except OSError as error:
        raise click.ClickException(f"{name} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.ClickException(f"{name} is not UTF-8 text") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _checked(line.strip(), f"line {number} of {name}: ")


def _checked(word: str, where: str) -> str:
    if not ids.is_id(word):
        raise click.ClickException(f"{where}{word[:40]!r} is not a visitor's id")
    return word
