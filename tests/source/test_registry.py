"""The registry on sources of a few lines, one rule each, and on the installed timm."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from codegen.source.index import Index
from codegen.source.registry import registered_in, registered_models
from codegen.types import Release

A = (("timm.models.net", "A"),)
B = (("timm.models.net", "B"),)
BOTH = A + B

HEADER = """
import os
from functools import partial
from torch import nn
from ._builder import build_model_with_cfg
from ._registry import register_model

class A(nn.Module): ...
class B(nn.Module): ...
"""
SPREAD_OVER_FAMILIES = """
beit_base_patch16_224 convnext_tiny convit_tiny crossvit_9_240 deit_tiny_distilled_patch16_224 deit_tiny_patch16_224
ecaresnet50d_pruned efficientnet_b0 efficientvit_b0 eva02_tiny_patch14_224 gernet_s hardcorenas_a hiera_tiny_224
hrnet_w18_small inception_v3 levit_128s levit_conv_128s mobilenetv3_small_050 mobilevit_xxs naflexvit_base_patch16_gap
pit_ti_224 resnet18 resnest14d skresnet18 res2net50_14w_8s swin_tiny_patch4_window7_224 test_efficientnet
vit_tiny_patch16_224 vit_tiny_r_s16_p8_224 vitamin_small_224 xcit_nano_12_p16_224
"""


def models(source: str, header: str = HEADER, **others: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """Registered models of a release that consists of ``net.py`` and the other modules."""
    files = {"net": header + dedent(source), **{name: dedent(text) for name, text in others.items()}}
    return found_in({f"timm/models/{name}.py": text for name, text in files.items()})


def found_in(files: dict[str, str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Registered models of a release that consists of these files."""
    modules = Index(Release("1.2.3", "memory", files)).model_modules
    return dict(registered_models(registered_in(module, modules) for module in modules.values()))


def entry(body: str, helpers: str = "") -> tuple[tuple[str, str], ...]:
    """What the model ``net`` builds whose function has this body."""
    body = "\n".join(f"    {line}" for line in dedent(body).strip().splitlines())
    source = f"{dedent(helpers)}\n@register_model\ndef net(pretrained=False, **kwargs):\n{body}\n"
    return models(source)["net"]


def test_a_model_builds_the_class_that_its_helper_hands_to_the_builder() -> None:
    found = models("""
        def _create_net(variant, pretrained=False, **kwargs):
            out_indices = kwargs.pop('out_indices', 3)
            model = build_model_with_cfg(A, variant, pretrained, feature_cfg=dict(out_indices=out_indices), **kwargs)
            return model

        @register_model
        def net_base(pretrained: bool = False, **kwargs) -> B:
            model_args = dict(depth=12, dims=(1, 2))
            return _create_net('net_base', pretrained=pretrained, **dict(model_args, **kwargs))
    """)
    assert found == {"net_base": A}


def test_only_the_register_model_of_timm_registers() -> None:
    build = "return build_model_with_cfg(A, 'net', False)"
    own = f"""
        import timm.models._registry
        from timm.models import register_model as register
        from . import _registry as registry

        @register
        def renamed(**kwargs): {build}
        @registry.register_model
        def through_the_module(**kwargs): {build}
        @timm.models._registry.register_model
        def in_full(**kwargs): {build}
        def undecorated(**kwargs): {build}
        @partial(print)
        def decorated_otherwise(**kwargs): {build}
        registry.register_model_deprecations(__name__, {{'old_name': 'renamed'}})
    """
    foreign = """
        def register_model(function): return function
        @register_model
        def somebody_elses(**kwargs): ...
    """
    elsewhere = """
        from zoo.models import register_model
        @register_model
        def of_another_zoo(**kwargs): ...
    """
    registry = "def register_model(fn): return fn"
    names = {"renamed", "through_the_module", "in_full"}
    assert set(models(own, foreign=foreign, elsewhere=elsewhere)) == names
    assert set(models(own, foreign=foreign, elsewhere=elsewhere, _registry=registry)) == names


