"""Writes notebooks/committed.json, by which `run` tells notebooks that were edited: run this before
committing a notebook.
"""

import argparse

from iqa_core.files import project_root
from iqa_core.runs import committed

argparse.ArgumentParser(description=__doc__).parse_args()
committed.write(project_root() / "notebooks")
