"""Videos, (B, C, T, H, W), where a stem takes them: patches lie on a grid of frames, height and width."""

import math

import pytest
import torch
from timm.models.hiera import Hiera
from torch import nn

import generated
from generated.masking import (
    MaskedImageModel,
    block_mask,
    drop,
    feature_layout,
    hide,
    patch_layout,
    random_mask,
    region_mask,
    replace,
    target_masks,
    token_layout,
    tube_mask,
)

CLIP = (8, 32, 48)  # tubes of 2 frames and 8 x 8 pixels


class Tubes(nn.Module):
    """A stem of tubes, and stages that treat each token by itself."""

    def __init__(self, prefix: int, form: str) -> None:
        super().__init__()
        self.proj, self.form = nn.Conv3d(3, 8, (2, 8, 8), (2, 8, 8)), form
        self.prefix = nn.Parameter(torch.randn(1, prefix, 8))

    def embed(self, videos: torch.Tensor) -> torch.Tensor:
        x = self.proj(videos)
        if self.form != "NLC":
            return x if self.form == "NCHW" else x.movedim(1, -1)
        return torch.cat([self.prefix.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)

    def forward_stages(self, x: torch.Tensor) -> torch.Tensor:
        return x


class TubeEmbed(nn.Module):
    """Tubes in the place of the patches of a ViT of timm, as VideoMAE has them."""

    def __init__(self, kernel: tuple[int, int, int], padding: tuple[int, int, int]) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, 64, kernel, (2, 8, 8), padding)

    def forward(self, videos: torch.Tensor) -> torch.Tensor:
        return self.proj(videos).flatten(2).transpose(1, 2)


def vit(kernel: tuple[int, int, int] = (2, 8, 8), padding: tuple[int, int, int] = (0, 0, 0)) -> nn.Module:
    torch.manual_seed(0)
    model = generated.create_model("test_vit", num_classes=0, depth=1, dynamic_img_size=False).eval()
    model.patch_embed = TubeEmbed(kernel, padding)
    model.pos_embed = nn.Parameter(torch.randn(1, 1 + 4 * 4 * 6, 64))
    return model


def hiera(q_pool: int = 2) -> nn.Module:
    """timm's own model of videos: a stem that overlaps in time and space, units of 4 x 4 patches of one frame."""
    torch.manual_seed(0)
    video = {"patch_kernel": (3, 7, 7), "patch_stride": (2, 4, 4), "patch_padding": (1, 3, 3), "sep_pos_embed": True}
    small = {"embed_dim": 16, "num_heads": 1, "stages": (1, 1, 1), "mask_unit_attn": (True,) * 3, "num_classes": 0}
    units = {"q_stride": (1, 2, 2), "mask_unit_size": (1, 4, 4), "q_pool": q_pool}
    return generated.split(Hiera(img_size=CLIP, **video, **small, **units).eval())


@pytest.mark.parametrize(("prefix", "form"), [(0, "NLC"), (1, "NLC"), (5, "NLC"), (0, "NCHW"), (0, "NHWC")])
def test_a_patch_is_a_tube_of_pixels(prefix, form):
    torch.manual_seed(0)
    model = Tubes(prefix, form)
    layout = token_layout(model, CLIP)
    (stream,) = layout.streams
    assert (stream.order, stream.prefix, stream.grid, stream.stride) == (form, prefix, (4, 4, 6), (2, 8, 8))
    videos = torch.randn(2, 3, *CLIP)
    mask = random_mask(2, layout.grid(CLIP), 0.5)
    patches = layout.patches(model.embed(videos))
    for place in range(4 * 4 * 6):
        frame, row, column = place // 24, place // 6 % 4, place % 6
        tube = videos[:, :, frame * 2 :, row * 8 :, column * 8 :][:, :, :2, :8, :8]
        assert torch.allclose(patches[:, place], model.proj(tube).flatten(1), atol=1e-5)
        seen = stream.pixels(mask, CLIP)[:, :, frame * 2 :, row * 8 :, column * 8 :][:, :, :2, :8, :8]
        assert (seen == mask[:, place, None, None, None, None]).all()
    replaced = layout.patches(replace(layout, model.embed(videos), mask, torch.full((8,), 7.0)))
    assert torch.equal(replaced, torch.where(mask[..., None], 7.0, patches))


def test_tubes_that_are_dropped_leave_the_others_in_their_order():
    model = vit()
    layout = token_layout(model, CLIP)
    videos, mask = torch.randn(2, 3, *CLIP), tube_mask(2, layout.grid(CLIP), 0.75)
    embedding = model.embed(videos)
    visible = layout.patches(embedding)[~mask].view(2, 24, 64)
    assert torch.equal(drop(layout, embedding, mask).embedding[:, 1:], visible)


def test_a_tube_masks_the_same_patches_of_each_frame():
    mask = tube_mask(3, (4, 6, 8), 0.75, unit=2, generator=torch.Generator().manual_seed(0))
    frames = mask.view(3, 4, 6, 8)
    assert torch.equal(frames, frames[:, :1].expand_as(frames))
    assert torch.equal(frames[:, 0].flatten(1).sum(1), torch.tensor([36, 36, 36]))
    assert not torch.equal(mask[0], mask[1])


