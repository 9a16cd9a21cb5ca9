"""The demo: distil a detector from scratch on a CPU, and report on it.

``pipeline`` runs the steps: ``recipes`` derives the configs, which
``studies.grid`` trains one after another, ``measure`` evaluates the
checkpoints, ``results`` holds the numbers, and ``curves``, ``detections`` and
``report`` show them. ``console`` is what a person watches meanwhile.
"""
