"""The detector that mmengine trains: a student beside its frozen teacher.

Shapes: N images, L levels, R RoIs, D channels, K categories, background
included and last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList
from mmdet.utils import reduce_mean
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmwkd.distillers.adapters import (
    AdapterConfig,
    build_adapter,
    zero_of,
)
from mmwkd.distillers.alignment import (
    check_dense_heads,
    check_roi_heads,
    check_roi_maps,
    has_roi_stages,
    pair_levels,
    probe_shapes,
)
from mmwkd.distillers.boxes import (
    check_box_heads,
    deltas_of_label,
    recode,
)
from mmwkd.distillers.capture import RoIStage, TrainingPass, box_heads, capture
from mmwkd.distillers.categories import classifier_rows
from mmwkd.distillers.chance import ChanceCheck
from mmwkd.distillers.locations import Locations, confident_locations
from mmwkd.distillers.pixels import PixelAdapter
from mmwkd.distillers.places import build_loss
from mmwkd.distillers.plain_state import as_plain_student, from_plain_student
from mmwkd.distillers.refusals import (
    check_batch,
    refuse_broken_boxes,
    refuse_non_finite,
    refuse_shards,
)
from mmwkd.distillers.student_weights import without_torchvision
from mmwkd.distillers.teacher import (
    TeacherPass,
    TeacherStage,
    build_teacher,
    matching_stage,
)
from mmwkd.functional.checks import check_at_least
from mmwkd.losses import DistillationLoss


@MODELS.register_module()
class DetectorDistiller(BaseDetector):
    """Train a student with the help of a frozen teacher.

    A step is the student's own training pass, observed; the teacher's
    forward on the same images and on the RoIs that the student sampled; and
    one term per configured loss. Everything else is the student's:
    ``predict``, the tensor mode, and the ``state_dict``, whose keys are
    those of the plain student, so that plain mmdet loads the checkpoints.
    Weights of the adapters travel in the metadata of the ``state_dict``.

    Args:
        student: Config of the student, data preprocessor included.
        teacher: See :func:`mmwkd.distillers.build_teacher`.
        logit_loss: Loss on class logits, such as ``WKDLogitLoss``: of RoIs
            between two-stage detectors, of locations between dense ones.
        neck_loss: Loss on the neck's maps, such as ``WKDFeatureLoss``;
            averaged over levels.
        roi_loss: Loss on the maps fed to the box head (RoIAlign maps).
        box_loss: Loss on the boxes of foreground RoIs, such as
            ``BoxDistillationLoss``.
        neck_adapter: How student channels become teacher channels on each
            level of the neck: 'auto' for a 1x1 convolution where they
            differ, None for never, or options of ``mmcv.cnn.ConvModule``
            (such as ``dict(norm_cfg=dict(type='BN'))``) to always have one.
        roi_adapter: The same for RoIAlign maps.
        max_locations: Between dense heads, the locations of each image whose
            logits are compared: those where the teacher is most confident of
            an object, weighted with its confidence. 512 by default.
        data_preprocessor: For a student whose config has none.
        init_cfg: As in every detector.

    Raises:
        ValueError: If no loss is configured, an option is unknown, or the
            two detectors cannot be compared, saying what differs.
        FileNotFoundError: If a named file does not exist.
    """

    is_distiller: ClassVar[bool] = True  # for readers of configs

    def __init__(
        self,
        student: dict[str, Any],
        teacher: dict[str, Any],
        logit_loss: dict[str, Any] | None = None,
        neck_loss: dict[str, Any] | None = None,
        roi_loss: dict[str, Any] | None = None,
        box_loss: dict[str, Any] | None = None,
        neck_adapter: AdapterConfig = 'auto',
        roi_adapter: AdapterConfig = 'auto',
        max_locations: int | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        losses = {
            'logit': logit_loss,
            'neck': neck_loss,
            'roi': roi_loss,
            'box': box_loss,
        }
        configured = {at: cfg for at, cfg in losses.items() if cfg}
        if not configured:
            raise ValueError(
                'no distillation loss is configured: set logit_loss, '
                'neck_loss, roi_loss or box_loss'
            )
        if not isinstance(student, Mapping):
            raise ValueError(
                f'student must be the config of a detector, got {student!r}'
            )
        student = without_torchvision(dict(student))
        if data_preprocessor is not None:
            student.setdefault('data_preprocessor', data_preprocessor)
        detector = MODELS.build(student)
        super().__init__(
            data_preprocessor=detector.data_preprocessor, init_cfg=init_cfg
        )
        self.student = detector
        self.distillation_losses = nn.ModuleDict(
            {at: build_loss(at, cfg) for at, cfg in configured.items()}
        )
        self._check_adapter_options(neck=neck_adapter, roi=roi_adapter)
        self._teacher = build_teacher(teacher)
        self._to_teacher_pixels = PixelAdapter(
            self.student.data_preprocessor, self.teacher.data_preprocessor
        )
        self._check_max_locations(max_locations)
        self._max_locations = max_locations or 512
        self._align(neck_adapter, roi_adapter)
        self._bind_cost()
        self._factors = dict.fromkeys(configured, 1.0)
        self._chance_check = ChanceCheck()
        self._dataset_checked = False
        self._shards_checked = False
        self._register_state_dict_hook(as_plain_student)

    @property
    def teacher(self) -> BaseDetector:
        """The frozen teacher; not a submodule."""
        return self._teacher.detector

    @property
    def places(self) -> tuple[str, ...]:
        """Where losses are configured: of 'logit', 'neck', 'roi', 'box'."""
        return tuple(self.distillation_losses)

    def _loss_at(self, place: str) -> DistillationLoss:
        return cast(DistillationLoss, self.distillation_losses[place])

    def set_distillation_weight(
        self, factor: float, places: Iterable[str] | None = None
    ) -> None:
        """Scale distillation losses, as a schedule does.

        Where all factors are 0 the teacher is not run.

        Args:
            factor: Factor on top of ``loss_weight``, not negative.
            places: Places to scale; None for all.

        Raises:
            ValueError: If a place has no loss or the factor is negative.
        """
        places = self.places if places is None else tuple(places)
        unknown = sorted(set(places) - set(self.places))
        if unknown:
            raise ValueError(
                f'no distillation loss at {unknown}; configured '
                f'are {list(self.places)}'
            )
        if factor < 0:
            raise ValueError(f'factor must not be negative, got {factor}')
        self._factors.update(dict.fromkeys(places, float(factor)))

    # --- what mmengine and mmdet call -----------------------------------

    # compiled code would keep the hooks of the step it was traced in
    @torch.compiler.disable
    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Losses of the student and of its distillation.

        Args:
            batch_inputs: Preprocessed images, of shape (N, 3, H, W).
            batch_data_samples: Their annotations.

        Returns:
            The student's own losses under their own keys, and
            ``loss_{method}_{place}_{term}`` for each distillation term.

        Raises:
            ValueError: If a ground truth is not finite, naming the image, or
                if FSDP has split the parameters.
            FloatingPointError: If the teacher's output is not finite, naming
                the tensor and the images.
        """
        self.check_dataset()
        if not self._shards_checked:
            refuse_shards(self.student)
            self._shards_checked = True
        if not any(self._factors.values()):
            losses = dict(self.student.loss(batch_inputs, batch_data_samples))
            losses.update(self._silent_losses(batch_inputs))
            return losses
        try:
            losses, seen, taught = self.observe(
                batch_inputs, batch_data_samples
            )
        except Exception:
            # RoIAlign stumbles over them, without saying over what
            refuse_broken_boxes(batch_data_samples)
            raise
        if taught.stages and 'logit' in self.places:
            # of several stages the last has the best boxes
            self._chance_check(
                cast(Tensor, taught.stages[-1].logits), seen.stages[-1].labels
            )
        distillation = self._distil(seen, taught)
        if not torch.stack(list(distillation.values())).isfinite().all():
            refuse_broken_boxes(batch_data_samples)
            refuse_non_finite(taught, batch_data_samples)
        losses.update(distillation)
        return losses

    def observe(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> tuple[dict[str, Tensor], TrainingPass, TeacherPass]:
        """Run the student's training pass and the teacher on its RoIs.

        Args:
            batch_inputs: Preprocessed images, of shape (N, 3, H, W).
            batch_data_samples: Their annotations.

        Returns:
            The student's own losses, what its pass produced, and what the
            teacher makes of the same images and RoIs.
        """
        with capture(
            self.student, roi_stages=self._needs_rois, scores=self._dense
        ) as seen:
            losses = dict(self.student.loss(batch_inputs, batch_data_samples))
        taught = self._teacher.observe(
            self._to_teacher_pixels(batch_inputs, batch_data_samples),
            [stage.rois for stage in seen.record.stages],
            logits=bool({'logit', 'box'} & set(self.places)),
            scores=self._dense,
        )
        check_batch(len(batch_inputs), seen.record, taught)
        return losses, seen.record, taught

    def compared_logits(
        self, seen: TrainingPass, taught: TeacherPass
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows that ``logit_loss`` compares; those of the last RoI stage.

        Args:
            seen: What the student's training pass produced.
            taught: What the teacher makes of it.

        Returns:
            Logits of the student and of the teacher, both of shape (R, K),
            and their target categories, (R,).
        """
        if self._dense:
            locations = self._locations(seen, taught)
            return (
                locations.student_logits,
                locations.teacher_logits,
                locations.target,
            )
        stage = seen.stages[-1]
        theirs = cast(Tensor, taught.stages[-1].logits)
        return stage.logits, theirs, stage.labels

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        **kwargs: Any,
    ) -> SampleList:
        """Predictions of the student."""
        return self.student.predict(batch_inputs, batch_data_samples, **kwargs)

    def predict_with_teacher(self, batch: Mapping[str, Any]) -> SampleList:
        """Predictions of the teacher on a batch that is not preprocessed.

        Args:
            batch: ``inputs``, a list of images (3, h, w), and
                ``data_samples``, as a data loader yields them.

        Returns:
            The samples with the teacher's ``pred_instances``.
        """
        return self._teacher.predict(batch)

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None
    ) -> Any:
        return self.student._forward(batch_inputs, batch_data_samples)

    def __getattr__(self, name: str) -> Any:
        """Find parts of the student, for hooks and others that ask."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('student'), name)

    def named_parameters(
        self, prefix: str = '', recurse: bool = True, **kwargs: Any
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Name parameters as the plain student does, as in the state dict.

        Layer-wise learning rates are chosen by the start of a name. Adapters
        start with ``adapters``.
        """
        parent = f'{prefix}.' if prefix else ''
        for name, value in super().named_parameters(prefix, recurse, **kwargs):
            own = name.removeprefix(parent).removeprefix('student.')
            yield parent + own, value

    def extract_feat(self, batch_inputs: Tensor) -> Any:
        """Feature maps of the student."""
        return self.student.extract_feat(batch_inputs)

    # --- building -------------------------------------------------------

    @property
    def _head(self) -> nn.Module:
        """The teacher's classifying head; of several the last.

        It has the best boxes, hence the best classifier.
        """
        if self._dense:
            return self.teacher.bbox_head
        return box_heads(self.teacher)[-1]

    @property
    def _num_classes(self) -> int:
        # the index of the background, too
        return cast(int, self._head.num_classes)

    @property
    def _needs_rois(self) -> bool:
        return bool({'roi', 'box'} & set(self.places)) or (
            'logit' in self.places and not self._dense
        )

    @property
    def _dense(self) -> bool:
        """Whether logits are those of dense heads."""
        return {'logit'} == set(self.places) - {'neck'} and not (
            has_roi_stages(self.student) or has_roi_stages(self.teacher)
        )

    def _check_adapter_options(self, **adapters: AdapterConfig) -> None:
        for place, cfg in adapters.items():
            if cfg != 'auto' and place not in self.places:
                raise ValueError(
                    f'{place}_adapter is set, but there is no {place}_loss '
                    'to use it'
                )

    def _check_max_locations(self, max_locations: int | None) -> None:
        if max_locations is None:
            return
        check_at_least(1, max_locations=max_locations)
        if not self._dense:
            raise ValueError(
                'max_locations is for logit_loss between dense detectors; '
                'two-stage detectors compare the RoIs that the student samples'
            )

    def _align(
        self, neck_adapter: AdapterConfig, roi_adapter: AdapterConfig
    ) -> None:
        """Pair levels, and adapt channels; refuse what cannot be aligned."""
        if self._needs_rois:
            check_roi_heads(self.student, self.teacher)
            if 'box' in self.places:
                check_box_heads('student', self.student)
                check_box_heads('teacher', self.teacher)
        elif self._dense:
            check_dense_heads(self.student, self.teacher)
        self.adapters = nn.ModuleDict()
        if not {'neck', 'roi'} & set(self.places):
            return
        with_rois = 'roi' in self.places
        mine = probe_shapes(self.student, with_rois=with_rois)
        theirs = probe_shapes(self.teacher, with_rois=with_rois)
        if 'neck' in self.places:
            self._levels = pair_levels(
                mine, theirs, getattr(self._loss_at('neck'), 'levels', None)
            )
            for index, pair in enumerate(self._levels):
                self.adapters[f'neck_{index}'] = build_adapter(
                    'neck_adapter',
                    mine.channels[pair.student],
                    theirs.channels[pair.teacher],
                    neck_adapter,
                )
        if with_rois:
            for index, my_maps in enumerate(mine.roi_maps):
                their_maps = theirs.roi_maps[
                    matching_stage(self.teacher, index)
                ]
                check_roi_maps(my_maps, their_maps)
                self.adapters[f'roi_{index}'] = build_adapter(
                    'roi_adapter', my_maps[0], their_maps[0], roi_adapter
                )

    def _bind_cost(self) -> None:
        if 'logit' not in self.places:
            return
        classes = self._teacher.classes
        if classes is not None and len(classes) != self._num_classes:
            raise ValueError(
                f'the teacher has {self._num_classes} classes, but its class '
                f'list has {len(classes)} names'
            )
        self._loss_at('logit').bind(
            classifier_rows(self._head),
            self._num_classes + 1,
            classes,
        )

    # --- one step -------------------------------------------------------

    def _distil(
        self, seen: TrainingPass, taught: TeacherPass
    ) -> dict[str, Tensor]:
        stages = list(zip(seen.stages, taught.stages, strict=True))
        losses: dict[str, Tensor] = {}
        for place in self.places:
            if place == 'neck':
                parts = [
                    self._compare_level(
                        index,
                        seen.neck_feats[pair.student],
                        taught.neck_feats[pair.teacher],
                    )
                    for index, pair in enumerate(self._levels)
                ]
            elif self._dense and place == 'logit':
                parts = [self._compare_locations(seen, taught)]
            elif place == 'logit':
                parts = [self._compare_logits(*stage) for stage in stages]
            elif place == 'box':
                parts = [
                    self._compare_boxes(index, *stage)
                    for index, stage in enumerate(stages)
                ]
            else:
                parts = [
                    self._compare_roi_maps(index, *stage)
                    for index, stage in enumerate(stages)
                ]
            for term in parts[0]:
                mean = torch.stack([part[term] for part in parts]).mean()
                losses[self._key(place, term)] = self._factors[place] * mean
        return losses

    def _compare_level(
        self, index: int, mine: Tensor, theirs: Tensor
    ) -> dict[str, Tensor]:
        loss = self._loss_at('neck')
        # size divisors may pad differently; both pad at the right and bottom
        height = min(mine.shape[-2], theirs.shape[-2])
        width = min(mine.shape[-1], theirs.shape[-1])
        terms = loss.terms(
            self.adapters[f'neck_{index}'](mine)[..., :height, :width],
            theirs[..., :height, :width],
        )
        return {name: loss.reduce(term) for name, term in terms.items()}

    def _compare_logits(
        self, mine: RoIStage, theirs: TeacherStage
    ) -> dict[str, Tensor]:
        loss = self._loss_at('logit')
        terms = loss.terms(mine.logits, theirs.logits, mine.labels)
        return self._reduce_rois(loss, terms, mine)

    def _locations(self, seen: TrainingPass, taught: TeacherPass) -> Locations:
        return confident_locations(
            seen.dense_scores,
            taught.dense_scores,
            self._num_classes,
            self._max_locations,
        )

    def _compare_locations(
        self, seen: TrainingPass, taught: TeacherPass
    ) -> dict[str, Tensor]:
        loss = self._loss_at('logit')
        locations = self._locations(seen, taught)
        terms = loss.terms(
            locations.student_logits,
            locations.teacher_logits,
            locations.target,
        )
        weights = loss.roi_weights(
            locations.target, locations.weights, self._num_classes
        )
        # ranks see more and less; heads average over all of them as well
        return _reduce(loss, terms, weights, reduce_mean(weights.sum()))

    def _compare_roi_maps(
        self, index: int, mine: RoIStage, theirs: TeacherStage
    ) -> dict[str, Tensor]:
        loss = self._loss_at('roi')
        adapter = self.adapters[f'roi_{index}']
        if len(mine.rois) == 0:
            # normalisation layers refuse an empty batch; keep the graph
            zero = mine.feats.sum() + zero_of(adapter)
            return dict.fromkeys(loss.term_names, zero)
        terms = loss.terms(adapter(mine.feats), theirs.feats)
        return self._reduce_rois(loss, terms, mine)

    def _compare_boxes(
        self, index: int, mine: RoIStage, theirs: TeacherStage
    ) -> dict[str, Tensor]:
        loss = self._loss_at('box')
        recoded = recode(
            deltas_of_label(theirs.deltas, mine.labels),
            mine.rois,
            box_heads(self.teacher)[matching_stage(self.teacher, index)],
            box_heads(self.student)[index],
        )
        # a box of background is nobody's target, and may have no width to be
        # coded by; it counts in the mean, as in the head's own box loss
        foreground = mine.labels < self._num_classes
        own = deltas_of_label(mine.deltas, mine.labels)
        terms = loss.terms(own, recoded.where(foreground[:, None], 0))
        weights = mine.label_weights * foreground
        return _reduce(loss, terms, weights, mine.label_weights.sum())

    def _reduce_rois(
        self,
        loss: DistillationLoss,
        terms: Mapping[str, Tensor],
        stage: RoIStage,
    ) -> dict[str, Tensor]:
        weights = loss.roi_weights(
            stage.labels, stage.label_weights, self._num_classes
        )
        return _reduce(loss, terms, weights, weights.sum())

    def _key(self, place: str, term: str) -> str:
        return f'loss_{self._loss_at(place).method}_{place}_{term}'

    def _silent_losses(self, batch_inputs: Tensor) -> dict[str, Tensor]:
        """Zeros under the same keys, which keep the adapters in the graph."""
        zero = batch_inputs.new_zeros(()) + zero_of(self.adapters)
        return {
            self._key(place, term): zero
            for place in self.places
            for term in self._loss_at(place).term_names
        }

    def check_dataset(self) -> None:
        """Refuse, before the first step, a dataset of other classes.

        Raises:
            ValueError: If the classes of the run's training data, or their
                order, are not the teacher's or those of the cost.
        """
        if self._dataset_checked:
            return
        self._dataset_checked = True
        hub = MessageHub.get_current_instance()
        if hub.get_info('loop_stage') != 'train':
            return  # not run by mmengine's loops: no dataset is known
        classes = (hub.get_info('dataset_meta') or {}).get('classes')
        if classes is not None and 'logit' in self.places:
            self._loss_at('logit').check_classes(classes)
        if classes is not None:
            self._teacher.check_classes(classes)

    # --- state ----------------------------------------------------------

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> Any:
        """Take the teacher along when moved to another device or dtype."""
        self._teacher.move(fn)
        return super()._apply(fn, *args, **kwargs)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        *args: Any,
    ) -> None:
        """Accept a plain student's weights, and adapters where they came."""
        from_plain_student(
            self.adapters.state_dict(), state_dict, prefix, local_metadata
        )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, *args
        )


def _reduce(
    loss: DistillationLoss,
    terms: Mapping[str, Tensor],
    weights: Tensor,
    total: Tensor,
) -> dict[str, Tensor]:
    """Weighted means of terms, over a total of at least 1."""
    total = total.clamp(min=1)
    return {
        name: loss.reduce(term, weights, total) for name, term in terms.items()
    }
