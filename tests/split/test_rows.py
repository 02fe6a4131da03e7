"""What crosses follows the rows of the tokens: what counts the images in disguise is refused."""

import pytest
from sources import result_in_users_file

from codegen.generate import analyse
from codegen.source.release import find_release
from codegen.types import Refusal, Split

MODEL = """
import collections
import operator
import numpy as np
import torch
from einops import pack, rearrange, repeat
from torch import nn
from types import SimpleNamespace


class Rope(nn.Module):
    def forward(self, height, width):
        return torch.outer(torch.arange(height), torch.arange(width))


class Tiny(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, 4, 4)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, dim))
        self.scale = nn.Parameter(torch.zeros(dim))
        self.rope = Rope()
        self.window = 4
        self.blocks = nn.Sequential(*[nn.Linear(dim, dim) for _ in range(2)])

    def count(self, x):
        return x.shape[0]

    def is_single(self, x):
        if len(x) == 1:
            return True
        return False

    def forward_features(self, x, mask=None, scaled: bool = False):
        {made}
        x = self.patch_embed(x)
        {grid}
        x = x.flatten(2).transpose(1, 2)
        x = x + self.pos_embed
        x = self.blocks(x)
        return {used}


def f(x, it):
    return x
"""


@pytest.fixture
def outcome(tmp_path):
    def of(source):
        (tmp_path / "m.py").write_text(source)
        outcomes = analyse(find_release(None, tmp_path / "m.py", announce=lambda message: None))
        return next(outcome.result for outcome in outcomes if outcome.name == "Tiny")

    return of


@pytest.fixture
def refusal_of(outcome):
    def of(source):
        refusal = outcome(source)
        assert isinstance(refusal, Refusal), [field.name for field in refusal.fields]
        return refusal

    return of


@pytest.fixture
def split_of(outcome):
    def of(source):
        split = outcome(source)
        assert isinstance(split, Split), split.reason
        return split

    return of


def model(made, used="f(x, it)", grid="pass"):
    return MODEL.format(made=made.replace("; ", "\n        "), grid=grid, used=used)


@pytest.mark.parametrize(
    "made",
    [
        "it = tuple(x.shape)[0]",
        "it = [*x.shape][0]",
        "it = getattr(x, 'shape')[0]",
        "it = np.shape(x)[0]",
        "it = operator.attrgetter('shape')(x)[0]",
        "it = x.__len__()",
        "it = len(x.split(1))",
        "it = len(x.unbind())",
        "it = max(x.shape[0], 1)",
        "it = x.numel() // 3072",
        "it = self.count(x)",
        "it = self.is_single(x)",
        "it = 'one' if len(x) == 1 else 'more'",
        "it = len(x) > 1 and self.window",
        "it = f'{len(x)}'",
        "it = {'batch': len(x)}",
        "it = {}; it['batch'] = len(x)",
        "it = []; it.append(len(x))",
        "it = SimpleNamespace(batch=len(x))",
        "it = SimpleNamespace(); it.batch = len(x)",
        "it = collections.defaultdict(int); it[len(x)] = 1",
        "it = [0.0] * len(x)",
        "it = [image.mean() for image in x]",
        "it = list(x)",
        "it = iter(x)",
        "it = [(i, image.mean()) for i, image in enumerate(x)]",
        "it = 0; for _ in x: it = it + 1",
        "it = 0; while it < len(x): it = it + 1",
        "it = x.mean((1, 2, 3)).tolist()",
        "it = torch.arange(len(x)).cumsum(0)",
        "it = torch.arange(len(x)).repeat_interleave(16)",
        "it = torch.arange(16 * len(x)).view(len(x), 16)",
        "it = torch.arange(100)[:len(x)]",
        "it = torch.full((3,), len(x))",
        "it = torch.zeros(3, len(x))",
        "it = x.new_full((2,), len(x))",
        "it = torch.eye(len(x))",
        "it = x.mean((1, 2, 3)).view(1, -1)",
        "it = x.permute(1, 0, 2, 3)",
        "it = rearrange(x, 'b c h w -> c b (h w)')",
        "it = x[0]",
        "it = x.mean(0, keepdim=True)",
        "it = x.amax((0, 2, 3))",
        "it = x.flatten(1).cumsum(0)",
        "it = x.flatten(1).softmax(dim=0)",
        "it = x.flatten(1).softmax(-2)",
        "it = x.flatten(1).cumsum(dim=x.shape[1] - 3)",
        "it = torch.nn.functional.softmax(x.flatten(2))",  # of three dimensions torch takes the first
        "it = torch.nn.functional.normalize(x.flatten(1), dim=-2)",
        "it = x - x.mean(0)",
    ],
)
def test_what_counts_the_images_in_disguise_is_refused(refusal_of, made):
    assert "`it` crosses and" in refusal_of(model(made)).reason


