"""`ballotpress catalog import`."""

import json
from pathlib import Path
from typing import Any

from tests.support.catalogs import tool
from tests.support.shell import Shell


async def test_the_same_file_twice_appends_nothing(shell: Shell, catalog_file: Path) -> None:
    """The first import says how many events it appended, the second that there were none."""
    assert shell("catalog", "import", str(catalog_file)).out == "Appended 5 events\n"
    assert shell("catalog", "import", str(catalog_file)).out == "Appended 0 events\n"


async def test_a_wrong_file_is_refused_whole(shell: Shell, tmp_path: Path, connection: Any) -> None:
    """The failure names the place in the file by its JSON pointer, and nothing was appended."""
    file = tmp_path / "wrong.json"
    wrong = tool("beta", pricing={"tier": "dear", "label": "Dear"})
    file.write_text(json.dumps({"tools": [tool("alpha"), wrong], "comparisons": []}))
    shell("catalog", "import", str(file)).failed("wrong.json", "/tools/1/pricing/tier")
    file.write_text(json.dumps({"tools": [tool("alpha", reviewed="21.4.2026")], "comparisons": []}))
    shell("catalog", "import", str(file)).failed("wrong.json", "/tools/0/reviewed", "a day that there is, such as 2026-04-21")
    assert await connection.fetchval("select position from log.head") == 0


async def test_all_faults_of_a_file_are_told_at_once(shell: Shell, tmp_path: Path) -> None:
    """Each fault is told with its place; beyond twenty they are counted."""
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({"tools": [tool(f"t{n}", successor="nobody") for n in range(22)], "comparisons": []}))
    told = [f"at /tools/{n}/successor: " for n in range(20)]
    shell("catalog", "import", str(file)).failed("wrong.json can't be imported, at ", *told, "; and 2 more")


async def test_a_file_that_is_not_there_is_one_line(shell: Shell, tmp_path: Path) -> None:
    """A missing file is a sentence and status 1, a missing argument a sentence and status 2."""
    shell("catalog", "import", str(tmp_path / "none.json")).failed("none.json", "No such file")
    shell("catalog", "import").failed("FILE", status=2)
