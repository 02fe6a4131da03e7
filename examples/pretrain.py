"""Pre-train a timm backbone by a method of self-supervised learning, on one process or on many.

    python examples/pretrain.py vit_small_patch16_224 --data IMAGES --output runs/vit
    torchrun --nproc-per-node 8 examples/pretrain.py swin_tiny_patch4_window7_224 --method simmim --data IMAGES ...

A method is a file in ``methods/``, of which this one knows no more than ``method.py`` says. ``data.py`` and
``views.py`` have the images, ``checkpoint.py`` what saves and resumes a run.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import checkpoint
import click
import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from backbone import create_backbone, first_line, loads_weights, statistics_of
from data import InputError, Views, collate, open_images, seed_of
from method import Method
from options import Rate, parse_kwargs, parse_range, parse_size
from rich.progress import Progress, TextColumn
from schedule import cosine, warmup_cosine
from timm.optim import create_optimizer_v2
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.utils import save_image
from views import Size

import generated
from generated.masking import WholeGridError

METHODS = sorted(path.stem for path in (Path(__file__).parent / "methods").glob("*.py"))

WEIGHTS, KEPT = "backbone.safetensors", "backbone-{:04}.safetensors"
"""Names of the backbone's weights: the last, and those that are kept of an epoch."""

ELSEWHERE = (
    *(
        "data",
        "on_bad_image",
        "output",
        "stop_after",
        "keep_every",
        "resume",
        "device",
        "parallel",
        "compile",
        "workers",
    ),
    *("grad_checkpointing", "log_every", "tensorboard"),
)
"""Options that the result does not depend on."""


@dataclass(frozen=True)
class Settings:
    """The options of the command; ``--help`` explains them."""

    model: str
    data: str
    output: Path
    method: str
    method_option: tuple[tuple[str, Any], ...]
    model_kwarg: tuple[tuple[str, Any], ...]
    image_size: Size | None
    made_images: int
    on_bad_image: str
    epochs: int | None
    stop_after: int | None
    keep_every: int
    warmup_epochs: float | None
    batch_size: int
    lr: float | None
    base_lr: float | None
    min_lr: float | None
    weight_decay: float | None
    clip_grad: float | None
    crop_scale: tuple[float, float] | None
    flip: bool | None
    seed: int
    resume: Path | None
    device: str
    parallel: str
    bf16: bool
    compile: bool
    accumulate: int
    grad_checkpointing: bool
    tensorboard: bool
    workers: int
    log_every: int

    def affecting_the_result(self) -> dict[str, Any]:
        """The options that the result depends on."""
        return {name: value for name, value in asdict(self).items() if name not in ELSEWHERE}


class Plan:
    """The schedules of a run: a method's recipe, but for what the options say."""

    def __init__(self, settings: Settings, method: type[Method]) -> None:
        recipe = method.recipe
        self.epochs = settings.epochs or recipe.epochs
        warmup = settings.warmup_epochs
        self.warmup = recipe.warmup_epochs / recipe.epochs if warmup is None else warmup / self.epochs
        if self.warmup >= 1:
            raise InputError(f"--warmup-epochs {warmup} leaves nothing of --epochs {self.epochs}.")
        base = recipe.base_lr if settings.base_lr is None else settings.base_lr
        self.lr = recipe.scaled(base, settings.batch_size) if settings.lr is None else settings.lr
        self.min_lr = recipe.scaled(recipe.min_lr, settings.batch_size) if settings.min_lr is None else settings.min_lr
        self.weight_decay = recipe.weight_decay if settings.weight_decay is None else settings.weight_decay
        # a weight decay that was asked for stays as it is
        end = recipe.weight_decay_end if settings.weight_decay is None else None
        self.weight_decay_end = self.weight_decay if end is None else end
        self.clip_grad = recipe.clip_grad if settings.clip_grad is None else settings.clip_grad

    def apply(self, optimizer: torch.optim.Optimizer, done: float) -> None:
        """Set learning rate and weight decay for a step, before which the part ``done`` of the run is over."""
        for group in optimizer.param_groups:
            group["lr"] = warmup_cosine(done, self.lr, self.min_lr, self.warmup) * group.get("lr_scale", 1.0)
            if group["weight_decay"]:
                group["weight_decay"] = cosine(done, self.weight_decay, self.weight_decay_end)


