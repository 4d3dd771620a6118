"""The code in docs/webhooks.md verifies what we sign, and nothing else."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from services.webhooks import signing
from services.webhooks.messages import KINDS
from tests.support.processes import PATIENCE

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
SECRET, OTHER = signing.spell_secret(b"s" * 32), signing.spell_secret(b"o" * 32)
BODY = '{"type":"verdict.changed","data":{"name":"Zoë"}}'.encode()


def block(language: str) -> str:
    """Return the page's code in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def cases() -> list[tuple[bool, str, dict[str, str], bytes]]:
    """Return what must be taken, and what must not: changed, old, unsigned, signed by another."""
    now = int(time.time())
    right = dict(signing.headers([OTHER, SECRET], "msg_1", now, BODY))
    return [
        (True, SECRET, right, BODY),
        (True, OTHER, right, BODY),
        (False, SECRET, right, BODY + b" "),
        (False, SECRET, right | {"webhook-id": "msg_2"}, BODY),
        (False, SECRET, right | {"webhook-timestamp": str(now + 1)}, BODY),
        (False, SECRET, dict(signing.headers([SECRET], "msg_1", now - 400, BODY)), BODY),
        (False, SECRET, dict(signing.headers([OTHER], "msg_1", now, BODY)), BODY),
        (False, SECRET, right | {"webhook-signature": "v1,"}, BODY),
    ]


def test_a_public_library_verifies_the_same() -> None:
    """The Standard Webhooks project's own verifier takes what we sign, and refuses what was changed."""
    for is_right, secret, headers, body in cases():
        if is_right:
            assert Verifier(secret).verify(body, headers)
        else:
            with pytest.raises(WebhookVerificationError):
                Verifier(secret).verify(body, headers)


def test_the_python_of_the_page_verifies() -> None:
    """Five lines tell ours from others."""
    space: dict[str, Any] = {}
    exec(block("python"), space)  # noqa: S102 - our own page
    assert [space["is_ours"](*case) for _, *case in cases()] == [is_right for is_right, *_ in cases()]


@pytest.mark.server
@pytest.mark.skipif(shutil.which("node") is None, reason="node isn't here: the page's JavaScript isn't run")
def test_the_javascript_of_the_page_verifies(tmp_path: Path) -> None:
    """So does Node."""
    (tmp_path / "page.mjs").write_text(block("js"))
    given = [[secret, headers, body.decode()] for _, secret, headers, body in cases()]
    program = (
        'import { isOurs } from "./page.mjs";\n'
        f"console.log(JSON.stringify({json.dumps(given)}.map(([secret, headers, body]) => isOurs(secret, headers, body))));"
    )
    (tmp_path / "try.mjs").write_text(program)
    said = subprocess.run(("node", "try.mjs"), cwd=tmp_path, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert json.loads(said.stdout) == [is_right for is_right, *_ in cases()]


def test_the_page_names_every_kind() -> None:
    """No kind of message is left out of the table."""
    assert set(re.findall(r"^\| `([a-z.]+)` \|", PAGE, re.MULTILINE)) == {*KINDS, "webhook.test"}
