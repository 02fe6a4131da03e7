"""A decorator of a class is a registration if its code says so; else the class may be another one than it reads."""

import textwrap

import pytest

from codegen.model.decorators import objection
from codegen.source.index import Index
from codegen.types import Release

PLAIN_REGISTRY = """
    class Registry:
        def __init__(self, name):
            self._name, self._kept = name, {}
            self._modules = dict()

        def __repr__(self):
            return self._name

        def register(self, name=None):
            def deco(cls):
                self._modules[name or cls.__name__] = cls
                return cls
            return deco

        @property
        def modules(self):
            return self._modules
"""
# As OpenMMLab has it: called with a name, without, or on the class itself.
OPEN_MMLAB = """
    import inspect
    import warnings
    from functools import partial


    class Registry:
        def __init__(self, name, build_func=None):
            self._name = name
            self._module_dict = dict()
            self.build_func = build_func if build_func is not None else unknown(name)

        @property
        def module_dict(self):
            return self._module_dict

        def _register_module(self, module_class, module_name=None, force=False):
            if not inspect.isclass(module_class):
                raise TypeError(f'module must be a class, but got {type(module_class)}')
            if module_name is None:
                module_name = module_class.__name__
            if isinstance(module_name, str):
                module_name = [module_name]
            for name in module_name:
                if not force and name in self._module_dict:
                    existing = self.module_dict[name]
                    raise KeyError(f'{name} is already registered in {self._name} at {existing.__module__}')
                self._module_dict[name] = module_class

        def deprecated_register_module(self, cls=None, force=False):
            warnings.warn('The old API of register_module(module, force=False) is deprecated', DeprecationWarning)
            if cls is None:
                return partial(self.deprecated_register_module, force=force)
            self._register_module(cls, force=force)
            return cls

        def register_module(self, name=None, force=False, module=None):
            if not isinstance(force, bool):
                raise TypeError(f'force must be a boolean, but got {type(force)}')
            if isinstance(name, type):
                return self.deprecated_register_module(name, force=force)
            if not (name is None or isinstance(name, str)):
                raise TypeError('name must be a string')
            if module is not None:
                self._register_module(module_class=module, module_name=name, force=force)
                return module

            def _register(cls):
                self._register_module(module_class=cls, module_name=name, force=force)
                return cls

            return _register


    MODELS = Registry('models')
    BACKBONES = MODELS
"""
FACTORY = """
    _models = {}


    class Factory:
        registry = {}

        @classmethod
        def register(cls, name):
            def inner(wrapped):
                cls.registry[name] = wrapped
                return wrapped
            return inner

        @staticmethod
        def note(cls):
            _models.setdefault(cls.__name__.lower(), cls)
            return cls
"""


def found(decorator, text="", trusted=(), **files):
    """Why ``@decorator`` may change a class; ``text`` stands above it."""
    model = f"{textwrap.dedent(text)}\n\n@{decorator}\nclass Model:\n    pass\n"
    texts = {"m.py": model, **{f"{name}.py": textwrap.dedent(file) for name, file in files.items()}}
    index = Index(Release("", "memory", texts, ("m.py",), frozenset(trusted)))
    module = index.parse("m.py")
    (node,) = index.classes(module)["Model"].node.decorator_list
    return objection(index, module, node)


