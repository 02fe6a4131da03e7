"""Images as people have them: grey, deep, turned by a camera, or arrays."""

import numpy as np
import pytest
import torch
from data import Digits, FolderImages, InputError, MadeImages, read_image
from PIL import Image


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


def test_made_images_have_the_shape_that_is_asked_for():
    images = MadeImages(2, (16, 24), channels=5)
    assert images[1].shape == (5, 16, 24)
    assert not torch.equal(images[0], images[1])
