"""How SAM_V frames travel over USB (devices.md 1.8), without IO: the vendor sheet's pipes, or one bulk pipe.

The sheet cuts every frame after its Len: header (preamble and Len) on pipe 02, body on pipe 06; of a reply the header
comes on 81 and the body on 85. Some adapters take and give whole frames on one bulk pipe. Packets of a body may be of
any size; what arrives on one pipe keeps its order, between two pipes there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.readers.samv.codec import BUFFER_MAX, PREAMBLE, REPLY_LEN_MAX, REPLY_LEN_MIN, Replies, Reply

VENDOR, PRODUCT = 0x0400, 0xC35A  # devices.md 1.8
_HEADER = len(PREAMBLE) + 2


@dataclass(frozen=True, slots=True)
class Pipes:
    """Endpoint addresses; header and body on the same one means whole frames."""

    header_out: int = 0x02
    body_out: int = 0x06
    header_in: int = 0x81
    body_in: int = 0x85

    @property
    def single(self) -> bool:
        """Whether frames go whole."""
        return self.header_out == self.body_out


SHEET = Pipes()


def single_pipe(out: int, back: int) -> Pipes:
    """An adapter with one bulk pipe each way."""
    return Pipes(out, out, back, back)


def transfers(frame: bytes, pipes: Pipes = SHEET) -> Sequence[tuple[int, bytes]]:
    """The bulk transfers, endpoint and bytes, that carry a command, in order."""
    if pipes.single:
        return [(pipes.header_out, frame)]
    return [(pipes.header_out, frame[:_HEADER]), (pipes.body_out, frame[_HEADER:])]


class UsbReplies:
    """Puts replies together from what the pipes bring; the checks are those of `Replies`."""

    def __init__(self, pipes: Pipes = SHEET) -> None:
        self._pipes = pipes
        self._replies = Replies()
        self._headers = bytearray()
        self._bodies = bytearray()

    def feed(self, endpoint: int, data: bytes) -> list[Reply]:
        """Take one transfer. Raises ValueError for an endpoint that is none of ours."""
        if endpoint not in (self._pipes.header_in, self._pipes.body_in):
            raise ValueError(f"endpoint {endpoint:02X} brings no replies")
        if self._pipes.single:
            return self._replies.feed(data)
        waiting = self._headers if endpoint == self._pipes.header_in else self._bodies
        waiting += data
        del waiting[:-BUFFER_MAX]
        return self._joined()

    def drop(self) -> None:
        """A command is about to be sent, or a frame broke off: what is there is dead."""
        self._headers.clear()
        self._bodies.clear()
        self._replies.drop()

    def _joined(self) -> list[Reply]:
        found: list[Reply] = []
        while len(self._headers) >= _HEADER:
            length = int.from_bytes(self._headers[len(PREAMBLE) : _HEADER], "big")
            if not self._headers.startswith(PREAMBLE) or not REPLY_LEN_MIN <= length <= REPLY_LEN_MAX:
                del self._headers[0]  # the true header may begin inside
                continue
            if len(self._bodies) < length:
                break
            found += self._replies.feed(bytes(self._headers[:_HEADER] + self._bodies[:length]))
            self._replies.drop()  # a body that fails its checksum is no beginning of the next
            del self._headers[:_HEADER], self._bodies[:length]
        return found
