"""Experiments on photographs of COCO: a subset of it, and bfloat16 on a CPU.

The project holds no photograph. ``image_ids.json`` says which images of COCO's
val2017 are in which split; ``subset`` makes the same files from anybody's
COCO.
"""
