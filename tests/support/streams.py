"""Reading a stream of Server-Sent Events as a browser does, with a time by which each event must come."""

import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from tests.support import calling
from tests.support.processes import PATIENCE


class Event(NamedTuple):
    """One event: its id, its data, and when it came."""

    id: int
    data: dict[str, Any]
    at: float


class Stream:
    """An open stream."""

    def __init__(self) -> None:
        self.events: queue.Queue[Event | None] = queue.Queue()

    def next(self, seconds: float = PATIENCE) -> Event:
        """Wait for the next event."""
        event = self.events.get(timeout=seconds)
        assert event is not None, "the stream ended"
        return event

    def is_quiet(self, seconds: float) -> bool:
        """Tell whether nothing comes for a while."""
        try:
            return self.events.get(timeout=seconds) is None
        except queue.Empty:
            return True

    def ends(self, seconds: float = PATIENCE) -> bool:
        """Tell whether the stream ends in time; events before the end are dropped."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self.events.get(timeout=left) is None:
                    return True
            except queue.Empty:
                break
        return False


@contextmanager
def streaming(base: str, *tools: str, headers: Mapping[str, str] | None = None) -> Iterator[Stream]:
    """Watch tools for a while."""
    stream = Stream()
    query = "&".join(f"tool={tool}" for tool in tools)
    with (
        calling.Client(base_url=base, timeout=PATIENCE) as client,
        client.stream("GET", f"/v1/tallies/live?{query}", headers=dict(headers or {})) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        reader = threading.Thread(target=_read, args=(answer, stream), daemon=True)
        reader.start()
        try:
            yield stream
        finally:
            answer.close()
            reader.join(5)


def _read(answer: httpx.Response, stream: Stream) -> None:
    fields: dict[str, str] = {}
    try:
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            if "data" in fields:
                assert fields["event"] == "tally"
                stream.events.put(Event(int(fields["id"]), json.loads(fields["data"]), time.monotonic()))
            fields = {}
    except (httpx.HTTPError, httpx.StreamError):
        pass
    stream.events.put(None)
