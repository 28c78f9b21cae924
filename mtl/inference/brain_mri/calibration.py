"""``calibration.json``: what was chosen on validation data, kept in the checkpoint's folder.

It lies in the folder of the weights and goes with them: training that folder anew throws it away.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtl.errors import CheckpointError
from mtl.files import read_json, write_json

NAME = "calibration.json"


class Calibration(BaseModel):
    """Temperature and threshold of a checkpoint; the defaults are those of one without the file.

    ``temperature`` divides the class logits (Guo et al. 2017). ``classification_threshold`` is the tumour
    probability, after that division, from which a slice is called positive and is outlined.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(1.0, gt=0)
    classification_threshold: float = Field(0.3, ge=0, le=1)
    n: int = Field(0, ge=0, description="validation slices that it was chosen on")
    split_hash: str = Field("", description="hash of the split whose validation part these are")

    def save(self, folder: Path) -> None:
        """Write ``calibration.json`` into a model folder."""
        write_json(folder / NAME, self.model_dump())

    @classmethod
    def of(cls, folder: Path) -> Calibration:
        """What is stored with a checkpoint, or the defaults. Raises ``CheckpointError`` for a bad file."""
        path = folder / NAME
        if not path.is_file():
            return cls()
        try:
            return cls.model_validate(read_json(path))
        except (ValidationError, json.JSONDecodeError) as error:
            raise CheckpointError(
                f"{path}: temperature and classification_threshold expected: {error}"
            ) from error
