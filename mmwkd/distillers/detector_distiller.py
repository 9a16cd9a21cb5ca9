"""The detector that mmengine trains: a student beside its frozen teacher.

Shapes: N images, L levels, R RoIs, D channels, K categories, background
included and last.
"""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any, ClassVar

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList, SampleList
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmwkd.configs import check_detector, metainfo_classes
from mmwkd.distillers.adapters import zero_of
from mmwkd.distillers.alignment import DetectorPair
from mmwkd.distillers.balance import GradientBalance
from mmwkd.distillers.capture import TrainingPass, capture
from mmwkd.distillers.finite import FiniteCheck, explain
from mmwkd.distillers.pixels import (
    PixelAdapter,
    content_sizes,
    image_shapes,
    sizes_of,
)
from mmwkd.distillers.places import (
    LogitPlace,
    LogitRows,
    Needs,
    Step,
    Terms,
    build_places,
    entries,
)
from mmwkd.distillers.plain_state import as_plain_student, from_plain_student
from mmwkd.distillers.student_weights import without_torchvision
from mmwkd.distillers.teacher import TEACHER_KEYS, TeacherPass, build_teacher
from mmwkd.distillers.unlabelled import (
    Images,
    LabelCheck,
    by_labels,
)
from mmwkd.functional.checks import check_not_negative
from mmwkd.random_state import restored_generators

# what models of mmdet have beside their own parts
_OF_DETECTORS = ('backbone', 'neck', 'train_cfg', 'test_cfg')


