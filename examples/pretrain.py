"""Pre-train a timm backbone with MAE or SimMIM, on one process or on many.

    python examples/pretrain.py vit_small_patch16_224 --data IMAGES --output runs/vit
    torchrun --nproc-per-node 8 examples/pretrain.py swin_tiny_patch4_window7_224 --method simmim --data IMAGES ...

``heads.py`` has the model and its loss, ``data.py`` the images, ``checkpoint.py`` what saves and resumes a run.
"""

from __future__ import annotations

import ast
import csv
import difflib
import math
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import checkpoint
import click
import numpy as np
import safetensors.torch
import timm.data
import torch
import torch.distributed as dist
from data import FolderImages, InputError, MadeImages, Views, collate, seed_of, training_transform
from heads import Pretraining
from rich.progress import Progress
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from torchvision.utils import save_image

import generated
from generated.masking import WholeGridError, random_mask


@dataclass(frozen=True)
class Settings:
    """The options of the command; ``--help`` explains them."""

    model: str
    data: Path | None
    output: Path
    method: str
    replace: bool
    model_kwarg: tuple[tuple[str, Any], ...]
    image_size: int | None
    mask_ratio: float | None
    mask_unit: int | None
    norm_pix: bool | None
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int
    made_images: int
    epochs: int
    stop_after: int | None
    warmup_epochs: int
    batch_size: int
    lr: float
    min_lr: float
    weight_decay: float
    clip_grad: float | None
    seed: int
    resume: Path | None
    device: str
    parallel: str
    bf16: bool
    compile: bool
    workers: int
    log_every: int

    def affecting_the_result(self) -> dict[str, Any]:
        """The options that the result depends on."""
        elsewhere = ("data", "output", "stop_after", "resume", "device", "parallel", "compile", "workers", "log_every")
        return {name: value for name, value in asdict(self).items() if name not in elsewhere}


