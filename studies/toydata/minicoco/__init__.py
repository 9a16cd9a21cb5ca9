"""minicoco: a detection dataset drawn by code, in COCO's layout.

Twenty-four categories in six families whose members look alike, on 128 px
images: small enough to train on a CPU in minutes, for demos and tests of
distillation. ``generate`` writes it, ``sheet`` shows it to people, ``dataset``
registers it with mmdet. Only the last one imports torch and mmdet itself.
"""
