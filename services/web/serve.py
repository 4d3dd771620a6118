"""Serving: the application on granian, inside this process.

So there is one process to signal, stop or kill, and no worker that could outlive its parent; it is no slower than granian's own
processes.
"""

import asyncio
import contextlib
import gc
import resource
import signal
from typing import Final

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from services.logs import configure
from services.settings import Settings
from services.web.app import create_app
from services.web.site import Site

# A connection holds a place as long as its answer lasts, streams too; granian's own limit is 128, and others would wait.
BACKLOG: Final = 1024
MOST_AT_ONCE: Final = 4096
STOP_SECONDS: Final = 5


def run(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; requests under way then have five seconds to finish."""
    configure(settings.log_format)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, and the usual limit is 1,024
    uvloop.run(serve(settings, host, port))


async def serve(settings: Settings, host: str, port: int) -> None:
    """Serve inside a running event loop."""
    app = create_app(settings)
    site: Site = app.state.site
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,  # the lifespan is ours, so that errors at the start are raised here
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=MOST_AT_ONCE,
        log_enabled=False,
    )
    server.workers_kill_timeout = STOP_SECONDS
    loop = asyncio.get_running_loop()

    def stop() -> None:
        site.live.close()  # streams never end by themselves, and the server waits for requests under way
        server.stop()  # type: ignore[no-untyped-call]

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop)
    async with app.lifespan():
        gc.freeze()  # what is loaded now stays: collections needn't look at it again
        with contextlib.suppress(TimeoutError):  # granian raises it when it has cut a caller off
            await server.serve()