@pytest.mark.parametrize(
    ("decorator", "text", "files"),
    [
        ("register", "def register(cls):\n    return cls", {}),
        ("register", "ALL = []\ndef register(cls):\n    ALL.append(cls)\n    return cls", {}),
        ("register", "register = lambda cls: cls", {}),
        ("registry.register", "import registry", {"registry": "def register(cls):\n    return cls"}),
        ("register('x')", "from registry import register", {"registry": "def register(name):\n    return lambda c: c"}),
        ("MODELS.register()", "from r import MODELS", {"r": PLAIN_REGISTRY + "\n    MODELS = Registry('models')"}),
        ("MODELS.register('x')", "from r import Registry\nMODELS = Registry('y')", {"r": PLAIN_REGISTRY}),
        ("r.MODELS.register(name='x')", "import r", {"r": PLAIN_REGISTRY + "\n    MODELS = Registry('models')"}),
        ("MODELS.register_module()", "from r import MODELS", {"r": OPEN_MMLAB}),
        ("MODELS.register_module", "from r import MODELS", {"r": OPEN_MMLAB}),
        ("MODELS.register_module('x', force=True)", "from r import MODELS", {"r": OPEN_MMLAB}),
        ("BACKBONES.register_module(name='x')", "from r import BACKBONES", {"r": OPEN_MMLAB}),
        ("BACKBONES.register_module()", "from a import BACKBONES", {"r": OPEN_MMLAB, "a": "from r import BACKBONES"}),
        ("Factory.register('x')", "from r import Factory", {"r": FACTORY}),
        ("Factory.note", "from r import Factory", {"r": FACTORY}),
        ("Keep('x')", "class Keep:\n    def __init__(self, name):\n        self.name = name\n"
         "    def __call__(self, cls):\n        return cls", {}),
        ("ALL.register", "class Names(dict):\n    def register(self, cls):\n        self[cls.__name__] = cls\n"
         "        return cls\nALL = Names()", {}),
    ],
)  # fmt: skip
def test_a_registration_is_proved_where_its_code_can_be_read(decorator, text, files):
    assert found(decorator, text, **files) is None


TWICE = "def register(cls):\n    {}\n    return cls\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def register(cls):\n    if cls.__name__ == 'M':\n        return cls\n    return type(cls)", "cannot be read"),
        ("def register(cls):\n    class Sub(cls): pass\n    return Sub", "`classdef` is not followed"),
        ("def register(cls, other=dict):\n    return cls if F else other\nF = open('x')", "`open` cannot be read"),
        ("def register(cls):\n    pass", "something else than the class"),
        ("def register(cls):\n    if cls.depth:\n        return cls", "something else than the class"),
        (TWICE.format("cls.forward_features = lambda self, x: x"), "`cls.forward_features` is written"),
        (TWICE.format("cls.__init__.__defaults__ = (1,)"), "`cls.__init__.__defaults__` is written"),
        (TWICE.format("setattr(cls, 'forward', None)"), "`setattr` is given the class and cannot be read"),
        (TWICE.format("del cls.forward"), "`delete` is not followed"),
        (TWICE.format("cls.depth += 1"), "`augassign` is not followed"),
        (TWICE.format("for c in [cls]:\n        c.depth = 1"), "`c.depth` is written"),
        (TWICE.format("other = cls\n    other.depth = 1"), "`other.depth` is written"),
        (TWICE.format("{'x': cls}['x'].depth = 1"), "is written"),
        (TWICE.format("cls.patch()"), "`cls.patch` cannot be read"),
        (TWICE.format("from elsewhere import patch\n    patch(cls)"), "`patch` is given the class"),
        (TWICE.format("global cls_\n    cls_ = cls"), "a `global` is not followed"),
        (TWICE.format("cls.depth, x = 1, 2"), "`cls.depth` is written"),
        (TWICE.format("cls.table['x'] = 1"), "is not known to be a plain dictionary"),
        (TWICE.format("try:\n        cls.x = 1\n    finally: pass"), "`try` is not followed"),
        (TWICE.format("cls | 1"), "may run anything"),
        ("def wrap(f): return f\n@wrap\ndef register(cls): return cls", "`register` is decorated itself"),
        ("def register(cls): return cls\nregister = repr", "bound more than once"),
        ("if 1:\n    def register(cls): return cls", "under a condition"),
        ("def register(cls): return cls\ndef f():\n    global register\n    register = repr", "bound more than once"),
        ("class Box:\n    def __setitem__(self, k, v): v.x = 1\nBOX = Box()\n" + TWICE.format("BOX['x'] = cls"),
         "`BOX` is not known to be a plain dictionary"),
        ("class Box(dict):\n    def __setitem__(self, k, v): v.x = 1\nBOX = Box()\n" + TWICE.format("BOX['x'] = cls"),
         "`BOX` is not known to be a plain dictionary"),
        ("class register:\n    def __init__(self, cls): self.cls = cls\n    def __call__(self): return self.cls()",
         "it makes a `register` of the class"),
    ],
)  # fmt: skip
def test_a_decorator_that_may_do_more_is_none(text, reason):
    unproven = found("register", text)
    assert unproven is not None
    assert reason in unproven.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("return deco", "cls = 1\n            return deco"), None),  # another `cls` than that of the function inside
        (("dict()", "open(name)"), "not known to be a plain dictionary"),
        (("= name, {}", "= name, {}\n            self.register = repr"), "replaces the method"),
        (("= name, {}", "= name, {}\n            self.__dict__.update(register=repr)"), "may replace a method"),
        (("= name, {}", "= name, {}\n            setattr(self, name, repr)"), "may replace a method"),
        (("= name, {}", "= name, {}\n            vars(self)['register'] = repr"), "may replace a method"),
        (("class Registry:", "class Registry(Unheard):"), "`Unheard`, the base of `Registry`, cannot be read"),
        (("class Registry:", "class Registry(metaclass=Unheard):"), "`Registry` is no plain class"),
        (("def __repr__", "def __getattribute__"), "`__getattribute__` may give anything"),
        (("return cls", "return self._modules[name]"), "something else than the class"),
        (("return cls", "self.freeze(cls)\n                return cls"), "cannot be read"),
        (("return cls", "return cls if name else self"), "something else than the class"),
    ],
)
def test_the_class_of_a_registry_is_read_to_its_end(change, reason):
    text = PLAIN_REGISTRY.replace(*change) + "\n    MODELS = Registry('models')"
    unproven = found("MODELS.register()", "from r import MODELS", r=text)
    assert unproven is None if reason is None else reason in unproven.reason


