"""Find the distiller that a runner trains."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmwkd.distillers import DetectorDistiller


def distiller_of(runner: Runner, hook: Hook) -> DetectorDistiller:
    """The distiller inside the runner's model, which a hook needs."""
    model = runner.model
    if is_model_wrapper(model):
        model = model.module
    if not isinstance(model, DetectorDistiller):
        raise ValueError(
            f'{type(hook).__name__} is for a DetectorDistiller, but the model '
            f'is a {type(model).__name__}'
        )
    return model
