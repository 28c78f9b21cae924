"""The sentences at the top of the reports: templates whose figures are read from ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mtl.studies.angiography.variants import COMPARED, shown_variant

#: Verdict on ``{who}`` against another, in words.
_READINGS = {
    "positive": "{who} better",
    "non-inferior": "{who} not worse by more than the margin",
    "negative": "{who} worse",
    "inconclusive": "no difference shown",
    "no verdict": "no verdict",
}
PHANTOM_CLAIM = "This is a claim about phantoms, not about patients."


def reading(verdict: str, of_settings: bool = False) -> str:
    """A verdict in words: on all objectives against fewer, or on the run's own setting against another."""
    return _READINGS[verdict].format(who="the run's own setting is" if of_settings else "all objectives are")


def _marked(said: str, section: Mapping[str, Any]) -> str:
    """What is said, with the claim that it is of phantoms where it is."""
    return f"{said} {PHANTOM_CLAIM}" if section["made_up"] else said


def data_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 01, from its section ``data_and_reports``."""
    of = "data_and_reports"
    said = [
        f"{{{of}.clips}} clips; {{{of}.test_studies}} studies with {{{of}.distinct_test_reports}} different "
        f"reports are tested, {{{of}.copied_test_reports}} of which say what a training report says word for "
        f"word. The most frequent training report, which needs no film, has a field F1 of "
        f"{{{of}.blind.field_f1}} there."
    ]
    return _marked(" ".join(said), section)


def training_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 02, from its section ``training``."""
    shares = section["update_share"]
    if not shares:
        return _marked("One objective alone moves the encoder: there is nothing to compare.", section)
    largest = max(shares, key=lambda task: shares[task])
    counts = section["pairs"]
    said = [
        f"At the end of training *{largest}* moves the shared video encoder most: "
        f"{{training.update_share.{largest}:.0%}} of the update is its doing."
    ]
    if counts.get("conflict") is not None:
        said.append(
            "Of the pairs of objectives {training.pairs.conflict} conflict and {training.pairs.agree} agree "
            "beyond the noise of the probe batches."
        )
    return _marked(" ".join(said), section)


def captions_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 03, from its section ``retrieval_and_captions``."""
    of, said = "retrieval_and_captions", []
    if section["retrieval"]:
        said.append(
            f"Among the reports of {{{of}.test_studies}} test studies the right one comes first for "
            f"{{{of}.retrieval.to_report.recall_1}} of the films, and the right film first for "
            f"{{{of}.retrieval.to_video.recall_1}} of the reports (chance "
            f"{{{of}.chance.to_report.recall_1:.3f}})."
        )
    if section["fields"]:
        said.extend(_of_written(of, section))
    if section["alarms_said"]:
        said.append(f"Alarms: {{{of}.alarms_said:text}}.")
    return _marked(" ".join(said) or "Neither contrast nor captions are objectives of this run.", section)


def _of_written(of: str, section: Mapping[str, Any]) -> list[str]:
    if not section["fields_defined"]:
        return ["No segment is named in the test reports or in what is written of their films: no field F1."]
    percents = f"; the percentage is off by {{{of}.fields.captions.percent_mae_all}} points over all findings"
    return [
        f"Written reports have a field F1 of {{{of}.fields.captions.field_f1}}, the best control "
        f"({{{of}.best_control:text}}) {{{of}.best_control_f1}}"
        f"{percents if section['percents_defined'] else ''}.",
        "**The writer is not shown to use the film**: with films exchanged between studies it does as well."
        if section["ignores_video"]
        else f"With films exchanged between studies it loses {{{of}.gain_on_shuffled}}: the writer looks at "
        "the film.",
    ]


def objectives_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 04, from its section ``which_objective_helps``."""
    return _differences("which_objective_helps", section, "All objectives minus")


def settings_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 05, from its section ``contrast_and_masking``."""
    return _differences("contrast_and_masking", section, "The run's own setting minus", True)


def _differences(of: str, section: Mapping[str, Any], head: str, of_settings: bool = False) -> str:
    said = []
    for variant, found in section["differences"].items():
        parts = [
            f"{COMPARED[metric]} {{{of}.differences.{variant}.{metric}.estimate}} "
            f"(*{reading(row['verdict'], of_settings)}*)"
            for metric, row in found.items()
        ]
        if parts:
            said.append(f"{head} {shown_variant(variant)}: {'; '.join(parts)}.")
    return _marked(" ".join(said) or "Only one set was trained: nothing to compare.", section)


def clip_answer(section: Mapping[str, Any]) -> str:
    """Of notebook 06, from its section ``one_clip_in_depth``."""
    of = "one_clip_in_depth"
    said = [f"Of this film the network writes: *{{{of}.written:text}}* The true report: *{{{of}.true:text}}*"]
    if section["steps"] > 1:
        said.append(f"Its attention is largest in step {{{of}.peak_step}} of {{{of}.steps}}.")
    if "pointing" in section["grounding"]:
        said.append(
            f"Over {{{of}.clips}} test clips the largest attention lies in the true box in "
            f"{{{of}.grounding.pointing}} of them, where chance is {{{of}.grounding.pointing_chance}}."
        )
    return _marked(" ".join(said), section)
