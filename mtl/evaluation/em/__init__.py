"""Evaluation of the em study: instance segmentations, and clicks given by a simulated user.

``agreement``       adapted Rand error, VOI split and merge from a table of shared voxels
``segmentation``    these, AP50 and panoptic quality for one volume, intervals over blocks, paired arms
``tuning``          a few parameters tuned on a validation part
``simulated_user``  where a patient annotator would click next
``click_curves``    Dice after k clicks, clicks needed, area under the curve, with intervals over objects
``click_arms``      arms compared by object, with p-values after Holm
``alarms``          patterns that make a good-looking figure worthless
"""

from mtl.evaluation.em.segmentation import adapted_rand_error, compare_segmentations, evaluate_instances

__all__ = ["adapted_rand_error", "compare_segmentations", "evaluate_instances"]
