"""Category relations: the ground cost of WKD-L as an artefact."""

from mmwkd.costs.cost_matrix import BACKGROUND, CostMatrix

__all__ = ['BACKGROUND', 'CostMatrix']
