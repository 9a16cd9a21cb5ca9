"""Read what configs say of models, and their lists of classes."""

import copy
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.hub import get_config
from mmengine.registry import Registry, init_default_scope
from mmengine.runner import Runner


def read_config(path: str, cfg_options: Sequence[str] = ()) -> Config:
    """Read a config file and change it, by ``key=value`` as mmdet does."""
    if not Path(path).is_file():
        raise FileNotFoundError(f'config {path} does not exist')
    for option in cfg_options:
        if '=' not in option:
            raise ValueError(
                f'--cfg-options takes key=value pairs, got {option!r}'
            )
    changes = Namespace()
    DictAction([], 'found')(ArgumentParser(), changes, list(cfg_options))
    config = Config.fromfile(path)
    config.merge_from_dict(changes.found)
    return config


def training_loader(config: Config, *, seed: int = 0, **changes: Any) -> Any:
    """Data loader of a config's training data, in this process."""
    options = dict(config.train_dataloader, **changes)
    options.update(num_workers=0, persistent_workers=False)
    options.pop('prefetch_factor', None)
    with refused_without_images('training'):
        return Runner.build_dataloader(options, seed=seed)


@contextmanager
def refused_without_images(name: str) -> Iterator[None]:
    """Name a dataset without images, which mmengine fails to serialise."""
    try:
        yield
    except ValueError as error:
        if 'at least one array' not in str(error):
            raise
        raise ValueError(
            f'the {name} dataset has no images with boxes of its classes; '
            'check data_root, ann_file and metainfo'
        ) from error


def first_batch(loader: Any) -> Any:
    """First batch of a data loader, not yet preprocessed."""
    batch = next(iter(loader), None)
    if batch is None:
        raise ValueError(
            'the training data have fewer images than a batch of '
            f'{loader.batch_size}, and train_dataloader.drop_last is set: '
            'lower train_dataloader.batch_size'
        )
    return batch


def enter_scope(config: Config) -> None:
    """Build what follows in a config's scope, or else in mmdet's."""
    init_default_scope(config.get('default_scope') or 'mmdet')


def imported(config: Config) -> list[str]:
    """Modules that a config's ``custom_imports`` name."""
    imports = config.get('custom_imports', {}).get('imports', [])
    return [imports] if isinstance(imports, str) else list(imports)


def model_of(config: Config) -> ConfigDict:
    """A copy of a config's model, with the preprocessor beside it."""
    model = copy.deepcopy(config.model)
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', config.data_preprocessor)
    return model


def teacher_options(
    config: Config, checkpoint: str | None, *, name: str
) -> dict[str, Any]:
    """The detector to study, as the ``teacher`` of a distiller's config.

    Of a distiller's config it is the teacher; ``checkpoint`` comes before
    the one that is named there. The name of the config is for messages.
    """
    if 'model' not in config:
        raise ValueError(f'{name} has no model')
    if is_distiller(config.model):
        options = copy.deepcopy(dict(config.model.teacher))
    else:
        options = dict(config=model_of(config))
    if checkpoint is not None:
        options['checkpoint'] = checkpoint
        options.pop('allow_random', None)
    if options.get('checkpoint') is None:
        raise ValueError(
            f'{name} names no checkpoint of a teacher: pass one behind it'
        )
    return options


def config_name(config: Any) -> str:
    """A config's path, or what it is of, for messages."""
    if isinstance(config, Mapping):
        return f'a {type_name(config)}'
    return str(config)


def check_detector(name: str, config: Any) -> None:
    """Refuse what is no config of a detector."""
    if not isinstance(config, Mapping):
        raise ValueError(
            f'{name} must be the config of a detector, got {config!r}'
        )
    if 'type' not in config:
        raise ValueError(
            f'{name} must be the config of a detector, got one without type '
            f'that has {", ".join(map(str, config)) or "nothing"}; of a whole '
            'config, give its model'
        )


def read_model(config: Any) -> Config:
    """Model config of a teacher, without weights to download.

    It is to be built in the scope of its own file, not of the student's.
    """
    if isinstance(config, (str, os.PathLike)):
        config = os.fspath(config)
        missing = FileNotFoundError(
            f'teacher config {config} does not exist; give a path, or '
            "'mmdet::<folder>/<file>.py' for one that mmdet ships"
        )
        shipped = '::' in config
        if not shipped and not Path(config).is_file():
            raise missing
        try:
            loaded = get_config(config) if shipped else Config.fromfile(config)
        except (FileNotFoundError, AssertionError) as error:
            if not shipped:
                raise
            raise missing from error
        except ImportError as error:
            raise ImportError(
                f'teacher config {config} imports what is not installed '
                f'({error.__cause__ or error}): install its package, such as '
                'mmpretrain for ConvNeXt'
            ) from error
        if 'model' not in loaded:
            raise ValueError(f'teacher config {config} has no model')
        model, scope = model_of(loaded), loaded.get('default_scope')
    else:
        check_detector('teacher.config', config)
        model, scope = Config(dict(model=config)).model, None
    if is_distiller(model):  # a distilled student may teach in its turn
        model = student_of(model)
    model = without_pretrained(copy.deepcopy(model))
    if scope is not None:
        model.setdefault('_scope_', scope)
    return model


