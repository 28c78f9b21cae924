"""What a user meets at the command line when something is wrong: the file, key or parameter, and what is
expected; exit code 2 (1 where notebooks failed or data are bad); never a traceback."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbformat.v4 import writes as notebook_text
from PIL import Image

from mtl import cli
from mtl.datasets.brain_mri import BrainNormalisation
from mtl.errors import CheckpointError, DataError
from mtl.files import read_json, write_json
from mtl.models.brain_mri import MultiTaskModel
from mtl.reporting import study_jobs
from mtl.reporting.status import NotebookJob, owned_run
from mtl.studies.brain_mri.parameters import BrainMriParameters
from mtl.studies.brain_mri.study import BrainMriStudy
from mtl.training.checkpoints import load_model, save_model

ROOT = Path(__file__).resolve().parents[1]
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def mtl(monkeypatch, capfd) -> Callable[..., Said]:
    """``mtl("run", "brain_mri", ...)``: the entry point in this process, from the project's folder."""

    def call(*arguments: str | Path) -> Said:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr("sys.argv", ["mtl", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = Said(ended.value.code or 0, *capfd.readouterr())
        assert "Traceback" not in said.err
        return said

    return call


# ---------------------------------------------------------------- before anything runs
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["image_sise=64"], r"(?s)smoke\.yaml.*unknown parameter 'image_sise'; did you mean 'image_size'\?"),
        (["zzz=1"], "unknown parameter 'zzz'; known: .*balancer.*w_dice"),
        (["dropout=1.5"], r"'dropout': .*less than 1 \(got 1.5\)"),
        (["dropout=-1", "seeed=3"], "(?s)'dropout': .* equal to 0.*'seeed'; did you mean 'seed'"),
        (["base_filters=many"], "'base_filters': .*integer.*'many'"),
        (["balancer=sum"], "'balancer': .*'fixed'.*'upgrad'"),
        (["image_size=50"], r"image_size=50 must be a multiple of 2\*\*depth=4"),
        (["data_root=/nowhere/at/all"], "'data_root': /nowhere/at/all is not a folder; expected"),
        (["seed"], "-p 'seed': name=value is expected"),
        (["=3"], "-p '=3': name=value is expected"),
        (["seed=["], r"-p 'seed=\[': .+"),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_runs(mtl, tmp_path, options, expected):
    pairs = [word for option in options for word in ("-p", option)]
    outputs = tmp_path / "outputs"
    said = mtl("run", "brain_mri", "--params", "smoke", "-p", f"output_root={outputs}", *pairs)
    assert said.code == 2 and said.out == ""
    assert said.err.startswith("mtl: ") and re.search(expected, said.err), said.err
    assert not outputs.exists()


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["liver"], "unknown study 'liver': there is angiography"),
        (["brain_mri", "--params", "fast"], "fast.yaml: .*params/brain_mri/ has full, quick, real, smoke"),
        (["brain_mri", "--params", "gone/mine.yaml"], "gone/mine.yaml: no such parameter file"),
    ],
)
def test_an_unknown_study_or_parameter_file_lists_what_there_is(mtl, command, arguments, expected):
    said = mtl(command, *arguments)
    assert said.code == 2 and re.search(expected, said.err), said.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["liver"], "unknown study 'liver': there is angiography"),
        (["brain_mri", "--only", "B1,B9"], "--only: unknown benchmark 'B9'; there is B1, B2, B3, R1"),
    ],
)
def test_an_unknown_benchmark_lists_what_there_is(mtl, arguments, expected):
    said = mtl("bench", *arguments)
    assert said.code == 2 and expected in said.err


def test_an_unknown_stage_lists_what_there_is(mtl, tmp_path):
    options = ["--params", "smoke", "-p", f"output_root={tmp_path}"]
    said = mtl("train", "brain_mri", *options, "--stages", "joint,heat")
    assert said.code == 2
    assert "'heat'" in said.err and "warm_up, head, joint, reference" in said.err
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize("root", ["file/outputs", "/proc/outputs"])
def test_an_output_folder_that_cannot_be_written_is_named(mtl, tmp_path, command, root):
    if root.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    (tmp_path / "file").write_text("")
    said = mtl(command, "brain_mri", "--params", "smoke", "-p", f"output_root={tmp_path / root}")
    assert said.code == 2
    assert "output folder" in said.err and f"{root}/brain_mri/smoke" in said.err


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_run_directory_in_use_is_not_shared(mtl, tmp_path, command):
    with owned_run(tmp_path / "brain_mri" / "smoke"):
        said = mtl(command, "brain_mri", "--params", "smoke", "-p", f"output_root={tmp_path}")
    assert said.code == 2
    assert f"another process is busy in {tmp_path}/brain_mri/smoke" in said.err
    assert not (tmp_path / "brain_mri" / "smoke" / "run.json").exists()


