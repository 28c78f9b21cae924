"""``index.html`` of a folder that was predicted: every slice with its outline and its Grad-CAM.

One file without a network: pictures are data URIs, thumbnails of what ``overlays/`` has in full.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from PIL import Image

from mtl.files import write_text
from mtl.inference.brain_mri.export import grey_picture, heat_picture, outline_picture
from mtl.inference.brain_mri.folder import Case, FolderPrediction
from mtl.inference.brain_mri.prediction import Prediction
from mtl.inference.brain_mri.predictor import MultiTaskPredictor
from mtl.inference.brain_mri.response import DISCLAIMER

TEMPLATES = Path(__file__).with_name("templates")
_QUALITY = 82


@dataclass
class PredictionPage:
    """Collects the files of a folder as they are predicted; ``add`` is a callback of ``predict_folder``.

    Args:
        side: longer side of the pictures, in pixels.
        max_pictures: so many files at most are shown; the others stand in the table alone.
    """

    side: int = 220
    max_pictures: int = 400
    cards: list[dict] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """One more file; a file with an error has no picture."""
        if case.shown is not None and len(self.cards) < self.max_pictures:
            self.cards.append({**case.row, "pictures": self._pictures(case.shown, case.row["file"])})

    def write(self, result: FolderPrediction, folder: Path, predictor: MultiTaskPredictor) -> Path:
        """Write ``index.html`` beside the table; returns its path."""
        page = result.out / "index.html"
        write_text(page, self._html(result, folder, predictor))
        return page

    def _html(self, result: FolderPrediction, folder: Path, predictor: MultiTaskPredictor) -> str:
        loader = jinja2.FileSystemLoader([TEMPLATES / "predictions", TEMPLATES / "report"])
        environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        table = result.table
        return environment.get_template("predictions.html.j2").render(
            folder=folder.resolve().name,
            cards=self.cards,
            failed=result.failed[["file", "error"]].to_dict("records"),
            left_out=result.left_out,
            total=len(table),
            predicted=len(table) - len(result.failed),
            positive=int((table["predicted_label"] == "tumour").sum()),
            predictor=predictor,
            disclaimer=DISCLAIMER,
        )

    def _pictures(self, shown: Prediction, name: str) -> list[tuple[str, str, str]]:
        """Caption, data URI and alternative text of each picture of a file."""
        found = [("Slice", grey_picture(shown.image, self.side), f"The slice {name}.")]
        if shown.mask_available:
            outlined = outline_picture(shown.image, shown.mask, self.side)
            caption = "Outline" if shown.mask.any() else "Outline: empty"
            found.append((caption, outlined, f"{name} with the predicted tumour outlined in light blue."))
        heat = heat_picture(shown.image, shown.grad_cam, self.side)
        said = f"{name} under its Grad-CAM: bright where the network sees a reason to say tumour."
        found.append(("Grad-CAM", heat, said))
        return [(caption, _data_uri(picture), alt) for caption, picture, alt in found]


def _data_uri(picture: Image.Image) -> str:
    target = io.BytesIO()
    picture.save(target, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(target.getvalue()).decode()
