"""The proof: what of a generated package holds, by running timm's classes beside their split classes.

``package.py`` reads and imports the package, ``models.py`` builds models, ``trace.py`` records what a forward pass
does, ``boundary.py`` judges where a recorded pass was cut, ``operations.py`` and ``numeric.py`` compare timm with the
split on the ``meta`` device and on the CPU, ``runner.py`` does so for many names in worker processes, ``report.py``
prints what came of it, and ``command.py`` is ``timm-split verify``. torch and timm are imported by these modules and
nowhere else in :mod:`codegen`.
"""
