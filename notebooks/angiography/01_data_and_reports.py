# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Angiography: films, reports, and what a report writer gets for free
#
# **Question.** What is in the films and their reports, is any of it on two sides of the split, and how far does a report
# come that never looks at a film?

# %% [markdown]
# ## Parameters
# papermill replaces these values; `params/angiography/*.yaml` holds whole sets of them.

# %% tags=["parameters"]
# Parameters
run: str = "quick"  # name of the run directory in outputs/angiography/
data_root: str = ""  # folder of the data sets
videos: str = "phantom"  # phantom, or a table or folder below data_root
phantom_studies: int = 1500  # studies of the phantom to learn from
phantom_test_studies: int = 60  # studies of the phantom that are tested
phantom_findings: int = 2  # most findings in a report of the phantom
duplicate_rate: float = 0.0  # training studies that copy another's report
frames: int = 8  # frames of a clip
size: int = 64  # pixels along a side of a clip
vocabulary: int = 1000  # tokens of the tokeniser
context: int = 80  # most tokens of a report
n_bootstrap: int = 1000  # bootstrap resamples of every interval
seed: int = 0  # of everything random

# %% [markdown]
# The next cell checks them. A name that the study does not have is refused here, whoever set it.

# %%
from mtl.studies.parameters import read_parameters

parameters = read_parameters("angiography", globals())

# %% [markdown]
# ## The clips
# A *study* is one examination with one report; it has one clip or several. Parts are split by patient. No open set of
# angiograms with reports is at hand: unless `videos` names one, films and reports are made by a program (beating vessel
# trees that fill with contrast, with narrowings where the report says), and **every claim is one about phantoms**.

# %%
import pandas as pd
from mtl.evaluation.angiography import most_frequent_report, structured_scores, summarise_structured
from mtl.reporting.claims import claim, show_table
from mtl.reporting.figures import show_figure, use_report_style
from mtl.reporting.figures_angiography import clip_sheet
from mtl.reporting.metrics_file import write_metrics
from mtl.studies.angiography.answers import data_answer
from mtl.studies.angiography.data import clip_dataset, read_every_film
from mtl.studies.angiography.parameters import PHANTOM
from mtl.studies.angiography.scoring import ALL_SEGMENTS
from mtl.studies.angiography.study import AngiographyStudy

use_report_style()
study = AngiographyStudy(parameters)
parts = {name: study.parts[name] for name in ("train", "validation", "test")}
rows = [
    {
        "part": name,
        "clips": len(clips),
        "studies": len({clip.study for clip in clips}),
        "patients": len({clip.patient for clip in clips}),
        "distinct reports": len({clip.report for clip in clips}),
        "clips with a located narrowing": sum(bool(clip.stenoses) for clip in clips),
    }
    for name, clips in parts.items()
]
show_table(pd.DataFrame(rows), source="split.json", caption=f"Parts of {parameters.videos}", index=False)

# %% [markdown]
# Every film that lies in a file is read once, so that one that is damaged is found now and not after the training.

# %%
films_in_files = read_every_film(study.parts, parameters)

# %% [markdown]
# A few test clips with their reports. Boxes stand on the frame where the narrowing is best seen.

# %%
firsts = list({clip.study: clip for clip in parts["test"]}.values())
shown = [clip for clip in firsts if clip.view == "left"][:2] + [c for c in firsts if c.view == "right"][:2]
shown = shown or firsts[:4]
samples = clip_dataset(shown, parameters)
show_figure(
    clip_sheet(
        [samples[n]["video"].numpy() for n in range(len(shown))],
        [clip.study.split("/")[-1] for clip in shown],
        [{"report": clip.report} for clip in shown],
        [[(s.segment or "", s.frame, s.box) for s in samples[n]["boxes"]] for n in range(len(shown))],
    ),
    alt="Frames of four clips with the boxes of their narrowings and their reports.",
    source="split.json",
)

# %% [markdown]
# ## What reports say
# Segments are not equally common, which a writer can learn without a film.

# %%
found = pd.DataFrame(
    [
        {"segment": segment or "not named", "percent": percent, "part": name}
        for name, clips in parts.items()
        for clip in {clip.study: clip for clip in clips}.values()
        for segment, percent in clip.findings
    ],
    columns=["segment", "percent", "part"],
)
counts = found.groupby(["segment", "part"]).size().unstack(fill_value=0)
counts = counts.reindex(columns=[name for name in parts if name in counts])
counts["mean percent"] = found.groupby("segment")["percent"].mean()
show_table(counts.reset_index(), source="split.json", caption="Findings by segment, in studies", index=False)