@pytest.mark.parametrize(
    ("made", "grid"),
    [
        ("it = x.shape[2]", "pass"),
        ("it = x.shape[-2:]", "pass"),
        ("pass", "it = x.shape[2:]"),
        ("pass", "it = (x.shape[2] // 2, x.shape[3] // 2)"),
        ("it = x.device", "pass"),
        ("it = x.dtype", "pass"),
        ("it = x.dim()", "pass"),
        ("it = 'even' if x.shape[2] % 2 == 0 else 'odd'", "pass"),
        ("it = [x.shape[2] for _ in range(2)]", "pass"),
        ("it = scaled and x.shape[2] > 32", "pass"),
        ("it = x * 2", "pass"),
        ("it = x.mean((2, 3))", "pass"),
        ("it = torch.rand(x.shape[0], 16)", "pass"),
        ("it = x.new_zeros(x.shape[0], 1, 8)", "pass"),
        ("it = x.new_zeros((x.shape[0], 1, 8))", "pass"),
        ("it = self.scale.expand(x.shape[0], 1, -1)", "pass"),
        ("it = repeat(self.scale, 'd -> b 1 d', b=len(x))", "pass"),
        ("it = rearrange(x, 'b c h w -> b (h w) c')", "pass"),
        ("pass", "it = self.rope(x.shape[2], x.shape[3])"),
        ("pass", "it = torch.arange(x.shape[2], device=x.device)[:, None]"),
    ],
)
def test_what_is_the_same_for_any_number_of_images_or_has_a_row_for_each_crosses(split_of, made, grid):
    assert [field.name for field in split_of(model(made, grid=grid)).fields] == ["x", "it"]


@pytest.mark.parametrize(
    "made",
    [
        "it, device = x.shape[0], x.device",
        "device, it = x.device, len(x)",
        "it, c, h, w, p = *x.shape, self.window",
    ],
)
def test_the_batch_size_beside_other_things_is_read_from_the_tokens(split_of, made):
    assert split_of(model(made, "x.reshape(it, -1)")).recomputed == ("it = x.shape[0]",)


CHOSEN = """
class Patches(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, 4)

    def forward(self, x):
        return self.proj(x)


class Base(nn.Module):
    def __init__(self, dim=8, embed_layer=Patches):
        super().__init__()
        self.patch_embed = embed_layer(dim)


class Tiny(Base):
    def __init__(self, dim=8, **options):
        super().__init__({passed})
"""


@pytest.mark.parametrize(
    ("passed", "crosses"),
    [("", []), ("dim", []), ("dim=dim", []), ("dim, Patches", ["it"]), ("**options", ["it"]), ("*options", ["it"])],
)
def test_a_layer_that_nobody_can_choose_is_the_default(split_of, passed, crosses):
    made = "        super().__init__()\n        self.patch_embed = nn.Conv2d(3, dim, 4, 4)\n"
    source = model("it = x.shape[0]", "x.reshape(it, -1)")
    source = source.replace("class Tiny(nn.Module):\n    def __init__(self, dim=8):\n", CHOSEN.format(passed=passed))
    assert [field.name for field in split_of(source.replace(made, "")).fields] == ["x", *crosses]


def test_a_shape_may_cross_where_the_number_of_images_in_it_is_not_looked_at(split_of, refusal_of):
    assert split_of(model("b, c, h, w = x.shape; it = (b, c, h, w)", "x.view(-1, it[2], it[3])")).fields[1].name == "it"
    assert "`it` crosses" in refusal_of(model("b, c, h, w = x.shape; it = (b, c, h, w)", "x.view(it[0], -1)")).reason


