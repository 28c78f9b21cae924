"""Benchmarks of a click (E4): a session's answer against a full run of the network, and how both grow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from mtl.inference.em.click_session import ClickSession
from mtl.inference.em.clicks_to_mask import clicks_to_mask, connected_part, predicted_foreground
from mtl.models.em import EMModel
from mtl.models.prompts import PointPrompts
from mtl.models.target_head import TargetHead
from mtl.timing import MIN_ROUNDS, Case, fitted_exponent, timed

SMALL, LARGE = (16, 64, 64), (32, 128, 128)
TOLERANCE = 1e-5
THRESHOLD = 0.9  # of the rule: usual after tuning, and dearer than one half, from which nothing grows back
#: Share of a volume's voxels that its object's embedding is made to take in.
SHARE = 0.05


@dataclass(frozen=True)
class Workload:
    """A network, an image and clicks on one object of it."""

    model: EMModel
    image: np.ndarray
    clicks: list[tuple[tuple[int, ...], bool]]

    @cached_property
    @torch.inference_mode()
    def unprompted(self) -> Tensor | None:
        """Embedding ``(E, *sp)`` without clicks, which the rule of the arm ``late`` looks at too."""
        if self.model.injection != "late":
            return None
        return self.model(torch.from_numpy(self.image)[None, None])["instance"][0]

    @property
    def name(self) -> str:
        """Size and arm in words."""
        features, shape = (
            self.model.instance_head.convolution.in_channels,
            "x".join(map(str, self.image.shape)),
        )
        return f"{self.model.injection}, F={features}, {shape}"

    def session(self, clicks: int) -> ClickSession:
        """A session in which the first of the clicks were made."""
        session = ClickSession(self.model, self.image, threshold=THRESHOLD)
        for point, positive in self.clicks[:clicks]:
            session.add(point, positive)
        return session

    def prompts(self, clicks: int) -> PointPrompts:
        """The first clicks as the network takes them."""
        points = torch.tensor([[point for point, _ in self.clicks[:clicks]]])
        return PointPrompts(points, torch.tensor([[int(positive) for _, positive in self.clicks[:clicks]]]))

    @torch.inference_mode()
    def full_run(self, clicks: int, previous: np.ndarray | None = None) -> dict[str, Tensor]:
        """Image and clicks through the whole network."""
        mask = None if previous is None else torch.tensor(previous, dtype=torch.float32)[None, None]
        return self.model(torch.from_numpy(self.image)[None, None], self.prompts(clicks), None, mask)

    @torch.inference_mode()
    def full_answer(self, clicks: int) -> np.ndarray:
        """The mask from a full run: what a session spares."""
        return self.mask_of(self.full_run(clicks), clicks)

    def mask_of(self, output: dict[str, Tensor], clicks: int) -> np.ndarray:
        """The mask that a full run's outputs stand for."""
        points, labels = (part[0] for part in self.prompts(clicks))
        if self.model.injection == "target_head":
            parts, _ = ndimage.label((output["target"][0, 0] > 0).numpy())
            held = np.unique(parts[tuple(points[labels == 1].T.numpy())])
            return np.isin(parts, held[held > 0])
        foreground = predicted_foreground(output["semantic"][0])
        unprompted = None if self.unprompted is None else self.unprompted[:, *points.T]
        return clicks_to_mask(
            output["instance"][0], foreground, points, labels, self.model.delta_d, THRESHOLD,
            unprompted=unprompted,
        )  # fmt: skip