# %% [markdown]
# ## Near-duplicate reports
# Retrieval is scored with equal reports as one candidate, and equal reports of a batch count as positives. *Near copies*
# differ in a few letters (by their character n-grams), often only in the percentage.

# %%
from mtl.datasets.angiography import audit_reports

by_study = {clip.study: (clip.report, name) for name, clips in parts.items() for clip in clips}
audit = audit_reports(
    {key: report for key, (report, _) in by_study.items()}, {key: part for key, (_, part) in by_study.items()}
)
caption = "Reports that say the same, within and across parts"
columns = [
    "first_part",
    "second_part",
    "reports",
    "exact_reports",
    "copied_reports",
    "exact_pairs",
    "near_pairs",
]
show_table(
    audit[columns].rename(columns=lambda name: name.replace("_", " ")),
    source="split.json",
    caption=caption,
    index=False,
)

# %% [markdown]
# ## Tokens
# The tokeniser (WordPiece) learns its pieces from the training reports alone.

# %%
from mtl.datasets.angiography.tokenizer import encode_reports

tokenizer = study.tokenizer
lengths = [
    int((row != 0).sum()) for row in encode_reports(tokenizer, [c.report for c in firsts], 512, truncate=True)
]
pieces = tokenizer.encode(firsts[0].report, add_special_tokens=False).tokens
facts = {
    "tokens in the vocabulary": tokenizer.get_vocab_size(),
    "longest test report": max(lengths),
    "context": parameters.context,
}
display(show_table(pd.DataFrame([facts]), source="tokenizer/", caption="Tokeniser", index=False))
print(" | ".join(pieces))

# %% [markdown]
# ## A report that never looks
# The most frequent training report, given to every test clip. Whatever a network writes has to beat this, and a network
# whose films were exchanged between studies.

# %%
frequent = most_frequent_report([clip.report for clip in parts["train"]])
test = parts["test"]
scores = structured_scores(
    [c.report for c in test], [frequent] * len(test), [c.study for c in test], ALL_SEGMENTS
)
blind = summarise_structured(scores, n_resamples=parameters.n_bootstrap, seed=parameters.seed)
NAMES = {
    "field_f1": "field F1",
    "percent_mae_all": "error of percent, all findings",
    "view_accuracy": "view right",
}
row = {"report": frequent, **{label: blind.get(name) for name, label in NAMES.items()}}
show_table(
    pd.DataFrame([row]).astype(object),
    source="metrics.json#/data_and_reports",
    caption="The most frequent report, given to every test clip",
    index=False,
)

# %% [markdown]
# ## What it means
# A phantom has what its maker put in: words that follow a template, vessels that lie where the template has them. High
# scores on it show that a method works as it should, not that it reads angiograms. The figures here would be wrong if a
# patient were on both sides of the split; the counts of patients and of copied reports above are the check.

# %% [markdown]
# ## Results
# The numbers of this notebook go to `metrics.json`; the answer reads them from there.

# %%
across = audit[(audit["first_part"] == "train") & (audit["second_part"] == "test")]
section = {
    "made_up": parameters.videos == PHANTOM,
    "videos": parameters.videos,
    "clips": sum(map(len, parts.values())),
    "test_studies": len(firsts),
    "distinct_test_reports": len({clip.report for clip in test}),
    "copied_test_reports": int(across["exact_reports"].sum()),
    "blind": blind,
}
section["headline"] = [
    {"label": "Field F1 of the most frequent report", "value": blind["field_f1"]},
    {"label": "Test studies", "value": section["test_studies"]},
]
write_metrics(study.run.path, "data_and_reports", section)

# %% [markdown]
# ## Answer
# The answer, as it stands at the top of the report.

# %% tags=["headline"]
display(claim(data_answer(section), study.run.metrics))
show_figure(
    clip_sheet(
        [samples[n]["video"].numpy() for n in range(min(2, len(shown)))],
        [clip.study.split("/")[-1] for clip in shown[:2]],
        [{"report": clip.report} for clip in shown[:2]],
        [[(s.segment or "", s.frame, s.box) for s in samples[n]["boxes"]] for n in range(min(2, len(shown)))],
    ),
    alt="Frames of two clips with the boxes of their narrowings and their reports.",
    source="split.json",
)
