import pytest

from mmwkd.ranks import local_rank


@pytest.mark.parametrize(
    ('environment', 'rank'),
    [
        ({}, 0),
        ({'LOCAL_RANK': '3', 'TORCHELASTIC_RUN_ID': 'none'}, 3),
        ({'LOCAL_RANK': '3'}, 3),
        # mmdet's tools set LOCAL_RANK to 0 where it is not set
        ({'OMPI_COMM_WORLD_LOCAL_RANK': '2', 'LOCAL_RANK': '0'}, 2),
        ({'MPI_LOCALRANKID': '2', 'LOCAL_RANK': '0'}, 2),
        ({'MV2_COMM_WORLD_LOCAL_RANK': '2', 'LOCAL_RANK': '0'}, 2),
        ({'SLURM_LOCALID': '2', 'LOCAL_RANK': '0'}, 2),
        ({'SLURM_LOCALID': '', 'LOCAL_RANK': '1'}, 1),
        # srun starts one torchrun for each machine
        (
            {
                'SLURM_LOCALID': '0',
                'LOCAL_RANK': '3',
                'TORCHELASTIC_RUN_ID': 'none',
            },
            3,
        ),
    ],
)
def test_local_rank_of_every_launcher(monkeypatch, environment, rank):
    for name in (
        'LOCAL_RANK',
        'TORCHELASTIC_RUN_ID',
        'SLURM_LOCALID',
        'OMPI_COMM_WORLD_LOCAL_RANK',
        'MPI_LOCALRANKID',
        'MV2_COMM_WORLD_LOCAL_RANK',
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert local_rank() == rank
