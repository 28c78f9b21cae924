"""The comparison of two runs as one HTML page in the style of the reports."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mtl.files import write_text
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import picture_bundle, use_report_style
from mtl.reporting.figures_results import forest_plot
from mtl.reporting.figures_sweep import draw_mean_curves
from mtl.reporting.html import report_html
from mtl.reporting.pages import readable_date
from mtl.reporting.run_comparison import RunComparison
from mtl.reporting.sweep_results import METRIC_NAMES

SCORES = {
    "warm_up": ("val/dice", "Dice"),
    "head": ("val/balanced_accuracy", "Balanced accuracy"),
    "joint": ("val/dice_and_balanced_accuracy", "(Dice + balanced accuracy) / 2"),
    "reference": ("val/dice", "Dice"),
}
QUESTION = """**Question.** Two runs of one study, tested on the same cases: what was set differently,
and what came of it?"""
HOW_COMPARED = """The difference is second minus first, paired by slice and resampled by group; p values are
corrected over the whole table (Holm). All of it is about these trained networks: what training again would
change is not in the intervals, so there is no verdict on the setting as such (`mtl sweep` gives one)."""


def write_comparison_page(found: RunComparison, target: Path) -> Path:
    """Write the page; it needs no other file. Returns its path."""
    use_report_style()
    body, _ = report_html(comparison_notebook(found), target)
    write_text(target, body)
    return target


def comparison_notebook(found: RunComparison) -> NotebookNode:
    """The page as a notebook that has been executed: question, answer, tables, curves."""
    first, second = found.names
    files = f"predictions/*.parquet of {found.folders[0]} and {found.folders[1]}"
    caption = f"{second} minus {first}"
    cells = [
        new_markdown_cell(f"# {second} against {first}\n\n{QUESTION}"),
        new_markdown_cell("## Parameters that differ\nNames and folders of the runs are left out."),
        _parameters_cell(found),
        new_markdown_cell(f"## Paired differences\n{HOW_COMPARED}"),
        _cell(
            _html(show_table(found.readable("first", "second"), source=files, caption=caption, index=False))
        ),
        new_markdown_cell(
            "## Training curves\nThe validation score by which checkpoints are chosen, averaged over folds."
        ),
        _curves_cell(found),
        _headline_cell(found),
    ]
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = [("Study", found.study), ("Run", f"{first} / {second}"), ("Date", readable_date(now)),
             ("Test set", found.test_hash[:12])]  # fmt: skip
    return new_notebook(cells=cells, metadata={"mtl_facts": facts})


def _parameters_cell(found: RunComparison) -> NotebookNode:
    if found.differing.empty:
        return _cell(new_output("stream", name="stdout", text="no parameter differs"))
    source = "provenance.json of both runs"
    return _cell(_html(show_table(found.differing, source=source, caption="Parameters", index=False)))


def _curves_cell(found: RunComparison) -> NotebookNode:
    runs = found.history.groupby("stage")["run"].nunique()
    stages = [stage for stage in SCORES if runs.get(stage, 0) == 2]
    if not stages:
        return _cell(new_output("stream", name="stdout", text="the runs have no trained stage in common"))
    figure, axes = plt.subplots(1, len(stages), figsize=(3.9 * len(stages), 3.2), squeeze=False)
    for axis, stage in zip(axes.flat, stages, strict=True):
        key, label = SCORES[stage]
        rows = found.history[(found.history["stage"] == stage) & (found.history["key"] == key)]
        draw_mean_curves(axis, rows, "run")
        axis.set(title=stage.replace("_", "-"), xlabel="Epoch", ylabel=label)
    axes.flat[0].legend()
    names = " and ".join(found.names)
    return _cell(
        _picture(figure, f"Validation scores of {names} by epoch, a panel per stage.", "checkpoints")
    )


def _headline_cell(found: RunComparison) -> NotebookNode:
    last = found.table[found.table["stage"] == found.table["stage"].iloc[-1]]
    pooled = last[last["source"] == "pooled"]
    figures = {
        row.metric: {"value": row.value, "low": row.low, "high": row.high} for row in pooled.itertuples()
    }
    said = ", ".join(f"{METRIC_NAMES[name]} by {{{name}}}" for name in figures)
    stage = last["stage"].iloc[0].replace("_", "-")
    text = f"After stage *{stage}*, **{found.names[1]}** differs from **{found.names[0]}** in {said}."
    rows = [
        {"label": METRIC_NAMES[name], "estimate": estimate, "group": f"stage {stage}"}
        for name, estimate in figures.items()
    ]
    label = f"{found.names[1]} minus {found.names[0]}, all test cases"
    figure = forest_plot(rows, xlabel=label, reference=0, reference_label="no difference")
    spoken = claim(text, figures).data
    cell = _cell(
        new_output("display_data", data={"text/markdown": spoken, "text/plain": spoken}),
        _picture(figure, f"Differences between {' and '.join(found.names)} with intervals.", "predictions"),
    )
    cell.metadata["tags"] = ["headline"]
    return cell


def _cell(*outputs: NotebookNode) -> NotebookNode:
    return new_code_cell("", outputs=list(outputs))


def _html(shown: Any) -> NotebookNode:
    return new_output("display_data", data={"text/html": shown.data, "text/plain": "table"})


def _picture(figure: Figure, alt: str, source: str) -> NotebookNode:
    data, metadata = picture_bundle(figure, alt, source)
    return new_output("display_data", data=data, metadata=metadata)
