"""The page, and the server that answers it on this machine alone."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported, which asks others else

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.middleware.trustedhost import TrustedHostMiddleware

from nni_count.commands.app import HERE
from nni_count.commands.app.count_tab import CountTab
from nni_count.commands.app.improve_tab import ImproveTab
from nni_count.commands.app.label_tab import LabelTab
from nni_count.commands.app.parts import Models
from nni_count.model.named import LEARNT, OURS

CSS = ".clicked img {cursor: crosshair} footer {display: none !important}"
FONT = ("system-ui", "sans-serif")


def page(models: Models, folder: Path, home: Path, ended: Event) -> gr.Blocks:
    """The three tabs.

    Args:
        models: that can be chosen.
        folder: gets labels and improved models.
        home: a temporary folder.
        ended: set when the page ends.
    """
    with gr.Blocks(title="NNI-Count", analytics_enabled=False, fill_width=True) as blocks:
        with gr.Row():
            gr.Markdown("# NNI-Count")
            ours = f"{' and '.join(OURS)}, {LEARNT}" if OURS[0] in models.given else None
            chosen = gr.Dropdown([*models.paths], label="Model", info=ours)
        with gr.Tab("Count"):
            CountTab(models, chosen, home)
        with gr.Tab("Label") as label:
            LabelTab(label, models, chosen, folder / "labels")
        with gr.Tab("Improve") as improve:
            ImproveTab(improve, models, chosen, folder, ended)
        blocks.load(lambda: gr.update(choices=[*models.paths]), None, [chosen], api_visibility="private")
    return blocks


def serve(given: Mapping[str, Path], folder: Path, door: socket.socket) -> None:
    """Answer the page until Ctrl-C.

    Args:
        given: models by name, the first one to begin with.
        folder: gets labels and improved models.
        door: the socket that it is answered at.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # after its import, which sets it
    models, ended = Models(given, folder / "models"), Event()
    with tempfile.TemporaryDirectory(prefix="nni-count-app-") as home:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(home) / "gradio")  # before the parts of the page, which ask for it
        host, port, *_ = door.getsockname()
        answered = answering(page(models, folder, Path(home), ended), host)
        # a page that is open keeps its connection, and uvicorn calls it an error that it is ended
        server = uvicorn.Server(uvicorn.Config(answered, log_level="critical", timeout_graceful_shutdown=1))
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}  (Ctrl-C ends it)", flush=True)
        try:
            server.run(sockets=[door])
        except KeyboardInterrupt:  # how it ends
            pass
        finally:
            ended.set()


def answering(blocks: gr.Blocks, host: str) -> FastAPI:
    """The page as a web application: it gives no file but what was dropped on it or made of that."""
    outside: Any = FastAPI(openapi_url=None)
    if host == HERE:  # else a page of somebody else's could ask by a name that leads here
        outside.add_middleware(TrustedHostMiddleware, allowed_hosts=[HERE, "localhost"])

    theme = gr.themes.Default(font=FONT, font_mono=("ui-monospace", "monospace"))
    look = {"theme": theme, "css": CSS, "footer_links": []}
    return gr.mount_gradio_app(outside, blocks, "/", run_history=False, ssr_mode=False, **look)
