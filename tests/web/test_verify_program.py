"""The program that checks the public log is served, for whoever has it from nowhere else."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.public_log import a_log
from tests.support.settings import settings
from tests.support.sites import client


async def test_what_is_served_is_a_program_that_runs_by_itself(dsn: str, valkey_url: str, tmp_path: Path) -> None:
    """As text, to be read first; saved to a file it checks a log."""
    async with client(settings(dsn, valkey_url)) as http:
        answer = await http.get("/proof/verify.py")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    program = tmp_path / "verify.py"
    program.write_bytes(answer.content)
    log = a_log()
    words = (program, log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey)
    done = subprocess.run((sys.executable, "-I", *words), cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: ASYNC221 - nothing else runs meanwhile
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_runs_it_where_it_is() -> None:
    """In a clone, from its top, the line of the README finds the program, which a plain Python runs."""
    root = Path(__file__).parents[2]
    ((program, address),) = re.findall(r"\$ python3 (\S+) (https://\S+)$", (root / "README.md").read_text(), re.MULTILINE)
    done = subprocess.run((sys.executable, "-I", program, "--help"), cwd=root, capture_output=True, check=False)
    assert (done.returncode, address) == (0, "https://example.com")