def workload(
    injection: str = "late",
    features: int = 64,
    shape: Sequence[int] = SMALL,
    clicks: int = 12,
    voxels: int | None = None,
) -> Workload:
    """An untrained network whose clicks matter, and clicks on an object of it.

    What a click costs depends on weights only through the size of the object. So ``delta_d`` is set to hold
    ``voxels`` (default: a twentieth of the volume), and everything is foreground; a target head takes what is
    within ``delta_d`` of a positive click.
    """
    torch.manual_seed(0)
    model = EMModel(features=features, injection=injection).eval()
    with torch.no_grad():
        model.semantic_head.project.bias.copy_(torch.tensor([-9.0, 9.0]))
        if injection == "late":
            model.prompt_encoder.convolution.weight.normal_(std=0.02)
            model.prompt_encoder.gate.fill_(0.003)
    image = ndimage.gaussian_filter(np.random.default_rng(0).random(tuple(shape)), 2).astype(np.float32)
    image = (image - image.min()) / np.ptp(image)
    centre = tuple(size // 2 for size in shape)
    with torch.inference_mode():
        found = model.instance_head(model.encode(torch.from_numpy(image)[None, None]))[0]
    away = (found - found[:, *centre].view(-1, 1, 1, 1)).square().sum(0).sqrt().numpy()
    model.delta_d = float(np.partition(away.ravel(), voxels := voxels or int(SHARE * away.size))[voxels])
    if injection == "target_head":
        _follow_affinity(model.target_head, model.delta_d)
    return Workload(model, image, _clicks_on_object(away, model.delta_d, centre, clicks))


@torch.no_grad()
def _follow_affinity(head: TargetHead, delta_d: float) -> None:
    """Weights for a logit above 0 where the affinity to the positive clicks is above that of ``delta_d``."""
    for parameter in head.parameters():
        parameter.zero_()
    head.delta_d = delta_d
    head.norm.weight.fill_(1.0)
    head.of_features.bias[1] = math.exp(-1)
    head.of_clicks.weight[0, 2, 1, 1, 1] = 1.0  # the affinity is the third map; the middle of the kernel
    head.mix.weight.fill_diagonal_(1.0)
    head.logits.weight[0, :2] = torch.tensor([1.0, -1.0])


def _clicks_on_object(
    away: np.ndarray, delta_d: float, centre: tuple[int, ...], clicks: int
) -> list[tuple[tuple[int, ...], bool]]:
    """The centre, then negative clicks far away in embedding and positive ones on the object, in turn."""
    draw = np.random.default_rng(1)
    on = np.argwhere(connected_part(away <= delta_d, np.array([centre])))
    off = np.argwhere(away > np.median(away))
    kinds = [n % 2 == 0 for n in range(1, clicks)]
    return [(centre, True)] + [(tuple(draw.choice(on if kind else off).tolist()), kind) for kind in kinds]


def click_cases(features: int = 64, small: Sequence[int] = SMALL, large: Sequence[int] = LARGE) -> list[Case]:
    """E4: one more click after three, and a session of ten, against full runs."""
    late = workload("late", features, small)
    return [
        _click_case(late, goal=40),
        _dense_heads_case(late),
        _session_case(late, clicks=10, goal=9),
        _click_case(workload("embedding", features, small), goal=40),
        _click_case(workload("target_head", features, small), goal=40),
        _click_case(workload("late", features, large), goal=70),
    ]


def click_rows(features: int = 64, shapes: Sequence[Sequence[int]] = ()) -> list[dict[str, Any]]:
    """E4: seconds of a click over the clicks before it, and over the volume with an object of one size."""
    numbers = (1, 2, 4, 8, 16)
    over = workload("late", features, SMALL, clicks=18)
    by_clicks = [_median_seconds(_one_more(over, before=n)) for n in numbers]
    shapes = shapes or (SMALL, (24, 96, 96), LARGE)
    sizes = [int(np.prod(shape)) for shape in shapes]
    voxels = min(4000, min(sizes) // 4)
    by_volume = [_median_seconds(_one_more(workload("late", features, s, voxels=voxels), 3)) for s in shapes]
    return [
        _row(f"{over.name}: a click after n others", "clicks", numbers, by_clicks, goal=0.3),
        _row(f"late, F={features}: a click, object of one size", "voxels", sizes, by_volume, goal=0.1),
    ]


def _click_case(made: Workload, goal: float, before: int = 3) -> Case:
    return Case(
        "E4", f"{made.name}: one more click", "full run of the network, and the rule",
        ours=_one_more(made, before), theirs=lambda: made.full_answer(before + 1),
        gate=lambda: gate(made, before + 1), goal=goal,
    )  # fmt: skip


def _dense_heads_case(made: Workload, before: int = 3) -> Case:
    features = made.model.encode(torch.from_numpy(made.image)[None, None]).detach()

    @torch.inference_mode()
    def dense() -> np.ndarray:
        return made.mask_of(made.model.decode(features, made.prompts(before + 1)), before + 1)

    peer = "features kept, all heads on the whole volume"
    return Case(
        "E4", f"{made.name}: one more click", peer, _one_more(made, before), dense,
        gate=lambda: gate(made, before + 1),
    )  # fmt: skip


def _session_case(made: Workload, clicks: int, goal: float) -> Case:
    return Case(
        "E4", f"{made.name}: session of {clicks} clicks, features included", f"{clicks} full runs",
        ours=lambda: made.session(clicks), theirs=lambda: [made.full_answer(n + 1) for n in range(clicks)],
        gate=lambda: gate(made, clicks), goal=goal,
    )  # fmt: skip


def _one_more(made: Workload, before: int) -> Callable[[], np.ndarray]:
    """A click after ``before`` others; another one every time, so what was taken back is worked out too."""
    session = made.session(before)
    session.add(*made.clicks[before])
    turns: Iterator[tuple[tuple[int, ...], bool]] = cycle(made.clicks[before : before + 2])

    def click() -> np.ndarray:
        session.undo()
        return session.add(*next(turns))

    return click


def gate(made: Workload, clicks: int) -> str:
    """A session's predictions and mask are those of a full run; ``AssertionError`` says what differs."""
    session = made.session(clicks - 1)
    expected = made.full_run(clicks, session.mask)
    mask = session.add(*made.clicks[clicks - 1])
    off = max(float((v - expected[k][0]).abs().max()) for k, v in session.predictions().items())
    turned = int((mask != made.mask_of(expected, clicks)).sum())
    text = f"predictions off by {off:.1e}, {turned} of {int(mask.sum())} mask voxels turned"
    assert mask.any(), "the mask is empty: nothing was compared"
    assert off <= TOLERANCE, text
    # A voxel whose distance equals delta_d but for rounding may fall on either side.
    assert turned <= 1e-4 * mask.size, text
    return text


def _median_seconds(click: Callable[[], object]) -> float:
    click(), click()
    return median(timed(click) for _ in range(3 * MIN_ROUNDS))


def _row(
    named: str, unit: str, sizes: Sequence[int], seconds: Sequence[float], goal: float
) -> dict[str, Any]:
    said = ", ".join(f"{1000 * value:.1f}" for value in seconds)
    return {
        "id": "E4",
        "workload": named,
        "peer": "none: how it grows",
        **dict.fromkeys(("peer_s", "ours_s", "ratio")),
        "goal": None,
        "correct": True,
        "difference": f"{said} ms at {', '.join(map(str, sizes))} {unit}",
        "sizes": list(sizes),
        "ours_series_s": list(seconds),
        "exponent": fitted_exponent(sizes, seconds),
        "exponent_goal": goal,
    }
