# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Angiography: are reports found and written from the film, or from habit?
#
# **Question.** Does the network find the right report among all, and does what it writes beat reports that were written
# for other films?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/angiography/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/angiography/
data_root: str = ""  # folder of the data sets
videos: str = "phantom"  # phantom, or a table or folder below data_root
generation: str = "greedy"  # of reports: greedy, top_k, top_p, beam
codebook: int = 64  # codewords that masked patches are told apart by
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("angiography", globals())

# %% [markdown]
# ## Method
# Test studies only; nothing is chosen on them. *Retrieval*: a study's embedding is the mean of its clips'; identical reports
# are one candidate; ranks of ties are shared. *Reports* are written for every clip and read back as findings (segment,
# percent). Controls: the same reports with the **films exchanged between studies**, a blank film, the nearest training
# report, the most frequent one. If exchanged films do as well, the writer ignores the film, and this report says so.

# %%
import pandas as pd
from mtl.evaluation import angiography as evaluation
from mtl.reporting.claims import claim, format_figure, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_angiography import clip_sheet
from mtl.reporting.figures_angiography_curves import controls_plot, percent_scatter, retrieval_curves
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.angiography.answers import captions_answer
from mtl.studies.angiography import scoring
from mtl.studies.angiography.scoring import ALL_SEGMENTS, CAPTIONS, SHOWN_CONTROLS, SHOWN_PLACES, SHUFFLED
from mtl.studies.angiography.published import published_rows
from mtl.studies.angiography.study import AngiographyStudy
from mtl.studies.angiography.variants import SHOWN_MEASURES, SHOWN_PERCENTS, SHOWN_SCORES

use_report_style()
study = AngiographyStudy(parameters)

# %% [markdown]
# Every test clip is scored once; the tables are kept, and read back where they are there already.

# %%
first = study.first
tables = scoring.score_network(study, first)
settings = {"n_resamples": parameters.n_bootstrap, "seed": parameters.seed}
tasks = study.learnt(first.variant)
facts = {"objectives": ", ".join(tasks), "test clips": len(study.parts.test), "scores": ", ".join(tables)}
show_table(pd.DataFrame([facts]), source="predictions/", caption="What is scored", index=False)

# %% [markdown]
# ## Retrieval
# Both ways, with intervals over studies, beside what a similarity reaches that knows nothing, and beside the same network
# with its films exchanged between studies.

# %%
retrieval = evaluation.summarise_retrieval(tables["retrieval"], **settings) if "retrieval" in tables else {}
exchanged = evaluation.summarise_retrieval(tables["retrieval_shuffled"], **settings) if retrieval else {}
chance = evaluation.chance_levels(tables["retrieval"]) if retrieval else {}
rows = [
    {
        "direction": direction,
        "metric": metric.replace("recall_", "R@")
        .replace("mrr", "MRR")
        .replace("ndcg_", "NDCG@")
        .replace("_", " "),
        "network": estimate,
        "films exchanged": exchanged[direction].get(metric),
        "chance": format_figure(chance[direction].get(metric)),
    }
    for direction, found in retrieval.items()
    for metric, estimate in found.items()
]
show_table(
    pd.DataFrame(rows).astype(object), source="metrics.json#/retrieval_and_captions",
    caption="Retrieval on the test studies", index=False, if_empty="No contrastive objective in this run.",
)  # fmt: skip

# %% [markdown]
# Recall over the number of candidates that are looked at.

# %%
if retrieval:
    batches = scoring.test_batches(study, study.parts.test)
    vectors, texts, reports, names = scoring.study_embeddings(
        study, study.model(first).to(study.fabric.device), batches
    )
    n_reports = len(set(reports))
    ks = [k for k in (1, 2, 3, 5, 10, 20, 50, 100) if k <= n_reports]
    curve = evaluation.recall_curve(
        evaluation.retrieve(evaluation.cosine_similarity(vectors, texts), reports, names, ks=ks), **settings
    )
    shown = retrieval_curves(curve)
    show_figure(
        shown,
        alt="Recall at K both ways with intervals over studies, and chance.",
        source="predictions/",
    )

