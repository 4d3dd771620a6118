"""All that one process traces."""

from services.settings import Settings
from services.tracing.commands import Commands
from services.tracing.mails import Mails
from services.tracing.requests import Requests
from services.tracing.sampling import Sampling
from services.tracing.spans import Spans
from services.tracing.views import Refreshes, Windows


class Tracing:
    """The traces of one process; `kind` names it. Each part is used by the process that does that work."""

    def __init__(self, settings: Settings, kind: str) -> None:
        sampling = Sampling(settings.tracing.share)
        self.spans = Spans(settings.tracing, kind)
        self.requests = Requests(self.spans, sampling)
        self.commands = Commands(self.spans)
        self.windows = Windows(self.spans)
        self.refreshes = Refreshes(self.spans)
        self.mails = Mails(self.spans, sampling, settings.base_url)

    def close(self) -> None:
        """Send what waits, and end. It takes a few seconds at most, and blocks."""
        self.spans.close()
