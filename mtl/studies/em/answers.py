"""The answers of the notebooks, worded as their numbers allow: templates for ``claim``, no number in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: What the losses of a head are called in a sentence.
LOSSES = {
    "semantic": "the semantic losses",
    "instance": "the embedding losses",
    "geometry": "the geometry losses",
    "target": "the loss of the mask head",
}

#: What a verdict says of automatic segmentation when the proofread mode is trained as well.
COST = {
    "positive": "better with it",
    "non-inferior": "a loss as large as the margin is excluded",
    "negative": "worse with it",
    "inconclusive": "inconclusive",
    "no verdict": "no verdict",
}


def data_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 01, from its section ``data_and_targets``."""
    told = section["told"]
    sentences = [
        "Without a network, an **intensity watershed** tuned on the validation part reaches an adapted Rand "
        "error (lower is better) of {data_and_targets.watershed.adapted_rand} on the test part.",
        "Its split is {data_and_targets.watershed.voi_split} bits and its merge "
        "{data_and_targets.watershed.voi_merge} bits; intervals are over "
        "{data_and_targets.watershed.adapted_rand.n} {data_and_targets.blocks:text}.",
        "The volume holds {data_and_targets.objects} objects, {data_and_targets.objects_that_count} of them "
        "large enough to count; {data_and_targets.unknown:.0%} of its voxels are unknown.",
        "The network is told {data_and_targets.told.labelled} of the {data_and_targets.told.objects} objects "
        "of the training part" + _untold(told) + ".",
    ]
    return " ".join(sentences)


def _untold(told: Mapping[str, Any]) -> str:
    if told["labelled"] == told["objects"]:
        return ""
    if told["asked"] < 1:
        return "; a chance of {data_and_targets.told.asked} per object was asked for"
    return (
        ": what is missing is so thin that the line drawn between touching objects covers it, and is taught "
        "as background ({data_and_targets.told.line_share:.0%} of the object voxels are in that line)"
    )


def training_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 02, from its section ``training``: what cannot be told from zero is not called harmony."""
    sentences = ["At the end of training (arm {training.first_arm:text}), " + _conflicts(section) + "."]
    if section["lowest"]:
        sentences.append(
            "The lowest cosine is {training.lowest.cosine} ({training.lowest.first:text} against "
            "{training.lowest.second:text}; magnitude similarity {training.lowest.similarity}: near zero, "
            "one of the two gradients is next to nothing beside the other)."
        )
    if section["same_head"]["pairs"]:
        sentences.append(
            "The same head in both modes agrees in {training.same_head.agree} of {training.same_head.pairs} "
            "pairs, which says little: its two losses share labels and most of their input."
        )
    sentences += _both_modes(section)
    shares = [f"{{training.update_share.{head}:.0%}} for {LOSSES[head]}" for head in section["update_share"]]
    if shares:
        sentences.append(f"Shares of the update (below zero: pushed back): {listed(shares)}.")
    return " ".join(sentences)


def training_headline(section: Mapping[str, Any]) -> str:
    """What a card says of the pairs of different heads, from the section ``training``."""
    counts = section["different_heads"]
    if counts["no_verdict"] == counts["pairs"]:
        return "no verdict"
    return f"{counts['conflict']} conflict / {counts['agree']} agree / {counts['unclear']} unclear"


def evaluation_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 03, from its section ``decoding_and_evaluation``."""
    of = "decoding_and_evaluation"
    sentences = [
        "Against the intensity watershed, the network that did best on validation "
        f"({{{of}.network.name:text}}; decoding: {{{of}.network.decoding:text}}) changes the adapted Rand "
        f"error (lower is better) on the test part by {{{of}.minus_baseline}}: *{{{of}.reading:text}}*.",
        f"The network has {{{of}.network.scores.adapted_rand}}, the intensity watershed "
        f"{{{of}.baseline.adapted_rand}}; intervals are over {{{of}.minus_baseline.n}} {{{of}.blocks:text}}.",
    ]
    if section["proofread_cost"]:
        sentences.append(
            "Training to listen to clicks as well changes the first arm's error by "
            f"{{{of}.proofread_cost.difference}}: *{COST[section['proofread_cost']['verdict']]}* "
            "(these two networks)."
        )
    return " ".join(
        [*sentences, f"Alarms of this network and of the test part: {{{of}.alarms_of_network:text}}."]
    )


