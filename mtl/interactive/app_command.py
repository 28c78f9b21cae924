"""The command ``mtl app``."""

from __future__ import annotations

from typing import Annotated

import typer


def app(
    study: Annotated[str, typer.Argument(help="angiography, brain_mri, em or histology.")],
    run: Annotated[str | None, typer.Option(help="Name of the run to stand on; else the newest.")] = None,
    output_root: Annotated[str, typer.Option(help="Folder of all runs.")] = "outputs",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: a free one.")] = 8866,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Serve a study's demo as a page on this machine, on its newest run; without any, a quick one is made."""
    from mtl.interactive.app import check_can_serve, free_port, run_to_show, serve, write_page

    port = port or free_port()
    check_can_serve(port)
    page = write_page(study, run_to_show(study, run, output_root, typer.echo))
    raise typer.Exit(serve(page, port, typer.echo, browser))
