"""Parameters of ``mtl predict brain_mri``: which checkpoint, which thresholds, where results go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from mtl.studies.parameters import Parameters, project_path, project_root


class ProductionParameters(Parameters):
    """See the field descriptions; what is empty is taken from the checkpoint."""

    study: ClassVar[str] = "brain_mri"

    checkpoint: str = Field(
        "outputs/brain_mri/real/checkpoints/fold_0/joint/best",
        description="model folder; relative to the project",
    )
    output_root: str = Field(
        "outputs/predictions", description="a folder of results is made here for each folder of images"
    )
    classification_threshold: float | None = Field(
        None, ge=0, le=1, description="tumour probability from which a slice is outlined; empty: as stored"
    )
    temperature: float | None = Field(None, gt=0, description="divides the class logits; empty: as stored")
    mask_threshold: float = Field(0.5, ge=0, le=1, description="probability above which a pixel is tumour")
    batch_size: int = Field(16, ge=1, description="slices that go through the network together")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the convolutions")
    fold_batch_norm: bool = Field(True, description="batch norms go into the convolutions")
    channels_last: bool = Field(True, description="memory layout of the convolutions")
    dropout_samples: int = Field(30, ge=1, description="draws of MC dropout behind the uncertainty")
    test_time_augmentation: bool = Field(
        False, description="three changed copies of every image too: four encoder passes instead of one"
    )
    seed: int = Field(0, ge=0, description="of MC dropout")
    picture_size: int = Field(
        220, ge=64, le=1024, description="longer side of the page's pictures, in pixels"
    )
    max_pictures: int = Field(400, ge=0, description="so many files at most are shown on the page")

    @property
    def predictor_options(self) -> dict[str, Any]:
        """Keyword arguments of ``MultiTaskPredictor``."""
        names = (
            "classification_threshold", "temperature", "mask_threshold", "batch_size",
            "device", "precision", "fold_batch_norm", "channels_last",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}


def load_production(file: str, overrides: Mapping[str, Any]) -> ProductionParameters:
    """The parameters of a YAML file; without a name those of ``params/brain_mri/production.yaml``.

    Raises:
        ParameterError: a key is unknown or out of range, or a file that is named is not there.
    """
    standard = project_root() / "params" / "brain_mri" / "production.yaml"
    if file or standard.is_file():
        return ProductionParameters.from_yaml(project_path(file) if file else standard, overrides)
    return ProductionParameters.from_values(overrides, "-p")