def test_helpers_and_classes_are_followed_through_imports() -> None:
    found = models(
        """
        from . import family
        from .family import Relative, create
        import timm.models.family as renamed

        @register_model
        def imported(pretrained=False, **kwargs): return create('imported', **kwargs)
        @register_model
        def of_module(pretrained=False, **kwargs): return family.create('of_module', **kwargs)
        @register_model
        def of_renamed(pretrained=False, **kwargs): return renamed.create('of_renamed', **kwargs)
        @register_model
        def class_alone(pretrained=False, **kwargs): return build_model_with_cfg(Relative, 'class_alone', pretrained)
        @register_model
        def when_called(pretrained=False, **kwargs):
            from .family import create as late
            return late('when_called', **kwargs)
        """,
        family="""
        from timm.models._builder import build_model_with_cfg
        from .parent import Parent as Relative
        def create(variant, **kwargs): return build_model_with_cfg(Relative, variant, **kwargs)
        """,
        parent="class Parent: ...",
    )
    assert set(found.values()) == {(("timm.models.parent", "Parent"),)}
    assert len(found) == 5


DISTILLED = """
def _create(variant, pretrained=False, distilled=False, **kwargs):
    model_cls = A if distilled else B
    return build_model_with_cfg(model_cls, variant, pretrained, **kwargs)
"""


@pytest.mark.parametrize(
    ("call", "classes"),
    [
        ("_create('net', distilled=True)", A),
        ("_create('net', distilled=False)", B),
        ("_create('net')", B),
        ("_create('net', False, True)", A),
        ("_create('net', **dict(dict(distilled=True, depth=3), **kwargs))", A),
        ("_create('net', **{**dict(distilled=True), 'distilled': False, **kwargs})", B),
        ("_create('net', pretrained, distilled=kwargs.pop('distilled', True), **kwargs)", A),
        ("_create('net', distilled=kwargs.get('distilled'))", B),
        ("_create('net', distilled=kwargs.setdefault('distilled', 'yes'))", A),
    ],
)
def test_literals_and_defaults_that_reach_a_helper_choose_its_class(call: str, classes: object) -> None:
    assert entry(f"return {call}", DISTILLED) == classes


@pytest.mark.parametrize(
    "test",
    [
        "flag",
        "not no",
        "nothing is None",
        "flag is not None",
        "flag is True",
        "kind == 'a'",
        "kind != 'b'",
        "kind in ('a', 'c')",
        "kind not in ['b']",
        "'conv' in variant",
        "variant.startswith('net_') and variant.endswith('small')",
        "variant.replace('_conv', '') == 'net_small'",
        "size > 2",
        "size <= 3 and size < 4 and size >= 3",
        "no or flag",
        "kwargs",
        "'given' in kwargs and 'absent' not in kwargs",
        "kwargs.get('given', 0) == 1",
        "kwargs.get('absent', 1)",
        "kwargs['given']",
        "cls is A",
        "TABLE['a'] is A",
        "(True if flag else False)",
    ],
)
def test_tests_of_simple_form_are_decided(test: str) -> None:
    helpers = f"""
TABLE = dict(a=A, b=B)
def _create(variant, flag=True, no=False, nothing=None, kind='a', size=3, cls=A, **kwargs):
    if {test}:
        return build_model_with_cfg(A, variant, **kwargs)
    return build_model_with_cfg(B, variant, **kwargs)
"""
    assert entry("return _create('net_conv_small', given=1)", helpers) == A


@pytest.mark.parametrize(
    "test",
    [
        "unheard_of",
        "len(variant) > 2",
        "nn.flag",
        "pretrained",
        "isinstance(variant, str)",
        "kwargs == {}",
        "variant.replace('n', 'm', **nn.options) == 'met'",
        "(lambda flag=False: flag)(**nn.options)",
    ],
)
def test_an_undecidable_test_gives_both_classes(test: str) -> None:
    assert entry(f"variant = 'net'\nreturn build_model_with_cfg(A if {test} else B, variant, pretrained)") == BOTH


def test_answers_are_not_mixed_within_one_pass() -> None:
    body = """
        if pretrained:
            cls, flag = A, True
        else:
            cls, flag = B, False
        if flag and cls is B:
            cls = nn.Module
        return build_model_with_cfg(cls, 'net')
    """
    assert entry(body) == BOTH


