"""A JSON array as lines, one element each, so that arrays and JSON lines are read alike."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator

from pipeline.errors import InputError
from pipeline.ingest.text.stream import with_last

MAX_ELEMENT = 64 * 2**20  # characters; a longer one is a string that nobody closed
_LONGEST_WORD = 16  # characters that a token cut in two may need: -Infinity, \\ud83d\\ude00
_LINE_ENDS = str.maketrans("\r\n", "  ")  # within an element, they are blanks
_BLANKS = re.compile(r"[ \t\r\n]*")


def lines_of_array(address: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the elements of an array, a line each, in blocks of lines. The input may be cut anywhere.

    Raises
    ------
    InputError : where the array breaks or ends too early, since what follows can't be told apart any more.
    """
    decoder = json.JSONDecoder()
    # surrogateescape: bytes that are no UTF-8 come out as they went in.
    to_text = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    text, at, line = "", 0, 1
    state = "start"
    for block, is_last in with_last(blocks):
        line += text.count("\n", 0, at)
        text, at = text[at:] + to_text.decode(block, is_last), 0
        elements: list[str] = []
        while (at := _end_of_blanks(text, at)) < len(text):
            sign = text[at]
            if state == "start" and sign == "[":
                state, at = "first", at + 1
            elif state in ("first", "next") and not (state == "first" and sign == "]"):
                stop = _end_of_value(decoder, text, at, is_last)
                if stop is None:
                    break
                if stop < 0:
                    raise _error_at(address, line + text.count("\n", 0, at), "an element is no JSON")
                elements.append(text[at:stop].translate(_LINE_ENDS))
                state, at = "after", stop
            elif state in ("first", "after") and sign == "]":
                state, at = "end", at + 1
            elif state == "after" and sign == ",":
                state, at = "next", at + 1
            else:
                fault = "something stands after the end" if state == "end" else "a comma is missing"
                raise _error_at(address, line + text.count("\n", 0, at), fault)
        if elements:
            yield "".join(element + "\n" for element in elements).encode("utf-8", "surrogateescape")
    if state != "end":
        raise _error_at(address, line + text.count("\n"), "the file ends")


def _end_of_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _end_of_value(decoder: json.JSONDecoder, text: str, at: int, is_last: bool) -> int | None:
    """Where a value ends; None if more text is needed to tell, -1 if it is no JSON."""
    try:
        _, stop = decoder.raw_decode(text, at)
    except RecursionError:
        return -1
    except json.JSONDecodeError as error:
        is_cut = error.msg.startswith("Unterminated") or len(text) - error.pos <= _LONGEST_WORD
        return None if is_cut and not is_last and len(text) - at <= MAX_ELEMENT else -1
    return None if stop == len(text) and not is_last else stop  # the digits of a number may go on


def _error_at(address: str, line: int, fault: str) -> InputError:
    return InputError(
        f"{address} line {line:,}: {fault} in a JSON array, and what follows can't be told apart. Write or copy the "
        "file again"
    )
