"""The source-shortcut laboratory: the phantom's dial turned, networks trained on each position, one test set.

Training and validation patients follow the dial's rho, as a collection of mixed sources would. All networks
are tested on the same patients, drawn at rho = 0, so that every (source, class) cell is filled; the
dial of the *test* side is turned by weights on these cases (`mtl.evaluation.brain_mri.shortcut`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from mtl.datasets.brain_mri import BrainNormalisation, MultiSourceDataset
from mtl.datasets.brain_mri.background import native_background, prepared_background
from mtl.datasets.brain_mri.slices import Slice
from mtl.datasets.phantoms.brain_mri import BrainPhantom
from mtl.evaluation.brain_mri import fit_histogram_baseline, histogram_features
from mtl.files import sha256_of
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.small_classifier import Recipe, SmallClassifier, TrainingData, of_sources
from mtl.studies.code_fingerprint import training_code_fingerprint
from mtl.studies.run_directory import RunDirectory
from mtl.training.devices import make_fabric

SLICES = 2
VALIDATION_SHARE = 0.25
BINS, LOG_GREY = 32, 9.0  # bins of the background histograms; exp(9) is about 8000 grey values
NETWORK, ELSEWHERE, SOURCE_ONLY = "network", "other source left out", "source only"
BACKGROUND_NATIVE, BACKGROUND_PREPARED = "background, as scanned", "background, as prepared"
CURES = {
    "source-balanced": {"balanced": True},
    "gradient reversal": {"reversal": True},
    "both": {"balanced": True, "reversal": True},
}
KEPT = ["id", "source", "patient", "group", "slice", "cls"]


class ShortcutLaboratory:
    """Runs the dial and keeps what every network said about every test case.

    Args:
        parameters: of the study; see those that begin with ``shortcut_``.
    """

    def __init__(self, parameters: BrainMriParameters) -> None:
        self.p = parameters
        self.run = RunDirectory(parameters.run_directory).prepare()
        self.dataset = lru_cache(maxsize=4)(self._dataset)
        self._drawn: dict[tuple[int, str, int], tuple[np.ndarray, np.ndarray | None]] = {}

    @cached_property
    def fabric(self):
        """Device, precision and ranks."""
        return make_fabric(self.p.device, self.p.precision, self.p.deterministic)

    # ------------------------------------------------------------------ data
    @cached_property
    def test_set(self) -> MultiSourceDataset:
        """The one test set: every (source, class) cell equally filled."""
        return self.dataset(self.p.shortcut_test_patients, 0.0, "test", 0)

    @property
    def test_hash(self) -> str:
        """Hash of the test set's recipe."""
        return sha256_of(self._state(self.p.shortcut_test_patients, 0.0, "test", 0))

    def training_set(self, rho: float, seed: int = 0) -> MultiSourceDataset:
        """Patients to learn from at one position of the dial."""
        return self.dataset(self.p.shortcut_patients, rho, "train", seed)

    def _dataset(self, patients: int, rho: float, purpose: str, seed: int) -> MultiSourceDataset:
        size = self.p.shortcut_size
        phantom = BrainPhantom(patients, SLICES, rho, max(64, size), self._seed(purpose, seed))
        draw = phantom.read

        def read(item: Slice) -> tuple[np.ndarray, np.ndarray | None]:
            # The dial changes who has a tumour and nothing else about a patient: each picture is drawn once.
            key = (phantom.seed, item.id, item.cls)
            if key not in self._drawn:
                self._drawn[key] = draw(item)
            return self._drawn[key]

        phantom.read = read
        return MultiSourceDataset([phantom], size, BrainNormalisation(), seed=self.p.seed)

    def _seed(self, purpose: str, seed: int) -> int:
        return int(sha256_of(str(self.p.seed), "shortcut", purpose, str(seed))[:8], 16)

    def _state(self, *recipe: object) -> str:
        """A phantom is its arguments and its code, so it need not be drawn to be recognised."""
        code = training_code_fingerprint("brain_mri")
        return json.dumps([*recipe, self.p.shortcut_size, self.p.seed, code])

    # ------------------------------------------------------------------ networks
    def classifier(self, rho: float, recipe: Recipe, source: str = "", arm: str = NETWORK) -> SmallClassifier:
        """The network of an arm; ``source``: learn from this one only."""
        p, seed = self.p, recipe.seed
        held_out = max(8, round(VALIDATION_SHARE * p.shortcut_patients))

        def load() -> tuple[MultiSourceDataset, MultiSourceDataset]:
            both = self.training_set(rho, seed), self.dataset(held_out, rho, "validation", seed)
            return tuple(of_sources(part, [source]) if source else part for part in both)

        name = f"rho {rho:g}, {arm}{source and f', {source}'}, seed {seed}".replace(", ", "_").replace(
            " ", "-"
        )
        state = self._state(p.shortcut_patients, held_out, rho, source, seed)
        folder = self.run.path / "checkpoints" / "shortcut" / name
        return SmallClassifier(folder, p, self.fabric, TrainingData(state, load), recipe)

    @property
    def cured_at(self) -> list[float]:
        """Where the cures are tried: the strongest rho below 1 (all cells filled), and 1 (two empty)."""
        below = [rho for rho in self.p.dial if 0 < rho < 1]
        return below[-1:] + [rho for rho in self.p.dial if rho == 1]

    def results(self) -> pd.DataFrame:
        """What every arm says about every test case; from the run directory if it is there already.

        Returns:
            Columns id, source, patient, group, slice, cls, arm, rho, seed, tumor_prob, test_hash, made_by.
        """
        made_by, path = self._fingerprint, self.run.predictions("shortcut")
        if path.exists():
            table = pd.read_parquet(path)
            if set(table["made_by"]) == {made_by}:
                return table
        table = pd.concat(self._rows(), ignore_index=True)
        table = table.assign(test_hash=self.test_hash, made_by=made_by)
        self.run.write_predictions("shortcut", table)
        return table

    @property
    def _fingerprint(self) -> str:
        p = self.p
        names = [name for name in type(p).model_fields if name.startswith("shortcut_")]
        used = {name: getattr(p, name) for name in [*names, "batch_size", "augment", "precision", "seed"]}
        code = training_code_fingerprint("brain_mri")
        return sha256_of(code, json.dumps([used, p.dial, p.reversal_weight]))

    def _rows(self) -> Iterator[pd.DataFrame]:
        for seed in range(self.p.shortcut_seeds):
            for rho in self.p.dial:
                arms = {NETWORK: self.classifier(rho, Recipe(seed=seed)).probabilities(self.test_set)}
                arms |= self._elsewhere(rho, seed) | self._trivial(rho, seed)
                if rho in self.cured_at:
                    arms |= self._cured(rho, seed)
                for arm, scores in arms.items():
                    rows = self.test_set.table[KEPT]
                    yield rows.assign(arm=arm, rho=rho, seed=seed, tumor_prob=np.asarray(scores, float))

    def _cured(self, rho: float, seed: int) -> dict[str, np.ndarray]:
        return {
            arm: self.classifier(rho, Recipe(seed=seed, **how), arm=arm).probabilities(self.test_set)
            for arm, how in CURES.items()
        }

    def _elsewhere(self, rho: float, seed: int) -> dict[str, np.ndarray]:
        """Every case scored by a network that never saw its source; nothing where a source has one class."""
        training = self.training_set(rho, seed).table
        names = sorted(set(training["source"]))
        if len(names) != 2 or (training.groupby("source")["cls"].nunique() < 2).any():
            return {}
        scores = pd.Series(np.nan, index=self.test_set.table["id"])
        for learned, unseen in (names, names[::-1]):
            tested = of_sources(self.test_set, [unseen])
            network = self.classifier(rho, Recipe(seed=seed), learned, ELSEWHERE)
            scores[tested.table["id"]] = network.probabilities(tested)
        return {ELSEWHERE: scores.to_numpy()}

    def _trivial(self, rho: float, seed: int) -> dict[str, np.ndarray]:
        """What needs no look at the head: prevalence of the source, grey values of the background."""
        training, test = self.training_set(rho, seed), self.test_set
        prevalence = training.table.groupby("source")["cls"].mean()
        found = {SOURCE_ONLY: test.table["source"].map(prevalence).to_numpy()}
        for arm in (BACKGROUND_NATIVE, BACKGROUND_PREPARED):
            seen, asked = background_features(training, arm), background_features(test, arm)
            labels, groups = training.table["cls"], training.table["group"]
            if np.ptp(np.concatenate([seen, asked]), axis=0).any():
                found[arm] = fit_histogram_baseline(seen, labels, asked, groups, seed)
            else:  # every picture looks alike: nothing is left to tell cases apart by
                found[arm] = np.full(len(asked), labels.mean())
        return found


@lru_cache(maxsize=8)
def background_features(dataset: MultiSourceDataset, arm: str) -> np.ndarray:
    """Grey-value histograms ``(n, bins)`` of every slice without its head, on a log scale as scanned."""
    rule, size = dataset.normalisation, dataset.size
    natives = [dataset.native(name)[0] for name in dataset.table["id"]]
    if arm == BACKGROUND_PREPARED:
        return histogram_features([prepared_background(image, size, rule) for image in natives], BINS)
    images = [np.log1p(native_background(image, size, rule).clip(0)) for image in natives]
    return histogram_features(images, BINS, (0.0, LOG_GREY))
