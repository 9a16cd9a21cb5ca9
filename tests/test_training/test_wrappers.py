"""What wrappers of the model make of a distiller, in a group of one rank."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.model import (
    MMDistributedDataParallel,
    convert_sync_batchnorm,
)
from torch import nn
from torch.testing import assert_close

from mmwkd.testing import tiny_batch
from studies.toydata.minicoco.categories import CLASSES

from .conftest import student_config


@pytest.fixture
def distiller(run_config):
    return MODELS.build(run_config.model)


def data_of(distiller):
    batch = tiny_batch(num_classes=len(CLASSES))
    return distiller.data_preprocessor(batch, training=True)


@pytest.mark.usefixtures('group')
def test_ddp_neither_reduces_nor_broadcasts_the_teacher(distiller):
    wrapped = MMDistributedDataParallel(distiller)
    teacher = {
        id(tensor)
        for tensor in (
            *distiller.teacher.parameters(),
            *distiller.teacher.buffers(),
        )
    }
    reduced, broadcast = wrapped._module_parameters, wrapped.modules_buffers
    assert {id(p) for p in reduced} == {id(p) for p in distiller.parameters()}
    assert not teacher & {id(tensor) for tensor in (*reduced, *broadcast)}


def norms(module):
    return [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]


def test_sync_bn_converts_the_student_and_leaves_the_teacher(distiller):
    """Without peers SyncBN computes what BN does, also on a CPU."""
    data = data_of(distiller)
    plain = copy.deepcopy(distiller)
    num_norms = len(norms(distiller.student))
    assert num_norms > 0
    converted = convert_sync_batchnorm(distiller)
    assert not norms(converted.student)
    synced = [
        m
        for m in converted.student.modules()
        if isinstance(m, nn.SyncBatchNorm)
    ]
    assert len(synced) == num_norms
    assert len(norms(converted.teacher)) == num_norms
    MODELS.build(student_config()).load_state_dict(converted.state_dict())
    losses = converted(**copy.deepcopy(data), mode='loss')
    expected = plain(**data, mode='loss')
    assert_close(losses, expected)


def test_a_step_is_left_uncompiled(distiller):
    """Traced hooks would be those of the first step for ever."""
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    data = data_of(distiller)
    expected = distiller(**copy.deepcopy(data), mode='loss')
    compiled = torch.compile(distiller.forward, backend=backend)
    for _ in range(2):
        losses = compiled(**copy.deepcopy(data), mode='loss')
        assert_close(losses, expected)
    assert not graphs
