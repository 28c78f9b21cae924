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
    return ": what is missing is so thin that the line drawn between touching objects covers it"


def training_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 02, from its section ``training``: conflicts are counted among decided pairs only."""
    sentences = ["At the end of training (arm {training.first_arm:text}), " + _conflicts(section) + "."]
    if section["lowest"]:
        sentences.append(
            "The lowest cosine is {training.lowest.cosine:.2f} ({training.lowest.first:text} against "
            "{training.lowest.second:text})."
        )
    if len(section["modes"]) == 1:
        sentences.append(
            "Only the {training.modes.0:text} mode was trained: of two modes against each other this run "
            "says nothing."
        )
    shares = [f"{{training.update_share.{head}:.0%}} for {LOSSES[head]}" for head in section["update_share"]]
    if shares:
        sentences.append(f"Shares of the update (below zero: pushed back): {_listed(shares)}.")
    return " ".join(sentences)


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
            f"Paired by object, with p-values corrected for all {{{of}.family}} comparisons (Holm): "
            f"{'; '.join(rows)}. These readings are about the networks trained here, and the arm named first "
            "was picked on these very objects."
        )
    return " ".join([*sentences, f"Alarms: {{{of}.alarms:text}}."])


def ablations_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 05, from its section ``ablations``."""
    arm, what, skipped = (
        "the arm {ablations.first_arm:text}",
        "*{ablations.worst.name:text}*",
        _skipped(section),
    )
    if section["n"] == 0:
        nothing = f"Nothing that the ablations of this run take away is in {arm}"
        return f"{nothing}: there is nothing to compare, and **no verdict**. {skipped}".strip()
    difference = "its adapted Rand error minus the arm's is {ablations.worst.difference}."
    if section["n"] == 1:
        sentences = [f"One ablation of {arm} was trained, {what}: {difference}"]
    else:
        sentences = [f"Of {{ablations.n}} ablations of {arm}, {what} comes out worst: {difference}"]
    sentences.append("One training of each: **no verdict** on what was left out.")
    labels = [_labelled(name) for name, share in section["labels"].items() if share["asked"] < 1]
    if labels:
        sentences.append(f"Labels: {'; '.join(labels)}.")
    return " ".join([*sentences, skipped]).strip()


def _labelled(name: str) -> str:
    of = "{ablations.labels." + name
    shares = f"{of}.objects_share:.0%}} of the objects and {of}.foreground_share:.0%}} of their voxels"
    return f"*{of}.name:text}}* came to {shares}"


def _conflicts(section: Mapping[str, Any]) -> str:
    if not section["decided"]:
        return "there is **no verdict** on any of the {training.pairs} pairs of tasks ({training.why:text})"
    text = "{training.conflicts} of {training.decided} pairs of tasks conflict beyond sampling noise"
    if section["undecided"]:
        text += ", with **no verdict** on {training.undecided} more ({training.why:text})"
    return text


def _compared(row: str, verdict: str) -> str:
    first, second = (f"{{{row}.{key}:text}}" for key in ("first", "second"))
    p = f"p {{{row}.p_holm:p}}"
    if verdict in ("better", "worse"):
        return f"{second} is {verdict} than {first} ({p})"
    if verdict == "no verdict":
        return f"no verdict on {second} against {first}"
    return f"no difference between {second} and {first} is shown ({p})"


def _skipped(section: Mapping[str, Any]) -> str:
    return "Not trained, because it would change nothing in this run: {ablations.skipped:text}." * bool(
        section["skipped"]
    )


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
