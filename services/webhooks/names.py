"""Look a server's name up: on a thread, so that a slow name server holds up its own webhook alone."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a name; it may block. Raises OSError."""


class Unreachable(Exception):
    """No connection can be made; the message says why."""


def look_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, as this machine resolves it. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


class Names:
    """Looks names up on threads, one a name at a time: all who ask for a name meanwhile wait for the same answer."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def of(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name. Raises OSError."""
        key = host, port
        if key not in self._asked:
            loop = asyncio.get_running_loop()
            self._asked[key] = future = loop.create_future()
            future.add_done_callback(lambda done: self._forget(key, done))
            # A daemon: it can't be ended, and the process must not wait for a name server when it stops.
            threading.Thread(target=self._look_up, args=(loop, future, host, port), daemon=True).start()
        return await asyncio.shield(self._asked[key])

    def _forget(self, key: tuple[str, int], done: "asyncio.Future[Sequence[str]]") -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # nobody may be waiting any more

    def _look_up(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Sequence[str]]", host: str, port: int) -> None:
        try:
            found: Sequence[str] | OSError = self._resolve(host, port)
        except OSError as error:
            found = error
        except UnicodeError as error:  # what IDNA refuses
            found = OSError(str(error))

        def tell() -> None:
            if future.done():
                return
            if isinstance(found, OSError):
                future.set_exception(found)
            else:
                future.set_result(found)

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop has ended meanwhile
            return
