"""The proof of a generated package: timm's classes and their split classes are run and compared.

torch and timm are imported by these modules and nowhere else in :mod:`codegen`. docs/how-it-works.md says what each
module is for.
"""
