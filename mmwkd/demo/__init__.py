"""The demo: distil a detector from scratch on a CPU, and report on it.

``pipeline`` runs the steps: ``recipes`` derives the configs, ``runs`` trains
them one after another in processes of their own, ``scalars`` reads what they
log, ``measure`` evaluates the checkpoints, ``results`` holds the numbers, and
``curves``, ``detections`` and ``report`` show them. ``console`` is what a
person watches meanwhile.
"""
