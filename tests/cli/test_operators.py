"""`ballotpress operators`: who has signed in, an end to that, and who did what; and who somebody at a shell says to be."""

import csv
import io
import json
from typing import Any

import pytest

from services.clock import fresh_id
from services.operators.sessions import Sessions
from services.settings import OperatorToken
from tests.support.settings import settings
from tests.support.shell import Follow, Shell
from tests.support.signing_in import VISIT

ANN = OperatorToken(name="ann", scopes=frozenset({"read"}), token="token-of-ann-in-the-tests")
BOB = OperatorToken(name="bob", scopes=frozenset({"read"}), token="token-of-bob-in-the-tests")


@pytest.fixture
async def opened(shell: Shell, dsn: str, connection: Any) -> list[str]:
    """Three open sessions, two of Ann's; their ids, the last first."""
    given = settings(dsn, "", operator_tokens=(ANN, BOB))
    shell.environ["BALLOTPRESS_OPERATOR_TOKENS"] = ",".join(f"{one.name}:read:{one.token}" for one in (ANN, BOB))
    found = list[str]()
    for operator in (ANN, ANN, BOB):
        found.insert(0, fresh_id())
        await Sessions(connection, given).begin_by_token(found[0], fresh_id(), operator, VISIT)
    return found


async def test_sessions_are_listed_and_ended(shell: Shell, opened: list[str]) -> None:
    """One by its id, all of an operator, or all; what is ended is in the list no more, and who ended it is told."""
    listed = shell("operators", "sessions", "--json").json()["items"]
    assert [one["id"] for one in listed] == opened
    assert {one["operator"] for one in listed} == {"ann", "bob"}
    text = shell("operators", "sessions", status=0).out
    assert "Firefox, from 192.0.2.0/24" in text and "by a token" in text
    assert shell("operators", "end", opened[1], "--json").json() == {"ended": [opened[1]]}
    assert "No such session is open" in shell("operators", "end", opened[1], status=0).out
    assert "Ended 1 session" in shell("operators", "end", "--operator", "ann", status=0).out
    assert "Ended 1 session" in shell("operators", "end", "--all", status=0).out
    assert "Nobody has signed in" in shell("operators", "sessions", status=0).out
    shell("operators", "end").failed("Name sessions, or an operator by --operator, or --all", status=2)
    shell("operators", "end", opened[0], "--all").failed("Name sessions", status=2)
    log = shell("operators", "log", "--kind", "sessions", status=0).out
    assert log.count("shell ended a session of") == 3 and "ann signed in by a token, 2 times until" in log


async def test_the_log_is_told_narrowed_and_written_to_a_file(shell: Shell, catalog: int, follow: Follow) -> None:
    """In words, as JSON, and as CSV or lines with all of it; days and times narrow it."""
    await follow()
    lines = shell("operators", "log", status=0).out.splitlines()
    assert len(lines) == catalog and "shell announced a comparison" in lines[0] and "shell added Alpha" in lines[-1]
    assert len(shell("operators", "log", "--most", "2", "--json").json()["items"]) == 2
    rows = list(csv.DictReader(io.StringIO(shell("operators", "log", "--csv", "--most", "1", status=0).out)))
    assert len(rows) == catalog and rows[0]["operator"] == "shell"
    told = [json.loads(line) for line in shell("operators", "log", "--jsonl", "--about", "alpha", status=0).out.splitlines()]
    assert {one["link"] for one in told} == {"/tools/alpha"}
    for narrowed in (("--until", "2020-01-01"), ("--since", "2999-01-01T00:00:00Z"), ("--operator", "nobody")):
        assert "No operator did anything of the kind" in shell("operators", "log", *narrowed, status=0).out
    shell("operators", "log", "--since", "yesterday").failed("yesterday", status=2)


async def test_whoever_is_at_a_shell_may_say_who(shell: Shell, catalog_file: Any, dsn: str) -> None:
    """By `--as` before or after the command, or by the environment; nobody can be called anything but a shell."""
    shell("--as", "ann", "catalog", "import", str(catalog_file), status=0)
    assert "shell:ann added Alpha" in shell("operators", "log", status=0).out
    catalog_file.write_text(catalog_file.read_text().replace('"Alpha"', '"Alpha 2"'))
    shell("catalog", "import", str(catalog_file), "--as", "bob", status=0)
    assert "shell:bob changed the description of Alpha 2" in shell("operators", "log", "--most", "1", status=0).out
    shell.environ["BALLOTPRESS_OPERATOR"] = "cem"
    catalog_file.write_text(catalog_file.read_text().replace('"Alpha 2"', '"Alpha 3"'))
    shell("catalog", "import", str(catalog_file), status=0)
    assert "shell:cem changed" in shell("operators", "log", "--most", "1", status=0).out
    shell("catalog", "import", str(catalog_file), "--as", "a b").failed("BALLOTPRESS_OPERATOR must be a name")