def test_features_only_is_not_taken() -> None:
    helper = """
def _create(variant, pretrained=False, **kwargs):
    mode, model_cls = '', A
    if kwargs.pop('features_only', False):
        mode, model_cls = 'cls', B
    return build_model_with_cfg(model_cls, variant, pretrained, features_only=mode == 'cfg', **kwargs)
"""
    create = "return _create('net', pretrained=pretrained, **kwargs)"
    assert entry(create, helper) == A
    assert entry(f"nn.prepare(kwargs)\n{create}", helper) == A


def test_classes_come_as_arguments_partials_and_lambdas() -> None:
    helpers = """
def _create(cls, variant, **kwargs): return build_model_with_cfg(cls, variant, **kwargs)
_create_b = partial(_create, B)
_create_a = lambda variant, **kwargs: _create(cls=A, variant=variant, **kwargs)
def _flagged(variant, flag=False): return _create(A if flag else B, variant)
_create_flagged = partial(_flagged, flag=True)
"""
    assert entry("return _create(B, 'net', **kwargs)", helpers) == B
    assert entry("return _create_b('net', **kwargs)", helpers) == B
    assert entry("return _create_a('net', **kwargs)", helpers) == A
    assert entry("return _create_flagged('net')", helpers) == A
    assert entry("return _create_flagged('net', flag=False)", helpers) == B
    assert entry("return build_model_with_cfg(model_cls=partial(A, depth=3), variant='net')") == A
    assert entry("return build_model_with_cfg(lambda deep=False, **kwargs: A() if deep else B(), 'net')") == BOTH
    assert entry("def make(**kw): return cls(**kw)\ncls = B\nreturn build_model_with_cfg(make, 'net')") == B


def test_a_model_may_be_built_without_the_builder() -> None:
    assert entry("return B(depth=3, **kwargs)") == B


def test_environment_variables_are_unset() -> None:
    helpers = "FLAG = os.environ.get('TIMM_FLAG', 'False').lower() == 'true'"
    assert entry("return build_model_with_cfg(A if FLAG else B, 'net')", helpers) == B
    assert entry("return build_model_with_cfg(A if os.getenv('TIMM_FLAG') else B, 'net')") == B


def test_what_a_helper_does_to_a_dictionary_is_seen() -> None:
    helpers = """
def _prepare(args):
    args['kind'] = args.pop('was', 'b')
    args.update(dict(seen=True), more=1)
    args.setdefault('kept', 'a')
"""
    body = "model_args = dict({})\n_prepare(model_args)\nreturn build_model_with_cfg({} else B, 'net')"
    assert entry(body.format("was='a'", "A if model_args.get('kind') == 'a'"), helpers) == A
    assert entry(body.format("", "A if model_args.get('kind') == 'a'"), helpers) == B
    assert entry(body.format("", "A if model_args.get('kept') == 'a'"), helpers) == A
    assert entry(body.format("was='a'", "A if 'was' not in model_args and model_args['seen']"), helpers) == A


@pytest.mark.parametrize(
    "touch",
    [
        "nn.prepare(model_args)",
        "model_args.popitem()",
        "model_args.pop(pretrained)",
        "model_args[pretrained] = False",
        "model_args.update(nn.defaults())",
        "for key in nn.keys:\n    model_args.pop(key, None)",
        "with nn.context(model_args) as model_args:\n    pass",
        "model_args |= nn.defaults()",
        "sizes = [model_args.pop(size) for size in nn.sizes]",
    ],
)
def test_a_dictionary_that_anything_may_have_happened_to_decides_nothing(touch: str) -> None:
    use = "return build_model_with_cfg(A if model_args.get('flag', True) else B, 'net')"
    assert entry(f"model_args = dict(flag=True)\n{touch}\n{use}") == BOTH
    assert entry(f"model_args = dict(flag=True)\nlen(model_args)\n{use}") == A


def test_a_path_that_raises_builds_nothing() -> None:
    body = """
        cls = A
        if pretrained:
            cls = B
            raise RuntimeError('no weights')
        return build_model_with_cfg(cls, 'net')
    """
    assert entry(body) == A


