"""Write logs to stderr: one JSON object a line, or lines for people. Logs of libraries get the same format.

What is personal is kept out of both: `redaction` says how.
"""

import logging
import sys
from contextvars import ContextVar

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from services import redaction
from services.settings import LogFormat

# Tracebacks go without local variables, which hold tokens, addresses and people's texts.
_told = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
_WITHOUT_LOCALS = structlog.processors.ExceptionRenderer(lambda exc_info: redaction.clean_stacks(_told(exc_info)))

# The id of the request being served, which each of its log lines carries.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
# The id of the trace that it belongs to, if it is traced.
trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


def configure(log_format: LogFormat, level: int = logging.INFO) -> None:
    """Write all logs of this process to stderr, in this format and from this level up."""
    shared: list[Processor] = [
        _with_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redaction.clean_line,
    ]
    rendered: list[Processor] = (
        [_WITHOUT_LOCALS, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=redaction.write_traceback)]
    )
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)


def _with_ids(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    for of in (request_id, trace_id):
        if (current := of.get()) is not None:
            event[of.name] = current
    return event