# %% [markdown]
# ## Has the common space collapsed?
# *Alignment*: mean squared distance of true pairs (0 to 4). *Uniformity*: the lower, the better the space is used.
# *Effective rank*: how many directions carry the embeddings, of at most the smaller of their number and their width.

# %%
monitors = evaluation.collapse_monitors(vectors, texts) if retrieval else {}
row = {name.replace("_", " "): value for name, value in monitors.items()} | {"width": parameters.width}
show_table(
    pd.DataFrame([row]) if monitors else pd.DataFrame(), source="metrics.json#/retrieval_and_captions",
    caption="Collapse monitors, test studies", index=False, if_empty="No contrastive objective in this run.",
)  # fmt: skip

# %% [markdown]
# ## Reports against their controls
# *Field F1*: segments that are named rightly with a percentage within ten points. *Error of percent*: over all findings of either report, a missing one
# counting as no narrowing; it is left out where no report has a percentage. *BLEU-4* rewards the template as much as the finding, which is why it is shown and not used.

# %%
arms = {}
if "captions" in tables:
    arms = {arm: part.reset_index(drop=True) for arm, part in tables["captions"].groupby("arm", sort=False)}
MEASURES = {
    "Field F1": (evaluation.field_f1, False),
    "Error of percent": (evaluation.percent_mae_all, True),
    "BLEU-4": (evaluation.bleu_4, False),
}
against = {
    name: evaluation.compare_with_controls(
        arms, statistic, captions=CAPTIONS, lower_is_better=lower, **settings
    )
    for name, (statistic, lower) in MEASURES.items()
    if arms
}
named = {
    name: table.assign(arm=table["arm"].map(SHOWN_CONTROLS))
    for name, table in against.items()
    if table["value"].notna().any()
}
if named:
    show_figure(
        controls_plot(named, captions=SHOWN_CONTROLS[CAPTIONS]),
        alt=f"{', '.join(named)} of the written reports and of every control.",
        source="metrics.json#/retrieval_and_captions",
    )

# %% [markdown]
# By how much the written reports are ahead, paired by clip, with intervals over studies.

# %%
rows = [
    {
        "measure": name,
        "control": row.arm,
        "gain": {"value": row.gain, "low": row.gain_low, "high": row.gain_high},
        "p (Holm)": row.p_holm,
    }
    for name, table in named.items()
    for row in table.itertuples()
    if row.arm != SHOWN_CONTROLS[CAPTIONS]
]
show_table(
    pd.DataFrame(rows).astype(object), source="metrics.json#/retrieval_and_captions",
    caption="Gain over each control; above 0 the written reports are better", index=False,
    if_empty="No captioning objective in this run.",
)  # fmt: skip

# %% [markdown]
# Every measure of every control. *Segment F1* leaves the percentage out. The *nearest training report* is a look-up by the same
# network's common space: it knows what contrast has learnt, but can only say what has been said. *Percent, matched*: error where both reports name the segment. *AUROC, severe*: of the
# highest percentage that is written, for a severe stenosis.

# %%
fields = {arm: evaluation.summarise_structured(table, **settings) for arm, table in arms.items()}
wording = {arm: evaluation.summarise_texts(table, **settings) for arm, table in arms.items()}
rows = [
    {"measure": label} | {SHOWN_CONTROLS[arm]: (fields[arm] | wording[arm]).get(name) for arm in fields}
    for name, label in SHOWN_SCORES.items()
    if fields
]
show_table(
    pd.DataFrame(rows).astype(object), source="metrics.json#/retrieval_and_captions",
    caption="Written reports and their controls", index=False, if_empty="No captioning objective in this run.",
)  # fmt: skip

# %% [markdown]
# How likely the network finds the true reports: nats per token, without label smoothing, and the perplexity that they make.

