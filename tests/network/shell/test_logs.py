"""Log lines: one per record, whatever the record holds."""

import json
import logging
from pathlib import Path

from aiohttp.http_exceptions import BadHttpMessage

from network.aio.logs import JsonFormatter, LineFormatter, configure


def line(message: str, level: int = logging.INFO, **extra: object) -> str:
    record = logging.LogRecord("relay.core", level, "f.py", 1, message, (), None)
    record.__dict__.update(extra)
    return LineFormatter("relay-03").format(record)


def test_a_line_has_time_level_name_logger_message_and_fields() -> None:
    words = line("link closed", fields={"peer": "abc", "reason": "no answer"})
    assert words.endswith(' INFO relay-03 relay.core "link closed" peer=abc reason="no answer"')
    assert words[:4].isdigit() and words[23] == "Z"


def test_a_record_stays_on_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    text = line("a\nb", fields={"x": "c\nd", "empty": ""}, exc_info=info)
    assert "\n" not in text and "traceback=" in text and 'empty=""' in text


def test_json_says_the_same_in_one_object() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("relay.core", logging.ERROR, "f.py", 1, "link\nclosed", (), info)
    record.__dict__["fields"] = {"peer": "abc", "at": Path("x")}
    text = JsonFormatter("relay-03").format(record)
    entry = json.loads(text)
    assert "\n" not in text and entry["traceback"].endswith("ValueError: two\nlines")
    assert [entry[key] for key in ("level", "node", "logger", "message")] == ["ERROR", "relay-03", "relay.core", "link\nclosed"]
    assert entry["fields"] == {"peer": "abc", "at": "x"} and entry["time"].endswith("Z")


def test_configuring_twice_keeps_one_handler() -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        configure("a", "debug")
        configure("b", "warning", "json")
        assert isinstance(root.handlers[0].formatter, JsonFormatter)
        assert len(root.handlers) == 1 and root.level == logging.WARNING
        assert not logging.getLogger("aiohttp.access").isEnabledFor(logging.INFO)
    finally:
        root.handlers[:], root.level = before, level


def test_who_sends_what_cannot_be_read_is_not_named() -> None:
    def record(error: Exception) -> logging.LogRecord:
        info = (type(error), error, None)
        message = "Error handling request from %s"
        return logging.LogRecord("aiohttp.server", logging.ERROR, "f.py", 1, message, ("127.0.0.77",), info)

    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        configure("a", "debug")
        logger = logging.getLogger("aiohttp.server")
        assert not logger.filter(record(BadHttpMessage("my secret words")))
        ours = record(KeyError("x"))
        assert logger.filter(ours) and "127.0.0.77" not in LineFormatter("a").format(ours)
    finally:
        root.handlers[:], root.level = before, level
