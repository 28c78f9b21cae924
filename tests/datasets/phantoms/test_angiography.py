"""The angiography phantom: stenoses that show, reports that are true, dials that turn, seeds that repeat."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from mtl.datasets.angiography import SEGMENTS, Clip
from mtl.datasets.phantoms.angiography import angiography_phantom
from mtl.datasets.phantoms.angiography.anatomy import Tree, grow_tree
from mtl.datasets.phantoms.angiography.lesions import Lesion, distance_to, narrowed, plant
from mtl.datasets.phantoms.angiography.projection import Film, project
from mtl.datasets.phantoms.angiography.rendering import thickness
from mtl.errors import ParameterError

ALL = [(view, name) for view, names in SEGMENTS.items() for name in names]


def still(tree: Tree) -> Film:
    """One frame at rest, every vessel full, the catheter empty."""
    contrast = (tree.along >= 0).astype(float)[None]
    return Film(project(tree.points, (0.0, 0.0))[None], contrast)


def profile(tree: Tree, lesion: Lesion, size: int) -> np.ndarray:
    """Contrast across the vessel at a lesion's middle, every tenth of a pixel."""
    film = still(tree)
    at = int(distance_to(tree, lesion).argmin())
    before, after = film.places[0, at - 1], film.places[0, at + 1]
    tangent = (after - before) / np.linalg.norm(after - before)
    steps = np.arange(-4.5, 4.51, 0.1)[:, None] * size / 64
    x, y = (film.places[0, at] * size - 0.5 + steps * (tangent[1], -tangent[0])).T
    return map_coordinates(thickness(tree, film, size)[0], [y, x], order=1)


def lumen(across: np.ndarray) -> float:
    """Diameter by densitometry: the area under a cylinder's profile goes with its square."""
    return float(np.sqrt(across.sum()))


@pytest.mark.parametrize(("view", "segment"), ALL)
def test_the_lumen_is_narrowed_by_percent(view: str, segment: str) -> None:
    tree = grow_tree(view, 14, 0.0, np.random.default_rng(0))
    for percent in (30, 50, 70, 90):
        [lesion] = plant(tree, [(segment, percent)], np.random.default_rng(1))
        share = lumen(profile(narrowed(tree, [lesion]), lesion, 64)) / lumen(profile(tree, lesion, 64))
        # A picture of 64 pixels blurs along the vessel: a tenth of the lumen is left to that.
        assert share == pytest.approx(1 - percent / 100, abs=0.1)


def test_width_at_half_height_at_a_resolution_that_shows_it() -> None:
    tree = grow_tree("right", 60, 0.0, np.random.default_rng(0))
    [lesion] = plant(tree, [("mRCA", 50)], np.random.default_rng(1))
    widths = [
        0.1 * (across > across.max() / 2).sum()
        for across in (profile(narrowed(tree, [lesion]), lesion, 256), profile(tree, lesion, 256))
    ]
    assert widths[0] / widths[1] == pytest.approx(0.5, abs=0.05)
    # A cylinder is at half its height at sqrt(3) / 2 of its radius; the pixel adds half a pixel or so.
    radius = tree.radius[distance_to(tree, lesion).argmin()] * 256
    assert 4 * widths[1] == pytest.approx(np.sqrt(3) * radius, rel=0.1)


def test_a_stenosis_is_several_pixels_long_and_spares_the_rest() -> None:
    tree = grow_tree("left", 40, 0.0, np.random.default_rng(0))
    [lesion] = plant(tree, [("mLAD", 70)], np.random.default_rng(1))
    changed = np.flatnonzero(narrowed(tree, [lesion]).radius < 0.8 * tree.radius)
    assert 64 * np.ptp(tree.along[changed]) >= 4
    assert set(tree.segment[changed]) == {"mLAD"}


def clips_of(n: int = 12, **dials) -> list[Clip]:
    return angiography_phantom(n, n_frames=8, size=48, **dials)


def test_the_same_arguments_give_the_same_clips() -> None:
    first, again, other = (clips_of(4, seed=seed) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.source, two.source)
        assert (one.id, one.report, one.stenoses) == (two.id, two.report, two.stenoses)
    assert [clip.report for clip in first] != [clip.report for clip in other]


def test_a_clip_has_a_seed_of_its_own() -> None:
    quiet, loud = (angiography_phantom(4, (1, most), 8, 48, seed=3) for most in (1, 2))
    more = {clip.id: clip for clip in loud}
    for clip in quiet:
        assert np.array_equal(clip.source, more[clip.id].source), "whatever other clips are made beside it"


def test_clips_of_a_study_share_all_but_the_angulation() -> None:
    clips = clips_of(6, n_views=(2, 2), noise=0.0, share_normal=0.0, seed=5)
    assert len(clips) == 12
    for one, two in zip(clips[::2], clips[1::2], strict=True):
        assert (one.study, one.patient, one.view, one.report) == (
            two.study,
            two.patient,
            two.view,
            two.report,
        )
        assert one.findings == two.findings and one.id != two.id
        assert np.abs(one.source.astype(float) - two.source).mean() > 2
        moved = [np.subtract(a.box, b.box) for a, b in zip(one.stenoses, two.stenoses, strict=True)]
        assert np.abs(moved).max() > 1 / 48


def test_reports_are_true_and_boxes_lie_in_the_picture() -> None:
    clips = clips_of(25, seed=6, difficulty=2.0)
    for clip in clips:
        assert clip.source.shape == (8, 48, 48) and clip.source.dtype == np.uint8
        assert clip.view in clip.report.lower()
        for found in clip.stenoses:
            assert found.segment in SEGMENTS[clip.view] and 0 <= found.frame < 8
            after = clip.report[clip.report.index(found.segment) :].split(".")[0]
            assert f"{found.percent}%" in after
            sides = np.subtract(found.box[2:], found.box[:2]) * 48
            assert (sides >= 3).all() and (sides <= 14).all()
        assert bool(clip.stenoses) != ("no significant stenosis" in clip.report.lower())
        assert len({found.segment for found in clip.stenoses}) == len(clip.stenoses)
    assert {clip.view for clip in clips} == {"left", "right"}


