"""minicoco: a detection dataset drawn by code, in COCO's layout.

Twenty-four categories in six families whose members look alike, on 128 px
images: small enough to train on a CPU in minutes, for demos and tests of
distillation. ``generate`` writes it, ``sheet`` shows it to people. For mmdet
it is a plain ``CocoDataset``; ``configs/_base_/datasets`` names the classes.
"""
