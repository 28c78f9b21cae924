"""Running notebooks as batches, and turning them into reports that say where every figure comes from.

Two kinds of module live here. Notebooks import ``figures``, ``figures_results``, ``claims`` and
``metrics_file``; the command line imports ``batch``, ``html``, ``gallery``, ``check`` and ``published``.
"""