def test_contrast_comes_from_the_ostium_and_goes() -> None:
    [clip] = angiography_phantom(1, (1, 1), noise=0.0, difficulty=0.0, motion=0.0, seed=2, share_normal=1.0)
    light = clip.source.astype(float)
    darkness = light[0].max() - light
    total = darkness.mean((1, 2))
    peak = int(total.argmax())
    assert 3 <= peak <= 11 and total[0] < 0.3 * total[peak] and total[-1] < 0.5 * total[peak]
    tree = grow_tree(clip.view, 10, 0.0, np.random.default_rng(0))
    near, far = (project(tree.points[[k]], (0.0, 0.0))[0] * 64 for k in (12, np.argmax(tree.along) - 6))
    near_curve, far_curve = (darkness[:, int(y), int(x)] for x, y in (near, far))

    def reached(curve: np.ndarray) -> int:
        return int(np.argmax(curve > 0.5 * curve.max()))

    assert reached(near_curve) < reached(far_curve), "the proximal end fills first"
    assert near_curve[-4] < 0.6 * near_curve.max() < far_curve[-6], "and is washed out first"


def test_left_and_right_differ_in_geometry() -> None:
    clips = angiography_phantom(30, (1, 1), 8, 32, noise=0.0, seed=1)
    shadow = {
        view: np.mean(
            [clip.source.max(0) - clip.source.min(0).astype(float) for clip in clips if clip.view == view], 0
        )
        for view in SEGMENTS
    }
    assert np.corrcoef(shadow["left"].ravel(), shadow["right"].ravel())[0, 1] < 0.4


def test_a_stenosis_shows_in_its_box() -> None:
    """The box of a tight stenosis holds less contrast than the same place in a healthy copy of the clip."""
    lighter = []
    for seed in range(6):
        sick, healthy = (
            angiography_phantom(
                2, (1, 1), 8, percents=(90,), share_normal=share, noise=0.0, same_patient=0.0, seed=seed
            )
            for share in (0.0, 1.0)
        )
        for one, two in zip(sick, healthy, strict=True):
            if one.view != two.view:
                continue
            for found in one.stenoses:
                y0, x0, y1, x1 = (round(edge * 64) for edge in found.box)
                window = found.frame, slice(y0, y1), slice(x0, x1)
                lighter.append(one.source[window].mean() - two.source[window].mean())
    assert len(lighter) >= 5 and min(lighter) > 5


def test_the_dials_turn_what_they_say() -> None:
    normal = [len(clip.stenoses) == 0 for clip in clips_of(40, n_views=(1, 1), share_normal=0.5, seed=1)]
    assert 0.3 < np.mean(normal) < 0.7
    counts = {len(clip.stenoses) for clip in clips_of(12, n_findings=(2, 4), share_normal=0.0)}
    assert counts == {2, 3, 4}
    assert {p for clip in clips_of(10, percents=(35, 75)) for _, p in clip.findings} == {35, 75}
    calm, loud = (clips_of(1, noise=noise, n_views=(1, 1))[0].source.astype(float) for noise in (0, 4))
    assert np.abs(loud - calm).mean() > 5
    patients = [
        len({clip.patient for clip in clips_of(24, n_views=(1, 1), same_patient=share)})
        for share in (0.0, 0.5)
    ]
    assert patients[0] == 24 and 5 < patients[1] < 20
    assert len({clip.report for clip in clips_of(16, percents=(50,), n_findings=(1, 1))}) > 8, "wordings"


def test_duplicates_are_as_many_as_asked_and_true() -> None:
    clips = clips_of(40, n_views=(1, 1), duplicate_rate=0.4, distinct=True, seed=2)
    reports = Counter(clip.report for clip in clips)
    assert sum(count - 1 for count in reports.values()) == 16
    content: dict[str, set] = {}
    for clip in clips:
        content.setdefault(clip.report, set()).add((clip.view, clip.findings))
    assert all(len(found) == 1 for found in content.values()), "equal reports, equal findings"
    assert len({clip.source.tobytes() for clip in clips}) == 40, "but other films"


def test_two_hundred_distinct_studies() -> None:
    from mtl.datasets.phantoms.angiography.plan import plan_studies

    percents = (30, 40, 50, 60, 70, 80, 90)
    plans = plan_studies(1000, 0.2, (1, 3), percents, 0.0, 0.2, True, np.random.default_rng(0))
    assert len({plan.report for plan in plans}) == len({(p.view, p.findings) for p in plans}) == 1000
    assert len(clips_of(30, n_views=(1, 1), distinct=True)) == 30
    with pytest.raises(ParameterError, match=r"distinct=True: n_studies=30 contents cannot be found"):
        clips_of(30, distinct=True, n_findings=(1, 1), percents=(50,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_studies": 0}, {"n_views": (0, 1)}, {"n_views": (1, 3)}, {"n_views": (2, 1)}, {"n_frames": 0},
        {"size": 16}, {"n_findings": (0, 2)}, {"percents": ()}, {"percents": (52,)}, {"percents": (100,)},
        {"share_normal": 1.2}, {"duplicate_rate": 1.0}, {"same_patient": 1.0}, {"noise": -1},
        {"difficulty": 9}, {"motion": -0.1},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_named(wrong: dict) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        angiography_phantom(**wrong)
