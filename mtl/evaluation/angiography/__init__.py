"""Evaluation of the angiography study; the study (its patient's examination) is the unit.

``ranking``            places of the first relevant candidate, exact under ties
``retrieval``          a report by a video and a video by a report, candidates de-duplicated, beside chance
``collapse``           alignment, uniformity, effective rank
``cider``              CIDEr-D from its formula
``text_metrics``       BLEU-4, ROUGE-L, CIDEr-D per pair; cross-entropy and perplexity
``report_fields``      (segment, percent) and view read back from a report
``structured_scores``  field F1, error of the percent, AUROC for severe stenosis, view accuracy
``grounding``          cross-attention and named boxes against planted boxes
``masked_scores``      masked patches against the mean patch; codeword accuracy
``controls``           most frequent and nearest report, videos shuffled across studies, blank video
``against_controls``   captions against all of these, and the verdict on whether the video is used
``summary``            intervals over studies
``alarms``             what a report must warn of

Every claim made with these on phantoms is a claim about phantoms.
"""

from mtl.evaluation.angiography.against_controls import VideoVerdict, compare_with_controls, ignores_video
from mtl.evaluation.angiography.alarms import caption_alarms, retrieval_alarms
from mtl.evaluation.angiography.collapse import alignment, collapse_monitors, effective_rank, uniformity
from mtl.evaluation.angiography.controls import (
    blank_clip,
    most_frequent_report,
    nearest_training_reports,
    shuffle_across_studies,
)
from mtl.evaluation.angiography.grounding import box_scores, grounding_scores, summarise_grounding
from mtl.evaluation.angiography.masked_scores import Codebook, fit_codebook, masked_scores, summarise_masked
from mtl.evaluation.angiography.report_fields import Finding, FindingReader, parse_findings, parse_view
from mtl.evaluation.angiography.retrieval import (
    chance_levels,
    cosine_similarity,
    recall_curve,
    retrieve,
    summarise_retrieval,
)
from mtl.evaluation.angiography.structured_scores import (
    field_f1,
    matched_percents,
    percent_errors,
    percent_mae,
    percent_mae_all,
    segment_f1,
    structured_scores,
    summarise_structured,
)
from mtl.evaluation.angiography.text_metrics import (
    bleu_4,
    same_words,
    summarise_texts,
    summarise_tokens,
    text_scores,
    token_losses,
)

__all__ = [
    "Codebook",
    "Finding",
    "FindingReader",
    "VideoVerdict",
    "alignment",
    "blank_clip",
    "bleu_4",
    "caption_alarms",
    "box_scores",
    "chance_levels",
    "collapse_monitors",
    "compare_with_controls",
    "cosine_similarity",
    "effective_rank",
    "field_f1",
    "fit_codebook",
    "grounding_scores",
    "ignores_video",
    "masked_scores",
    "matched_percents",
    "most_frequent_report",
    "nearest_training_reports",
    "parse_findings",
    "parse_view",
    "percent_errors",
    "percent_mae",
    "percent_mae_all",
    "recall_curve",
    "retrieval_alarms",
    "retrieve",
    "same_words",
    "segment_f1",
    "shuffle_across_studies",
    "structured_scores",
    "summarise_grounding",
    "summarise_masked",
    "summarise_retrieval",
    "summarise_structured",
    "summarise_texts",
    "summarise_tokens",
    "text_scores",
    "token_losses",
    "uniformity",
]