def test_a_list_of_tokens_is_no_embedding_with_rows(refusal_of):
    source = model("pass", "x").replace("x = x + self.pos_embed", "x = [image + self.pos_embed for image in x]")
    assert refusal_of(source).reason == "`x` is no tensor with a row for each image, but a list that is as long"


def test_the_shapes_that_pack_keeps_do_not_depend_on_the_images(split_of):
    first = "token = repeat(self.scale, 'd -> b d', b=x.shape[0])"
    source = model(first, "f(x, it)").replace(
        "x = x + self.pos_embed", "x, it = pack([token, x], 'b * d')\n        x = x + self.pos_embed"
    )
    assert [field.name for field in split_of(source).fields] == ["x", "it"]


@pytest.mark.parametrize(
    "made",
    [
        "zip(self.scale, self.scale)",
        "iter([1, 2])",
        "self.named_children()",
        "enumerate((1, 2))",
    ],
)
def test_what_can_be_gone_through_once_alone_does_not_cross(refusal_of, made):
    reason = refusal_of(model(f"it = {made}")).reason
    assert reason == "`it` crosses and is an iterator: an embedding may be used more than once"


@pytest.mark.parametrize("used", ["it.append(1)", "it[0] = 1", "it += x.mean()", "it.add_(1)"])
def test_what_the_stages_change_in_place_does_not_cross(refusal_of, used):
    source = model("it = x.mean((2, 3))", "f(x, it)").replace(
        "x = self.blocks(x)", f"{used}\n        x = self.blocks(x)"
    )
    reason = refusal_of(source).reason
    assert "`it` crosses, and as far as can be told the stages change it in place" in reason


def laid_out(after, position="x = x + self.pos_embed"):
    flat = "x = x.flatten(2).transpose(1, 2)\n        x = x + self.pos_embed\n"
    return model("pass", "x").replace(flat, f"{after}\n        {position}\n")


@pytest.mark.parametrize(
    ("after", "how"),
    [
        ("x = x.flatten(2).permute(2, 0, 1)", "in another dimension than the first"),
        ("x = rearrange(x, 'b c h w -> (h w) b c')", "in another dimension than the first"),
        ("B, C, H, W = x.shape; x = x.permute(0, 2, 3, 1).reshape(B * 4, 4, C)", "in several rows"),
        ("B, C, H, W = x.shape; x = x.permute(0, 2, 3, 1).reshape(self.window * B, 4, C)", "in several rows"),
        ("x = x.transpose(1, 3).flatten(0, 1)", "in several rows"),
    ],
)
def test_tokens_whose_rows_are_no_images_are_refused(refusal_of, after, how):
    position = "x = x + self.pos_embed[:, :4]" if "several" in how else "x = x + self.pos_embed.transpose(0, 1)"
    assert how in refusal_of(laid_out(after.replace("; ", "\n        "), position)).reason


FOLDED = [
    "x = torch.cat([x, x.flip(-1)])",
    "x = torch.vstack([x, x.flip(-1)])",
    "x = torch.stack([x, x.flip(-1)], 1).flatten(0, 1)",
    "x = torch.stack((x.flip(-1), x)).flatten(0, 1)",
    "x = x[:, None].expand(-1, 2, -1, -1, -1).flatten(0, 1)",
    "x = x.repeat(2, 1, 1, 1)",
    "x = x.repeat_interleave(2, dim=0)",
    "x = x.flatten(0, 1)",
]


@pytest.mark.parametrize("folded", FOLDED)
def test_crops_and_frames_that_are_folded_into_the_batch_are_no_images(refusal_of, folded):
    assert "in several rows" in refusal_of(model(f"B = x.shape[0]; {folded}", "x.reshape(B, -1)")).reason