def student_of(model: ConfigDict) -> ConfigDict:
    """Model config of a distiller's student, with its preprocessor."""
    student = model.student
    if 'data_preprocessor' in model:
        student.setdefault('data_preprocessor', model.data_preprocessor)
    return student


def is_distiller(model: Mapping[str, Any]) -> bool:
    """Whether a model config, by name or by class, is of a distiller."""
    cls = registered_class(MODELS, model.get('type'))
    return getattr(cls, 'is_distiller', False)


def registered_class(registry: Registry, kind: Any) -> Any:
    """Class that a config's ``type`` stands for; None for unknown names."""
    return registry.get(kind) if isinstance(kind, str) else kind


def type_name(config: Mapping[str, Any]) -> str:
    """Name that a config's ``type`` has, given by name or by class."""
    kind = config.get('type')
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def class_names(
    classes: Any, source: str = 'teacher.classes'
) -> tuple[str, ...] | None:
    """Class names as a tuple; None without a list.

    One string, as ``('person')`` is, is an error that names its source.
    """
    if classes is None:
        return None
    if isinstance(classes, str):
        raise ValueError(
            f'{source} must be a list of names, got the string {classes!r}: '
            'a tuple of one name needs a comma, as in '
            f'classes=({classes!r},)'
        )
    return tuple(map(str, classes))


def dataset_classes(dataset: Any) -> tuple[str, ...] | None:
    """Foreground classes of a dataset, whatever wraps or joins its members.

    Every member is looked at: a wrapper may have the ``metainfo`` of its
    first member alone, or a list with that of each.

    Returns:
        Class names in the order of the labels; None if no member states
        any. Members that differ are a ValueError that names them.

    Example:
        >>> from types import SimpleNamespace
        >>> cats = SimpleNamespace(metainfo=dict(classes=('cat', 'dog')))
        >>> dataset_classes(SimpleNamespace(dataset=cats, metainfo={}))
        ('cat', 'dog')
    """
    return _common_classes(_metainfos(dataset))


def metainfo_classes(metainfo: Any) -> tuple[str, ...] | None:
    """Foreground classes that a ``metainfo``, or a list of them, states.

    Example:
        >>> metainfo_classes([dict(classes=['cat'], palette=[1]), {}])
        ('cat',)
    """
    items = [metainfo] if isinstance(metainfo, Mapping) else metainfo or ()
    return _common_classes(('metainfo', item) for item in items)


def _common_classes(
    metainfos: Iterable[tuple[str, Mapping[str, Any]]],
) -> tuple[str, ...] | None:
    first_name, first = '', None
    for index, (source, metainfo) in enumerate(metainfos):
        name = f'member {index} of the dataset ({source})'
        classes = class_names(metainfo.get('classes'), f'classes of {name}')
        if first is None:
            first_name, first = name, classes
        elif classes is not None and classes != first:
            raise ValueError(
                f'{name} has other classes than {first_name}: '
                f'{first_difference(classes, first)}; members that are joined '
                'must have the same classes in the same order, so set '
                'metainfo=dict(classes=...) in each'
            )
    return first


def first_difference(classes: Sequence[str], expected: Sequence[str]) -> str:
    """Where a list of classes first differs from another, for a message.

    Example:
        >>> first_difference(['cat', 'dog'], ['cat', 'cow'])
        "class 1 is 'dog' instead of 'cow'"
    """
    for index, (a, b) in enumerate(zip(classes, expected, strict=False)):
        if a != b:
            return f'class {index} is {a!r} instead of {b!r}'
    return f'{len(classes)} classes instead of {len(expected)}'


def _metainfos(dataset: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What each member is, and its metainfo."""
    members = getattr(dataset, 'datasets', None)
    if not isinstance(members, Sequence):
        members = [getattr(dataset, 'dataset', None)]
    if members and all(map(_is_dataset, members)):
        for member in members:
            yield from _metainfos(member)
    else:
        metainfo = getattr(dataset, 'metainfo', None) or {}
        file = getattr(dataset, 'ann_file', '')
        name = ' '.join(filter(None, [type(dataset).__name__, str(file)]))
        # a joined dataset that hides its members has a list
        several = [metainfo] if isinstance(metainfo, Mapping) else metainfo
        for item in several:
            yield name, item


def _is_dataset(value: Any) -> bool:
    return any(hasattr(value, n) for n in ('metainfo', 'dataset', 'datasets'))


def without_pretrained(node: Any) -> Any:
    """Drop, in place, all initialisation that loads weights."""
    if isinstance(node, dict):
        # of all initialisers only the one that loads has a checkpoint
        init_cfg = node.get('init_cfg')
        if isinstance(init_cfg, (list, tuple)):
            node['init_cfg'] = [
                init for init in init_cfg if 'checkpoint' not in init
            ]
        elif isinstance(init_cfg, dict) and 'checkpoint' in init_cfg:
            node['init_cfg'] = None
        node.pop('pretrained', None)
        for value in node.values():
            without_pretrained(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            without_pretrained(value)
    return node
