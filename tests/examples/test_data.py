"""Images as people have them: grey, deep, turned by a camera, or arrays."""

import gzip
import io
import tarfile
from pathlib import Path

import data
import evaluate
import numpy as np
import pretrain
import pytest
import torch
from click.testing import CliRunner
from data import Digits, FashionMNIST, FolderImages, InputError, MadeImages, Views, collate, open_images, read_image
from PIL import Image
from torch.utils.data import DataLoader


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_converted_to_the_channels_of_the_model(tmp_path, channels):
    Image.new("L", (6, 4), 51).save(tmp_path / "grey.png")
    image = read_image(tmp_path / "grey.png", channels)
    assert image.shape == (channels, 4, 6)
    assert image.dtype == torch.uint8
    assert image[0].unique().tolist() == [51]


def test_sixteen_bits_are_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 13107, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png", 3)
    assert image.shape == (3, 1, 3)
    torch.testing.assert_close(image[0, 0], torch.tensor([0.0, 0.2, 1.0]))


def test_a_turned_picture_is_set_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg", 3).shape == (3, 6, 4)


def test_arrays_may_have_any_number_of_channels(tmp_path):
    np.save(tmp_path / "bands.npy", np.full((4, 6, 10), 65535, dtype=np.uint16))
    images = FolderImages(tmp_path, channels=10)
    assert images[0].shape == (10, 4, 6)
    assert images[0].unique().tolist() == [1.0]
    with pytest.raises(InputError, match=r"bands.npy cannot be decoded .*\(4, 6, 10\), and the model has 3 channels"):
        FolderImages(tmp_path, channels=3)[0]


def test_a_picture_cannot_be_converted_to_ten_channels(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "colour.png")
    with pytest.raises(InputError, match="a picture has 1, 3 or 4 channels, not 10"):
        FolderImages(tmp_path, channels=10)[0]


def test_digits_to_train_with_are_not_those_to_test():
    train, test = Digits(3), Digits(3, test=True)
    assert (len(train), len(test)) == (1437, 360)
    assert train[0].shape == (3, 8, 8)
    assert 0 <= train.images.min() < train.images.max() <= 1
    assert sorted(set(test.labels.tolist())) == list(range(10))


def idx(path: Path, array: np.ndarray) -> None:
    """A packed file as MNIST and its kin have them: bytes, after a header of big-endian numbers."""
    header = np.array([0x800 + array.ndim, *array.shape], dtype=">u4")
    path.write_bytes(gzip.compress(header.tobytes() + array.tobytes()))


def fashion(folder: Path, number: int = 20, tested: int = 10) -> Path:
    """The files of Debian's package, with so few images: all of a shade, which is ten times the label in training."""
    folder.mkdir()
    for part, count, factor in (("train", number, 10), ("t10k", tested, 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
        images = np.broadcast_to(labels[:, None, None] * factor, (count, 28, 28)).astype(np.uint8)
        idx(folder / f"{part}-images-idx3-ubyte.gz", images)
    return folder


def test_clothes_are_read_from_where_debian_has_them(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "FASHION", fashion(tmp_path / "fashion-mnist"))
    train, test = FashionMNIST(3), FashionMNIST(test=True)
    assert (len(train), len(test)) == (20, 10)
    assert (train[13].shape, test[0].shape, train[13].dtype) == ((3, 28, 28), (1, 28, 28), torch.uint8)
    assert (train[13].unique().tolist(), test[3].unique().tolist()) == ([30], [60])
    assert train.labels.tolist() == [*range(10), *range(10)]
    assert train.classes[9] == "Ankle boot"
    images = open_images("fashion-mnist", (8, 8), 1, made=0)
    assert len(images) == 20


def test_clothes_that_are_not_installed_get_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "FASHION", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"^Fashion-MNIST is not in .*nowhere: apt install dataset-fashion-mnist\.$"):
        FashionMNIST()


@pytest.mark.parametrize("program", [pretrain.main, evaluate.main])
def test_programs_say_that_clothes_are_not_installed(tmp_path, monkeypatch, program):
    monkeypatch.setattr(data, "FASHION", tmp_path / "nowhere")
    options = "random" if program is evaluate.main else "--device cpu"
    result = CliRunner().invoke(program, ["test_vit", *f"{options} --data fashion-mnist --output {tmp_path}".split()])
    assert result.exit_code == 1
    assert result.output.count("Error:") == 1
    assert "apt install dataset-fashion-mnist" in result.output
    assert "Traceback" not in result.output


def spoil(path: Path, damage: str) -> None:
    """Damage one of the packed files in some way."""
    content = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut short":
            path.write_bytes(content[: len(content) // 2])
        case "other bytes":
            path.write_bytes(content[:12] + bytes(4) + content[16:])
        case "not packed":
            path.write_bytes(gzip.decompress(content))
        case "too few":
            path.write_bytes(gzip.compress(gzip.decompress(content)[:-1]))
        case "no header":
            path.write_bytes(gzip.compress(b"idx"))
        case "other dimensions":
            idx(path, np.zeros((4, 4), dtype=np.uint8))
        case "a folder":
            path.unlink()
            path.mkdir()


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize(
    "damage",
    [
        *("missing", "empty", "cut short", "other bytes", "not packed", "too few", "no header", "other dimensions"),
        "a folder",
    ],
)
def test_damaged_clothes_get_one_line(tmp_path, monkeypatch, file, damage):
    monkeypatch.setattr(data, "FASHION", fashion(tmp_path / "fashion-mnist"))
    spoil(data.FASHION / file, damage)
    with pytest.raises(
        InputError, match=rf"{file} cannot be read \(.*\)\. Repair it: apt reinstall dataset-fashion"
    ) as e:
        FashionMNIST()
    assert "\n" not in str(e.value)


def test_each_of_the_clothes_has_a_label(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "FASHION", fashion(tmp_path / "fashion-mnist"))
    idx(data.FASHION / "train-labels-idx1-ubyte.gz", np.zeros(19, dtype=np.uint8))
    with pytest.raises(InputError, match="has 20 images and 19 labels"):
        FashionMNIST()


def test_made_images_have_the_shape_that_is_asked_for():
    images = MadeImages(2, (16, 24), channels=5)
    assert images[1].shape == (5, 16, 24)
    assert not torch.equal(images[0], images[1])


@pytest.mark.parametrize("kind", [np.int32, np.uint32])
def test_integers_of_32_bits_do_not_say_what_is_white(tmp_path, kind):
    """Read as 16 bits they wrap: 65,536 was as black as 0."""
    Image.fromarray(np.array([[0, 65536, 2**31 - 1]], dtype=kind)).save(tmp_path / "deep.tif")
    with pytest.raises(InputError, match=r"deep.tif cannot be decoded .*int32 does not say what is white: store uint8"):
        FolderImages(tmp_path)[0]


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint32, np.int64])
def test_arrays_of_other_integers_do_not_say_what_is_white(tmp_path, kind):
    np.save(tmp_path / "bands.npy", np.full((4, 6, 3), 100, dtype=kind))  # almost black, as a part of what fits in
    with pytest.raises(InputError, match="does not say what is white"):
        FolderImages(tmp_path)[0]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.bool_])