MOVED = [
    "x = x.mT.reshape(-1, 4, 8)",
    "x = x.unflatten(1, (4, 4)).flatten(0, 1)",
    "x = torch.cat(x.chunk(4, dim=1), 0)",
    "x = torch.cat(torch.tensor_split(x, 4, 1))",
    "x = x.tile((2, 1, 1))",
    "x = x.tile((2, 1, 1)).reshape(B, -1, 8)",
    "x = x.transpose(0, 1).reshape(B, -1, 8)",
    "x = x.mT.mT if self.window else x.transpose(0, 1)",
    "x = x[torch.arange(len(x)).repeat(2)]",
    "x = x[None].squeeze(0)",
    "x = x.unfold(1, 4, 4).permute(0, 1, 3, 2).reshape(-1, 4, 8)",
    "x = x.view(B, 4, 4, 8).permute(0, 2, 1, 3).reshape(-1, 4, 8)",
    "x = x.movedim(1, 0)",
    "x = x.T",
    "x = torch.einsum('bnc->nbc', x)",
    "x = torch.stack([x[:, i] for i in range(16)])",
    "x = torch.stack([self.scale * part for part in x.split(4, 1)])",
    "x = torch.cat([self.scale * part for part in x.split(4, 1)])",
    "x = x.view((-1,) + x.shape[2:])[:, None]",
    "shape = x.shape\n        x = x.reshape((-1, *shape[2:]))[:, None]",
    "x = x.reshape(-1, 4, *x.shape[2:])",
    "x = x.reshape(B * 4, *x[:, :4].shape[1:])",
    "x = x.view((-1, 1) + x.size()[-1:])",
]


@pytest.mark.parametrize("moved", MOVED)
def test_tokens_are_refused_whose_images_are_moved(refusal_of, moved):
    after = f"B = x.shape[0]\n        x = x.flatten(2).transpose(1, 2)\n        {moved}"
    reason = refusal_of(laid_out(after, "x = x + self.pos_embed[:, :1]")).reason
    assert "could not be selected" in reason


@pytest.mark.parametrize(
    "kept",
    [
        "x = x.chunk(2, dim=1)[0]",
        "x = x.unflatten(1, (4, 4)).flatten(1, 2)",
        "x = x.mT.mT",
        "x = x[:, 1:]",
        "x = x.unfold(1, 4, 4).permute(0, 1, 3, 2).reshape(B, -1, 8)",
    ],
)
def test_tokens_whose_images_stay_where_they_are_are_split(split_of, kept):
    after = f"B = x.shape[0]\n        x = x.flatten(2).transpose(1, 2)\n        {kept}"
    assert split_of(laid_out(after, "x = x + self.pos_embed[:, :1]"))


@pytest.mark.parametrize("count", ["len(x)", "x.shape[0]", "x.size(0)"])
@pytest.mark.parametrize("position", ["self.pos_embed.expand(B, -1, -1)", "self.pos_embed.repeat(B, 1, 1)"])
def test_a_position_for_each_image_leaves_a_row_for_each(split_of, count, position):
    source = model(f"B = {count}", "x.reshape(B, -1)").replace("x = x + self.pos_embed", f"x = x + {position}")
    assert split_of(source).recomputed == ("B = x.shape[0]",)


@pytest.mark.parametrize(
    "added", ["torch.add(x, self.pos_embed)", "x.add(self.pos_embed)", "torch.addcmul(x, self.pos_embed, self.scale)"]
)
def test_a_position_that_a_function_adds_leaves_a_row_for_each_image(split_of, added):
    source = model("B = x.shape[0]", "x.reshape(B, -1)").replace(
        "x = x + self.pos_embed", f"x = {added} + self.pos_embed"
    )
    assert split_of(source).recomputed == ("B = x.shape[0]",)


@pytest.mark.parametrize(
    "kept",
    [
        "x = x.view(x.shape)",
        "x = x.reshape(-1, *x.shape[1:])",
        "shape = x.shape\n        x = x.view(*shape)",
        "x = x + (self.pos_embed if x.shape[1] == 16 else self.pos_embed[:, : x.shape[1]])",
    ],
)
def test_a_shape_that_is_followed_leaves_the_images_where_they_are(split_of, kept):
    assert split_of(laid_out(f"x = x.flatten(2).transpose(1, 2)\n        {kept}", "x = x + self.pos_embed[:, :1]"))


KEPT = ["x = torch.cat([x, x], 2)", "x = torch.stack([x, x], 1).mean(1)", "x = x.repeat_interleave(2, 3)"]


