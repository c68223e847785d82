"""Run folders, the parameters of notebooks, and which runs need not be made again. No torch until a
model is loaded.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["committed", "facts", "folders", "parameters", "resume", "run", "sources"],
    submod_attrs={
        "folders": ["all_runs", "finished", "newest_runs", "run_folder", "write_index"],
        "parameters": ["check_parameters", "declared_parameters"],
        "run": ["Run", "file_hash", "load_model", "name_of", "project_root", "read_json", "start"],
    },
)