class Run:
    """A run of pre-training: everything it is made of, at the beginning of an epoch."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rank, self.processes = dist.get_rank(), dist.get_world_size()
        if settings.batch_size % (self.processes * settings.accumulate):
            raise InputError(
                f"--batch-size {settings.batch_size} does not divide by {self.processes} processes"
                f" and --accumulate {settings.accumulate}."
            )
        self.device = torch.device(settings.device)
        kind = load_method(settings.method)
        self.plan = Plan(settings, kind)

        seed_everything(settings.seed)  # the same weights in each process
        wanted: dict[str, Any] = {"dynamic_img_size": True} if kind.sizes else {}
        wanted["drop_path_rate"] = kind.recipe.drop_path  # also where it is 0: some of timm's classes drop by default
        backbone, size = create_backbone(settings.model, settings.model_kwarg, settings.image_size, **wanted)
        channels, mean, std = statistics_of(backbone, settings.model_kwarg)
        self.mean, self.std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (mean, std))
        images = open_images(settings.data, size, channels, made=settings.made_images)
        self.method = self.create_method(kind, backbone, torch.zeros(2, channels, *size))
        skip = settings.on_bad_image == "skip"
        self.views = Views(images, self.method.views(mean, std), settings.seed, skip=skip)
        self.skipped: set[str] = set()
        self.loader = self.create_loader()
        self.steps = self.plan.epochs * len(self.loader)

        self.parallel = self.parallelize()
        self.optimizer = create_optimizer_v2(
            self.method, "adamw", lr=self.plan.lr, weight_decay=self.plan.weight_decay, betas=kind.recipe.betas
        )
        self.epoch = 0
        seed_everything(settings.seed + self.rank)  # dropout, if the model has any, differs between processes
        if settings.resume:
            self.resume(settings.resume)

    def create_loader(self) -> DataLoader[Any]:
        """Each process gets every n-th image of each global batch."""
        settings = self.settings
        if len(self.views) < settings.batch_size:
            raise InputError(f"{len(self.views)} images are fewer than --batch-size {settings.batch_size}.")
        sampler: DistributedSampler[Any] = DistributedSampler(self.views, seed=settings.seed, drop_last=True)
        return DataLoader(
            self.views,
            batch_size=settings.batch_size // self.processes,
            sampler=sampler,
            num_workers=settings.workers,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            drop_last=True,
        )

    def create_method(self, kind: type[Method], backbone: generated.SplitModel, images: Tensor) -> Method:
        """The model to train; making it shows what its features look like, and whether it takes the images at all."""
        settings = self.settings
        size = "x".join(map(str, images.shape[-2:]))
        try:
            if settings.grad_checkpointing:
                backbone.set_grad_checkpointing()  # type: ignore[operator]  # timm's
            method = kind(backbone, images, **method_options(kind, settings))
            method.crop_scale = settings.crop_scale or method.crop_scale
            method.flip = method.flip if settings.flip is None else settings.flip
            method.initialise(fresh=not loads_weights(settings.model_kwarg))
            method.try_out(self.mean.flatten().tolist(), self.std.flatten().tolist(), channels=images.shape[1])
        except InputError:
            raise
        except Exception as error:  # models refuse images in many ways, assertions among them
            refusal = f"{settings.model} cannot be trained by {settings.method} on {size} images: {first_line(error)}."
            if isinstance(error, WholeGridError):
                other = ", or -o strategy=replace" if "strategy" in known_options(kind) else ""
                refusal += f" Choose a method that replaces patches instead of dropping them{other}."
            raise InputError(refusal) from error
        return method.to(self.device)

    def parallelize(self) -> Callable[..., Tensor]:
        """Compile the model and spread it over the processes, as asked for."""
        if self.settings.compile:
            self.method.compile()
        if self.settings.parallel == "fsdp":
            for name, module in self.method.named_modules():
                if name.rpartition(".")[0].endswith("blocks"):
                    fully_shard(module)
            fully_shard(self.method)
            return self.method
        return DistributedDataParallel(self.method) if self.processes > 1 else self.method

    def masks(self, seed: int) -> tuple[Tensor, ...]:
        """The masks of a global batch, the same in each process, on the CPU."""
        return self.method.draw(self.settings.batch_size, torch.Generator().manual_seed(seed))

    def train_epoch(self) -> Iterator[tuple[int, Tensor]]:
        """Train for an epoch; give the number and the loss of each step."""
        self.views.epoch = self.epoch
        self.loader.sampler.set_epoch(self.epoch)  # type: ignore[attr-defined]
        self.method.train()
        for step, loaded in enumerate(self.loader, start=self.epoch * len(self.loader)):
            if isinstance(loaded, InputError):
                raise loaded
            views, skipped = loaded
            self.skipped.update(skipped)
            masks = [mask[self.rank :: self.processes] for mask in self.masks(seed_of(self.settings.seed, step))]
            done = step / self.steps
            self.plan.apply(self.optimizer, done)
            self.method.begin_step(done)
            self.optimizer.zero_grad()
            loss = self.backward(views, masks)
            if self.plan.clip_grad:
                self.method.clip_gradients(self.plan.clip_grad)
            self.method.after_backward(done)
            self.optimizer.step()
            self.method.end_step(done)
            yield step + 1, loss
        self.epoch += 1

    def backward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Add up the gradients of a batch, a part of it at a time; the mean of the losses."""
        parts = self.settings.accumulate
        losses = []
        chunks = [list(zip(*(tensor.chunk(parts) for tensor in tensors), strict=True)) for tensors in (views, masks)]
        for part, (some, hidden) in enumerate(zip(*chunks, strict=True), start=1):
            with self.gradients_stay_here(part < parts):
                loss = self.forward(some, hidden)
                (loss / parts).backward()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    @contextmanager
    def gradients_stay_here(self, here: bool) -> Iterator[None]:
        """Whether processes keep their gradients to themselves: all but the last of those that are added up."""
        if isinstance(self.parallel, FSDPModule):
            self.parallel.set_requires_gradient_sync(not here)
        with self.parallel.no_sync() if here and isinstance(self.parallel, DistributedDataParallel) else nullcontext():
            yield

    def forward(self, views: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """The loss of a batch on the CPU, of the method as it is spread over the processes."""
        here = [[tensor.to(self.device, non_blocking=True) for tensor in tensors] for tensors in (views, masks)]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            return self.parallel(*here)

    @torch.no_grad()
    def draw(self, path: Path, number: int = 8) -> None:
        """Write a picture of the first images: as they are, and what the method has to show of them."""
        if self.settings.parallel == "fsdp" or not (self.method.pictures and self.rank == 0):
            return
        self.method.eval()
        self.views.epoch = 0
        number = min(number, self.settings.batch_size)
        images = torch.stack([self.views[index][0] for index in range(number)]).to(self.device)
        mask = self.masks(seed=0)[0][:number].to(self.device)
        shown = [images, *self.method.picture(images, mask)]
        rows = torch.stack(shown, dim=1).flatten(0, 1).cpu().float() * self.std + self.mean
        visible = rows[:, :3] if rows.shape[1] >= 3 else rows[:, :1]
        with checkpoint.replacing(path) as file:
            save_image(visible.clamp(0, 1), file, format="png", nrow=2 * len(shown))

    def save(self, folder: Path) -> None:
        """Write the checkpoint, and the backbone's weights as timm reads them."""
        state = checkpoint.save(
            folder / "checkpoint.pt", self.method, self.optimizer, epoch=self.epoch, settings=self.identity()
        )
        self.export(folder / WEIGHTS, state["model"])
        every = self.settings.keep_every
        if every and (self.epoch % every == 0 or self.epoch == self.plan.epochs):
            self.export(folder / KEPT.format(self.epoch), state["model"])

    def export(self, path: Path, state: dict[str, Tensor]) -> None:
        """Write the backbone's weights, out of those of the method, as timm reads them."""
        prefix = f"{self.method.exported}."
        weights = {k.removeprefix(prefix): v.clone() for k, v in state.items() if k.startswith(prefix)}
        if self.rank == 0:
            with checkpoint.replacing(path) as file:
                file.write(safetensors.torch.save(weights))

    def identity(self) -> dict[str, Any]:
        """What a run that goes on from this one's checkpoint has to share with it."""
        return self.settings.affecting_the_result() | {"images": len(self.views)}

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint was written."""
        state = checkpoint.load(path)
        mine, theirs = self.identity(), state.get("settings", {})
        changed = [
            f"{name} was {theirs.get(name)} and is {mine[name]}" for name in mine if mine[name] != theirs.get(name)
        ]
        if changed:
            raise InputError(f"{path} belongs to a run with other settings: {'; '.join(changed)}.")
        self.settle()
        checkpoint.restore(state, self.method, self.optimizer)
        self.epoch = state["epoch"]

    def settle(self) -> None:
        """Have DDP's first backward pass behind, after which it adds up gradients in another order, for good.

        Of more than two processes the sums round otherwise, so that a run that goes on must not begin with it.
        """
        if not isinstance(self.parallel, DistributedDataParallel):
            return
        loaded = collate(self.views.__getitems__(range(self.settings.batch_size // self.processes)))
        if isinstance(loaded, InputError):
            raise loaded
        masks = [mask[self.rank :: self.processes] for mask in self.masks(seed=0)]
        self.method.train()
        self.method.begin_step(0.0)
        self.backward(loaded.views, masks)
        self.optimizer.zero_grad()


def load_method(name: str) -> type[Method]:
    """The class of a method, from its file."""
    try:
        found: type[Method] = importlib.import_module(f"methods.{name}").Method
    except ImportError as error:
        raise InputError(f"--method {name} needs {error.name}: pip install -e '.[examples]'.") from error
    return found


def method_options(kind: type[Method], settings: Settings) -> dict[str, Any]:
    """The options of a method that were given, all of which it has."""
    options, known = dict(settings.method_option), known_options(kind)
    for name in options:
        if name not in known:
            raise InputError(f"{settings.method} has no option {name}. Its options: {', '.join(sorted(known))}.")
    return options


def known_options(kind: type[Method]) -> set[str]:
    """The names of the options that a method has, its own and those of the method that it is made from."""
    return {
        name
        for cls in kind.__mro__
        if cls is not Method and issubclass(cls, Method)
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that torchrun started. A process on its own is a group of one."""
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    if dist.is_torchelastic_launched():
        dist.init_process_group(backend)
    else:
        store = dist.HashStore()  # type: ignore[attr-defined]  # torch exports it without saying so
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def pretrain(settings: Settings) -> None:
    """Run the epochs that are left, and write log, picture, checkpoint and weights after each."""
    run = Run(settings)
    if run.rank == 0:
        write_settings(settings)
    last = run.plan.epochs if settings.stop_after is None else min(run.plan.epochs, settings.stop_after)
    if last == 0 or (settings.keep_every and run.epoch == 0):
        run.export(settings.output / (KEPT.format(0) if last else WEIGHTS), checkpoint.weights_of(run.method))
    terminal = sys.stdout.isatty()
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, disable=run.rank > 0 or not terminal) as progress, curves(run) as writer:
        bar = progress.add_task("", total=last * len(run.loader), speed="")
        while run.epoch < last:
            losses: list[Tensor] = []
            began = time.perf_counter()
            for step, loss in run.train_epoch():
                progress.update(bar, completed=step)
                losses.append(loss)
                if len(losses) < settings.log_every and step % len(run.loader):
                    continue
                mean, seconds = (
                    global_mean(losses),
                    time.perf_counter() - began,
                )  # the mean waits for all that is computed
                speed = f"{len(losses) * settings.batch_size / seconds:.0f} images/s"
                began = time.perf_counter()
                losses.clear()
                if not math.isfinite(mean):
                    raise InputError(f"The loss is {mean} at step {step}. Choose a lower --lr, or --clip-grad.")
                lr = run.optimizer.param_groups[0]["lr"]
                line = f"epoch {run.epoch + 1}/{run.plan.epochs}  step {step}  loss {mean:.4f}"
                progress.update(bar, description=f"{line}  lr {lr:.1e}", speed=speed)
                if run.rank == 0:
                    log(settings.output / "log.csv", step, mean, lr)
                    if writer is not None:
                        writer.add_scalar("loss", mean, step)
                        writer.add_scalar("lr", lr, step)
                    if not terminal:
                        click.echo(f"{line}  {speed}")
            warn_of(run.skipped)
            run.draw(settings.output / f"epoch-{run.epoch:04}.png")
            run.save(settings.output)