@pytest.mark.parametrize("kept", KEPT)
def test_what_is_joined_in_another_dimension_leaves_the_images_where_they_are(split_of, kept):
    assert split_of(model(f"B = x.shape[0]; {kept}", "x.reshape(B, -1)")).recomputed == ("B = x.shape[0]",)


@pytest.mark.parametrize("view", ["x.permute(1, 0, 2)", "x.transpose(0, 1)", "x.flatten(0, 1)"])
def test_a_view_that_moves_the_images_belongs_to_the_stages(split_of, view):
    position = f"x = x + self.pos_embed\n        x = {view}"
    split = split_of(laid_out("x = x.flatten(2).transpose(1, 2)", position))
    assert split.boundary.statement == "x = x + self.pos_embed"


@pytest.mark.parametrize(
    ("sizes", "crosses"),
    [
        ("it = x.shape[2] // 4; self.keep(x)", True),
        ("_, _, H, W = x.shape; it = (H // self.size[0], W // 4); self.keep(x)", True),
        ("it = [x.shape[2] // 4]; it.append(len(x))", False),
        ("it = x.shape[2] // np.arange(1, 3); it[0] = len(x)", False),
        ("it = x.shape[2] // np.arange(1, 3); same = it; same[0] = len(x)", False),
        ("it = x.shape[2] // np.arange(1, 3); same = it; same.put(0, len(x))", False),
        ("part = []; it = [part] * (x.shape[2] // 4); part.append(len(x))", False),
    ],
)
def test_numbers_stay_what_they_are_whatever_others_put_into_lists(split_of, refusal_of, sizes, crosses):
    source = model(sizes).replace(
        "    def is_single", "    def keep(self, x):\n        return self.scale * x.mean()\n\n    def is_single"
    )
    source = source.replace("self.window = 4", "self.window = 4\n        self.size = (4, 4)")
    if crosses:
        assert [field.name for field in split_of(source).fields] == ["x", "it"]
    else:
        assert "`it` crosses" in refusal_of(source).reason


GRID = "B, C, H, W = x.shape\n        x = x.flatten(2).transpose(1, 2)\n        "


@pytest.mark.parametrize(
    ("shaped", "rows"),
    [
        ("x.reshape(-1, H, W, C).flatten(1, 2)", True),
        ("x.view(-1, H, W, x.shape[-1]).flatten(1, 2)", True),
        ("x.reshape(B, H, W, -1).flatten(1, 2)", True),
        ("x.reshape(B, H, -1, C).flatten(1, 2)", True),
        ("x.reshape(B * H, W, C).reshape(-1, H * W, C)", True),
        ("x.reshape(B * H, W, C).reshape(-1, H, W, C).flatten(1, 2)", True),
        ("x.reshape(-1, H, C)", False),
        ("x.reshape(-1, W, C)", False),
        ("x.reshape(-1, C)[:, None]", False),
        ("x.reshape(H, -1, C)", False),
        ("x.mT.reshape(-1, H, C)", False),
        ("x.transpose(0, 1).reshape(-1, H * W, C)", False),
        ("x.transpose(0, 1).reshape(B, -1, C)", False),
    ],
)
def test_sizes_that_are_put_in_their_order_again_leave_a_row_for_each_image(split_of, refusal_of, shaped, rows):
    source = laid_out(f"{GRID}x = {shaped}", "x = x + self.pos_embed[:, :1]")
    if rows:
        assert split_of(source)
    else:
        assert "could not be selected" in refusal_of(source).reason


NORM = """
class Fold(nn.Module):
    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return x.transpose(0, 1).reshape(-1, x.shape[-1])[:, None]


class Patches(nn.Module):
    def __init__(self, dim, norm_layer={default}, norm=True):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, 4)
        {made}

    def forward(self, x):
        x = self.proj(x)
        B, C, H, W = x.shape
        x = x.flatten(2).transpose(1, 2)
        if self.norm is not None:
            x = self.norm(x)
        return x.reshape(-1, H, W, C), H


class Tiny(nn.Module):
    def __init__(self, dim=8, norm_layer=nn.LayerNorm):
        super().__init__()
        self.patch_embed = Patches({passed})
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, dim))
        self.blocks = nn.Sequential(*[nn.Linear(dim, dim) for _ in range(2)])

    def forward_features(self, x):
        x, H = self.patch_embed(x)
        x = x.flatten(1, 2) + self.pos_embed
        x = self.blocks(x)
        return x * H
"""
IDENTITY = "self.norm = norm_layer(dim) if norm_layer else nn.Identity()"
NOTHING = "self.norm = norm_layer(dim) if norm_layer is not None else None"
BRANCHES = "if norm_layer is None:\n            self.norm = nn.Identity()\n        else:\n            "
BRANCHES += "self.norm = norm_layer(dim)"


