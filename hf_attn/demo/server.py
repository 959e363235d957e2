"""Serves the page on this machine, with no request to any other."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import gradio as gr

_HIGHEST_PORT = 65_535
# Colours that can be read on each other, and no boxes around single fields.
_THEME = {
    "block_background_fill": "transparent",
    "block_background_fill_dark": "transparent",
    "block_border_width": "0px",
    "block_border_width_dark": "0px",
    "block_title_text_color": "*neutral_600",
    "block_title_text_color_dark": "*neutral_300",
    "block_padding": "0px",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_dark": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_hover_dark": "*primary_600",
    "button_primary_text_color": "white",
    "button_primary_text_color_dark": "white",
    "button_secondary_background_fill": "transparent",
    "button_secondary_background_fill_dark": "transparent",
    "button_secondary_border_color": "*neutral_400",
    "button_secondary_border_color_dark": "*neutral_500",
    "button_border_width": "1px",
    "color_accent": "*primary_700",
    "input_background_fill": "transparent",
    "input_background_fill_dark": "transparent",
    "input_border_color": "*neutral_400",
    "input_border_color_dark": "*neutral_500",
    "input_border_width": "1px",
}


def start_page(name_or_path: str, *, host: str | None = None, port: int | None = None) -> gr.Blocks:
    """Starts a server for the page of a model, and gives the running page.

    Args:
        name_or_path: A folder that training wrote, or the id of a Hub repository.
        host: Address to listen at; None for what Gradio's variables say, or this machine alone.
        port: Port to listen at; None for what Gradio's variables say, or a free one from 7860 on.

    Raises:
        InputError: If Gradio is not installed, if the address is taken, or if there is no such
            model.
    """
    _check_gradio()
    if host is not None and port is not None:
        _check_address(host, port)
    import gradio as gr

    from .page import build_page
    from .served import ServedModel

    # Gradio asks for it at each request: the first would wait a fifth of a second for the import.
    with contextlib.suppress(ImportError):
        import matplotlib

        matplotlib.get_backend()
    page = build_page(ServedModel.load(name_or_path))
    # The default theme's fonts come from the network, and the footer links there.
    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="gray",
        radius_size="sm",
        spacing_size="sm",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(**_THEME)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        enable_monitoring=False,
        footer_links=[],
        max_file_size=1,  # nothing on the page takes a file
        theme=theme,
        head=f"<style>{_styles()}</style>",  # as css, Gradio would rewrite its selectors
    )
    return page


def _styles() -> str:
    package = Path(__file__).parents[1]
    files = (package / "templates" / "explanations.css", package / "demo" / "page.css")
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _check_gradio() -> None:
    if importlib.util.find_spec("gradio") is None:
        raise InputError(
            "expected gradio for the page, found none. Type: pip install 'hf-attn[demo]'"
        )


def _check_address(host: str, port: int) -> None:
    """Refuses an address that cannot be listened at, before a model is loaded for it."""
    if not 0 < port <= _HIGHEST_PORT:
        raise InputError(f"expected a port from 1 to {_HIGHEST_PORT}, got {port}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server itself does: a port that was closed a moment ago is free.
            if os.name != "nt":  # where this would let two listen at one port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise InputError(
            f"expected a free port, but {host}:{port} cannot be listened at: {error}. Stop what "
            f"runs there, or choose another: --port {port % _HIGHEST_PORT + 1}."
        ) from error
