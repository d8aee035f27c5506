"""Log lines: one a fact on stderr, time, level, key=value pairs. The only place that configures handlers."""

from __future__ import annotations

import logging
import os
import sys

from graphquilt.masking import mask_secrets
from pipeline.errors import ConfigError


class MaskingFormatter(logging.Formatter):
    """A formatter that lets no secret of an address through, not in tracebacks either."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, masked."""
        return mask_secrets(super().format(record))


def configure_logging() -> None:
    """Send what the packages of this project log to stderr, from ``GRAPHQUILT_LOG`` (INFO) on."""
    level = os.environ.get("GRAPHQUILT_LOG", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise ConfigError(f"GRAPHQUILT_LOG is {level!r}; choose DEBUG, INFO, WARNING or ERROR")
    # Once the reader of stderr has gone, there is nobody to tell so.
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter("%(asctime)s level=%(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    for name in ("pipeline", "jobs"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
