"""A node behind a real HTTP server, as a caller meets it."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from dicom_node.api.app import create_app
from dicom_node.node import Node


@contextmanager
def served(node: Node, port: int) -> Iterator[str]:
    """Serve the node's application on loopback; gives its URL."""
    config = uvicorn.Config(create_app(node), host="127.0.0.1", port=port, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def zipped(files: Sequence[Path]) -> bytes:
    """The files in a ZIP, under their names and those of their folders."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in files:
            archive.write(file, f"{file.parent.name}/{file.name}")
    return buffer.getvalue()
