"""The page on the event store shows what runs."""

import asyncio
import os
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "events" / "log" / "README.md"


async def test_the_example_prints_what_the_page_says(dsn: str) -> None:
    """The page's example, run as it stands on an empty log, prints the line that the page promises."""
    found = re.search(r"```python\n(.*?)```\n\nOn an empty database it prints `(.*?)`", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    code, promised = found.groups()
    environment = {**os.environ, "DATABASE_URL": dsn}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=environment, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert printed.decode().strip() == promised