@pytest.mark.parametrize("made", [IDENTITY, NOTHING, BRANCHES])
@pytest.mark.parametrize(
    ("default", "passed", "known"),
    [
        ("None", "dim", True),
        ("None", "dim, None", True),
        ("None", "dim, norm_layer=nn.LayerNorm", True),
        ("None", "dim, norm_layer=norm_layer", True),  # by its name, as everywhere
        ("nn.LayerNorm", "dim", True),
        ("nn.LayerNorm", "dim, Fold", False),
        ("Fold", "dim", False),
        ("None", "dim, norm_layer=Fold", False),
    ],
)
def test_a_norm_is_what_is_passed_for_it(split_of, refusal_of, made, default, passed, known):
    source = MODEL[: MODEL.index("class Rope")] + NORM.format(made=made, default=default, passed=passed)
    if known:
        assert [field.name for field in split_of(source).fields] == ["x", "H"]
    else:
        assert refusal_of(source)


@pytest.mark.parametrize("asked", ["if self.made is not None:", "if self.made:", "if self.made == 2:"])
def test_what_a_call_made_answers_no_question(refusal_of, asked):
    made = f"self.made = int(norm)\n        {IDENTITY}"
    source = MODEL[: MODEL.index("class Rope")] + NORM.format(made=made, default="None", passed="dim")
    source = source.replace(
        "if self.norm is not None:\n", f"{asked}\n            x = x.transpose(0, 1)\n        if H:\n"
    )
    assert refusal_of(source)


FRAMES = """
import torch
from einops import rearrange
from torch import nn


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x):
        B, C, T, H, W = x.shape
        x = {folded}
        return self.proj(x).flatten(2).transpose(1, 2), T


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Patches()
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 8))
        self.time_embed = nn.Parameter(torch.zeros(1, 2, 8))

    def forward_features(self, x):
        B = x.shape[0]
        x, T = self.patch_embed(x)
        x = x + self.pos_embed
        {unfolded}
        for block in self.blocks:
            x = block(x)
        return x
"""
INSIDE = "rearrange(x, 'b c t h w -> (b t) c h w')"


@pytest.mark.parametrize(
    "folded", [INSIDE, "x.transpose(1, 2).reshape(B * T, C, H, W)", "x.transpose(1, 2).flatten(0, 1)"]
)
@pytest.mark.parametrize(
    "unfolded",
    [
        "x = rearrange(x, '(b t) n m -> b (t n) m', t=T)",
        "x = rearrange(x, '(b t) n m -> b t n m', b=B).flatten(1, 2)",
        "x = rearrange(x, '(b t) n m -> (b n) t m', b=B, t=T)\n        x = x + self.time_embed\n"
        "        x = rearrange(x, '(b n) t m -> b (n t) m', b=B, t=T)",
        "x = x.reshape(B, T, 16, 8).flatten(1, 2)",
        "x = x.view(B, -1, 8)",
    ],
)
def test_frames_that_are_laid_side_by_side_before_the_blocks_are_split(split_of, folded, unfolded):
    statements = unfolded.replace("\n        ", "\n").splitlines()
    assert split_of(FRAMES.format(folded=folded, unfolded=unfolded)).boundary.statement == statements[-1]


