"""Every answer of a session equals a full run of the model on the same clicks, in all injection arms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from mtl.errors import DataError, ParameterError
from mtl.inference.em.click_session import ClickSession
from mtl.inference.em.clicks_to_mask import clicks_to_mask, predicted_foreground
from mtl.models.em import INJECTIONS, EMModel
from mtl.models.prompts import PointPrompts

SHAPES = {3: (12, 24, 24), 2: (24, 28)}
#: A first click, corners and borders, neighbours whose residuals meet, a voxel clicked twice, both kinds.
CLICKS = {
    3: [
        ((6, 12, 12), 1),
        ((0, 0, 0), 0),
        ((6, 13, 14), 0),
        ((11, 23, 1), 1),
        ((6, 12, 12), 1),
        ((5, 10, 9), 1),
    ],
    2: [((12, 12), 1), ((0, 27), 0), ((12, 15), 0), ((23, 1), 1), ((12, 12), 1), ((10, 9), 1)],
}


def make_model(injection: str, dims: int = 3) -> EMModel:
    """A small network whose prompts matter and whose foreground is most of the volume."""
    torch.manual_seed(0)
    model = EMModel(
        spatial_dims=dims, features=8, embedding_channels=6, injection=injection, delta_d=0.6,
        blocks_down=(1, 1), blocks_up=(1,),
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("prompt_encoder"):
                parameter.normal_(std=0.3)
        model.semantic_head.project.bias.copy_(torch.tensor([-0.4, 0.4]))
    return model.eval()


def make_image(dims: int = 3) -> np.ndarray:
    noise = np.random.default_rng(1).random(SHAPES[dims]).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, 1.5)
    return (smooth - smooth.min()) / np.ptp(smooth)


def prompts_of(clicks: Sequence[tuple[tuple[int, ...], int]]) -> PointPrompts:
    return PointPrompts(
        torch.tensor([[point for point, _ in clicks]]), torch.tensor([[kind for _, kind in clicks]])
    )


@torch.no_grad()
def full_run(
    model: EMModel, image: np.ndarray, clicks, previous: np.ndarray | None = None
) -> dict[str, Tensor]:
    mask = None if previous is None else torch.tensor(previous, dtype=torch.float32)[None, None]
    return model(
        torch.from_numpy(image)[None, None], prompts_of(clicks), torch.ones(1, dtype=torch.long), mask
    )


def mask_of(
    model: EMModel, image: np.ndarray, output: dict[str, Tensor], clicks, threshold: float = 0.5
) -> np.ndarray:
    """The rule on a full run's outputs; for ``target_head`` its logits, connected to a positive click."""
    points, labels = prompts_of(clicks)
    if model.injection == "target_head":
        parts, _ = ndimage.label((output["target"][0, 0] > 0).numpy())
        held = {int(parts[point]) for point, kind in clicks if kind == 1} - {0}
        return np.isin(parts, list(held))
    foreground = predicted_foreground(output["semantic"][0])
    unprompted = None
    if model.injection == "late":
        with torch.no_grad():
            unprompted = model(torch.from_numpy(image)[None, None])["instance"][0][:, *points[0].T]
    settings = {"delta_d": model.delta_d, "threshold": threshold, "unprompted": unprompted}
    return clicks_to_mask(output["instance"][0], foreground, points[0], labels[0], **settings)


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize("injection", INJECTIONS)
def test_answers_equal_a_full_run(injection: str, dims: int) -> None:
    model, image = make_model(injection, dims), make_image(dims)
    session = ClickSession(model, image, threshold=0.6)
    sizes = []
    for n in range(1, len(CLICKS[dims]) + 1):
        clicks = CLICKS[dims][:n]
        expected = full_run(model, image, clicks, session.mask)
        mask = session.add(clicks[-1][0], positive=bool(clicks[-1][1]))
        for name, found in session.predictions().items():
            assert (found - expected[name][0]).abs().max() < 1e-5, (name, n)
        assert np.array_equal(mask, mask_of(model, image, expected, clicks, threshold=0.6)), n
        sizes.append(int(mask.sum()))
    assert len(set(sizes)) > 2 and max(sizes) < mask.size  # the clicks do something, and not everything


def test_a_late_click_changes_its_reach_and_nothing_else() -> None:
    model, image = make_model("late"), make_image()
    session = ClickSession(model, image)
    before = session.predictions()["instance"]
    session.add((6, 12, 3))
    changed = (session.predictions()["instance"] != before).any(dim=0).numpy()
    expected = np.zeros(changed.shape, dtype=bool)
    expected[4:9, 10:15, 1:6] = True
    assert model.click_reach == 2
    assert changed.any() and not changed[~expected].any()


@pytest.mark.parametrize("injection", INJECTIONS)
def test_the_backbone_runs_once_where_the_session_says_so(injection: str) -> None:
    model = make_model(injection)
    runs = []
    model.backbone.register_forward_hook(lambda *_: runs.append(1))
    session = ClickSession(model, make_image())
    at_first = len(runs)
    for point, kind in CLICKS[3][:3]:
        session.add(point, bool(kind))
    session.undo()
    session.redo()
    assert session.reruns_encoder == (injection in ("input", "multiscale"))
    assert (at_first, len(runs)) == ((0, 3) if session.reruns_encoder else (1, 1))


