"""The command line: ``mtl run | sweep | compare | train | predict | data | checkpoint | report | publish``.

Only what a command needs is imported, inside the command; errors made for people are printed without a
traceback.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from mtl.errors import MtlError, ParameterError
from mtl.interactive.app_command import app as serve_app
from mtl.reporting.bench_command import bench

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Multi-task learning for biomedical images: run the notebooks, check data, handle checkpoints.",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at data folders.")
checkpoint_app = typer.Typer(no_args_is_help=True, help="Handle checkpoints.")
app.add_typer(data_app, name="data")
app.add_typer(checkpoint_app, name="checkpoint")

Params = Annotated[
    str, typer.Option("--params", help="Name in params/<study>/ (quick, real, ...) or a YAML file.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-p", "--set", help="Override a parameter: -p name=value; may be repeated."),
]


@app.command()
def run(
    studies: Annotated[list[str], typer.Argument(help="One or several studies, e.g. brain_mri.")],
    params: Params = "quick",
    overrides: Overrides = None,
    cluster: Annotated[
        str, typer.Option(help="local, or the address of a Dask scheduler (tcp://...).")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Notebooks side by side on this machine.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, help="So many workers, each with a card of its own.")] = 0,
    force: Annotated[bool, typer.Option(help="Start from nothing: checkpoints and results go.")] = False,
    look_ahead: Annotated[
        bool, typer.Option("--preflight/--no-preflight", help="Measure minutes and memory before a long run.")
    ] = True,
) -> None:
    """Run the notebooks of studies in order, write their reports and the gallery; resume what is done."""
    from mtl.reporting.batch import run_notebooks
    from mtl.reporting.plan import stale_jobs
    from mtl.reporting.preflight import long_runs
    from mtl.reporting.progress import TerminalProgress
    from mtl.reporting.study_jobs import notebook_jobs
    from mtl.studies.parameters import parse_overrides, project_root

    values = parse_overrides(overrides)
    jobs = [job for study in studies for job in notebook_jobs(study, params, values)]
    for folder in dict.fromkeys(job.run_directory for job in jobs):
        typer.echo(f"Notebooks of {folder.parent.name} with parameters '{params}' into {folder}")
    # A cluster's machines are not this one: what is measured here would say nothing about them.
    for text in (
        long_runs(stale_jobs(jobs, force), params, values) if look_ahead and cluster == "local" else ()
    ):
        typer.echo(text)
    result = run_notebooks(
        jobs, cluster, workers, gpus, force, on_update=TerminalProgress(), project_root=project_root()
    )
    typer.echo(result.summary())
    for gallery in sorted({job.run_directory.parent.parent / "index.html" for job in jobs}):
        typer.echo(f"Gallery: {gallery}")
    raise typer.Exit(0 if result.ok else 1)


@app.command()
def preflight(
    study: Annotated[str, typer.Argument(help="E.g. brain_mri.")],
    params: Params = "full",
    overrides: Overrides = None,
) -> None:
    """Measure what a run would take, in time and memory, by a few steps of every stage or variant."""
    from mtl.reporting.preflight import preflight as measure
    from mtl.reporting.preflight import preflight_text
    from mtl.studies.parameters import parse_overrides

    typer.echo(preflight_text(measure(study, params, parse_overrides(overrides))))


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(help="Name in params/sweeps/ or a YAML file.")],
    overrides: Overrides = None,
    cluster: Annotated[
        str, typer.Option(help="local, or the address of a Dask scheduler (tcp://...).")
    ] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Points side by side on this machine.")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="So many workers, each with a card of its own.")] = 0,
    force: Annotated[bool, typer.Option(help="Start from nothing: trained points go.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Check the file, list its points and stop.")] = False,
) -> None:
    """Train every point of a sweep and compare the arms in one report; resume what is done."""
    from mtl.evaluation.statistics import MIN_SEEDS
    from mtl.reporting.progress import TerminalProgress
    from mtl.reporting.sweep_jobs import run_sweep
    from mtl.reporting.sweep_plan import read_sweep_plan
    from mtl.studies.parameters import parse_overrides

    plan = read_sweep_plan(file, parse_overrides(overrides))
    seeds = f"{len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''}"
    typer.echo(f"Sweep {plan.name}: {len(plan.arms)} arms x {seeds} into {plan.folder}")
    if len(plan.seeds) < MIN_SEEDS:
        typer.echo(f"Fewer than {MIN_SEEDS} seeds: the report will give no verdict")
    if show:
        typer.echo("\n".join(f"  {point.name}  {plan.arms[point.arm]}" for point in plan.points))
        return
    result = run_sweep(plan, cluster, workers, gpus, force, TerminalProgress())
    typer.echo(result.summary())
    if result.ok:
        typer.echo(f"Report: {plan.folder / 'reports' / '01_sweep.html'}")
    raise typer.Exit(0 if result.ok else 1)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="outputs/<study>/<run>")],
    second: Annotated[Path, typer.Argument(help="Another run of the same study, same test set.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML page; outputs/comparisons/<first>--<second>.html if not given.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples of every interval.")] = 1000,
) -> None:
    """Set two runs side by side: parameters that differ, paired differences, training curves."""
    from mtl.reporting.run_comparison import compare_runs
    from mtl.reporting.run_comparison_page import write_comparison_page
    from mtl.studies.parameters import project_path

    found = compare_runs(first, second, n_resamples=resamples)
    typer.echo(found.to_text())
    name = "--".join(found.names).replace(" ", "_")
    typer.echo(write_comparison_page(found, out or project_path("outputs/comparisons") / f"{name}.html"))


@app.command()
def train(
    study: Annotated[str, typer.Argument(help="E.g. brain_mri.")],
    params: Params = "full",
    overrides: Overrides = None,
    stages: Annotated[str, typer.Option(help="Stages by comma; all of them where not given.")] = "",
) -> None:
    """Train without notebooks, e.g. on several GPUs: torchrun --nproc-per-node 4 -m mtl.cli train brain_mri.

    Finished stages are found by the notebooks of a later ``mtl run``, which then only evaluate.
    """
    from mtl.reporting.status import owned_run
    from mtl.reporting.study_jobs import load_parameters
    from mtl.studies import study_class
    from mtl.studies.parameters import parse_overrides

    parameters = load_parameters(study, params, parse_overrides(overrides))
    assembled = study_class(study)(parameters)
    order = assembled.training_order()
    wanted = [name.strip() for name in stages.split(",") if name.strip()]
    for stage in wanted:
        if stage not in order:
            raise ParameterError(f"--stages: unknown stage {stage!r}; there is {', '.join(order)}")
    first = os.environ.get("RANK", "0") == "0"
    with owned_run(parameters.run_directory) if first else nullcontext():
        for stage in wanted or order:
            for result in assembled.train(stage):
                if first:
                    typer.echo(
                        f"{result.folder}: best epoch {result.best_epoch}, score {result.best_score:.4f}"
                    )


@app.command()
def predict(
    study: Annotated[str, typer.Argument(help="E.g. brain_mri.")],
    folder: Annotated[Path, typer.Argument(help="Images: JPEG, PNG, TIFF, .npz, NIfTI; subfolders too.")],
    checkpoint: Annotated[
        str, typer.Option(help="Model folder; that of the parameter file where not given.")
    ] = "",
    out: Annotated[str, typer.Option(help="Where results go; below outputs/ where not given.")] = "",
    params: Annotated[
        str, typer.Option("--params", help="YAML file; params/<study>/production.yaml where not given.")
    ] = "",
    overrides: Overrides = None,
) -> None:
    """Predict a folder of images: table, masks, overlays, page; exit 1 if a file could not be read."""
    from mtl.reporting.predict_command import PREDICTS, predict_with_page
    from mtl.studies.parameters import parse_overrides

    if study not in PREDICTS:
        raise ParameterError(f"unknown study {study!r}: there is {', '.join(PREDICTS)}")
    values = parse_overrides(overrides) | ({"checkpoint": checkpoint} if checkpoint else {})
    result = predict_with_page(folder, params, values, Path(out) if out else None)
    for row in result.failed.itertuples():
        typer.echo(row.error, err=True)
    failed = f", {len(result.failed)} could not be read" if len(result.failed) else ""
    typer.echo(f"{len(result.table) - len(result.failed)} of {len(result.table)} files predicted{failed}")
    typer.echo(f"Table: {result.out / 'predictions.csv'}\nPage:  {result.out / 'index.html'}")
    typer.echo("Research use only. Not a medical device; not for diagnosis or treatment.")
    raise typer.Exit(1 if len(result.failed) else 0)


@data_app.command("check")
def data_check(path: Annotated[Path, typer.Argument(help="Folder of data sets, or table of films.")]) -> None:
    """Print what a folder holds and what is wrong with it; exit 1 if something would stop training."""
    from mtl.studies.data_check import check_data

    report = check_data(path)
    typer.echo(report.to_text())
    raise typer.Exit(0 if report.ok else 1)


@checkpoint_app.command("adopt")
def checkpoint_adopt(
    file: Annotated[Path, typer.Argument(help="A bare state dict: .pth, .pt or .safetensors.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; beside the file where not given.")
    ] = None,
    image_size: Annotated[
        int, typer.Option(min=16, help="Pixels along a side that it was trained on.")
    ] = 256,
) -> None:
    """Turn a state dict from elsewhere into a self-describing model folder."""
    from mtl.studies.brain_mri.adoption import adopt

    folder = out or file.with_suffix("")
    arguments = adopt(file, folder, image_size)
    typer.echo(f"{folder}: brain_mri model, " + ", ".join(f"{k}={v}" for k, v in arguments.items()))


@app.command()
def report(
    run_directory: Annotated[Path, typer.Argument(help="outputs/<study>/<run>")],
) -> None:
    """Render a run's reports and the gallery again, and check them; exit 1 if something is wrong."""
    from mtl.reporting.check import check_run
    from mtl.reporting.gallery import write_gallery
    from mtl.reporting.html import export_report

    executed = sorted((run_directory / "notebooks").glob("[0-9]*.ipynb"))
    notebooks = [path for path in executed if not path.stem.endswith(".failed")]
    if not notebooks:
        raise ParameterError(f"{run_directory}: no executed notebooks; expected outputs/<study>/<run>")
    for notebook in notebooks:
        typer.echo(export_report(notebook, run_directory / "reports" / f"{notebook.stem}.html"))
    typer.echo(write_gallery(run_directory.resolve().parent.parent))
    problems = [f"{name}: {problem}" for name, found in check_run(run_directory).items() for problem in found]
    typer.echo("\n".join(problems) or "no problems found")
    raise typer.Exit(1 if problems else 0)


@app.command()
def publish(
    run_directory: Annotated[Path, typer.Argument(help="outputs/<study>/<run>")],
    sections: Annotated[
        str, typer.Option(help="Of metrics.json, by comma; all whose name begins with published.")
    ] = "",
) -> None:
    """Copy a run's results to outputs/published/ and renew the README's table from there."""
    from mtl.reporting.published import publish as publish_run
    from mtl.reporting.published import write_results_table
    from mtl.studies.parameters import project_root

    root = project_root()
    chosen = sections.split(",") if sections else None
    typer.echo(publish_run(run_directory.resolve(), root / "outputs" / "published", chosen))
    write_results_table(root / "README.md", root / "outputs" / "published")


app.command()(bench)
app.command("app")(serve_app)


def main() -> None:
    """Entry point: errors made for people end the program with their message and code 2."""
    try:
        app()
    except MtlError as error:
        typer.echo(f"mtl: {error}", err=True)
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == 130:  # what typer makes of Ctrl-C
            typer.echo("\nmtl: interrupted; the same command goes on from here", err=True)
        raise


if __name__ == "__main__":
    main()