def test_what_nobody_asks_for_is_not_followed() -> None:
    helpers = """
def _decode(definitions):
    for definition in definitions:
        if nn.unclear(definition):
            return definition
def _sizes(definitions): return _decode(definitions).sizes[0]
"""
    assert entry("return build_model_with_cfg(A, 'net', blocks=_decode([1]), sizes=_sizes(3))", helpers) == A


@pytest.mark.parametrize(
    "body",
    [
        "return build_model_with_cfg(nn.Module, 'net')",
        "return build_model_with_cfg(unheard_of, 'net')",
        "return build_model_with_cfg(A if pretrained else nn.Module, 'net')",
        "return nn.wrap(build_model_with_cfg(A, 'net'))",
        "return build_model_with_cfg(A, 'net', features_only=True)",
        "return plain(*nn.args)",
        "build_model_with_cfg(A, 'net')",
        "for cls in nn.classes:\n    return build_model_with_cfg(cls, 'net')\nreturn build_model_with_cfg(A, 'net')",
        "cls = A\nfor cls in nn.classes:\n    pass\nreturn build_model_with_cfg(cls, 'net')",
        "try:\n    cls = A\nexcept ImportError:\n    cls = B\nreturn build_model_with_cfg(cls, 'net')",
        "return build_model_with_cfg(cls := A, 'net')",
        "return net(**kwargs)",
        "return wrapped('net')",
        "return conditional('net')",
        "return imported('net')",
        "return build_model_with_cfg(unpacked, 'net')",
        "return build_model_with_cfg(looped, 'net')",
        "flags = [" + ", ".join(["1 if nn.flag else 2"] * 10) + "]\nreturn build_model_with_cfg(A, 'net')",
    ],
)
def test_a_class_that_is_not_found_for_certain_is_not_guessed(body: str) -> None:
    helpers = """
@nn.wrap
def wrapped(variant, **kwargs): return build_model_with_cfg(A, variant)
def conditional(variant): return build_model_with_cfg(A, variant)
def plain(variant='net', cls=A): return build_model_with_cfg(cls, variant)
imported = None
unpacked = A
unpacked, other = B, A
looped = A
for looped in nn.classes: pass
if nn.flag:
    from .net import plain as imported
    def conditional(variant): return build_model_with_cfg(B, variant)
"""
    assert entry(body, helpers) == ()


def test_a_name_builds_what_any_of_its_registrations_builds() -> None:
    twice = "@register_model\ndef net(**kwargs): return build_model_with_cfg({}, 'net')\n"
    assert models(twice.format("A") + twice.format("B")) == {"net": BOTH}
    assert models(twice.format("A") + twice.format("nn.Module")) == {"net": ()}
    assert models(twice.format("A").replace("def", "@nn.wrap\ndef")) == {"net": ()}
    assert models(f"if nn.flag:\n    {twice.format('A')}".replace("\ndef", "\n    def")) == {"net": A}


def test_neither_torch_nor_timm_is_imported() -> None:
    check = "import sys, codegen.source.registry; sys.exit(bool({'torch', 'timm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.fixture(scope="module")
def installed() -> dict[str, tuple[tuple[str, str], ...]]:
    """Registered models of the installed timm, from its files."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    files = sorted((package / "models").rglob("*.py"))
    return found_in({file.relative_to(package.parent).as_posix(): file.read_text("utf-8") for file in files})


def test_every_name_of_the_installed_timm_has_one_class_that_exists(
    installed: dict[str, tuple[tuple[str, str], ...]],
) -> None:
    import timm

    assert set(installed) == set(timm.list_models())
    assert [name for name, classes in installed.items() if len(classes) != 1] == []
    for module, name in {classes[0] for classes in installed.values()}:
        assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize("name", SPREAD_OVER_FAMILIES.split())
def test_the_class_is_the_one_that_timm_builds(name: str, installed: dict[str, tuple[tuple[str, str], ...]]) -> None:
    import timm
    import torch

    with torch.device("meta"):
        built = type(timm.create_model(name))
    assert installed[name] == ((built.__module__, built.__name__),)