def test_an_interrupted_command_says_how_to_go_on(mtl, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study_jobs, "notebook_jobs", interrupt)
    said = mtl("run", "brain_mri")
    assert said.code == 130 and "the same command goes on from here" in said.err


@pytest.mark.parametrize("command", ["report", "publish"])
def test_a_folder_that_is_no_run_is_named(mtl, tmp_path, command):
    said = mtl(command, tmp_path / "brain_mri" / "gone")
    assert said.code == 2 and str(tmp_path / "brain_mri" / "gone") in said.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["gone"], "gone.yaml: no such sweep; params/sweeps/ has balancers, .*smoke"),
        (["smoke", "-p", "image_sise=64"], r"(?s)smoke\.yaml.*'image_sise'; did you mean 'image_size'"),
        (["smoke", "-p", "run=mine", "-p", "joint_epochs=0"], "(?s)'joint_epochs': .*greater than"),
    ],
)
def test_a_wrong_sweep_is_named_before_anything_runs(mtl, tmp_path, arguments, expected):
    said = mtl("sweep", *arguments, "-p", f"output_root={tmp_path / 'outputs'}")
    assert said.code == 2 and re.search(expected, said.err), said.err
    assert not (tmp_path / "outputs").exists()


def test_the_points_of_a_sweep_are_listed_and_few_seeds_are_said_to_give_no_verdict(mtl, tmp_path):
    said = mtl("sweep", "smoke", "--list", "-p", f"output_root={tmp_path / 'outputs'}")
    assert said.code == 0 and said.err == ""
    assert (
        "2 arms x 2 seeds into" in said.out
        and "Fewer than 5 seeds: the report will give no verdict" in said.out
    )
    assert re.findall(r"^  (\S+)", said.out, re.MULTILINE) == [
        "plain-seed0", "fast-seed0", "plain-seed1", "fast-seed1",
    ]  # fmt: skip
    assert not (tmp_path / "outputs").exists()


def test_a_folder_that_is_no_run_cannot_be_compared(mtl, tmp_path):
    said = mtl("compare", tmp_path / "one", tmp_path / "two")
    assert said.code == 2 and f"{tmp_path}/one/provenance.json is not there" in said.err


# ---------------------------------------------------------------- data
def head(seed: int) -> np.ndarray:
    """A textured disc on black, uint8 (60, 60)."""
    rows, columns = np.indices((60, 60)) - 29.5
    texture = np.random.default_rng(seed).integers(60, 200, (60, 60))
    return np.where(np.hypot(rows, columns) < 25, texture, 0).astype(np.uint8)


def spot(size: int = 60) -> np.ndarray:
    """A square of 10 x 10 mask pixels, uint8 of 0/255."""
    mask = np.zeros((size, size), np.uint8)
    mask[20:30, 20:30] = 255
    return mask


def kaggle(root: Path) -> Path:
    """Two pictures a class, one of them with a mask."""
    names = ["yes/Y1.jpg", "yes/Y2.jpg", "no/N1.jpg", "no/N2.jpg"]
    for seed, name in enumerate(names):
        path = root / "brain_tumor_dataset" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(head(seed)).save(path)
    (root / "masks").mkdir()
    Image.fromarray(spot()).save(root / "masks" / "Y1.jpg")
    return root / "brain_tumor_dataset"


def truncated_jpeg(root: Path) -> str:
    path = kaggle(root) / "no" / "N2.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return r"no/N2.jpg: expected a complete picture, but .*truncated"


def empty_class(root: Path) -> str:
    for path in (kaggle(root) / "yes").iterdir():
        path.unlink()
    return r"yes: holds no picture; expected at least one \(\.jpg"


def missing_class(root: Path) -> str:
    folder = kaggle(root) / "no"
    folder.rename(folder.with_name("non"))
    return r"no: no such folder; expected class folders yes/ and no/"


def lgg_mask_of_another_size(root: Path) -> str:
    case = root / "kaggle_3m" / "TCGA_CS_0001_20000101"
    case.mkdir(parents=True)
    for number in (1, 2):
        Image.fromarray(np.stack([head(number)] * 3, axis=-1)).save(case / f"{case.name}_{number}.tif")
        Image.fromarray(spot(60 if number == 1 else 50)).save(case / f"{case.name}_{number}_mask.tif")
    return r"TCGA_CS_0001_20000101_2_mask\.tif.*50.*60"


