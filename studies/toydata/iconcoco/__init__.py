"""iconcoco: a detection dataset composed from colour emoji, in COCO's layout.

Scenes hold emoji of 65 of COCO's 80 categories, under COCO's names, ids and
supercategories. Training, validation and tuning images use drawings of
different vendors: a detector has to recognise things it has seen in another
hand. ``fetch`` gets the drawings, which are not part of the project; ``build``
writes the dataset; ``sheet`` shows every drawing. For mmdet it is a plain
``CocoDataset``; ``configs/_base_/datasets`` names the classes.
"""
