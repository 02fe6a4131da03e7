"""The methods by which a class gives the operations of Python a meaning of its own, by what calls them."""

from __future__ import annotations

_BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or"

TRUTH = frozenset({"__bool__", "__len__"})
ITEMS = frozenset({"__getitem__", "__missing__", "__iter__", "__next__", "__reversed__", "__length_hint__"})
ORDER = frozenset({"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"})
COMPARISON = ORDER | {"__contains__"} | ITEMS
ARITHMETIC = frozenset(f"__{kind}{name}__" for name in _BINARY.split() for kind in ("", "r", "i")) | {
    "__neg__",
    "__pos__",
    "__invert__",
    "__torch_function__",
    "__array_ufunc__",
}
IN_PLACE_OPERATIONS = frozenset(f"__i{name}__" for name in _BINARY.split())
TEXT = frozenset({"__format__", "__str__", "__repr__"})
CONTEXT = frozenset({"__enter__", "__exit__"})
CONVERSION = frozenset(
    {"__int__", "__float__", "__index__", "__complex__", "__hash__", "__abs__", "__round__", "__bytes__", "__array__"}
)
STORING = frozenset({"__setitem__", "__delitem__"})
ASKED = frozenset({"__instancecheck__", "__subclasscheck__"})
LIBRARIES = frozenset(
    {"__floor__", "__ceil__", "__trunc__", "__copy__", "__deepcopy__", "__fspath__", "__dir__", "__sizeof__"}
    | {"__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__", "__buffer__"}
)
"""Those that functions of Python's own library call."""
KEYS = frozenset({"__hash__", "__eq__", "__index__"})
INSIDE = ORDER | {"__repr__", "__hash__"}
"""Those that an operation on a list, a tuple or the like applies to what that holds."""
EVERY = TRUTH | ITEMS | COMPARISON | ARITHMETIC | TEXT | CONTEXT | CONVERSION | STORING | ASKED | LIBRARIES
