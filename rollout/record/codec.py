"""Events to JSON and back; journals of older versions load for ever."""

from __future__ import annotations

import msgspec

from rollout.errors import RecordError
from rollout.record.events import VERSION, Fact, Note

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER: msgspec.json.Decoder[Fact | Note] = msgspec.json.Decoder(Fact | Note)


class _Head(msgspec.Struct):
    v: int = 0


def encode(event: Fact | Note) -> str:
    """One line of JSON."""
    return _ENCODER.encode(event).decode()


def decode(line: str | bytes, where: str = "") -> Fact | Note:
    """One event.

    Raises:
        RecordError: it is no event, or one of a newer version.
    """
    try:
        head = msgspec.json.decode(line, type=_Head)
        if head.v > VERSION:
            raise RecordError(
                f"the journal speaks version {head.v}",
                limit=f"this rollout reads up to {VERSION}",
                where=where,
                next="use the rollout that began the run, or a newer one",
            )
        return _DECODER.decode(line)
    except msgspec.MsgspecError as error:
        raise RecordError(f"not an event of a journal: {error}", where=where) from error
