"""The exceptions of the contract, and the root of every exception of the product.

Each message says what happened, where, and what to do. ``exit_code`` is what the ``shopfloor`` command returns when the
exception reaches it: 1 = what was checked is not so, 2 = the input is wrong, 3 = the surroundings fail.
"""

from __future__ import annotations


class ShopfloorError(Exception):
    """Root of all exceptions that a user of the product may see."""

    exit_code = 2


class WireError(ShopfloorError):
    """Root of the exceptions of the contract between gateway and server."""


class DocumentError(WireError):
    """A YAML document is not what its reader needs. ``problems`` holds one line a problem: file, line, field, fault."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class KeyFormatError(WireError):
    """A key is not what it should be: wrong length, wrong prefix, unreadable."""


class TopicError(WireError):
    """An MQTT topic is not one of ours, or a gateway id cannot stand in one."""


class EnrolmentCodeError(WireError):
    """A text is no enrolment code."""


class WordsError(WireError):
    """Register words do not fit the type they are to be read as or written from."""


class RecordError(WireError):
    """Bytes are not a valid record.

    ``fault`` is a short stable word for the kind of fault (``bad-signature``, ``not-canonical``, ...): quarantine
    lists, test vectors and metrics use it.
    """

    exit_code = 1

    def __init__(self, fault: str, text: str) -> None:
        self.fault = fault
        super().__init__(f"{fault}: {text}")


class RecordFileError(WireError):
    """A file is not a sequence of records, or ends in the middle of one."""


class ReceiptError(RecordError):
    """Bytes are not a valid acknowledgement of the server."""


def fault_text(error: OSError | UnicodeDecodeError) -> str:
    """Why a file cannot be read or written, for a message that names the file itself: no number, no second path."""
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start}); save it as UTF-8"
    return error.strerror or str(error)


def suggestion(word: str, known: list[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word nearest to ``word``, else the list of known words."""
    import difflib  # noqa: PLC0415 - only whoever mistypes a word needs it

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known are: {', '.join(sorted(known))}" if known else ""