def error_reading(low: float | None, high: float | None) -> str:
    """What the interval of a difference between two errors says of the method that comes first in it."""
    if low is None or high is None:
        return "no verdict"
    if high < 0:
        return "the network is better"
    return "the network is worse" if low > 0 else "no difference shown"


def clicks_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 04, from its section ``click_curves``: arms are told apart by p-values after Holm."""
    of = "click_curves"
    often = f"{{{of}.clicks}} click" + ("s" if section["clicks"] != 1 else "")
    sentences = [
        f"After {often} the arm {{{of}.best.arm:text}} stands at a Dice of {{{of}.best.dice}}; without a "
        f"click it was {{{of}.zero}}, a change of {{{of}.best.gain}} per object ({{{of}.zero.n}} objects)."
    ]
    if not section["practised"]:
        sentences.append(
            "No arm was trained in the proofread mode: what it answers to clicks was never practised."
        )
    rows = [
        _compared(f"{of}.comparisons.{number}", row["verdict"])
        for number, row in enumerate(section["comparisons"])
        if row["figure"] == f"dice@{section['clicks']}"
    ]
    if rows:
        sentences.append(
            f"In Dice after {often}, paired by object, with p-values corrected for all {{{of}.family}} "
            f"comparisons of the table (Holm): {'; '.join(rows)}. These readings are about the networks "
            "trained here, and the arm named first was picked on these very objects."
        )
        sentences += _other_way(section)
    return " ".join([*sentences, f"Alarms: {{{of}.alarms:text}}."])


def listed(parts: Sequence[str]) -> str:
    """One, two and three."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _other_way(section: Mapping[str, Any]) -> list[str]:
    """Arms that one measure calls better than the first and another one worse."""
    said: dict[str, set[str]] = {}
    for row in section["comparisons"]:
        said.setdefault(row["second"], set()).add(row["verdict"])
    torn = [arm for arm, verdicts in said.items() if {"better", "worse"} <= verdicts]
    return [f"Other measures of the table say the opposite of {listed(torn)}."] if torn else []


def _conflicts(section: Mapping[str, Any]) -> str:
    counts, heads = section["different_heads"], "{training.different_heads"
    if counts["no_verdict"] == counts["pairs"]:
        pairs = f"any of the {heads}.pairs}} pairs of different heads"
        return f"there is **no verdict** on {pairs} ({heads}.why:text}})"
    text = (
        f"of {heads}.pairs}} pairs of tasks of different heads (of {{training.pairs_of_heads}} pairs of "
        f"heads, each in every combination of modes) {heads}.conflict}} conflict, {heads}.agree}} agree and "
        f"{heads}.unclear}} cannot be told from zero ({heads}.batches:text}} probe batches)"
    )
    if counts["no_verdict"]:
        text += f", with **no verdict** on {heads}.no_verdict}} more ({heads}.why:text}})"
    return text


def _both_modes(section: Mapping[str, Any]) -> list[str]:
    """What the clicks change in the losses, or that there is but one mode."""
    if len(section["modes"]) == 1:
        return [
            "Only the {training.modes.0:text} mode was trained: of two modes against each other this run "
            "says nothing."
        ]
    change = section["clicks_change"]
    if change is None:
        return []
    if change["value"] == 0:
        return ["Clicks change none of its training losses."]
    style = ".1%" if change["value"] >= 0.01 else ".3%"
    side = "higher" if change["higher"] else "lower"
    where = f"{LOSSES[change['head']]} of epoch {{training.clicks_change.epoch}}"
    return [
        f"Clicks change its training losses by {{training.clicks_change.value:{style}}} at most ({where}: "
        f"{side} with clicks)."
    ]


def _compared(row: str, verdict: str) -> str:
    first, second = (f"{{{row}.{key}:text}}" for key in ("first", "second"))
    p = f"p {{{row}.p_holm:p}}"
    if verdict in ("better", "worse"):
        return f"{second} is {verdict} than {first} ({p})"
    if verdict == "no verdict":
        return f"no verdict on {second} against {first}"
    return f"no difference between {second} and {first} is shown ({p})"