# %%
tokens = evaluation.summarise_tokens(tables["tokens"], **settings) if "tokens" in tables else {}
show_table(
    pd.DataFrame([{name.replace("_", "-"): value for name, value in tokens.items()}] if tokens else []),
    source="metrics.json#/retrieval_and_captions", caption="True reports under the network", index=False,
    if_empty="No captioning objective in this run.",
)  # fmt: skip

# %% [markdown]
# ## Does the writer look at the film?

# %%
verdict = (
    evaluation.ignores_video(arms[CAPTIONS], arms[SHUFFLED], evaluation.field_f1, **settings)
    if arms
    else None
)
row = {
    "gain of field F1 over exchanged films": verdict.difference.estimate if verdict else None,
    "reading": "not shown to use the film" if verdict and verdict.ignores_video else "uses the film",
}
show_table(
    pd.DataFrame([row] if verdict else []).astype(object), source="metrics.json#/retrieval_and_captions",
    caption="The written reports against those of exchanged films", index=False,
    if_empty="No captioning objective in this run.",
)  # fmt: skip

# %% [markdown]
# Percent of every finding, as written and as it is. Beside the error where both reports name the segment stands that of
# always writing the mean percentage of the training reports.

# %%
percents_apart = {}
if arms:
    own = arms[CAPTIONS]
    percents = evaluation.matched_percents(
        own["true"].tolist(), own["generated"].tolist(), own["study"].tolist(), ALL_SEGMENTS
    )
    show_figure(
        percent_scatter(percents, parameters.seed),
        alt="Generated against true percent of every finding, with missed and invented ones in the margins.",
        source="predictions/",
    )
    percents_apart = evaluation.percent_errors(percents, scoring.usual_percent(study), **settings)
rows = [{"writes": SHOWN_PERCENTS[name], "error": estimate} for name, estimate in percents_apart.items()]
show_table(
    pd.DataFrame(rows).astype(object), source="metrics.json#/retrieval_and_captions",
    caption="Error of percent over findings that both reports name, points", index=False,
    if_empty="No finding that both reports name.",
)  # fmt: skip

# %% [markdown]
# ## Where is it?
# Asked for the place of a finding (its segment and percent are in the question), the network names a frame and a box. As
# the question names the segment, the mean place of that segment in training films is the control: it needs no film.

# %%
places = dict(list(tables["boxes"].groupby("arm", sort=False))) if "boxes" in tables else {}
grounding = {arm: evaluation.summarise_grounding(part, **settings) for arm, part in places.items()}
rows = [
    {"measure": label, **{SHOWN_PLACES[arm]: found.get(name) for arm, found in grounding.items()}}
    for name, label in SHOWN_MEASURES.items()
    if any(name in found for found in grounding.values())
]
show_table(
    pd.DataFrame(rows).astype(object), source="metrics.json#/retrieval_and_captions",
    caption="Named boxes against true ones", index=False, if_empty="No box in the test clips, or no location task in this run.",
)  # fmt: skip

# %% [markdown]
# ## The worst reports
# Test clips with the lowest share of right findings, worst first.

# %%
from mtl.studies.angiography.data import clip_dataset

if arms:
    clips = {clip.id: clip for clip in study.parts.test}
    own = arms[CAPTIONS].assign(
        right=lambda t: 2 * t["n_within_10"] / (t["n_true"] + t["n_generated"]).clip(lower=1)
    )
    worst = own.sort_values(["right", "id"]).head(4)
    samples = clip_dataset([clips[name] for name in worst["id"]], parameters)
    show_figure(
        clip_sheet(
            [samples[n]["video"].numpy() for n in range(len(samples))],
            worst["study"].str.split("/").str[-1].tolist(),
            worst[["true", "generated"]].to_dict("records"),
            [[(s.segment or "", s.frame, s.box) for s in samples[n]["boxes"]] for n in range(len(samples))],
        ),
        alt="Frames of the clips with the worst reports, with the true and the written report.",
        source="predictions/",
    )

# %% [markdown]
# ## Masked video
# Of the test clips: error of the masked pixels against predicting the mean patch, and how often the nearest
# codeword (k-means over training patches) is the right one.

