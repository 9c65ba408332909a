"""A wire between agent and controller that can be cut: a TCP proxy that holds bytes back, or drops the connection."""

import asyncio
import contextlib


class Wire:
    """`up` and `down` say whether bytes of that direction go on; held bytes go on later, in order, as TCP's would."""

    def __init__(self, port: int) -> None:
        self._far_port = port
        self.up = asyncio.Event()
        self.down = asyncio.Event()
        self.mend()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self.up.clear()
        self.down.clear()

    def mend(self) -> None:
        """What was held arrives now."""
        self.up.set()
        self.down.set()

    def reset(self) -> None:
        """All connections break at once; new ones are made."""
        for task in self._tasks:
            task.cancel()

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_writer = None
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
            pumps = [
                asyncio.create_task(_pump(reader, far_writer, self.up)),
                asyncio.create_task(_pump(far_reader, writer, self.down)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        for each in (writer, far_writer):
            if each:
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, go: asyncio.Event) -> None:
    while data := await reader.read(65536):
        await go.wait()
        writer.write(data)
