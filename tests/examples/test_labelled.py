"""Labels of images that are not in folders of classes: in tars, and of Hugging Face's datasets."""

import tarfile

import data
import datasets
import pytest
from data import InputError, open_images
from labelled import Labelled, open_labelled
from PIL import Image
from test_data import fashion, shard


def shades(labelled: Labelled) -> list[tuple[int, str]]:
    """How bright each image is, and its class."""
    labels = [labelled.classes[label] for label in labelled.labels.tolist()]
    return [(int(labelled.images[index].max()), label) for index, label in enumerate(labels)]


def test_shards_have_a_file_with_the_class_beside_each_image(tmp_path):
    shard(tmp_path / "000.tar", {"a": 10, "b": 20}, "2")
    shard(tmp_path / "001.tar", {"a": 30, "c": 40}, "10")  # of one name in two shards
    learn, test = open_labelled(f"wds/{tmp_path}", None, 1)
    assert learn.classes == ("2", "10")
    assert sorted(shades(learn) + shades(test)) == [(10, "2"), (20, "2"), (30, "10"), (40, "10")]
    one, _ = open_labelled(str(tmp_path), str(tmp_path), 1)
    assert len(shades(one)) == 4


def test_a_tar_may_hold_folders_of_classes(tmp_path):
    for name, shade in (("dark", 10), ("light", 200)):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("L", (8, 8), shade + number).save(tmp_path / name / f"{number}.png")
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        for name in ("dark", "light"):
            tar.add(tmp_path / name, name)
    learn, test = open_labelled(str(tmp_path / "images.tar"), None, 1)
    assert shades(learn) == [(10, "dark"), (200, "light")]
    assert shades(test) == [(11, "dark"), (201, "light")]


def test_clothes_have_a_test_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "FASHION", fashion(tmp_path / "fashion-mnist"))
    learn, test = open_labelled("fashion-mnist", None, 1)
    assert shades(learn)[:2] == [(0, "T-shirt/top"), (10, "Trouser")]
    assert shades(test)[:2] == [(0, "T-shirt/top"), (20, "Trouser")]
    assert (len(learn.labels), len(test.labels)) == (20, 10)
    with pytest.raises(InputError, match="does not go with --data fashion-mnist, which has a test of its own"):
        open_labelled("fashion-mnist", "digits", 1)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A dataset of Hugging Face, as one finds it on a disk: two splits of two classes."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for split, number in (("train", 3), ("test", 2)):
        for name, shade in (("dark", 10), ("light", 200)):
            (tmp_path / "hub" / split / name).mkdir(parents=True)
            for index in range(number):
                Image.new("L", (8, 8), shade + index).save(tmp_path / "hub" / split / name / f"{index}.png")
    return f"hfds/{tmp_path / 'hub'}"


def test_datasets_of_hugging_face_have_labels_and_splits(hub):
    learn, test = open_labelled(hub, f"{hub}:test", 1)
    assert sorted(shades(learn)) == [(10, "dark"), (11, "dark"), (12, "dark"), *((200 + n, "light") for n in range(3))]
    assert sorted(shades(test)) == [(10, "dark"), (11, "dark"), (200, "light"), (201, "light")]
    images = open_images(f"{hub}:test", (8, 8), 3, made=0)
    assert len(images) == 4
    assert images[0].shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file_name,kind\n0.png,0\n1.png,1\n", "has no column 'label', but image, kind"),
        ("file_name,label\n0.png,0\n1.png,-1\n", "1 of the 2 images of .* have no label"),  # which is kept secret
    ],
)
def test_a_dataset_without_labels_says_so(tmp_path, hub, table, message):
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    (folder / "metadata.csv").write_text(table)
    for number in range(2):
        Image.new("L", (8, 8)).save(folder / f"{number}.png")
    with pytest.raises(InputError, match=message):
        open_labelled(f"hfds/{folder}", None, 1)


def test_a_split_that_is_not_there_gets_one_line(hub):
    with pytest.raises(InputError, match=r"hub cannot be read .*validation"):
        open_labelled(f"{hub}:validation", None, 1)
