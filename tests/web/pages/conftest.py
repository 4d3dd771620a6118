"""One site and one browser for all tests of the pages; each test gets a window of its own."""

import http.server
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support import calling
from tests.support.browser import Other, Windows, browsing, serving
from tests.support.catalogs import tool
from tests.support.processes import PATIENCE, Instance

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def other() -> Iterator[Other]:
    """Another site."""
    site = Other()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = site.html.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            if site.policy:
                self.send_header("Content-Security-Policy", site.policy)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", site.port), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


# Of the package, not the session: while it lives an event loop runs, beside which no async test could.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with browsing() as made:
        yield made


@pytest.fixture(scope="package")
def instance(other: Other) -> Iterator[Instance]:
    """A whole `ballotpress up` with the demo catalog."""
    with serving(BALLOTPRESS_CORS_ORIGINS=other.origin) as made:
        yield made


@pytest.fixture(scope="package")
def base(instance: Instance) -> str:
    """The site's address."""
    return f"http://127.0.0.1:{instance.port}"


@pytest.fixture
def token(instance: Instance) -> str:
    """The operator's token."""
    return (Path(instance.home) / "operator.token").read_text().strip()


@pytest.fixture
def own_tool(base: str, token: str) -> str:
    """A tool that no other test votes on."""
    slug = f"own-{next(_numbers)}"
    with calling.Client(base_url=base, timeout=PATIENCE, headers={"Authorization": f"Bearer {token}"}) as operator:
        assert operator.post("/v1/ops/catalog", json={"tools": [tool(slug)]}).status_code == 200
        head = operator.get("/v1/ops/status").json()["head"]["position"]
        assert operator.get(f"/v1/tools/{slug}?after={head}").status_code == 200
    return slug


@pytest.fixture
def window(browser: Browser) -> Iterator[Windows]:
    """Opens windows, each of a new person unless it is told of a context; no page may err or load from elsewhere."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def opened(**options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def votes(base: str) -> Callable[[str, str, int], None]:
    """Casts votes of so many new visitors on a tool."""

    def cast(tool: str, choice: str, count: int) -> None:
        with calling.Client(base_url=base, timeout=PATIENCE) as client:
            for _ in range(count):
                client.cookies.clear()
                token = client.post("/v1/visitors").json()["token"]
                headers = {"Authorization": f"Bearer {token}"}
                assert client.put(f"/v1/tools/{tool}/vote", json={"choice": choice}, headers=headers).status_code == 200

    return cast
