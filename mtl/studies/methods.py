"""Parameters of the notebooks in ``notebooks/methods``: those that cross studies, and the tutorials.

The tutorials (own data, own task, own backbone) train small networks through the brain_mri study; what they
share with it has the same name and meaning here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from mtl.files import sha256_of
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.parameters import BalancerName, StudyParameters


class MethodsParameters(StudyParameters):
    """What these notebooks are told; see the field descriptions. Defaults are those of the quick run."""

    study: ClassVar[str] = "methods"
    run_elsewhere: ClassVar[tuple[str, ...]] = ("01_sweep",)  # by mtl sweep, which has what it reads
    in_sequence: ClassVar[bool] = False
    #: Fields handed on to the brain_mri study under the same name.
    shared: ClassVar[tuple[str, ...]] = (
        "seed", "device", "precision", "deterministic", "image_size", "phantom_patients", "phantom_slices",
        "phantom_rho", "base_filters", "depth", "dropout", "batch_size", "augment", "balancer", "n_bootstrap",
        "dice_margin", "auc_margin",
    )  # fmt: skip

    # 01: a sweep's report
    sweep_directory: str = Field(
        "outputs/sweeps/smoke", description="folder of a sweep (mtl sweep writes it)"
    )
    # 02 to 04: data
    data_root: str = Field("", description="folder with one's own data; empty: made data (03: always)")
    image_size: int = Field(48, ge=16, le=1024, multiple_of=2, description="pixels along a side")
    phantom_patients: int = Field(120, ge=8, description="made patients, over both scanners")
    phantom_slices: int = Field(2, ge=1, description="slices per made patient")
    phantom_rho: float = Field(0.0, ge=0, le=1, description="source-label correlation of the made data")
    # 02 to 04: network and training
    base_filters: int = Field(8, ge=1, description="channels of the first level")
    depth: int = Field(3, ge=1, le=6, description="poolings of the U-Net")
    dropout: float = Field(0.5, ge=0, lt=1, description="in the classification head")
    batch_size: int = Field(16, ge=1, description="samples per batch")
    epochs: int = Field(8, ge=1, description="passes over the training data, per network")
    learning_rate: float = Field(3e-3, gt=0, description="AdamW, every part of the network")
    augment: bool = Field(True, description="random flips, affine maps and intensity changes")
    balancer: BalancerName = Field("fixed", description="how the tasks are combined")
    # 03: own task
    own_task_patients: int = Field(240, ge=24, description="made patients of 03, over both scanners")
    own_task_seeds: int = Field(1, ge=1, le=20, description="pairs of networks of 03; from 5 on a verdict")
    # 04: weights from elsewhere
    pretrained: str = Field(
        "", description="model folder, .pth or .safetensors for the encoder; empty: one is made"
    )
    pretraining_epochs: int = Field(6, ge=1, description="epochs on other made patients, where one is made")
    # all
    n_bootstrap: int = Field(1000, ge=100, description="bootstrap resamples of every interval")
    dice_margin: float = Field(0.02, gt=0, lt=1, description="non-inferiority margin of Dice")
    auc_margin: float = Field(0.05, gt=0, lt=1, description="non-inferiority margin of ROC-AUC")

    def inner_run(self, name: str) -> str:
        """Name of a run inside this one; other data or another seed have another, with its own split."""
        data = (self.data_root, self.phantom_patients, self.phantom_slices, self.phantom_rho)
        told = (*data, self.own_task_patients, self.seed)
        return f"{name}_{sha256_of(*map(str, told))[:8]}"

    def for_brain_mri(self, **changes: Any) -> BrainMriParameters:
        """The brain_mri study's parameters with these values, its run inside this run's folder.

        Args:
            changes: parameters of brain_mri to set beside the shared ones, e.g. ``run``, ``data_root``.

        Raises:
            ParameterError: a value is out of range for that study, or a name is unknown.
        """
        values = {name: getattr(self, name) for name in self.shared}
        values["output_root"] = str(self.run_directory / "runs")
        return BrainMriParameters.from_values(values | changes, f"parameters of the methods run {self.run!r}")

    @model_validator(mode="after")
    def _fits_brain_mri(self) -> MethodsParameters:
        self.for_brain_mri()
        return self