def is_blind(masked: MaskedImageModel, mask: torch.Tensor, training: bool) -> bool:
    """Whether redrawing masked pixels alone changes nothing."""
    masked.train(training)
    videos = torch.randn(2, 3, *CLIP)
    other = torch.where(masked.layout.streams[0].pixels(mask, CLIP), torch.randn(videos.shape), videos)
    with torch.no_grad():
        return torch.equal(masked(videos, mask).features, masked(other, mask).features)


@pytest.mark.parametrize("strategy", ["replace", "drop"])
@pytest.mark.parametrize(
    ("make", "sees"),
    [
        (vit, 0),
        (lambda: vit((3, 8, 8), (1, 0, 0)), 1),  # overlaps in time
        (lambda: vit((2, 10, 10), (0, 1, 1)), 1),  # in space
        (hiera, 3),
    ],
)
def test_pixels_under_the_mask_reach_no_feature(make, sees, strategy):
    masked = MaskedImageModel(make(), strategy=strategy, image_size=CLIP)
    assert masked.layout.sees == sees
    for draw in (random_mask, tube_mask):
        mask = draw(2, masked.grid(CLIP), 0.5, unit=masked.unit)
        assert is_blind(masked, mask, training=False)
        assert is_blind(masked, mask, training=True)


def test_features_of_dropped_tubes_are_restored_to_their_places():
    masked = MaskedImageModel(vit(), strategy="drop", sampler="tube", mask_ratio=0.5, image_size=CLIP).eval()
    masked.backbone.blocks = nn.Identity()
    videos = torch.randn(2, 3, *CLIP)
    features, mask, restore = masked(videos)
    whole = masked.backbone.forward_features(videos)[:, 1:]
    tokens = torch.cat([features[:, 1:], torch.zeros(2, 48, 64)], dim=1)
    grid = tokens.gather(1, restore[..., None].expand_as(tokens))
    assert torch.equal(grid, whole.masked_fill(mask[..., None], 0.0))


@pytest.mark.parametrize("q_pool", [1, 2])
def test_features_of_a_hiera_are_where_they_are_said_to_be(q_pool):
    model = hiera(q_pool).double()
    layout = feature_layout(model, CLIP)
    frames, rows, columns = layout.grid
    side = 4 * 2**q_pool
    assert layout.grid == (4, 32 // side, 48 // side)
    videos = torch.randn(1, 3, *CLIP, dtype=torch.float64).requires_grad_()
    features = layout.patches(model.forward_features(videos))
    for place in range(math.prod(layout.grid)):
        (gradient,) = torch.autograd.grad(features[0, place].sum(), videos, retain_graph=True)
        energy = nn.functional.adaptive_avg_pool3d(gradient.square().sum(1, keepdim=True), layout.grid)
        assert int(energy.argmax()) == place
    assert layout.image(model.forward_features(videos)).shape == (1, 64, frames, rows, columns)


@pytest.mark.parametrize("make", [vit, hiera])
def test_a_model_of_videos_asks_for_their_size_in_one_line(make):
    model = make()
    for find in (token_layout, patch_layout, feature_layout, MaskedImageModel):
        with pytest.raises(
            TypeError, match=r"^\w+ takes videos, \(B, C, T, H, W\).*image_size=\(frames, height"
        ) as caught:
            find(model)
        assert "\n" not in str(caught.value)


def test_what_is_no_video_is_refused():
    masked = MaskedImageModel(vit(), image_size=CLIP)
    image, mask = torch.rand(2, 3, 32, 48), random_mask(2, (4, 4, 6), 0.5)
    for run in (lambda: masked(image), lambda: hide(image, mask, masked.layout)):
        with pytest.raises(ValueError, match=r"videos are \(B, C, T, H, W\), not of shape \(2, 3, 32, 48\)"):
            run()
    with pytest.raises(ValueError, match="32 x 48 is no size of what has a grid of 4 x 4 x 6"):
        masked.grid((32, 48))


def test_a_video_is_refused_where_images_are_taken():
    masked = MaskedImageModel("test_vit")
    video = torch.rand(2, 3, 4, 160, 160)
    for run in (lambda: masked(video), lambda: hide(video, random_mask(2, (10, 10), 0.5), masked.layout)):
        with pytest.raises(ValueError, match=r"images are \(B, C, H, W\), not of shape \(2, 3, 4, 160, 160\)"):
            run()
    with pytest.raises(ValueError, match=r"image_size is \(4, 160, 160\): it is a height and a width"):
        token_layout(masked.backbone, (4, 160, 160))


def test_masks_that_have_a_shape_are_of_images():
    for draw in (
        lambda: block_mask(2, (4, 8, 8), 0.5),
        lambda: target_masks(2, (4, 8, 8)),
        lambda: region_mask(2, (4, 8, 8), (0, 0, 2, 2)),
    ):
        with pytest.raises(ValueError, match=r"a grid of 4 x 8 x 8 patches has frames.*mask\.repeat\(1, 4\)"):
            draw()
    with pytest.raises(ValueError, match="a grid of 8 x 8 patches has no frames for tubes"):
        tube_mask(2, (8, 8), 0.5)


def test_convolutions_of_videos_are_not_sparse():
    with pytest.raises(TypeError, match="takes videos, and sparse are the convolutions of images alone"):
        MaskedImageModel(vit(), image_size=CLIP, strategy="sparse")
