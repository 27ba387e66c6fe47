"""Logs of every role: one line per record on stderr, `key=value` fields or one JSON object (`[node] log_format`), and levels
that say what the reader must do.

error: act now, the node does not serve. warning: look today, something was lost or refused. info: nothing to do; a
milestone. debug: for whoever changes the code. Secrets, prompts, circuit ids and user addresses appear at no level
above debug, keys and prompts at none.
"""

import json
import logging
import sys
import time

from aiohttp.http_exceptions import HttpProcessingError


class LineFormatter(logging.Formatter):
    """`2026-11-21T13:25:16.123Z INFO relay-03 relay.core "message" key=value`, with tracebacks folded into the line."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        words = [
            _clock(record),
            record.levelname,
            self._name,
            record.name,
            json.dumps(record.getMessage(), ensure_ascii=False),
        ]
        for key, value in getattr(record, "fields", {}).items():
            words.append(f"{key}={_word(value)}")
        if record.exc_info:
            words.append(f"traceback={json.dumps(self.formatException(record.exc_info), ensure_ascii=False)}")
        return " ".join(words)


class JsonFormatter(logging.Formatter):
    """The same as one JSON object per line: time, level, node, logger, message, fields, traceback."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        entry: dict[str, object] = {
            "time": _clock(record),
            "level": record.levelname,
            "node": self._name,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if fields := getattr(record, "fields", None):
            entry["fields"] = fields
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class _WithoutPeers(logging.Filter):
    """aiohttp logs the address and the words of whoever sends what it cannot read, or leaves before it is answered. That is
    the sender's fault, so nothing is said; a failure of ours is, without the address."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is kept."""
        if record.exc_info and isinstance(record.exc_info[1], (HttpProcessingError, ConnectionError)):
            return False
        record.msg, record.args = "a request could not be served", ()
        return True


_WITHOUT_PEERS = _WithoutPeers()


def configure(name: str, level: str = "info", style: str = "line") -> None:
    """Send the records to stderr, `line` or `json`, with the node's name. Further fields: `extra={"fields": {...}}`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(name) if style == "json" else LineFormatter(name))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Access lines would carry client addresses, and asyncio's debug lines repeat what they wrap.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").addFilter(_WITHOUT_PEERS)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _clock(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _word(value: object) -> str:
    text = str(value)
    return text if text and all(c.isalnum() or c in "-_.:/%+" for c in text) else json.dumps(text, ensure_ascii=False)