class Run:
    """A run of pre-training: everything it is made of, at the beginning of an epoch."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rank, self.processes = dist.get_rank(), dist.get_world_size()
        if settings.batch_size % self.processes:
            raise InputError(f"--batch-size {settings.batch_size} does not divide by {self.processes} processes.")
        if settings.warmup_epochs >= settings.epochs:
            raise InputError(f"--warmup-epochs {settings.warmup_epochs} leaves nothing of --epochs {settings.epochs}.")
        self.device = torch.device(settings.device)
        self.ratio = settings.mask_ratio or (0.75 if settings.method == "mae" else 0.6)

        seed_everything(settings.seed)  # the same weights in each process
        backbone, size = create_backbone(settings)
        config = timm.data.resolve_model_data_config(backbone)
        self.mean, self.std = (torch.tensor(config[name]).view(-1, 1, 1) for name in ("mean", "std"))
        images = FolderImages(settings.data) if settings.data else MadeImages(settings.made_images, size)
        self.views = Views(images, training_transform(size, config["mean"], config["std"]), settings.seed)
        self.loader = self.create_loader()

        self.model = self.create_model(backbone, torch.zeros(2, len(config["mean"]), size, size))
        self.parallel = self.parallelize()
        self.optimizer = create_optimizer_v2(
            self.model, "adamw", lr=settings.lr, weight_decay=settings.weight_decay, betas=(0.9, 0.95)
        )
        self.scheduler, _ = create_scheduler_v2(
            self.optimizer,
            "cosine",
            num_epochs=settings.epochs - settings.warmup_epochs,
            warmup_epochs=settings.warmup_epochs,
            warmup_prefix=True,
            warmup_lr=settings.lr / 100,
            min_lr=settings.min_lr,
            step_on_epochs=False,
            updates_per_epoch=len(self.loader),
        )
        self.epoch = 0
        seed_everything(settings.seed + self.rank)  # dropout, if the model has any, differs between processes
        if settings.resume:
            self.resume(settings.resume)

    def create_loader(self) -> DataLoader[Tensor]:
        """Each process gets every n-th image of each global batch."""
        settings = self.settings
        if len(self.views) < settings.batch_size:
            raise InputError(f"{len(self.views)} images are fewer than --batch-size {settings.batch_size}.")
        sampler: DistributedSampler[Tensor] = DistributedSampler(self.views, seed=settings.seed, drop_last=True)
        return DataLoader(
            self.views,
            batch_size=settings.batch_size // self.processes,
            sampler=sampler,
            num_workers=settings.workers,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            drop_last=True,
        )

    def create_model(self, backbone: generated.SplitModel, images: Tensor) -> Pretraining:
        """The model to train; trying it shows what its features look like, and whether it takes the images at all."""
        settings = self.settings
        norm_pix = settings.method == "mae" if settings.norm_pix is None else settings.norm_pix
        decoder = {"dim": settings.decoder_dim, "depth": settings.decoder_depth, "num_heads": settings.decoder_heads}
        try:
            strategy: Literal["drop", "replace"] = (
                "drop" if settings.method == "mae" and not settings.replace else "replace"
            )
            model = Pretraining(
                backbone, images, method=settings.method, strategy=strategy, norm_pix=norm_pix, decoder=decoder
            )
            self.tokens, self.unit = model.tokens, settings.mask_unit or max(model.grid.unit, model.masked.unit)
            mask = self.global_mask(seed=0)[: len(images)]
            model.freeze_unused(images, mask)
        except Exception as error:  # models refuse images in many ways, assertions among them
            size = "x".join(map(str, images.shape[-2:]))
            hint = ". Choose --method simmim, or --replace" if isinstance(error, WholeGridError) else ""
            raise InputError(
                f"{settings.model} cannot be trained so on {size} images: {first_line(error)}{hint}."
            ) from error
        if not 0 < mask.sum() < mask.numel():
            units = mask.shape[1] // self.unit**2
            raise InputError(
                f"A mask ratio of {self.ratio} leaves nothing masked, or nothing visible, of {units} units."
            )
        return model.to(self.device)

    def parallelize(self) -> Callable[..., tuple[Tensor, Tensor]]:
        """Compile the model and spread it over the processes, as asked for."""
        if self.settings.compile:
            self.model.compile()
        if self.settings.parallel == "fsdp":
            for name, module in self.model.named_modules():
                if name.rpartition(".")[0].endswith("blocks"):
                    fully_shard(module)
            fully_shard(self.model)
            return self.model
        return DistributedDataParallel(self.model) if self.processes > 1 else self.model

    def global_mask(self, seed: int) -> Tensor:
        """The mask of a global batch, the same in each process, (B, N)."""
        generator = torch.Generator().manual_seed(seed)
        return random_mask(self.settings.batch_size, self.tokens, self.ratio, unit=self.unit, generator=generator)

    def train_epoch(self) -> Iterator[tuple[int, Tensor]]:
        """Train for an epoch; give the number and the loss of each step, averaged over the whole global batch."""
        self.views.epoch = self.epoch
        self.loader.sampler.set_epoch(self.epoch)  # type: ignore[attr-defined]
        self.model.train()
        for step, images in enumerate(self.loader, start=self.epoch * len(self.loader)):
            if isinstance(images, InputError):
                raise images
            whole_mask = self.global_mask(seed_of(self.settings.seed, step))
            images = images.to(self.device, non_blocking=True)
            error, _ = self.forward(images, whole_mask[self.rank :: self.processes])
            loss = error / self.model.grid.pool(whole_mask).sum()
            self.optimizer.zero_grad()
            (loss * self.processes).backward()  # gradients are averaged over the processes, and the loss is a sum
            if self.settings.clip_grad:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_grad)
            self.optimizer.step()
            self.scheduler.step_update(step + 1)
            yield step + 1, loss.detach()
        self.epoch += 1

    def forward(self, images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What ``Pretraining.forward`` gives for a mask on the CPU, of the model as it is spread over the processes."""
        count = int(mask[0].sum())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.bf16):
            return self.parallel(images, mask.to(self.device, non_blocking=True), count)

    @torch.no_grad()
    def draw(self, path: Path, number: int = 8) -> None:
        """Write a picture of the first images: as they are, under a mask, and rebuilt."""
        self.model.eval()
        self.views.epoch = 0
        number = min(number, self.settings.batch_size)
        images = torch.stack([self.views[index] for index in range(number)]).to(self.device)
        mask = self.global_mask(seed=0)[:number]
        predictions = self.forward(images, mask)[1]
        shown, rebuilt = self.model.reconstruct(predictions, images, mask.to(self.device))
        rows = torch.stack([images, shown, rebuilt], dim=1).flatten(0, 1).cpu() * self.std + self.mean
        if self.rank == 0:
            with checkpoint.replacing(path) as file:
                save_image(rows.clamp(0, 1), file, format="png", nrow=6)

    def save(self, folder: Path) -> None:
        """Write the checkpoint, and the backbone's weights as timm reads them."""
        state = checkpoint.save(
            folder / "checkpoint.pt",
            self.model,
            self.optimizer,
            scheduler=self.scheduler.state_dict(),
            epoch=self.epoch,
            settings=self.identity(),
        )
        prefix = "masked.backbone."
        weights = {k.removeprefix(prefix): v.clone() for k, v in state["model"].items() if k.startswith(prefix)}
        if self.rank == 0:
            with checkpoint.replacing(folder / "backbone.safetensors") as file:
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
        checkpoint.restore(state, self.model, self.optimizer)
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch = state["epoch"]


