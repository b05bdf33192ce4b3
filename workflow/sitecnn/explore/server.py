"""The page's server: this machine only, on a port of its own.

The page is made of NiceGUI 3.18: in its wheel of 8.5 MB CodeMirror and AG Grid come along, so that nothing is fetched
when it runs, and numbers are pushed to a tab as they come. Panel 1.9 has an editor and a table, too, in a wheel of 30
MB, and brings Bokeh, pandas and Material UI. Dash 4.4 (8.9 MB, and Plotly) has the grid in a package of its own
(6.1 MB) and the editor in one that was last released in 2020.
"""

import contextlib
import socket
import sys
import threading
import webbrowser
from functools import partial

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from sitecnn.errors import SiteCNNError
from sitecnn.explore.guard import Guard
from sitecnn.explore.page import build
from sitecnn.explore.service import Service

LOOPBACK = "127.0.0.1"


def bind(port: int, *, other: bool = False) -> socket.socket:
    """A socket on this machine alone; SiteCNNError if the port is taken, or with `other` any that is free."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        if other:
            return bind(0)
        reason = error.strerror if isinstance(error, OSError) else "the highest port is 65535"
        raise SiteCNNError(f"port {port} of {LOOPBACK}: {reason}; choose another with --port") from None
    return listener


def serve(service: Service, listener: socket.socket, *, browser: bool) -> None:
    """Serve the page until the process is told to end."""
    port = listener.getsockname()[1]
    address = f"http://{LOOPBACK}:{port}/"
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.page("/")(partial(build, service))
    ui.run_with(
        app,
        title="SiteCNN explore",
        dark=None,
        language="en-US",
        tailwind=False,
        storage_secret=None,
        reconnect_timeout=5.0,
        show_welcome_message=False,
        gzip_middleware_factory=None,
    )
    config = uvicorn.Config(
        Guard(app, port), log_level="warning", access_log=False, timeout_graceful_shutdown=1, server_header=False
    )
    print(f"sitecnn explore: {address} (press Ctrl+C to end)", file=sys.stderr, flush=True)
    if browser:
        threading.Timer(0.2, webbrowser.open, (address,)).start()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
