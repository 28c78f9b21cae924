"""Evaluation: figures with intervals, fair comparisons, and the checks that keep both honest.

``statistics``      estimates with cluster-bootstrap and t-intervals
``comparison``      paired differences, Holm, seeds x units, verdicts by a margin fixed beforehand
``weighted``        metrics under row weights, so that thousands of resamples are one matrix product
``classification``  binary classification: operating point and every metric with its interval
``calibration``     temperature scaling, reliability table, expected calibration error
``segmentation``    Dice, IoU, HD95 per case; the empty-mask rule; summaries by patient
``protocol``        what the evaluation protocol demands, as checks and alarms
``brain_mri``       that study's tables, trivial baselines and stage comparison
``em``              instance segmentations of volumes, the simulated user and click curves

Nothing here imports torch or MONAI. The unit of analysis is the cluster (patient, volume, image
group): rows of one cluster are resampled together, and ``Estimate.n`` counts clusters, not rows.
"""