def create_backbone(settings: Settings) -> tuple[generated.SplitModel, int]:
    """The split model, and the side of the images that it is to be trained with."""
    kwargs = dict(settings.model_kwarg)
    if settings.image_size:
        kwargs["img_size"] = settings.image_size
    try:
        try:
            backbone = generated.create_model(settings.model, **kwargs)
        except TypeError:
            if not settings.image_size:
                raise
            del kwargs["img_size"]  # it takes images of any size; or it fails once more, for another reason
            backbone = generated.create_model(settings.model, **kwargs)
    except Exception as error:  # an unknown name, one that cannot be split, or arguments that do not go together
        close = difflib.get_close_matches(settings.model, generated.list_models())
        hint = f". Close names: {', '.join(close)}" if close and settings.model not in close else ""
        raise InputError(f"{settings.model} cannot be created: {first_line(error)}{hint}.") from error
    return backbone, settings.image_size or timm.data.resolve_model_data_config(backbone)["input_size"][-1]


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def first_line(error: Exception) -> str:
    """What an error says first, without a full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


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
    last = min(settings.epochs, settings.stop_after or settings.epochs)
    terminal = sys.stdout.isatty()
    with Progress(disable=run.rank > 0 or not terminal) as progress:
        bar = progress.add_task("", total=last * len(run.loader))
        while run.epoch < last:
            losses: list[Tensor] = []
            for step, loss in run.train_epoch():
                progress.update(bar, completed=step)
                losses.append(loss)
                if len(losses) < settings.log_every and step % len(run.loader):
                    continue
                mean = global_mean(losses)
                losses.clear()
                if not math.isfinite(mean):
                    raise InputError(f"The loss is {mean} at step {step}. Choose a lower --lr, or --clip-grad.")
                line = f"epoch {run.epoch + 1}/{settings.epochs}  step {step}  loss {mean:.4f}"
                progress.update(bar, description=line)
                if run.rank == 0:
                    log(settings.output / "log.csv", step, mean, run.optimizer.param_groups[0]["lr"])
                    if not terminal:
                        click.echo(line)
            run.draw(settings.output / f"epoch-{run.epoch:04}.png")
            run.save(settings.output)


def global_mean(losses: list[Tensor]) -> float:
    """The mean of some steps' losses, of which each process has its part."""
    mean = torch.stack(losses).mean()
    dist.all_reduce(mean)
    return mean.item()


def write_settings(settings: Settings) -> None:
    """Note the settings in the output folder, which shows that it can be written before there is anything to lose."""
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
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