def test_fractions_stay_as_they_are(tmp_path, kind):
    np.save(tmp_path / "bands.npy", np.ones((4, 6, 3), dtype=kind))
    assert FolderImages(tmp_path)[0].unique().tolist() == [1.0]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(tmp_path, number):
    Image.fromarray(np.array([[0.5, number]], dtype=np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match="not all of its numbers are finite"):
        FolderImages(tmp_path)[0]


def test_tiffs_of_16_bits_are_read_whole(tmp_path):
    Image.fromarray(np.array([[0, 13107, 65535]], dtype=np.uint16)).save(tmp_path / "deep.tif")
    torch.testing.assert_close(FolderImages(tmp_path)[0][0, 0], torch.tensor([0.0, 0.2, 1.0]))


def shard(path: Path, shades: dict[str, int], label: str = "0") -> None:
    """A tar of grey images by their names, as WebDataset's shards are, with a label beside each."""
    with tarfile.open(path, "w") as tar:
        for name, shade in shades.items():
            content = io.BytesIO()
            Image.new("L", (6, 4), shade).save(content, "png")
            for extension, data in (("png", content.getvalue()), ("cls", label.encode())):
                info = tarfile.TarInfo(f"{name}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def test_a_tar_and_a_folder_of_tars_are_images(tmp_path):
    shard(tmp_path / "000.tar", {"a": 10, "b": 20})
    shard(tmp_path / "001.tar", {"c": 30})
    one = open_images(str(tmp_path / "000.tar"), (8, 8), 1, made=0)
    assert [int(image.max()) for image in (one[0], one[1])] == [10, 20]
    for name in (str(tmp_path), f"wds/{tmp_path}"):
        several = open_images(name, (8, 8), 3, made=0)
        assert [int(several[index].max()) for index in range(len(several))] == [10, 20, 30]
    assert several[2].shape == (3, 4, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.tar", "001.tar"]  # nothing is left beside them


def test_workers_read_a_tar_at_places_of_their_own(tmp_path):
    shard(tmp_path / "images.tar", {f"{number:03}": number for number in range(64)})
    images = open_images(str(tmp_path / "images.tar"), (8, 8), 1, made=0)
    assert int(images[0].max()) == 0  # opened before there are workers
    loader = DataLoader(images, batch_size=4, num_workers=2)
    assert torch.cat(list(loader)).amax(dim=(1, 2, 3)).tolist() == list(range(64))


def test_data_that_cannot_be_read_gets_one_line(tmp_path):
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("none")
    shard(tmp_path / "none.tar", {})
    for name, message in (
        ("empty.tar", "empty.tar cannot be read"),
        ("none.tar", "none.tar cannot be read"),
        ("notes.txt", "is neither a folder nor a tar"),
        ("nowhere", "does not exist: name a folder, a tar"),
    ):
        with pytest.raises(InputError, match=message):
            open_images(str(tmp_path / name), (8, 8), 1, made=0)


def views_of(folder: Path, *, skip: bool) -> Views:
    """Of images 0.png, 1.png, ... whose shade is their number, but for 1.png, which is cut short."""
    for number in range(4):
        Image.new("L", (6, 4), number).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:40])
    return Views(FolderImages(folder, 1), lambda image: (image,), seed=0, skip=skip)


def test_the_next_image_stands_in_for_one_that_is_skipped(tmp_path):
    views = views_of(tmp_path, skip=True)
    (images,), skipped = collate(views.__getitems__([0, 1, 2, 3]))
    assert images.amax(dim=(1, 2, 3)).tolist() == [0, 2, 2, 3]
    assert len(skipped) == 1
    assert "1.png cannot be decoded" in skipped[0]


def test_one_bad_image_stops_a_run_that_skips_none(tmp_path):
    loaded = collate(views_of(tmp_path, skip=False).__getitems__([0, 1]))
    assert isinstance(loaded, InputError)
    assert "1.png cannot be decoded" in str(loaded)


def test_images_that_are_all_bad_stop_any_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    views = Views(FolderImages(tmp_path, 1), lambda image: (image,), seed=0, skip=True)
    with pytest.raises(InputError, match=r"None of the 1 images can be decoded. .*a.png"):
        views[0]