def npz_mask_of_another_size(root: Path) -> str:
    np.savez(root / "p1_1.npz", image=head(1), mask=spot())
    np.savez(root / "p2_1.npz", image=head(2), mask=spot(50))
    return r"p2_1\.npz: mask has shape \(50, 50\), image \(60, 60\)"


def npz_nan(root: Path) -> str:
    np.savez(root / "p1_1.npz", image=head(1), mask=spot())
    np.savez(root / "p2_1.npz", image=np.where(spot() > 0, np.nan, head(2)), mask=spot())
    return r"p2_1\.npz: image has NaN or infinite values"


def volume(root: Path, suffix: str, array: np.ndarray) -> None:
    folder = root / "BraTS20_001"
    folder.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / f"BraTS20_001_{suffix}.nii.gz")


def nifti_nan(root: Path) -> str:
    image = np.stack([head(seed) for seed in range(4)], axis=-1).astype(np.float32)
    image[30, 30, 2] = np.nan
    volume(root, "flair", image)
    volume(root, "seg", np.stack([spot()] * 4, axis=-1))
    return r"BraTS20_001_flair\.nii\.gz: slice 2 has NaN or infinite values"


def nifti_mask_of_another_size(root: Path) -> str:
    volume(root, "flair", np.stack([head(seed) for seed in range(4)], axis=-1).astype(np.float32))
    volume(root, "seg", np.stack([spot()] * 3, axis=-1))
    return r"BraTS20_001_seg\.nii\.gz: shape \(60, 60, 3\), but .*flair.* \(60, 60, 4\)"


FAULTS = [
    truncated_jpeg, empty_class, missing_class, lgg_mask_of_another_size, npz_mask_of_another_size, npz_nan,
    nifti_nan, nifti_mask_of_another_size,
]  # fmt: skip


def opened(data_root: Path, outputs: Path):
    """The data set of a run, as its first notebook opens it."""
    parameters = BrainMriParameters(data_root=str(data_root), output_root=str(outputs), image_size=32)
    return BrainMriStudy(parameters).dataset


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_bad_data_are_named_by_the_check_and_by_the_study(mtl, tmp_path, fault):
    data = tmp_path / "data"
    data.mkdir()
    expected = fault(data)
    said = mtl("data", "check", data)
    assert said.code == 1 and said.err == ""
    assert re.search(r"error +" + ".*" + expected, said.out), said.out
    assert re.search(r"\n[1-9]\d* errors?, ", said.out)
    with pytest.raises(DataError, match=expected):
        opened(data, tmp_path / "outputs")
    assert not list((tmp_path / "outputs").rglob("*.parquet"))


def test_sound_data_pass_the_check_and_open(mtl, tmp_path):
    kaggle(tmp_path / "data")
    said = mtl("data", "check", tmp_path / "data")
    assert said.code == 0 and "\n0 errors, " in said.out and "4 (2 with tumour, 2 without)" in said.out
    table = opened(tmp_path / "data", tmp_path / "outputs").table
    assert list(table["has_mask"]) == [True, True, True, False]


def test_a_kaggle_mask_of_another_size_is_dropped_and_said_to_be(mtl, tmp_path):
    """Nobody knows how such a mask lies on its picture, so training goes on without it."""
    kaggle(tmp_path / "data")
    Image.fromarray(spot()[:40]).save(tmp_path / "data" / "masks" / "Y1.jpg")
    said = mtl("data", "check", tmp_path / "data")
    assert said.code == 0
    assert re.search(r"warning +masks/Y1.jpg: 60x40 pixels, .*Y1.jpg 60x60.*unknown", said.out), said.out
    table = opened(tmp_path / "data", tmp_path / "outputs").table.set_index("id")
    assert not table.loc["kaggle/yes/Y1.jpg", "has_mask"]


@pytest.mark.parametrize(
    ("name", "expected"), [("gone", "no such folder"), ("", "no known layout; expected")]
)
def test_a_folder_without_data_is_refused_with_what_is_known(mtl, tmp_path, name, expected):
    (tmp_path / "notes.txt").write_text("")
    said = mtl("data", "check", tmp_path / name)
    assert said.code == 2 and said.err.startswith(f"mtl: {tmp_path / name}") and expected in said.err
    with pytest.raises(DataError, match=expected):
        opened(tmp_path / name, tmp_path / "outputs")