def parse_kwargs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Any:
    """Read NAME=VALUE, where the value is a Python literal or else a string."""
    parsed = []
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
        try:
            parsed.append((name, ast.literal_eval(value)))
        except (ValueError, SyntaxError):
            parsed.append((name, value))
    return tuple(parsed)


POSITIVE = click.IntRange(min=1)
RATIO = click.FloatRange(0, 1, min_open=True, max_open=True)
WORKERS = min(4, os.cpu_count() or 1)
IMAGES = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
DEVICES = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]


@click.command(context_settings={"show_default": True, "max_content_width": 120})
@click.argument("model")
@click.option("--data", type=IMAGES, help="Folder of images, in any folders.  [default: images made on the fly]")
@click.option("--output", type=FOLDER, default="runs/pretrain", help="Where log, pictures, checkpoint and weights go.")
@click.option("--method", type=click.Choice(["mae", "simmim"]), default="mae", help="Drop tokens, or replace them.")
@click.option("--replace", is_flag=True, help="Replace tokens under mae too, for stages that need the whole grid.")
@click.option(
    "-k", "--model-kwarg", multiple=True, callback=parse_kwargs, metavar="NAME=VALUE", help="Goes to the model."
)
@click.option("--image-size", type=POSITIVE, help="Side of the images.  [default: the model's own]")
@click.option("--mask-ratio", type=RATIO, help="Part that is masked.  [default: 0.75 for mae, 0.6 for simmim]")
@click.option(
    "--mask-unit", type=POSITIVE, help="Side of what is masked as one, in tokens.  [default: a feature's, or a unit's]"
)
@click.option(
    "--norm-pix/--no-norm-pix", default=None, help="Normalise target pixels in each patch.  [default: for mae]"
)
@click.option("--decoder-dim", type=click.IntRange(min=4), default=512, help="Width of MAE's decoder.")
@click.option("--decoder-depth", type=POSITIVE, default=8, help="Blocks of MAE's decoder.")
@click.option("--decoder-heads", type=POSITIVE, default=16, help="Attention heads of MAE's decoder.")
@click.option("--made-images", type=POSITIVE, default=2048, help="How many images to make, without --data.")
@click.option("--epochs", type=POSITIVE, default=100, help="Length of the schedule.")
@click.option("--stop-after", type=POSITIVE, help="Stop after this epoch, and leave the others to --resume.")
@click.option("--warmup-epochs", type=click.IntRange(min=0), default=5, help="Part of --epochs.")
@click.option("--batch-size", type=POSITIVE, default=256, help="Of all processes together.")
@click.option("--lr", type=float, default=1.5e-4, help="Peak of the schedule. MAE: 1.5e-4 for each 256 of the batch.")
@click.option("--min-lr", type=float, default=0.0, help="End of the schedule.")
@click.option("--weight-decay", type=float, default=0.05, help="Not on biases, norms and what timm exempts.")
@click.option("--clip-grad", type=float, help="Largest norm of the gradient.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of weights, views and masks.")
@click.option("--resume", type=click.Path(path_type=Path, dir_okay=False), help="Checkpoint to go on from.")
@click.option("--device", type=click.Choice(DEVICES), default=DEVICES[0], help="Where to compute.")
@click.option("--parallel", type=click.Choice(["ddp", "fsdp"]), default="ddp", help="What torchrun's processes share.")
@click.option("--bf16", is_flag=True, help="Compute in bfloat16 where autocast says so.")
@click.option("--compile", is_flag=True, help="Compile the model.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=WORKERS, help="Processes that load images, for each process."
)
@click.option("--log-every", type=POSITIVE, default=20, help="Steps that a line of the log is the mean of.")
def main(**options: Any) -> None:
    """Pre-train MODEL, any name that timm-split can split, by masked image modelling.

    \b
    Try it on images made on the fly:
      python examples/pretrain.py test_vit --epochs 10 --warmup-epochs 1
    A folder of images, eight GPUs:
      torchrun --nproc-per-node 8 examples/pretrain.py vit_base_patch16_224 --data IMAGES --batch-size 2048 --lr 1.2e-3
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