@pytest.mark.parametrize(
    ("folded", "unfolded"),
    [
        (INSIDE, "pass"),  # the blocks run on frames
        (INSIDE, "x = rearrange(x, '(t b) n m -> b (t n) m', t=T)"),
        (INSIDE, "x = rearrange(x, '(b t) n m -> (b n) t m', t=T)"),
        (INSIDE, "x = rearrange(x, '(b t) n m -> (t b) n m', t=T)\n        x = x.view(B, -1, 8)"),
        (INSIDE, "x = x.view(T, B, 16, 8).transpose(0, 1).flatten(1, 2)"),
        ("rearrange(x, 'b c t h w -> (t b) c h w')", "x = rearrange(x, '(b t) n m -> b (t n) m', t=T)"),
        ("rearrange(x, 'b c t h w -> (t b) c h w')", "x = x.view(B, -1, 8)"),
        ("x.permute(2, 0, 1, 3, 4).flatten(0, 1)", "x = x.reshape(B, T, 16, 8).flatten(1, 2)"),
    ],
)
def test_frames_that_are_not_put_together_as_they_were_taken_apart_are_refused(refusal_of, folded, unfolded):
    assert "could not be selected" in refusal_of(FRAMES.format(folded=folded, unfolded=unfolded)).reason


TWO_STEMS = """
from torch import nn


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Turned(Plain):
    def forward(self, x):
        return self.proj(x).flatten(2).permute(2, 0, 1)


class M(nn.Module):
    def __init__(self, turned=True):
        super().__init__()
        if turned:
            stem = Turned()
        else:
            stem = {other}()
        self.stem = stem
        self.blocks = nn.ModuleList([nn.Linear(8, 8)])

    def forward_features(self, x):
        B = x.shape[0]
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x.reshape(B, -1)
"""


def test_one_of_two_stems_that_a_variable_holds_may_turn_the_tokens():
    chosen = "stem = Turned() if turned else Plain()"
    source = TWO_STEMS.replace(
        "if turned:\n            stem = Turned()\n        else:\n            stem = {other}()", chosen
    )
    assert "could not be selected" in result_in_users_file(source).reason


@pytest.mark.parametrize("other", ["Plain", "Turned"])
def test_the_batch_is_not_read_from_tokens_that_one_of_two_stems_turns(other):
    split = result_in_users_file(TWO_STEMS.replace("{other}", other))
    assert isinstance(split, Refusal) or split.recomputed == ()
    split = result_in_users_file(TWO_STEMS.replace("{other}", other).replace("permute(2, 0, 1)", "transpose(1, 2)"))
    assert split.recomputed == ("B = x.shape[0]",)


@pytest.mark.parametrize(
    ("made", "grid"),
    [
        ("it = []; fill(it, x)", "pass"),
        ("it = {}; fill(it, x)", "pass"),
        ("it = [1]; self.fill(x, it)", "pass"),
        ("pass", "it = []; self.fill(x, it)"),
        ("it = dict(); self.fill(x, out=it)", "pass"),
    ],
)
def test_a_list_that_a_call_is_given_may_have_been_filled(refusal_of, made, grid):
    source = model(made, grid=grid.replace("; ", "\n        ")).replace(
        "    def is_single", "    def fill(self, x, out):\n        out += [x.shape[0], 1]\n\n    def is_single"
    )
    source += "\n\ndef fill(out, x):\n    out[0] = x.shape[0]\n"
    assert "`it` crosses" in refusal_of(source).reason


@pytest.mark.parametrize(
    ("turned", "rows"),
    [
        ("x = x.flip(-1)", True),
        ("x = x.flip([2, 3])", True),
        ("x = torch.flip(x, (2,))", True),
        ("x = torch.roll(x, (1, 1), dims=(2, 3))", True),
        ("x = x.roll(1, 2)", True),
        ("x = x.flip(0)", False),
        ("x = x.flip((0, 1))", False),
        ("x = x.flip(-4)", False),
        ("x = torch.flip(x, dims=[0])", False),
        ("x = torch.roll(x, 1, 0)", False),
        ("x = x.roll(1)", False),
        ("x = x.flip(self.window)", False),
        ("a, b = x.chunk(2, dim=-1); x = torch.cat((a, b), 0)", False),
        ("a, b = x.chunk(2, dim=-1); x = torch.cat((a, b), 2)", True),
    ],
)
def test_images_that_are_turned_round_among_themselves_are_refused(split_of, refusal_of, turned, rows):
    source = model(turned, "x")
    if rows:
        assert split_of(source)
    else:
        assert "could not be selected" in refusal_of(source).reason