# ---------------------------------------------------------------- checkpoints
def small_model(**changes: Any) -> MultiTaskModel:
    torch.manual_seed(0)
    return MultiTaskModel(**{"base_filters": 4, "depth": 2, "image_size": 48} | changes).eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_adopted_state_dict_gives_the_same_outputs(mtl, tmp_path, suffix):
    from safetensors.torch import save_file

    model, file = small_model(), tmp_path / f"theirs{suffix}"
    (torch.save if suffix == ".pth" else save_file)(model.state_dict(), file)
    said = mtl("checkpoint", "adopt", file, "--image-size", "48")
    assert said.code == 0 and "base_filters=4, depth=2" in said.out
    adopted = load_model(MultiTaskModel, tmp_path / "theirs")
    x = torch.randn(2, 1, 48, 48)
    with torch.inference_mode():
        ours, theirs = adopted(x), model(x)
    assert torch.equal(ours["seg"], theirs["seg"]) and torch.equal(ours["cls"], theirs["cls"])
    assert adopted.image_size == 48 and adopted.normalisation
    assert file.name in (tmp_path / "theirs" / "README.md").read_text()


class NeedsCode:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"conv1.weight": torch.zeros(1)}, "no tensor 'encoder.levels.0.0.weight' .*found conv1.weight"),
        (
            small_model().state_dict() | {"cls_head.hidden.weight": torch.zeros(7, 16)},
            r"'cls_head.hidden.weight' has shape \(7, 16\); .*base_filters=4, depth=2.* has \(256, 16\)",
        ),
        ({"model": NeedsCode()}, "not a file of tensors that loads without running code"),
        ([1, 2], "a state dict .name to tensor. is expected"),
    ],
    ids=["another network", "another shape", "an object", "a list"],
)
def test_a_file_that_does_not_fit_is_refused_and_leaves_nothing(mtl, tmp_path, content, expected):
    torch.save(content, tmp_path / "theirs.pth")
    said = mtl("checkpoint", "adopt", tmp_path / "theirs.pth")
    assert said.code == 2 and "code ran" not in said.out + said.err
    assert re.search(f"{tmp_path}/theirs.pth: .*{expected}", said.err), said.err
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.pth"]


def test_adoption_overwrites_nothing_and_says_where_it_cannot_write(mtl, tmp_path):
    file = tmp_path / "theirs.pth"
    torch.save(small_model().state_dict(), file)
    (tmp_path / "mine").mkdir()
    said = mtl("checkpoint", "adopt", file, "--out", tmp_path / "mine")
    assert said.code == 2 and f"{tmp_path / 'mine'} exists already; name another with --out" in said.err
    assert not list((tmp_path / "mine").iterdir())
    said = mtl("checkpoint", "adopt", file, "--out", file / "inside")
    assert said.code == 2 and f"{file / 'inside'}: cannot be written" in said.err
    said = mtl("checkpoint", "adopt", tmp_path / "gone.pth")
    assert said.code == 2 and f"{tmp_path / 'gone.pth'}: no such file" in said.err


def test_a_checkpoint_of_another_study_is_named_with_what_it_holds(tmp_path):
    """Also where that study's code is not there to be imported."""
    folder = tmp_path / "warm_up" / "best"
    save_model(small_model(), folder, "")
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"model_class": "mtl.models.histology.CellModel"})
    expected = r"warm_up/best: holds a mtl\.models\.histology\.CellModel; a .*MultiTaskModel is needed"
    with pytest.raises(CheckpointError, match=expected):
        load_model(MultiTaskModel, folder)


# ---------------------------------------------------------------- notebooks that fail
@pytest.fixture
def two_notebooks(monkeypatch, tmp_path) -> Path:
    """``mtl run`` runs these two until a file ``fixed`` lies beside them: a killed kernel, bad data."""
    run = tmp_path / "outputs" / "brain_mri" / "quick"
    sources = {
        "01_killed": "import os\nif not FIXED.exists():\n    os.kill(os.getpid(), 9)",
        "02_data": "import mtl.errors as e\nif not FIXED.exists():\n    raise e.DataError('N2.jpg: cut off')",
    }
    jobs = []
    for name, source in sources.items():
        fixed = f"from pathlib import Path\nFIXED = Path({str(tmp_path / 'fixed')!r})"
        cells = [new_markdown_cell(f"# {name}"), new_code_cell(fixed), new_code_cell(source)]
        (tmp_path / f"{name}.ipynb").write_text(notebook_text(new_notebook(cells=cells, metadata=KERNEL)))
        jobs.append(NotebookJob("brain_mri", name, tmp_path / f"{name}.ipynb", {}, run))
    monkeypatch.setattr(study_jobs, "notebook_jobs", lambda *_: jobs)
    return tmp_path


