"""A panel for one slice: what the network says of it, where it looks, how sure it is, and what that is worth.

Slices are chosen from a list or uploaded; a volume gives one slice at a time. Nothing is kept of an upload
but what is shown.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mtl.datasets.brain_mri.brats import SUFFIXES as VOLUME_SUFFIXES
from mtl.errors import DataError, MtlError
from mtl.inference.brain_mri.export import grey_picture, heat_picture, outline_picture
from mtl.inference.brain_mri.images import ImageLike, is_volume, read_slice
from mtl.inference.brain_mri.prediction import Prediction
from mtl.inference.brain_mri.predictor import MultiTaskPredictor
from mtl.inference.brain_mri.response import DISCLAIMER
from mtl.inference.brain_mri.uncertainty import UncertaintyOptions
from mtl.inference.brain_mri.volume import upright_slices
from mtl.interactive.stills import Still, figure_bundle, without_math

ACCEPTED = ".png,.jpg,.jpeg,.tif,.tiff,.npz,.nii,.gz"
NAMED_KINDS = (*VOLUME_SUFFIXES, ".npz")  # pictures are known by their content
SIDE = 280  # pixels of a picture's longer side
WARNING = "#8a2c0d"


class BrainMriPanel(ipywidgets.VBox):
    """Choose or upload a slice; see slice, outline and Grad-CAM side by side, and the figures below.

    Args:
        predictor: the network.
        cases: what can be chosen, by name: anything that `read_slice` takes.
        performance: rows of ``source``, ``metric``, ``value`` (as text, with its interval) that were measured
            for this network, and where from: shown as they are.
        uncertainty: what is repeated for it.

    Attributes:
        prediction: of the slice that is shown; None where the last file could not be read.
        last_error: why.
    """

    def __init__(
        self,
        predictor: MultiTaskPredictor,
        cases: Mapping[str, ImageLike],
        performance: Sequence[Mapping[str, str]] = (),
        uncertainty: UncertaintyOptions | None = None,
    ) -> None:
        self.predictor, self.cases = predictor, dict(cases)
        self.uncertainty = uncertainty or UncertaintyOptions()
        self.prediction: Prediction | None = None
        self.last_error: Exception | None = None
        self._slices: np.ndarray | None = None
        self.choice = ipywidgets.Dropdown(options=list(self.cases), description="Slice")
        self.upload = ipywidgets.FileUpload(
            accept=ACCEPTED, multiple=False, description="Upload a slice or volume"
        )
        self.upload.layout.width = "16em"
        self.plane = ipywidgets.IntSlider(description="plane", min=0, max=0, continuous_update=False)
        self.plane.layout.display = "none"
        self.shown = ipywidgets.HTML()
        self.choice.observe(self._chosen, "value")
        self.upload.observe(self._uploaded, "value")
        self.plane.observe(lambda change: self._show_plane(change["new"]), "value")
        chooser = ipywidgets.HBox([self.choice, self.upload, self.plane], layout={"flex_flow": "row wrap"})
        facts = ipywidgets.HTML(_performance_table(performance) + f"<p><b>{escape(DISCLAIMER)}</b></p>")
        super().__init__([chooser, self.shown, facts])
        if self.cases:
            name = next(iter(self.cases))
            self.show(self.cases[name], name)

    def show(self, image: ImageLike, name: str) -> None:
        """Predict a slice and show it; a slice that cannot be read leaves a message instead."""
        self._slices, self.plane.layout.display = None, "none"
        self._answer(lambda: self._predict(read_slice(image), name), name)

    def open_file(self, name: str, content: bytes) -> None:
        """As an upload of a file with this name: PNG, JPEG, TIFF, ``.npz`` or NIfTI."""
        self._slices, self.plane.layout.display = None, "none"
        self._answer(lambda: self._open(name, content), name)

    def still(self) -> Still:
        """The three pictures and the figures, for reports."""
        pictures = [] if self.prediction is None else _pictures(self.prediction)
        figure = Figure(figsize=(3.1 * max(len(pictures), 1), 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        for place, (caption, picture) in enumerate(pictures, start=1):
            axis = figure.add_subplot(1, len(pictures), place)
            axis.imshow(np.asarray(picture))
            axis.set_title(caption, fontsize=10, loc="left")
            axis.set_axis_off()
        said = self.said()
        figure.suptitle(without_math(said), fontsize=10.5, x=0.01, ha="left", wrap=True)
        figure.supxlabel(DISCLAIMER, fontsize=9, x=0.01, ha="left", wrap=True)
        shown = ", ".join(caption for caption, _ in pictures)
        return Still(figure, f"{said} Beside each other: {shown}. {DISCLAIMER}")

    def said(self) -> str:
        """What the panel says of the slice, in a sentence."""
        if self.prediction is None:
            return str(self.last_error or "No slice is chosen.")
        return f"{self._name}: {_sentence(self.prediction)}"

    def _repr_mimebundle_(self, **options: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The widgets, and for reports a still picture."""
        return figure_bundle(super()._repr_mimebundle_(**options), *self.still(), "brain MRI panel")

    # ------------------------------------------------------------------ what is asked for
    def _chosen(self, change: Mapping[str, Any]) -> None:
        if change["new"] is not None:
            self.show(self.cases[change["new"]], change["new"])

    def _uploaded(self, change: Mapping[str, Any]) -> None:
        for file in change["new"]:
            self.open_file(file["name"], bytes(file["content"]))
        self.upload.value = ()  # so that the same file, or the slice of before, can be chosen again
        self.choice.value = None

    def _open(self, name: str, content: bytes) -> None:
        kind = next((end for end in NAMED_KINDS if name.lower().endswith(end)), "")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"upload{kind}"  # a name from elsewhere may be none here
            path.write_bytes(content)
            try:
                image = upright_slices(path) if is_volume(path) else read_slice(path)
            except MtlError as error:
                raise DataError(str(error).replace(str(path), name)) from error
        if image.ndim == 2:
            self._predict(image, name)
            return
        self._slices, self._volume = image, name
        fullest = int(np.count_nonzero(image, axis=(1, 2)).argmax())
        self.plane.max, self.plane.layout.display = len(image) - 1, None
        if self.plane.value == fullest:
            self._show_plane(fullest)
        self.plane.value = fullest

    def _show_plane(self, z: int) -> None:
        if self._slices is not None:
            name = self._volume
            self._answer(lambda: self._predict(self._slices[z], f"{name}, plane {z}"), name)

    def _predict(self, image: np.ndarray, name: str) -> None:
        self.prediction = self.predictor.predict_full(image, uncertainty=self.uncertainty)
        self._name = name
        self.shown.value = _page(name, self.prediction)

    def _answer(self, act: Any, name: str) -> None:
        try:
            self.last_error = None
            act()
        except Exception as error:  # whatever it is, the last slice's picture must not stay
            self.prediction, self.last_error = None, error
            kind = "" if isinstance(error, MtlError) else f"{type(error).__name__}: "
            told = f"<b>{escape(name)}</b> cannot be shown: {escape(kind + str(error))}"
            self.shown.value = f'<p role="alert" style="color:{WARNING}">{told}</p>'


