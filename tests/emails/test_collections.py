"""Public collections of returned mail, held against the reading of it where a folder of them is named."""

import json
import os
from pathlib import Path

import pytest

from emails.bounces import classify

FOLDER = os.environ.get("BALLOTPRESS_TEST_BOUNCES")
KINDS = {"hard_bounce": "hard", "soft_bounce": "soft"}


@pytest.mark.skipif(FOLDER is None, reason="set BALLOTPRESS_TEST_BOUNCES to a folder of .eml files with a verdicts.json")
def test_no_reader_is_dropped_for_the_senders_fault() -> None:
    """No mail is taken for a hard bounce that a person reads otherwise; `verdicts.json` says hard, soft or none of each."""
    folder = Path(FOLDER or "")
    verdicts: dict[str, str] = json.loads((folder / "verdicts.json").read_text())
    read = {name: KINDS.get(classify((folder / f"{name}.eml").read_bytes()).kind, "none") for name in verdicts}
    agreed = sum(read[name] in verdict for name, verdict in verdicts.items())
    print(f"{agreed} of {len(verdicts)} agree", *((name, v, read[name]) for name, v in verdicts.items() if read[name] not in v))
    assert [name for name, verdict in verdicts.items() if read[name] == "hard" and "hard" not in verdict] == []
