"""Running notebooks as batches, and turning them into reports that say where every figure comes from.

Two kinds of module live here. Notebooks import ``figures``, ``figures_results``, ``figures_sweep``,
``claims``, ``metrics_file`` and ``sweep_results``; the command line imports ``batch``, ``html``, ``gallery``,
``check``, ``published``, ``sweep_jobs`` and ``run_comparison``.
"""