@contextmanager
def curves(run: Run) -> Iterator[Any]:
    """What writes for TensorBoard, if that is asked for; in the first process only."""
    if not (run.settings.tensorboard and run.rank == 0):
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(f"--tensorboard needs {error.name}: pip install tensorboard.") from error
    with SummaryWriter(str(run.settings.output / "tensorboard")) as writer:
        yield writer


def warn_of(skipped: set[str]) -> None:
    """Say how many images were skipped so far by all processes, and what is wrong with one. Each has to call it."""
    everywhere: list[set[str]] = [set()] * dist.get_world_size()
    dist.all_gather_object(everywhere, skipped)
    wrong = sorted(set().union(*everywhere))
    if wrong and dist.get_rank() == 0:
        click.echo(f"Skipped {len(wrong)} images so far. The first: {wrong[0]}", err=True)


def global_mean(losses: list[Tensor]) -> float:
    """The mean of some steps' losses, which are means over the part of the batch that each process has."""
    mean = torch.stack(losses).mean()
    dist.all_reduce(mean)
    return mean.item() / dist.get_world_size()


def write_settings(settings: Settings) -> None:
    """Note the settings in the output folder, which shows that it can be written before there is anything to lose."""
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_leftovers(settings.output)
        with checkpoint.replacing(settings.output / "settings.txt") as file:
            file.write("".join(f"{name} = {value}\n" for name, value in asdict(settings).items()).encode())
    except OSError as error:
        raise InputError(f"{settings.output} cannot be written to ({error}). Choose another --output.") from error


