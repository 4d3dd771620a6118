"""`ballotpress settings`: the variables that configure Ballotpress, as the package's own README lists them."""

import re
from collections.abc import Iterator
from importlib.metadata import metadata

import rich_click as click

ROW = re.compile(r"^\| (`[A-Z].*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)


@click.command()
def settings() -> None:
    """List the variables that configure Ballotpress, each with its meaning and default."""
    readme = str(metadata("ballotpress").json["description"])
    table = readme.partition("\n## Configuration\n")[2].partition("\n## ")[0]
    for line in _lines(table):
        click.echo(line)


def _lines(table: str) -> Iterator[str]:
    """Return two lines for each row of a table in Markdown."""
    for names, meaning, default in ROW.findall(table):
        yield names.replace("`", "")
        yield f"    {meaning}  [default: {default}]".replace("`", "").replace("\\|", "|")
