"""The sentences at the top of the reports: templates whose figures are read from ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

READINGS = {
    "positive": "all losses are better",
    "non-inferior": "all losses are not worse by more than the margin",
    "negative": "all losses are worse",
    "inconclusive": "no difference shown",
    "no verdict": "no verdict",
}


def data_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 01, from its section ``data_and_sparse_labels``."""
    of = "data_and_sparse_labels"
    return (
        f"{{{of}.tiles}} tiles of {{{of}.groups}} groups hold {{{of}.nuclei}} nuclei; at the smallest share "
        "of labels "
        f"{{{of}.outlined}} of the {{{of}.training_nuclei}} in the first fold's training part are outlined, "
        f"{{{of}.outlined_pixels:.1%}} of its pixels, and all other pixels have no label. Without learning "
        "anything "
        f"Otsu's threshold and a watershed, tuned on validation tiles, reach a PQ of {{{of}.otsu.pq}} on the "
        "test "
        f"tiles (AJI {{{of}.otsu.aji}}, Dice {{{of}.otsu.dice}})."
    )


def losses_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 02, from its section ``losses_one_by_one``."""
    of = "losses_one_by_one"
    return (
        "Every one of the eight losses has a case in which it helps and one in which it harms. With the "
        "described "
        f"weights the edge term makes up {{{of}.edge_share:.0%}} of the total of an untrained network on a "
        "batch of "
        "this run, and all five terms that see no outline border or map together "
        f"{{{of}.unlabelled_share:.0%}}."
    )


def training_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 03, from its section ``training``."""
    shares = section["update_share"]
    largest = max(shares, key=lambda loss: shares[loss])
    said = [
        f"With the weights of this run the encoder is moved most by the loss *{section['shown'][largest]}*: "
        "at the end "
        f"of training {{training.update_share.{largest}:.0%}} of the update is its doing."
    ]
    if "edge" in shares:
        said.append(
            "The edge loss, whose weight of {training.alphas.edge:g} is the largest, has "
            "{training.update_share.edge:.0%} of it: a weight says little without the size of the gradient "
            "behind it."
        )
    if section["precision"] is not None:
        said.append(
            "Pseudo-labels of nuclei are right on {training.precision:.0%} of their pixels in the last epoch "
            "and "
            "find {training.recall:.0%} of the nucleus pixels that nobody drew."
        )
    return " ".join(said)


def fractions_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 04, from its section ``label_fractions``."""
    of = "label_fractions"
    said = []
    if section["against_segmentation"]:
        rows = [
            f"at {{{of}.against_segmentation.{n}.percent:g}} % of the labels "
            f"{{{of}.against_segmentation.{n}.estimate}} "
            f"(*{READINGS[row['verdict']]}*)"
            for n, row in enumerate(section["against_segmentation"])
        ]
        said.append(f"PQ of all losses minus that of the segmentation loss alone: {'; '.join(rows)}.")
    if section["leave_one_out"]:
        said.append(
            f"Of {{{of}.n_left_out}} losses left out one by one at the smallest share, {{{of}.n_helpful}} "
            "cost PQ when "
            f"missing and {{{of}.n_harmful}} cost PQ by being there, as far as {section['interval_kind']} "
            "tell."
        )
    said.append(f"{{{of}.seeds}} training(s) per arm and fold, {{{of}.images}} test images.")
    if section["seeds"] < 5:
        said.append(
            "Fewer than five seeds: differences are those of these very networks, **no verdict** on the "
            "losses."
        )
    return " ".join(said)


def evaluation_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 05, from its section ``evaluation``."""
    of = "evaluation"
    said = [
        f"On the test tiles, at {{{of}.percent:g}} % of the labels, all losses reach a PQ of "
        f"{{{of}.network.pq}}, the "
        f"tuned Otsu watershed {{{of}.otsu.pq}}; paired by image the network is ahead by {{{of}.minus_otsu}}."
    ]
    if section["outside"]:
        said.append(f"On the outside set ({{{of}.outside.name:text}}) its PQ is {{{of}.outside.pq}}.")
    return " ".join([*said, f"Alarms: {{{of}.alarms_said:text}}."])


def loop_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 06, from its section ``annotation_loop``."""
    of = "annotation_loop"
    return (
        f"After {{{of}.actions}} actions each, reviewing proposals has outlined {{{of}.proposals.outlined}} "
        "nuclei and "
        f"reaches a PQ of {{{of}.proposals.pq}}; drawing in random order has outlined "
        f"{{{of}.random_order.outlined}} "
        f"and reaches {{{of}.random_order.pq}}. Paired by image the difference is {{{of}.difference}}: one "
        "run of each "
        "way, so **no verdict** on the ways as such."
    )
