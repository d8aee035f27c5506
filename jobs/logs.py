"""Log lines on stderr: time, level, key=value pairs. On a terminal there is a bar instead.

Warnings are shown there too. The only place that configures handlers.
"""

import logging
import os
import sys
from typing import Any

from graphquilt.masking import mask_secrets
from pipeline.errors import ConfigError


class MaskingFormatter(logging.Formatter):
    """A formatter that lets no secret of an address through, not in tracebacks either."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, masked."""
        return mask_secrets(super().format(record))


class _WarningFormatter(MaskingFormatter):
    """A formatter for a person who watches: no time, and "warning" once."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, masked."""
        return f"{record.levelname.lower()}: {super().format(record).replace('warning: ', '', 1)}"


class _StderrHandler(logging.StreamHandler[Any]):
    """A handler that asks for stderr at each line: a bar that is shown puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line to what stderr is now."""
        self.stream = sys.stderr
        super().emit(record)


def configure_logging(*, is_verbose: bool = False) -> None:
    """Send what the packages of this project log to stderr, from ``GRAPHQUILT_LOG`` on.

    That is INFO, and WARNING on a terminal unless ``is_verbose``.
    """
    level_word = os.environ.get("GRAPHQUILT_LOG")
    is_quiet = sys.stderr.isatty() and not is_verbose and level_word is None
    level = "WARNING" if is_quiet else (level_word or "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise ConfigError(f"GRAPHQUILT_LOG is {level!r}; choose DEBUG, INFO, WARNING or ERROR")
    # Once the reader of stderr has gone, there is nobody to tell so.
    logging.raiseExceptions = False
    handler = _StderrHandler(sys.stderr)
    lines = MaskingFormatter("%(asctime)s level=%(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    handler.setFormatter(_WarningFormatter("%(message)s") if is_quiet else lines)
    for name in ("pipeline", "jobs"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
