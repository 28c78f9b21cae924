"""The run directory: everything that one parameter file produced, at fixed names.

::

    outputs/<study>/<run>/
      run.json  provenance.json  metrics.json  split.json  slices.parquet
      checkpoints/<fold>/<stage>/{best/, last/, history.parquet, gradients.parquet, stage.json}
      predictions/<stage>.parquet
      tensorboard/<fold>/<stage>/
      notebooks/<name>.ipynb  reports/<name>.html
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mtl.errors import DataError, MissingArtefactError
from mtl.files import atomic_path


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run. ``path`` is ``outputs/<study>/<run>``."""

    path: Path

    def prepare(self) -> RunDirectory:
        """Create the folder and see that it can be written. Raises ``DataError`` naming it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise DataError(f"output folder {self.path} cannot be written: {error.strerror}") from error
        return self

    @property
    def metrics(self) -> Path:
        """Every figure of the run's reports."""
        return self.path / "metrics.json"

    @property
    def split(self) -> Path:
        """The frozen split."""
        return self.path / "split.json"

    @property
    def slices(self) -> Path:
        """Every unit of the run's data with its labels."""
        return self.path / "slices.parquet"

    def stage(self, fold: int, stage: str) -> Path:
        """Folder of a stage of a fold (folds count from 0)."""
        return self.path / "checkpoints" / f"fold_{fold}" / stage

    def tensorboard(self, fold: int, stage: str) -> Path:
        """TensorBoard events of a stage of a fold."""
        return self.path / "tensorboard" / f"fold_{fold}" / stage

    def predictions(self, name: str) -> Path:
        """Table of per-unit predictions."""
        return self.path / "predictions" / f"{name}.parquet"

    def write_predictions(self, name: str, table: pd.DataFrame) -> None:
        """Write a table of per-unit predictions."""
        write_table(self.predictions(name), table)

    def read_predictions(self, name: str, notebook: str) -> pd.DataFrame:
        """Read a table of predictions that ``notebook`` writes. Raises ``MissingArtefactError``."""
        return pd.read_parquet(self.require(self.predictions(name), notebook))

    def require(self, path: Path, notebook: str) -> Path:
        """``path`` if it exists. Raises ``MissingArtefactError`` that names the notebook to run."""
        if not path.exists():
            shown = os.path.relpath(path, self.path)
            raise MissingArtefactError(f"{shown} is missing in {self.path}: run notebook {notebook} first")
        return path


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet, atomically."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)
