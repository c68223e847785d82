"""Run folders, the parameters of notebooks, and which runs need not be made again. No torch until a
model is loaded.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["parameters", "resume", "run"],
    submod_attrs={
        "run": [
            "Run", "code_hash", "file_hash", "finished", "finished_runs", "load_model",
            "notebook_hash", "project_root", "read_json", "run_folder", "start", "write_index",
        ],
        "parameters": ["check_parameters", "declared_parameters"],
    },
)  # fmt: skip