@pytest.mark.parametrize("injection", ["late", "target_head", "input"])
def test_undo_and_redo_walk_along_the_history(injection: str) -> None:
    model, image = make_model(injection), make_image()
    session, clicks = ClickSession(model, image), CLICKS[3]
    masks = [session.mask] + [session.add(point, bool(kind)) for point, kind in clicks]
    assert not masks[0].any()
    for n in reversed(range(len(clicks))):
        assert np.array_equal(session.undo(), masks[n])
        assert session.points.tolist() == [list(point) for point, _ in clicks[:n]]
    assert session.undo() is session.mask and session.history == ()
    for n in range(1, 4):
        assert np.array_equal(session.redo(), masks[n])
    assert session.labels.tolist() == [kind for _, kind in clicks[:3]]
    if injection != "target_head":
        expected = full_run(model, image, clicks[:3])
        assert (session.predictions()["instance"] - expected["instance"][0]).abs().max() < 1e-5


def test_a_new_click_after_undo_forgets_what_was_undone() -> None:
    model, image, clicks = make_model("late"), make_image(), CLICKS[3]
    session = ClickSession(model, image)
    for point, kind in clicks[:3]:
        session.add(point, bool(kind))
    session.undo()
    mask = session.add(*clicks[3])
    kept = [clicks[0], clicks[1], clicks[3]]
    expected = full_run(model, image, kept)
    assert np.array_equal(session.redo(), mask) and len(session.history) == 3
    assert np.array_equal(mask, mask_of(model, image, expected, kept))
    assert (session.predictions()["instance"] - expected["instance"][0]).abs().max() < 1e-5


def test_clear_is_the_automatic_state() -> None:
    model, image = make_model("late"), make_image()
    session = ClickSession(model, image)
    automatic = session.predictions()
    for point, kind in CLICKS[3]:
        session.add(point, bool(kind))
    assert not session.clear().any() and session.history == () and not session.redo().any()
    for name, found in session.predictions().items():
        assert (found - automatic[name]).abs().max() < 1e-5


@pytest.mark.parametrize("injection", ["late", "target_head"])
def test_answer_keeps_what_it_can_and_begins_anew_otherwise(injection: str) -> None:
    model, image = make_model(injection), make_image()
    session, clicks = ClickSession(model, image), CLICKS[3]

    def fresh(chosen: Sequence[tuple[tuple[int, ...], int]]) -> np.ndarray:
        other = ClickSession(model, image)
        for point, kind in chosen:
            other.add(point, bool(kind))
        return other.mask

    for chosen in (clicks[:2], clicks[:4], clicks[:1], [clicks[3]], [clicks[3], clicks[1]], []):
        points, labels = np.array([p for p, _ in chosen]), np.array([kind for _, kind in chosen])
        assert np.array_equal(session.answer(points, labels), fresh(chosen))
        assert len(session.history) == len(chosen)
    with pytest.raises(ParameterError, match="1 points with 2 labels"):
        session.answer([(1, 1, 1)], [1, 0])


def test_the_order_of_clicks_does_not_matter() -> None:
    model, image, clicks = make_model("late"), make_image(), CLICKS[3][:4]
    masks = []
    for order in itertools.islice(itertools.permutations(clicks), 0, 24, 7):
        session = ClickSession(model, image)
        for point, kind in order:
            session.add(point, bool(kind))
        masks.append(session.mask)
    assert all(np.array_equal(mask, masks[0]) for mask in masks[1:])


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ((6, 24, 0), "y = 24, 0 to 23"),
        ((1, 2), "3 are expected: z, y, x"),
        ((1, float("nan"), 2), "y = nan is no integer"),
        ((1, 2, "a"), "x = a is no integer"),
    ],
)
def test_a_point_outside_is_refused_by_name_and_changes_nothing(point: tuple[int, ...], said: str) -> None:
    session = ClickSession(make_model("late"), make_image())
    mask = session.add((6, 12, 12))
    with pytest.raises(ParameterError, match=said):
        session.add(point)
    assert session.mask is mask and len(session.history) == 1


def test_a_part_of_a_volume_is_read_by_its_box() -> None:
    class Volume:
        shape = (40, 50, 60)

        def read(self, box: tuple[slice, ...]) -> tuple[np.ndarray, None]:
            assert box == (slice(3, 15), slice(0, 24), slice(10, 34))
            return make_image(), None

    model = make_model("embedding")
    session = ClickSession(model, Volume(), box=(slice(3, 15), slice(0, 24), slice(10, 34)))
    assert np.array_equal(session.add((6, 12, 12)), ClickSession(model, make_image()).add((6, 12, 12)))


def test_errors_of_a_session_say_what_is_expected() -> None:
    with pytest.raises(ParameterError, match=r"shape \(24, 28\); the model wants 3 axes"):
        ClickSession(make_model("late"), make_image(2))
    with pytest.raises(ParameterError, match="semantic_id = 2: 1 to 1"):
        ClickSession(make_model("late"), make_image(), semantic_id=2)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_other_than_one_and_nought_are_refused(label: int) -> None:
    session = ClickSession(make_model("late"), make_image())
    with pytest.raises(ParameterError, match=f"label {label}: 1 .positive. or 0"):
        session.answer([(6, 12, 12)], [label])


@pytest.mark.parametrize("make", [lambda image: (image * 255).astype(np.uint8), lambda image: image * np.nan])
def test_grey_values_outside_of_their_range_are_refused(make) -> None:
    with pytest.raises(DataError, match=r"values from .* \[0, 1\] is expected"):
        ClickSession(make_model("late"), make(make_image()))


@pytest.mark.parametrize(
    "box", [(slice(0, 2),), (slice(3, 3), slice(0, 9), slice(0, 9)), (slice(0, 99), slice(0, 9), slice(0, 9))]
)
def test_boxes_that_do_not_lie_in_the_image_are_refused(box: tuple[slice, ...]) -> None:
    with pytest.raises(ParameterError, match=r"box .*inside of the shape \(12, 24, 24\)"):
        ClickSession(make_model("late"), make_image(), box=box)
