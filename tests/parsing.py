"""Reading a stream to its end with the parser, over blocks that are too large as well."""

from __future__ import annotations

from collections.abc import Iterable

from clarion.parser import Message, MessageTooLarge, Parser


def read_all(parser: Parser, chunks: Iterable[bytes]) -> tuple[list[Message], int]:
    """The messages of all chunks, and how many blocks were too large. Any other error is a failure."""
    messages: list[Message] = []
    too_large = 0
    for chunk in chunks:
        unread: bytes | None = chunk
        while unread is not None:
            try:
                messages += parser.feed(unread)
                unread = None
            except MessageTooLarge as error:
                messages += error.messages
                too_large += 1
                unread = b""
    parser.close()
    return messages, too_large