@pytest.mark.slow
def test_failed_notebooks_exit_1_with_a_readable_summary_and_the_next_call_goes_on(
    mtl, two_notebooks, recwarn
):
    with socket.socket() as taken:  # the port that Dask likes: no reason to warn anybody
        with contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        said = mtl("run", "brain_mri")
    assert "8787" not in " ".join(str(warning.message) for warning in recwarn)
    assert said.code == 1 and said.err == ""
    for expected in (
        r"01_killed +dead", r"01_killed dead, cell 3\n( +\|.*\n)+ +DeadKernelError: the kernel died \(killed",
        r"02_data failed, cell 3\n( +\|.*\n)+ +at: raise e\.DataError.*\n +DataError: N2.jpg: cut off",
        r"kept: .*02_data\.failed\.ipynb",
    ):  # fmt: skip
        assert re.search(expected, said.out), said.out
    (two_notebooks / "fixed").touch()
    again = mtl("run", "brain_mri")
    assert again.code == 0 and again.err == "" and "dead" not in again.out


# ---------------------------------------------------------------- predictions
@pytest.fixture
def trained(tmp_path) -> Path:
    """A model folder that the predictor takes."""
    model = small_model(normalisation=BrainNormalisation().to_dict())
    save_model(model, tmp_path / "joint" / "best", "")
    return tmp_path / "joint" / "best"


def test_a_checkpoint_whose_head_was_never_trained_is_refused(mtl, tmp_path, trained):
    write_json(trained.parent / "stage.json", {"stage": "warm_up"})
    said = mtl("predict", "brain_mri", tmp_path, "--checkpoint", trained)
    assert (
        said.code == 2 and "'warm_up' has not trained a classification; name a checkpoint of head" in said.err
    )


def test_a_folder_is_predicted_and_a_damaged_file_makes_it_exit_1(mtl, tmp_path, trained):
    scans, out = tmp_path / "my scans", tmp_path / "out"
    scans.mkdir()
    for name in ("a b.jpg", "c.png"):
        Image.fromarray(head(1)).save(scans / name)
    options = ["--checkpoint", trained, "--out", out]
    said = mtl("predict", "brain_mri", scans, *options)
    assert said.code == 0 and "2 of 2 files predicted\n" in said.out and "Research use only" in said.out
    assert (out / "index.html").is_file() and (out / "predictions.csv").is_file()
    (scans / "b.jpg").write_bytes(b"\xff\xd8\xff")
    said = mtl("predict", "brain_mri", scans, *options)
    assert said.code == 1 and "2 of 3 files predicted, 1 could not be read" in said.out
    assert f"{scans}/b.jpg: expected a complete picture" in said.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["liver", "."], "unknown study 'liver': there is brain_mri"),
        (["brain_mri", "{tmp}/gone", "--checkpoint", "{trained}"], "{tmp}/gone: not a folder; expected"),
        (["brain_mri", "{tmp}/none", "--checkpoint", "{trained}"], "{tmp}/none: no image in it; expected"),
        (["brain_mri", "{tmp}", "--checkpoint", "{tmp}"], "{tmp}: not a model folder"),
        (["brain_mri", "{tmp}", "-p", "mask_treshold=1"], "'mask_treshold'; did you mean 'mask_threshold'"),
        (["brain_mri", "{tmp}", "--params", "{tmp}/no.yaml"], "{tmp}/no.yaml: no such parameter file"),
        (["brain_mri", "{tmp}", "--params", "{tmp}/mine.yaml"], "{tmp}/away: no such checkpoint; train one"),
    ],
)
def test_what_cannot_be_predicted_is_named(mtl, tmp_path, trained, arguments, expected):
    (tmp_path / "none").mkdir()
    (tmp_path / "mine.yaml").write_text(f"checkpoint: {tmp_path}/away")
    words = {"tmp": tmp_path, "trained": trained}
    out = ["--out", tmp_path / "out"]
    said = mtl("predict", *(argument.format(**words) for argument in arguments), *out)
    assert said.code == 2 and expected.format(**words) in said.err, said.err
    assert not (tmp_path / "out").exists()