@pytest.mark.parametrize("line", ["MODELS.register = repr", "setattr(MODELS, 'register', repr)", "r.MODELS = None"])
def test_a_registry_that_another_file_changes_is_unknown(line):
    text = PLAIN_REGISTRY + "\n    MODELS = Registry('models')"
    assert found("MODELS.register()", f"import r\nfrom r import MODELS\n{line}", r=text) is not None


def test_a_registry_that_is_handed_on_is_unknown():
    text = PLAIN_REGISTRY + "\n    MODELS = Registry('models')\n    open(MODELS)"
    unproven = found("MODELS.register()", "from r import MODELS", r=text)
    assert "`MODELS` is handed to `open(MODELS)`" in unproven.reason


def test_the_line_in_the_way_is_named_with_its_file():
    unproven = found("register", "from r import register", r="def register(cls):\n    cls.x = 1\n    return cls")
    assert (unproven.module.path, unproven.node.lineno) == ("r.py", 2)


@pytest.mark.parametrize(
    "decorator", ["MODELS.register_module()", "MODELS.register_module", "MODELS.register_module(1)"]
)
def test_what_cannot_be_read_is_taken_at_the_word_of_the_user(decorator):
    header = "from mmengine import MODELS"
    assert found(decorator, header).unread
    assert found(decorator, header, trusted=["MODELS.register_module"]) is None
    assert found(decorator, header, trusted=["register_module"]) is not None


@pytest.mark.parametrize(
    ("decorator", "header"),
    [
        ("dataclass", "from dataclasses import dataclass"),
        ("torch.jit.script", "import torch"),
        ("s", "from attr import s"),
    ],
)
def test_what_is_known_to_change_classes_is_trusted_by_nobody(decorator, header):
    assert "changes the class" in found(decorator, header, trusted=[decorator]).reason
