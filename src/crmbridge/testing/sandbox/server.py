"""A web server on the loopback address, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HOST = "127.0.0.1"
_HEAD_ROOM = 1 << 20
_START_S, _STOP_S, _GRACE_S = 10.0, 10.0, 2.0


class _OpenProtocol(H11Protocol):
    """Lets the application close the connection under an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport where the application finds it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _PromptServer(uvicorn.Server):
    """Stops the moment it is told to; uvicorn itself looks ten times a second, and then waits for as long again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Begin to stop; from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        """Keep the date of answers right until the end."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen no more; let answers under way be finished for a while."""
        for closing in (*self.servers, *(sockets or ())):
            closing.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        deadline_s = time.monotonic() + _GRACE_S
        while (state.connections or state.tasks) and time.monotonic() < deadline_s:
            await asyncio.sleep(0.001)
        for task in state.tasks:
            task.cancel()


class LoopbackServer:
    """Serves an application; nobody beyond this machine can reach it.

    Args:
        app: what is served.
        port: 0 for any free one.
    """

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        self._app = app
        self._wanted_port = port
        self._socket: socket.socket | None = None
        self._server: _PromptServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is; only while it runs."""
        if self._socket is None:
            raise RuntimeError("the sandbox is not running: use it as a context manager, or call start()")
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    @property
    def is_running(self) -> bool:
        """Whether somebody can call."""
        return self._socket is not None

    def start(self) -> None:
        """Begin to listen; returns once it does.

        Raises:
            OSError: the port is taken.
        """
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, self._wanted_port))
        except OSError:
            self._socket.close()
            self._socket = None
            raise
        config = uvicorn.Config(
            self._app,
            http=_OpenProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            h11_max_incomplete_event_size=_HEAD_ROOM,
            timeout_keep_alive=60,
        )
        self._server = _PromptServer(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="sandbox", daemon=True)
        self._thread.start()
        self._await_start()

    def _await_start(self) -> None:
        deadline_s = time.monotonic() + _START_S
        while self._server is not None and not self._server.started:
            if time.monotonic() > deadline_s or not (self._thread and self._thread.is_alive()):
                raise RuntimeError("the sandbox's web server did not start")
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._server and self._thread:
            self._server.end()
            self._thread.join(_STOP_S)
        if self._socket:
            self._socket.close()
        self._server = self._thread = self._socket = None
