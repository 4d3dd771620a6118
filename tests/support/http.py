"""A site to call over HTTP: real processes of the API and the projector on a database of their own, and callers of it."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support import calling
from tests.support.catalogs import tool
from tests.support.processes import PATIENCE, free_port, wait_for
from tests.support.settings import LOG_KEY, UNLIMITED, environ
from tests.support.stem import forked

SCOPES = ("catalog", "moderate", "voters", "digest", "read", "webhooks", "quarantine", "operators")
OPERATOR_TOKENS = {scope: f"token-of-the-{scope}-operator" for scope in SCOPES} | {"all": "token-of-every-operation"}

_numbers = itertools.count(1)


def operators() -> str:
    """Return the variable that gives an operator to each scope, and one to all."""
    tokens = [f"{scope}:{scope}:{OPERATOR_TOKENS[scope]}" for scope in SCOPES]
    return ",".join([*tokens, f"all:{'+'.join(SCOPES)}:{OPERATOR_TOKENS['all']}"])


def wait_until_ready(base_url: str, said: Callable[[], str]) -> None:
    """Wait until the API can serve, or fail with why it can't and what its processes said."""
    why = "nothing"

    def is_ready() -> bool:
        nonlocal why
        try:
            answer = calling.get(f"{base_url}/health/ready", timeout=PATIENCE)
        except httpx.TransportError as error:
            why = repr(error)
            return False
        why = answer.text
        return answer.status_code == 200

    assert wait_for(is_ready), f"{why}\n{said()}"


@contextmanager
def serving(dsn: str, valkey_url: str, log: Path, **more: str) -> Iterator["Site"]:
    """Run the API and the projector for a while, with these further variables."""
    own = {
        "BALLOTPRESS_OPERATOR_TOKENS": operators(),
        "BALLOTPRESS_MAIL_WEBHOOK_SECRETS": "secret-of-a-provider-of-mails",
        "BALLOTPRESS_WEBHOOK_LOOPBACK": "on",
    }
    files = {
        "BALLOTPRESS_LOG_KEY": LOG_KEY,
        "BALLOTPRESS_CHECKPOINT_FILE": str(log.with_name("checkpoint")),
        "BALLOTPRESS_PACK_DIR": str(log.with_name("packs")),
    }
    environment = environ(dsn, valkey_url, **UNLIMITED, **own, **files) | more
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    with (
        forked("api", "--port", str(port), environ=environment, output=log),
        forked("projector", environ=environment, output=log),
    ):
        wait_until_ready(base_url, lambda: log.read_text()[-2000:])
        with calling.Client(base_url=base_url, timeout=PATIENCE) as client:
            yield Site(client)


class Caller:
    """Somebody who calls the site: nobody in particular, a visitor, or an operator."""

    def __init__(self, client: httpx.Client, token: str | None = None, visitor: str = "") -> None:
        self._client = client
        self.token = token
        self.visitor = visitor

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Make one request; a body is sent as JSON. Cookies are never kept."""
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = self._client.build_request(method, path, json=body, headers={**sent, **(headers or {})})
        request.headers.pop("cookie", None)
        answer = self._client.send(request)
        self._client.cookies.clear()
        return answer

    def get(self, path: str, headers: Mapping[str, str] | None = None, **parameters: Any) -> httpx.Response:
        """GET with query parameters; a trailing underscore of a name is left out."""
        query = httpx.QueryParams({name.rstrip("_"): value for name, value in parameters.items()})
        return self.call("GET", f"{path}?{query}" if parameters else path, headers=headers)

    def put(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """PUT."""
        return self.call("PUT", path, body, headers)

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """POST."""
        return self.call("POST", path, body, headers)

    def patch(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """PATCH."""
        return self.call("PATCH", path, body, headers)

    def delete(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """DELETE."""
        return self.call("DELETE", path, headers=headers)

    def vote(self, tool: str, choice: str) -> int:
        """Vote, and give the position."""
        answer = self.put(f"/v1/tools/{tool}/vote", {"choice": choice})
        assert answer.status_code == 200, answer.text
        position: int = answer.json()["position"]
        return position


class Site:
    """The site, and whoever calls it."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.anyone = Caller(client)
        self.operator = Caller(client, OPERATOR_TOKENS["all"])

    def operator_for(self, scope: str) -> Caller:
        """Give an operator with one scope."""
        return Caller(self.client, OPERATOR_TOKENS[scope])

    def visitor(self) -> Caller:
        """Make a visitor."""
        made = self.anyone.post("/v1/visitors").json()
        return Caller(self.client, made["token"], made["visitor"])

    def head(self) -> int:
        """Give the position of the log's head."""
        position: int = self.operator.get("/v1/ops/status").json()["head"]["position"]
        return position

    def add_tool(self, **fields: Any) -> str:
        """Add a listed tool of the test's own; give its slug once the views know it."""
        slug = fields.setdefault("slug", f"tool-{next(_numbers)}")
        self.import_catalog({"tools": [tool(**fields)]})
        return str(slug)

    def import_catalog(self, catalog: object) -> int:
        """Import a catalog; give how many events it took, once the views have them."""
        answer = self.operator.post("/v1/ops/catalog", catalog)
        assert answer.status_code == 200, answer.text
        assert self.anyone.get("/v1/categories", after=self.head()).status_code == 200
        appended: int = answer.json()["appended"]
        return appended


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check that an answer is a whole problem (RFC 9457) of this status, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert all(isinstance(problem[member], str) and problem[member] for member in ("type", "title", "detail"))
    return problem


def pointers(problem: dict[str, Any]) -> list[str]:
    """Give the places that a problem names."""
    return [error["pointer"] for error in problem["errors"]]
