"""A certified provider (npm's oidc-provider) at `localhost`, which for a browser is another site than 127.0.0.1."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

from tests.support import calling, node, npm
from tests.support.processes import free_port, started, wait_for
from tests.support.settings import clean_environ

FOLDER: Final = Path(__file__).parents[1] / "web" / "oidc"
SECRET: Final = "secret-of-the-client-of-the-tests"


class RealProvider:
    """The provider."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://localhost:{port}"

    def variables(self, groups: str) -> dict[str, str]:
        """Return the settings of a site whose operators sign in here."""
        return {
            "BALLOTPRESS_OIDC_ISSUER": self.issuer,
            "BALLOTPRESS_OIDC_CLIENT_ID": "ballotpress",
            "BALLOTPRESS_OIDC_CLIENT_SECRET": SECRET,
            "BALLOTPRESS_OIDC_GROUPS": groups,
        }

    def move(self, **groups: Sequence[str]) -> None:
        """Give people other groups."""
        calling.post(f"{self.issuer}/people", json=groups).raise_for_status()

    def sign_in(self, page: Page, name: str) -> None:
        """Say at the provider's pages who one is, and agree to what the site asks for."""
        page.get_by_placeholder("Enter any login").fill(name)
        page.get_by_placeholder("and password").fill("any")
        page.get_by_role("button", name="Sign-in").click()
        page.get_by_role("button", name="Continue").click()


@contextmanager
def providing(base: str, log: Path, people: Mapping[str, Sequence[str]], *, groups_in: str = "token") -> Iterator[RealProvider]:
    """Run the provider for a while, for the site at an address."""
    node.must_be_there()
    npm.tools(FOLDER, "operators don't sign in at a real provider")
    port = free_port()
    environ = {
        "PORT": str(port),
        "PEOPLE": json.dumps(people),
        "BACK": f"{base}/ops/sign-in/back",
        "OUT": f"{base}/ops/sign-in",
    }
    command = ("node", str(FOLDER / "provider.mjs"))
    with started(command, clean_environ(**environ, GROUPS_IN=groups_in, NODE_NO_WARNINGS="1"), log):
        assert wait_for(lambda: "ready" in log.read_text()), log.read_text()
        yield RealProvider(port)