# %%
from mtl.studies.angiography.masked_evaluation import masked_table

masked = {}
if "masked" in tasks and parameters.mask_target == "pixels":
    by_clip = masked_table(study, first)
    study.run.write_predictions("masked", by_clip)
    masked = evaluation.summarise_masked(by_clip, **settings)
rows = [{"measure": SHOWN_MEASURES[name], "value": estimate} for name, estimate in masked.items()]
show_table(
    pd.DataFrame(rows), source="metrics.json#/retrieval_and_captions", caption="Masked video, test clips",
    index=False, if_empty="Masked pixels are no objective of this run.",
)  # fmt: skip

# %% [markdown]
# ## Alarms
# Patterns that make a number worth less than it looks.

# %%
rung = evaluation.retrieval_alarms(retrieval, chance, monitors) if retrieval else []
if arms:
    rung += evaluation.caption_alarms(arms[CAPTIONS], fields[CAPTIONS]["severe_auroc"], verdict.ignores_video)
warnings = list(dict.fromkeys(alarm.message for alarm in rung))
show_table(
    pd.DataFrame({"alarm": warnings}), source="metrics.json#/retrieval_and_captions", caption="Alarms",
    index=False, if_empty="No alarm.",
)  # fmt: skip

# %% [markdown]
# ## What it means
# A gain over exchanged films is what the film gives; a gain over the most frequent report alone would also come from
# learning which segments are common. On phantoms both say that the method works, not that it reads angiograms. The answer
# would be wrong if test patients had been trained on; notebook 01 counts them.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
directions = dict(zip(retrieval, ("to_report", "to_video"), strict=False))
controls = {arm: found["field_f1"].value for arm, found in fields.items() if arm != CAPTIONS}
best_control = max(controls, key=lambda arm: controls[arm] or 0.0, default="")
section = {
    "retrieval": {directions[name]: found for name, found in retrieval.items()},
    "chance": {directions[name]: found for name, found in chance.items()},
    "exchanged": {directions[name]: found for name, found in exchanged.items()},
    "collapse": monitors,
    "fields": fields,
    "fields_defined": bool(fields) and fields[CAPTIONS]["field_f1"].value is not None,
    "percents_defined": bool(fields) and fields[CAPTIONS]["percent_mae_all"].value is not None,
    "words": wording.get(CAPTIONS, {}),
    "best_control": SHOWN_CONTROLS.get(best_control, ""),
    "best_control_f1": fields[best_control]["field_f1"] if best_control else None,
    "gain_on_shuffled": verdict.difference.estimate if verdict else None,
    "ignores_video": verdict.ignores_video if verdict else None,
    "boxes": grounding,
    "masked": masked,
    "tokens": tokens,
    "percents": percents_apart,
    "alarms_said": "; ".join(warnings),
    "test_studies": len({clip.study for clip in study.parts.test}),
    "made_up": parameters.videos == "phantom",
}

# %% [markdown]
# The headline figures.

# %%
section["headline"] = []
if retrieval:
    section["headline"].append(
        {"label": "R@1, report of a film", "value": section["retrieval"]["to_report"]["recall_1"]}
    )
if arms:
    section["headline"].append(
        {"label": "Field F1 of written reports", "value": fields[CAPTIONS]["field_f1"]}
    )
figures = {SHOWN_CONTROLS[arm]: dict(found) for arm, found in fields.items()}
if retrieval:
    own = figures.setdefault(SHOWN_CONTROLS[CAPTIONS], {})
    own |= {name: found["recall_1"] for name, found in section["retrieval"].items()}
write_metrics(study.run.path, "retrieval_and_captions", section)
write_metrics(study.run.path, "published", published_rows(study, figures))

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(captions_answer(section), study.run.metrics))
if named:
    show_figure(
        controls_plot(named, captions=SHOWN_CONTROLS[CAPTIONS]),
        alt=f"{', '.join(named)} of the written reports and of every control.",
        source="metrics.json#/retrieval_and_captions",
    )
