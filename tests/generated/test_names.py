"""What belongs to a model is looked up in the module of its class: a generated module answers for timm's."""

import importlib
import inspect
import pickle

import pytest
import timm.models.eva
import timm.models.vision_transformer

import generated
import generated.eva
import generated.vit


def test_timm_finds_what_belongs_to_a_split_model() -> None:
    model = generated.create_model("test_vit")
    module = importlib.import_module(type(model).__module__)
    assert module.checkpoint_filter_fn is timm.models.vision_transformer.checkpoint_filter_fn
    assert module._create_vision_transformer is timm.models.vision_transformer._create_vision_transformer


def test_an_unknown_name_is_said_to_be_missing_where_it_was_sought() -> None:
    with pytest.raises(AttributeError, match=r"timm\.models\.eva.* has no attribute 'no_such_name'"):
        _ = generated.eva.no_such_name
    with pytest.raises(ImportError, match="cannot import name 'no_such_name'"):
        exec("from generated.eva import no_such_name")


def test_a_generated_module_accounts_for_itself() -> None:
    assert hasattr(timm.models.eva, "__all__")
    assert not hasattr(generated.eva, "__all__")
    names: dict[str, object] = {}
    exec("from generated.eva import *", names)
    assert {"EvaSplit", "EvaEmbedding"} <= names.keys()
    assert "checkpoint_filter_fn" not in names
    assert set(dir(generated.eva)) == vars(generated.eva).keys()
    assert inspect.getsourcefile(generated.eva) == generated.eva.__file__


def test_classes_are_pickled_by_the_module_that_they_are_in() -> None:
    for cls in (timm.models.eva.Eva, generated.eva.EvaSplit, generated.eva.EvaEmbedding):
        assert pickle.loads(pickle.dumps(cls)) is cls
    assert timm.models.eva.Eva.__module__ == "timm.models.eva"
