"""timm-split: give every timm backbone an explicit ``embed`` and ``forward_stages``.

The pipeline, one module an arrow::

    release.py    a timm version  -> its source            (installed, wheel, sdist, directory; never imported)
    index.py      source          -> model classes         (ast: which classes have a forward_features)
    facts.py      a class         -> what its attributes are (stem, blocks, parameters, dropout)
    boundary.py   facts and body  -> where the embedding ends, and why
    patches.py    an embedding    -> where its patches end, before their position
    dataflow.py   a cut body      -> what crosses it
    splitter.py   all of these    -> a Split or a Refusal
    render.py     splits          -> the text of a package  (jinja2)
    writer.py     text            -> files                  (all or nothing)
    proof/        the package     -> what holds             (runs torch and timm)

``listing.py``, ``showing.py`` and ``comparison.py`` print what became of the classes of a release. docs/how-it-works.md
tells what each of the smaller modules is for.
"""
