"""timm-split: give every timm backbone an explicit ``embed`` and ``forward_stages``.

The pipeline, one folder a step. Each imports only those above it::

    syntax/   Python text, and which names it reads and writes
    source/   where text comes from: timm releases, user models, the index of their classes (never imported)
    model/    what a class says about itself: its stem and blocks, its steps, shapes and types
    split/    the decision: a Split or a Refusal
    package/  from splits to a directory
    reports/  what ``list``, ``show`` and ``diff`` print
    proof/    what ``verify`` does (the only part that runs torch and timm)

docs/how-it-works.md says what each module is for.
"""
