"""The verbs of the IQA workbook. The recipes are in `notebooks/`, the experiments in `params/`, the
results in `data/runs/`.
"""

__version__ = "0.1.0"