def log(path: Path, step: int, loss: float, lr: float) -> None:
    """Append to the log. A run that was cut short and resumed logs some steps again."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "loss", "lr"])
        writer.writerow([step, loss, lr])


POSITIVE = click.IntRange(min=1)
RATE = Rate(min=0)
AREA = Rate(min=0, min_open=True, max=1)
WORKERS = min(4, os.cpu_count() or 1)
FOLDER = click.Path(file_okay=False, path_type=Path)
DEVICES = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
DATA = (
    "Folder of images, tar or folder of tars, hfds/NAME (Hugging Face), digits (scikit-learn's), fashion-mnist (of "
    "Debian's package dataset-fashion-mnist), or made (on the fly)."
)
PAPER = "that of the method's paper"


@click.command(context_settings={"show_default": True, "max_content_width": 120})
@click.argument("model")
@click.option("--data", default="made", help=DATA)
@click.option("--output", type=FOLDER, default="runs/pretrain", help="Where log, pictures, checkpoint and weights go.")
@click.option("--method", type=click.Choice(METHODS), default="mae", help="A file in methods/.")
@click.option(
    "-o", "--method-option", multiple=True, callback=parse_kwargs, metavar="NAME=VALUE", help="Goes to the method."
)
@click.option(
    "-k", "--model-kwarg", multiple=True, callback=parse_kwargs, metavar="NAME=VALUE", help="Goes to the model."
)
@click.option("--image-size", callback=parse_size, metavar="[HxW]", help="Of the images.  [default: the model's own]")
@click.option("--made-images", type=POSITIVE, default=2048, help="How many images to make.")
@click.option(
    "--on-bad-image",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    help="What to do where one cannot be decoded; the next image stands in for one that is skipped.",
)
@click.option("--epochs", type=POSITIVE, help=f"Length of the schedule.  [default: {PAPER}]")
@click.option(
    "--stop-after",
    type=click.IntRange(min=0),
    help="Stop after this epoch, and leave the others to --resume. 0 writes the weights that training begins with.",
)
@click.option(
    "--keep-every",
    type=click.IntRange(min=0),
    default=0,
    help="Keep the backbone's weights of each so many epochs, of the first and of the last; 0 for none.",
)
@click.option("--warmup-epochs", type=RATE, help="Part of --epochs.  [default: the same part as in the paper]")
@click.option("--batch-size", type=POSITIVE, default=256, help="Of all processes together.")
@click.option("--base-lr", type=RATE, help=f"Peak of the schedule for a batch of 256.  [default: {PAPER}]")
@click.option("--lr", type=RATE, help="Peak of the schedule.  [default: --base-lr, scaled to the batch]")
@click.option("--min-lr", type=RATE, help=f"End of the schedule.  [default: {PAPER}]")
@click.option("--weight-decay", type=RATE, help=f"Not on biases and norms.  [default: {PAPER}]")
@click.option("--clip-grad", type=RATE, help=f"Largest norm of the gradient, 0 for none.  [default: {PAPER}]")
@click.option(
    "--crop-scale",
    type=click.Tuple([AREA, AREA]),
    callback=parse_range,
    metavar="LEAST GREATEST",
    help=f"Part of an image's area that is cropped; of the global crops.  [default: {PAPER}]",
)
@click.option("--flip/--no-flip", default=None, help=f"Mirror half of the images.  [default: {PAPER}]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of weights, views and masks.")
@click.option("--resume", type=click.Path(path_type=Path, dir_okay=False), help="Checkpoint to go on from.")
@click.option("--device", type=click.Choice(DEVICES), default=DEVICES[0], help="Where to compute.")
@click.option("--parallel", type=click.Choice(["ddp", "fsdp"]), default="ddp", help="What torchrun's processes share.")
@click.option("--bf16", is_flag=True, help="Compute in bfloat16 where autocast says so.")
@click.option("--compile", is_flag=True, help="Compile the model.")
@click.option("--accumulate", type=POSITIVE, default=1, help="Parts of a process's batch, computed one after another.")
@click.option("--grad-checkpointing", is_flag=True, help="Compute activations again instead of keeping them.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=WORKERS, help="Processes that load images, for each process."
)
@click.option("--log-every", type=POSITIVE, default=20, help="Steps that a line of the log is the mean of.")
@click.option("--tensorboard", is_flag=True, help="Write what log.csv has for TensorBoard, too.")
def main(**options: Any) -> None:
    """Pre-train MODEL, any name that timm-split can split.

    \b
    Try it on images made on the fly:
      python examples/pretrain.py test_vit --epochs 10 --warmup-epochs 1
    A folder of images, eight GPUs:
      torchrun --nproc-per-node 8 examples/pretrain.py vit_base_patch16_224 --data IMAGES --batch-size 2048
    A Swin, whose stages need the grid, so that tokens can be replaced but not dropped:
      python examples/pretrain.py swin_tiny_patch4_window7_224 --method simmim --data IMAGES

    After each epoch, the output folder holds log.csv, a picture of reconstructions, checkpoint.pt, from which --resume
    goes on exactly, and backbone.safetensors, from which timm fine-tunes:
    timm.create_model(MODEL, checkpoint_path="runs/pretrain/backbone.safetensors").
    """
    settings = Settings(**options)
    try:
        with process_group(settings.device):
            pretrain(settings)
    except InputError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