@MODELS.register_module()
class DetectorDistiller(BaseDetector):
    """Train a student with the help of a frozen teacher.

    A step is the student's own training pass, observed; the teacher's
    forward on the same images and on the RoIs that the student sampled; and
    one term per configured loss. Images whose ground truth was not loaded
    have these terms only. Everything else is the student's:
    ``predict``, the tensor mode, and the ``state_dict``, whose keys are
    those of the plain student, so that plain mmdet loads the checkpoints.
    Weights of the adapters travel in the metadata of the ``state_dict``.

    Args:
        student: Config of the student, data preprocessor included.
        teacher: See :func:`mmwkd.distillers.build_teacher`.
        data_preprocessor: For a student whose config has none.
        balance_interval: The loss of each place is brought to the scale of
            the student's own losses, which is measured once in so many
            iterations, see
            :class:`mmwkd.distillers.balance.GradientBalance`; a
            ``loss_weight`` multiplies that. With 0 losses keep the scale of
            their formulas, and each needs a weight of its own.
        init_cfg: As in every detector.
        **config: Losses, and options of the places where they compare:

            - ``logit_loss``: Loss on class logits, such as ``WKDLogitLoss``:
              of RoIs between two-stage detectors, of locations between dense
              ones with the same anchors, of boxes between any others.
            - ``neck_loss``: Loss on the neck's maps, such as
              ``WKDFeatureLoss``; averaged over levels.
            - ``roi_loss``: Loss on the maps fed to the box head (RoIAlign
              maps).
            - ``box_loss``: Loss on boxes, such as ``BoxDistillationLoss``: of
              foreground RoIs between two-stage detectors, of the same
              locations between dense heads that share them.
            - ``neck_adapter``: How student channels become teacher channels
              on each level of the neck: 'auto' (default) for a 1x1
              convolution where they differ, None for never, or options of
              ``mmcv.cnn.ConvModule`` (such as
              ``dict(norm_cfg=dict(type='BN'))``) to always have one.
            - ``roi_adapter``: The same for RoIAlign maps.
            - ``max_locations``: Between dense heads, the locations of each
              image whose logits and boxes are compared: those where the
              teacher is most confident of an object, weighted with its
              confidence. 512 by default.
            - ``max_boxes``: Where the teacher alone has a RoI head, the boxes
              of each image that the student is most confident of, whose
              logits are compared. 128 by default.
            - ``max_matches``: For any other pair, the predictions of the
              teacher for each image that meet the student's closest. 300 by
              default.

            Other places add entries of their own, see
            :func:`mmwkd.distillers.register_place`.

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
        *,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        balance_interval: int = 20,
        init_cfg: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        check_detector('student', student)
        _check_entries(config, student)
        student = without_torchvision(dict(student))
        if data_preprocessor is not None:
            own = student.setdefault('data_preprocessor', data_preprocessor)
            _check_same_preprocessor(own, data_preprocessor)
        detector = MODELS.build(student)
        super().__init__(
            data_preprocessor=detector.data_preprocessor, init_cfg=init_cfg
        )
        self.student = detector
        # the student is to start from the weights that it has without us
        with restored_generators():
            # from other numbers than the student's weights later
            torch.default_generator.manual_seed(
                int(torch.randint(2**31, size=()))
            )
            self._teacher = build_teacher(teacher)
            pair = DetectorPair(self.student, self._teacher)
            pair.check_images()
            self._places = build_places(config, pair)
        self._to_teacher_pixels = PixelAdapter(
            self.student.data_preprocessor, self.teacher.data_preprocessor
        )
        self.distillation_losses = nn.ModuleDict(
            {entry: place.loss for entry, place in self._places.items()}
        )
        self.adapters = nn.ModuleDict()
        for place in self._places.values():
            self.adapters.update(place.adapters)
        self.balance = GradientBalance(
            {
                entry: place.share * place.loss.loss_weight
                for entry, place in self._places.items()
            },
            {entry: repr(place.loss) for entry, place in self._places.items()},
            balance_interval,
            [
                entry
                for entry, place in self._places.items()
                if place.compares == 'features'
            ],
        )
        self._needs = reduce(
            or_, (place.needs for place in self._places.values()), Needs()
        )
        self._factor = 1.0
        self._check_finite = FiniteCheck()
        self._dataset_checked = False
        self.data_preprocessor.register_forward_pre_hook(
            LabelCheck(self.student)
        )
        self._register_state_dict_hook(as_plain_student)

    @property
    def teacher(self) -> BaseDetector:
        """The frozen teacher; not a submodule."""
        return self._teacher.detector

    @property
    def teacher_sha256(self) -> str:
        """Hash of the teacher's checkpoint; empty without one."""
        return self._teacher.sha256

    @property
    def places(self) -> tuple[str, ...]:
        """Where losses are configured: of 'logit', 'neck', 'roi', 'box'."""
        return tuple(self._places)

    def set_distillation_weight(self, factor: float) -> None:
        """Scale all distillation losses, on top of their ``loss_weight``.

        With a factor of 0 the teacher is not run; one below is a ValueError.
        """
        check_not_negative(factor=factor)
        self._factor = float(factor)

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
            ``loss_{method}_{place}_{term}`` for each distillation term; for
            the log, ``balance_{place}``, the factor that its terms have.

        Raises:
            ValueError: If a ground truth is not finite, naming the image, or
                no image has labels.
            FloatingPointError: If the teacher's output is not finite, or was
                not in one of the last steps, naming the tensor and the
                images.
        """
        self.check_dataset()
        labelled, others = by_labels(batch_inputs, batch_data_samples)
        if not self._factor:
            losses = dict(self.student.loss(*labelled))
            return losses | self._silent_losses(batch_inputs)
        losses, step = self._observe(labelled)
        tensors = step.teacher.named_tensors()
        undefined = list(step.teacher.undefined().values())
        unlabelled = None
        if others is not None:
            unlabelled = self._observe(others)[1]._replace(labelled=False)
            tensors |= {
                f'{name} (no labels)': tensor
                for name, tensor in unlabelled.teacher.named_tensors().items()
            }
            undefined += unlabelled.teacher.undefined().values()
        distillation = self._distil(losses, step, unlabelled)
        self._check_finite(
            [*distillation.values(), *undefined], tensors, batch_data_samples
        )
        return losses | distillation

    def observe(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> tuple[dict[str, Tensor], Step]:
        """Run the student's training pass and the teacher on its RoIs.

        Returns:
            The student's own losses, and what both detectors made of the
            images and of the student's RoIs.
        """
        shapes = None
        needs = self._needs
        if needs.student_predictions or needs.teacher_predictions:
            shapes = image_shapes(batch_inputs, batch_data_samples)
        with capture(
            self.student,
            roi_stages=needs.rois,
            # else they are read with the predictions
            scores=needs.dense_scores and not needs.student_predictions,
            image_sizes=(
                sizes_of(shapes, batch_inputs)
                if shapes and needs.student_predictions
                else None
            ),
            modules=self._watched_modules(self.student),
        ) as captured:
            losses = dict(self.student.loss(batch_inputs, batch_data_samples))
        student = captured.record
        teacher = self._teacher.observe(
            self._to_teacher_pixels(batch_inputs, batch_data_samples),
            [stage.rois for stage in student.stages],
            logits=needs.roi_logits,
            scores=needs.dense_scores and not needs.teacher_predictions,
            shapes=shapes if needs.teacher_predictions else None,
            modules=self._watched_modules(self.teacher),
            others={
                entry: place.rois(student)
                for entry, place in self._places.items()
            },
        )
        _check_batch(len(batch_inputs), student, teacher)
        sizes = content_sizes(batch_inputs, batch_data_samples)
        return losses, Step(student, teacher, sizes)

    def compared_logits(self, step: Step) -> LogitRows:
        """Rows that ``logit_loss`` compares; those of the last RoI stage."""
        place = self._places.get('logit')
        if not isinstance(place, LogitPlace):
            raise ValueError('there is no logit_loss, so no logits to compare')
        return place.rows(step)

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        **kwargs: Any,
    ) -> SampleList:
        """Predictions of the student."""
        return self.student.predict(batch_inputs, batch_data_samples, **kwargs)

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

    # --- parts of a step ------------------------------------------------

    def _observe(self, images: Images) -> tuple[dict[str, Tensor], Step]:
        try:
            return self.observe(*images)
        except Exception as error:
            # RoIAlign stumbles over boxes, without saying over what
            explain(error, images.data_samples)
            raise

    def _distil(
        self,
        student_losses: Mapping[str, Any],
        step: Step,
        unlabelled: Step | None = None,
    ) -> dict[str, Tensor]:
        terms = self._terms(step)
        self.balance.measure(student_losses, terms, step.student.neck_feats)
        if unlabelled is not None:
            terms = _mean(step, terms, unlabelled, self._terms(unlabelled))
        balance = self.balance.factors()
        losses = {f'balance_{entry}': each for entry, each in balance.items()}
        for entry, place_terms in terms.items():
            weight = self._factor * balance.get(entry, 1.0)
            losses |= {key: weight * term for key, term in place_terms.items()}
        return losses

    def _terms(self, step: Step) -> dict[str, Terms]:
        return {
            entry: place.losses(step) for entry, place in self._places.items()
        }

    def _silent_losses(self, batch_inputs: Tensor) -> dict[str, Tensor]:
        """Zeros under the same keys, which keep the adapters in the graph."""
        zero = batch_inputs.new_zeros(()) + zero_of(self.adapters)
        balance = self.balance.factors()
        losses = {f'balance_{entry}': each for entry, each in balance.items()}
        for place in self._places.values():
            losses |= place.silent_losses(zero)
        return losses

    def _watched_modules(self, detector: BaseDetector) -> dict[str, nn.Module]:
        """Modules whose outputs the places compare."""
        modules: dict[str, nn.Module] = {}
        for place in self._places.values():
            modules |= place.modules(detector)
        return modules

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
        classes = metainfo_classes(hub.get_info('dataset_meta'))
        if classes is None:
            return
        for place in self._places.values():
            if place.compares_classes:
                place.loss.check_classes(classes)
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
        from_plain_student(self, state_dict, prefix, local_metadata)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, *args
        )


def _mean(
    step: Step,
    terms: Mapping[str, Terms],
    other_step: Step,
    other_terms: Mapping[str, Terms],
) -> dict[str, Terms]:
    """Means of the terms of each place over the images of two steps."""
    num_images = step.num_images + other_step.num_images
    share = step.num_images / num_images
    other_share = other_step.num_images / num_images
    return {
        entry: {
            key: share * term + other_share * other_terms[entry][key]
            for key, term in place_terms.items()
        }
        for entry, place_terms in terms.items()
    }


def _check_batch(
    num_images: int, student: TrainingPass, teacher: TeacherPass
) -> None:
    """Refuse branches that turn an image into several: RoIs name images."""
    for role, observed in (('student', student), ('teacher', teacher)):
        num_maps = len(observed.neck_feats[0])
        if num_maps != num_images:
            raise ValueError(
                f'the {role} makes {num_maps} feature maps of a batch of '
                f'{num_images} images; detectors with several branches '
                'cannot be distilled'
            )


def _check_entries(
    config: Mapping[str, Any], student: Mapping[str, Any]
) -> None:
    """Refuse entries of the config that nothing would read."""
    known = ['student', 'teacher', *entries(), 'balance_interval']
    for name in sorted(set(config) - set(known)):
        options = known
        if name.startswith('teacher_'):
            options = [f'teacher.{option}' for option in TEACHER_KEYS]
        hint = difflib.get_close_matches(name, options, 1)
        if name in _OF_DETECTORS or name in student:
            hint = [f'student.{name}']
        raise ValueError(
            f'a DetectorDistiller has no option {name!r}; '
            f'{f"did you mean {hint[0]!r}? " if hint else ""}it has '
            f'{", ".join(known)}'
        )


def _check_same_preprocessor(own: Any, beside: Any) -> None:
    """Refuse a data preprocessor beside the student's that differs."""
    # as text, in which lists and tuples are the same
    one, other = (
        json.dumps(config, sort_keys=True, default=str)
        for config in (own, beside)
    )
    if one != other:
        raise ValueError(
            f'the data_preprocessor of the config, or of its model, is '
            f'{beside}, but the student has its own, {own}; only one can be '
            'used: leave out one of the two'
        )
