"""Test a detector: mmdet's tools/test.py, with mmwkd registered."""

from mmwkd.mmdet_tools import run_mmdet_tool

if __name__ == '__main__':
    run_mmdet_tool('test.py')
