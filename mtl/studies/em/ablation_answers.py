"""The answer of the ablations' notebook, a template for ``claim`` worded as its numbers allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mtl.evaluation.statistics import Estimate
from mtl.studies.em.answers import listed


def sides_of_zero(differences: Mapping[str, tuple[float | None, float | None]]) -> dict[str, list[str]]:
    """Names of differences by where their interval (low, high) lies: ``above`` zero, ``below`` it, on
    ``neither`` side, or ``unknown`` without an interval."""
    sides: dict[str, list[str]] = {"above": [], "below": [], "neither": [], "unknown": []}
    for name, (low, high) in differences.items():
        if low is None or high is None:
            sides["unknown"].append(name)
        else:
            sides["above" if low > 0 else "below" if high < 0 else "neither"].append(name)
    return sides


def ablations_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 05, from its section ``ablations``: its first sentence says that there is no verdict."""
    arm, skipped = "the arm {ablations.first_arm:text}", _skipped(section)
    if section["n"] == 0:
        nothing = f"Nothing that the ablations of this run take away is in {arm}"
        return f"{nothing}: there is nothing to compare, and **no verdict**. {skipped}".strip()
    farthest = "*{ablations.farthest.name:text}*"
    if section["n"] == 1:
        found = (
            f"{arm} was trained again once ({farthest}); its adapted Rand error then, minus what it was, is "
            f"{{ablations.farthest.difference}}: *{_one_side(section['sides'])}*."
        )
        sentences = [f"One training of each, so **no verdict**: {found}"]
    else:
        sentences = [
            f"One training of each, so **no verdict**: of {{ablations.n}} ablations of {arm}, the intervals "
            f"over blocks put the adapted Rand error of {_sides(section['sides'])}.",
            *_against_arms(section),
            f"Farthest from the arm, on either side, is {farthest}: its error minus the arm's is "
            "{ablations.farthest.difference} (below zero: better than the arm).",
        ]
    labels = [_labelled(name) for name, share in section["labels"].items() if share["asked"] < 1]
    if labels:
        sentences.append(f"Labels: {'; '.join(labels)}.")
    return " ".join([*sentences, skipped]).strip()


def _against_arms(section: Mapping[str, Any]) -> list[str]:
    """How large the differences are beside those between the arms."""
    if not section["spread"]:
        return []
    return [
        "The {ablations.n_arms} arms, whose backbones learn from the same losses, lie up to "
        "{ablations.spread:.2f} apart themselves; {ablations.beyond_spread} of the differences are larger "
        "than that."
    ]


def ablations_headline(
    arm: str, differences: Mapping[str, Estimate], sides: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """What a card says of the ablations: how many lie on which side, then the differences, largest first."""
    if not differences:
        return []
    farthest = sorted(differences, key=lambda name: -abs(differences[name].value or 0.0))
    label = "Ablations with a higher error / a lower one / no difference shown"
    counted = " / ".join(str(len(sides[side])) for side in ("above", "below", "neither"))
    return [
        {"label": label, "value": counted},
        *(
            {"label": f"Adapted Rand error, {name}, minus {arm}", "value": differences[name]}
            for name in farthest
        ),
    ]


def _one_side(sides: Mapping[str, Sequence[str]]) -> str:
    said = {
        "above": "worse than the arm, by its interval over blocks",
        "below": "better than the arm, by its interval over blocks",
        "neither": "no difference shown",
        "unknown": "without an interval",
    }
    return next(text for side, text in said.items() if sides[side])


def _sides(sides: Mapping[str, Sequence[str]]) -> str:
    """How many ablations are above the arm, below it and on neither side, as a template without names: what
    one training puts on a side, the next one may not."""
    parts = [
        f"{_counted(sides, 'above')} above the arm's",
        f"of {_counted(sides, 'below')} below it",
        f"of {_counted(sides, 'neither')} on neither side (no difference shown)",
    ]
    return listed(parts) + f"; {_counted(sides, 'unknown')} without an interval" * bool(sides["unknown"])


def _counted(sides: Mapping[str, Sequence[str]], side: str) -> str:
    return f"{{ablations.counts.{side}}}" if sides[side] else "none"


def _labelled(name: str) -> str:
    of = "{ablations.labels." + name
    shares = f"{of}.objects_share:.0%}} of the objects and {of}.foreground_share:.0%}} of their voxels"
    return f"*{of}.name:text}}* came to {shares}"


def _skipped(section: Mapping[str, Any]) -> str:
    return "Not trained, because it would change nothing in this run: {ablations.skipped:text}." * bool(
        section["skipped"]
    )
