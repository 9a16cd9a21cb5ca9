"""Compare the maps that are fed to the box heads (RoIAlign maps).

Shapes: R RoIs, D channels, (h, w) positions of a map.
"""

from mmwkd.distillers.adapters import AdapterConfig, build_adapter, zero_of
from mmwkd.distillers.alignment import DetectorPair, check_roi_heads
from mmwkd.distillers.capture import RoIStage, box_heads
from mmwkd.distillers.places.base import (
    Needs,
    Place,
    Step,
    Terms,
    weighted_means,
)
from mmwkd.distillers.teacher import TeacherStage, matching_stage
from mmwkd.losses import DistillationLoss


class RoIPlace(Place):
    """RoIAlign maps of the RoIs that the student samples, stage by stage.

    Args:
        roi_adapter: How student channels become teacher channels, see
            :func:`mmwkd.distillers.adapters.build_adapter`.
    """

    entry = 'roi'
    compares = 'features'
    title = 'roi_loss'
    share = 1.5
    needs = Needs(rois=True)
    labels_rois = True

    def __init__(
        self,
        loss: DistillationLoss,
        pair: DetectorPair,
        *,
        roi_adapter: AdapterConfig = 'auto',
    ) -> None:
        super().__init__(loss, pair)
        if getattr(loss, 'levels', None) is not None:
            raise ValueError('roi_loss has no levels; levels is for neck_loss')
        self._background = box_heads(pair.student)[0].num_classes
        teacher_maps = pair.teacher_probe.roi_maps
        for index, maps in enumerate(pair.student_probe.roi_maps):
            matching = teacher_maps[
                matching_stage(pair.teacher.detector, index)
            ]
            if maps[1:] != matching[1:]:
                raise ValueError(
                    'roi_loss compares RoIAlign maps, but they are '
                    f'{maps[1]} x {maps[2]} in the student and '
                    f'{matching[1]} x {matching[2]} in the teacher: set '
                    'bbox_roi_extractor.roi_layer.output_size of both to one'
                )
            self.adapters[f'roi_{index}'] = build_adapter(
                'roi_adapter', maps[0], matching[0], roi_adapter
            )

    @classmethod
    def check(cls, pair: DetectorPair) -> None:
        """Both detectors must have maps of given RoIs."""
        check_roi_heads(pair)

    def compare(self, step: Step) -> list[Terms]:
        """One part for each stage of the student."""
        return [
            self._compare_stage(f'roi_{index}', *stages, step.labelled)
            for index, stages in enumerate(
                zip(step.student.stages, step.teacher.stages, strict=True)
            )
        ]

    def _compare_stage(
        self,
        adapter: str,
        student: RoIStage,
        teacher: TeacherStage,
        labelled: bool,
    ) -> Terms:
        module = self.adapters[adapter]
        if len(student.rois) == 0:
            # normalisation layers refuse an empty batch; keep the graph
            zero = student.feats.sum() + zero_of(module)
            return dict.fromkeys(self.loss.term_names, zero)
        terms = self.loss.terms(module(student.feats), teacher.feats)
        weights = student.label_weights
        if labelled:
            weights = self.loss.roi_weights(
                student.labels, weights, self._background
            )
        return weighted_means(self.loss, terms, weights, weights.sum())
