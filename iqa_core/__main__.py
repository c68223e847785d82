"""`python -m iqa_core <verb>`; the verbs are in `iqa_core/apps/commands.py`."""

if __name__ == "__main__":
    from iqa_core.apps.commands import main

    main()
