"""Widgets that people point at, for notebooks in JupyterLab, VS Code and Voila.

- ``points``: points set on an image, checked, with undo, redo and a history
- ``pictures``: slices and overlays as small PNG files
- ``words``: what is said about them
- ``speaking``: a widget that says what happened, and that no error in a caller's function can stop
- ``canvas``: the widget itself; ``canvas.js`` and ``canvas.css`` are its front end
- ``em_proofreading``: a desk on it to put the segmentation of an EM volume right
- ``histology_annotation``: a desk to accept, reject and add nuclei, and to train on them
- ``brain_mri_panel``: one slice, chosen or uploaded, and all that the network says of it
- ``angiography_player``: a clip to be played, the report that is written, where the writing looked
- ``stills``: a labelled still picture of a widget, for reports

Importing this package loads nothing; ``canvas`` loads anywidget, ``stills`` matplotlib, the desks torch.
"""
