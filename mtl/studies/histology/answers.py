"""The sentences at the top of the reports: templates whose figures are read from ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        f"of labels {{{of}.outlined}} of the {{{of}.training_nuclei}} in the first fold's training part are "
        f"outlined, {{{of}.outlined_pixels:.1%}} of its pixels, and all other pixels have no label. Without "
        f"learning anything Otsu's threshold and a watershed, tuned on validation tiles, reach a PQ of "
        f"{{{of}.otsu.pq}} on the test tiles (AJI {{{of}.otsu.aji}}, Dice {{{of}.otsu.dice}})."
    )


def losses_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 02, from its section ``losses_one_by_one``."""
    of = "losses_one_by_one"
    return (
        "Each of the eight losses is shown with a case in which it helps and one in which it does not. With "
        f"this run's weights ({{{of}.n_losses}} losses) the largest is *{{{of}.largest:text}}*, "
        f"{{{of}.largest_share:.0%}} of the total of an untrained network on a batch of this run; all terms "
        "that see no outline border or map make up "
        f"{{{of}.unlabelled_share:.0%}}."
    )


def training_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 03, from its section ``training``."""
    shares, alphas, shown = section["update_share"], section["alphas"], section["shown"]
    moves_most = max(shares, key=lambda loss: shares[loss])
    weighs_most = max(shares, key=lambda loss: alphas[loss])
    said = [
        f"With the weights of this run the encoder is moved most by the loss *{shown[moves_most]}*: at the "
        f"end of training {{training.update_share.{moves_most}:.0%}} of the update is its doing."
    ]
    weight = f"{{training.alphas.{weighs_most}:g}}"
    if weighs_most == moves_most:
        said.append(f"Its weight of {weight} is the largest as well.")
    else:
        said.append(
            f"The loss *{shown[weighs_most]}*, whose weight of {weight} is the largest, has "
            f"{{training.update_share.{weighs_most}:.0%}} of it: a weight says little without the size of "
            "the gradient behind it."
        )
    at_ten = section["share_at_ten"]
    least, most = (choose(at_ten, key=lambda loss: at_ten[loss]) for choose in (min, max))
    if least != most:
        said.append(
            f"A weight of ten would mean {{training.share_at_ten.{most}:.0%}} of the update for "
            f"*{shown[most]}*, and {{training.share_at_ten.{least}:.0%}} for *{shown[least]}*."
        )
    if section["precision"] is not None:
        said.append(
            "Pseudo-labels of nuclei are right on {training.precision:.0%} of their pixels in the last epoch "
            "and find {training.recall:.0%} of the nucleus pixels that nobody drew."
        )
    return " ".join(said)


def fractions_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 04, from its section ``label_fractions``."""
    of = "label_fractions"
    said = []
    if section["against_segmentation"]:
        rows = [
            f"at {{{of}.against_segmentation.{n}.percent:g}} % of the labels "
            f"{{{of}.against_segmentation.{n}.estimate}} (*{READINGS[row['verdict']]}*)"
            for n, row in enumerate(section["against_segmentation"])
        ]
        said.append(f"PQ of all losses minus that of the segmentation loss alone: {'; '.join(rows)}.")
    if section["leave_one_out"]:
        said.append(
            f"Of {{{of}.n_left_out}} losses left out one by one (at {{{of}.left_out_at:text}} of labels), "
            f"{{{of}.n_helpful}} cost PQ when missing and {{{of}.n_harmful}} cost PQ by being there, as far "
            f"as {section['interval_kind']} tell, each by itself (not corrected for how many were tried)."
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
        f"{{{of}.network.pq}}, the tuned Otsu watershed {{{of}.otsu.pq}}; network minus watershed, paired by "
        f"image: {{{of}.minus_otsu}}."
    ]
    if section["outside"]:
        said.append(f"On the outside set ({{{of}.outside.name:text}}) its PQ is {{{of}.outside.pq}}.")
    return " ".join([*said, f"Alarms: {{{of}.alarms_said:text}}."])


def alarms_said(rung: Sequence[Mapping[str, str]], n_methods: int) -> str:
    """Alarms in a sentence; those that all methods share in a part are said once.

    rung: rows of ``part``, ``method`` and ``alarm``.
    """
    methods: dict[tuple[str, str], list[str]] = {}
    for row in rung:
        methods.setdefault((row["part"], row["alarm"]), []).append(row["method"])
    said = [
        f"{part}, {'every method' if len(who) == n_methods else ' and '.join(who)}: {alarm}"
        for (part, alarm), who in methods.items()
    ]
    return "; ".join(said) or "none"


def loop_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 06, from its section ``annotation_loop``."""
    of = "annotation_loop"
    return (
        f"After {{{of}.actions}} actions each, reviewing proposals has outlined {{{of}.proposals.outlined}} "
        f"nuclei and reaches a PQ of {{{of}.proposals.pq}}; drawing in random order has outlined "
        f"{{{of}.random_order.outlined}} and reaches {{{of}.random_order.pq}}. Paired by image the "
        f"difference is {{{of}.difference}}: one run of each way, so **no verdict** on the ways as such."
    )