def _page(name: str, found: Prediction) -> str:
    """Pictures side by side and the figures below, as HTML."""
    pictures = "".join(
        f'<figure style="margin:0 .8em .4em 0"><img src="{_data_uri(picture)}" alt="{escape(caption)} of '
        f'{escape(name)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for caption, picture in _pictures(found)
    )
    rows = "".join(
        f'<tr><th style="text-align:left;padding-right:1em">{k}</th><td>{v}</td></tr>'
        for k, v in _facts(found)
    )
    said = f'<p role="status" aria-live="polite"><b>{escape(name)}</b>: {escape(_sentence(found))}</p>'
    return f'{said}<div style="display:flex;flex-wrap:wrap">{pictures}</div><table>{rows}</table>'


def _pictures(found: Prediction) -> list[tuple[str, Image.Image]]:
    """Caption and picture: the slice, its outline where one is shown, and the Grad-CAM in any case."""
    shown = [("Slice", grey_picture(found.image, SIDE))]
    if found.mask_available:
        caption = "Predicted outline" if found.mask.any() else "Predicted outline: empty"
        shown.append((caption, outline_picture(found.image, found.mask, SIDE)))
    else:
        shown.append(("No outline below the threshold", grey_picture(found.image, SIDE)))
    shown.append(("Grad-CAM for tumour", heat_picture(found.image, found.grad_cam, SIDE)))
    return shown


def _sentence(found: Prediction) -> str:
    threshold = f"threshold {found.classification_threshold:.2f}"
    said = f"{found.predicted_label}, tumour probability {found.tumor_prob:.2f} ({threshold})"
    share = f", {found.tumor_percentage:.1f} % of the slice outlined" if found.mask_available else ""
    return f"{said}{share}."


def _facts(found: Prediction) -> list[tuple[str, str]]:
    doubt = found.uncertainty
    rows = [
        ("Tumour probability", f"{found.tumor_prob:.3f}"),
        (
            "Outlined",
            f"{found.tumor_area_pixels:,} pixels" if found.mask_available else "nothing: below the threshold",
        ),
    ]
    if doubt is not None:
        rows.append(
            (
                f"Over {doubt.samples} draws of the head (dropout)",
                f"{doubt.mean_probability:.3f}, standard deviation {doubt.std_probability:.3f}; entropy "
                f"{doubt.predictive_entropy:.3f}, of it disagreement {doubt.mutual_information:.3f} nats",
            )
        )
    return rows


def _performance_table(rows: Sequence[Mapping[str, str]]) -> str:
    if not rows:
        return "<p>How good this network is was not measured: no figures are there.</p>"
    cell = '<td style="padding-right:1.4em">{}</td>'
    cells = ("".join(cell.format(escape(str(row[k]))) for k in ("source", "metric", "value")) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    told = "Measured for networks trained like this one, one per fold, each on patients that it did not see:"
    return f"<p>{told}</p><table>{body}</table>"


def _data_uri(picture: Image.Image) -> str:
    target = io.BytesIO()
    picture.save(target, format="png")
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"
