"""The values that the steps of the pipeline hand to each other. All are frozen, none holds a syntax tree.

Vocabulary: the *embedding* of a model is what enters its transformer stages; the *boundary* is the statement of
``forward_features`` after which it is complete; a name *crosses* when the statements after the boundary read what
those before it made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

METHOD = "forward_features"
"""The method that is split unless another is named."""


@dataclass(frozen=True)
class Release:
    """The source of one timm release, or of user models, as text.

    Attributes:
        version: Version of timm that the source declares, such as ``1.0.31``; of user models, that of the timm
            that they import, and empty if they import none.
        origin: Where it was read, for people: a directory or an archive.
        files: Text of each Python file by its path from the import root, ``timm/models/eva.py``, in sorted order.
        user_files: Those of the files whose classes are user models, to be split; empty for a release of timm.
        trusted: Decorators, as they are written (``MODELS.register_module``), of which the user says that they return
            the class as it is.
        method: The method that is split: ``forward_features``, unless the user names another for user models.
    """

    version: str
    origin: str
    files: Mapping[str, str]
    user_files: tuple[str, ...] = ()
    trusted: frozenset[str] = frozenset()
    method: str = METHOD


@dataclass(frozen=True)
class Place:
    """A line of a source file, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Field:
    """One name that crosses the boundary, and its type as generated code spells it: ``Any`` where it is not known."""

    name: str
    annotation: str

    @property
    def is_typed(self) -> bool:
        """Whether its type is known."""
        return self.annotation != "Any"


@dataclass(frozen=True)
class Boundary:
    """Where the embedding of a class ends.

    Attributes:
        place: The last line of the embedding in timm's source.
        statement: That statement's first line, as timm writes it.
        reasons: Which rules put it there, in the order in which they applied.
        stem: Attributes of ``self`` that the embedding runs first, ``("patch_embed",)``.
        blocks: Attributes of ``self`` that enter the stages, ``("blocks",)``.
        lines: First and last line of each statement of the embedding.
        ends: The last lines of the embedding: one, or where both arms of an ``if`` are cut, one in each.
    """

    place: Place
    statement: str
    reasons: tuple[str, ...]
    stem: tuple[str, ...]
    blocks: tuple[str, ...]
    lines: tuple[tuple[int, int], ...] = ()
    ends: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """A parameter of ``forward_features``, as timm declares it.

    Attributes:
        name: Its name.
        declaration: Name, annotation and default, ``attn_mask: Optional[torch.Tensor] = None``.
        kind: ``positional``, ``keyword``, ``positional-only``, ``*`` or ``**``.
        texts: What docstrings say of it, entries (``x: Input tensor.``) and paragraphs. It decides nothing.
    """

    name: str
    declaration: str
    kind: str = "positional"
    texts: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Method:
    """Statements of a generated method, each a dedented piece of source with its comments."""

    parameters: tuple[Parameter, ...]
    body: tuple[str, ...]


@dataclass(frozen=True)
class Imported:
    """A module-level name: ``from module import attribute as name``, or without an attribute ``import module``."""

    name: str
    module: str
    attribute: str = ""


@dataclass(frozen=True)
class Passage:
    """How the stages get a name that the statements before the boundary bind.

    Attributes:
        name: The name.
        way: ``crosses`` as a field of the embedding, ``recomputed`` by a statement of ``Split.recomputed``, or
            ``moved`` to the stages with its statement.
        lines: The lines before the boundary whose statements bind it; none where only the caller does.
        reason: Why this way.
    """

    name: str
    way: Literal["crosses", "recomputed", "moved"]
    lines: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Delegate:
    """The inner model to which a class delegates: the attribute that holds it, and its class."""

    attribute: str
    path: str


@dataclass(frozen=True)
class Patches:
    """An embedding that was cut in two, where its patches are complete and have neither position nor prefix tokens.

    Attributes:
        place: The last line that makes the patches, in timm's source.
        statement: That statement's first line, as timm writes it.
        reasons: Which rules put the boundary there.
        embed_patches: Statements up to it, and the parameters that they read, the images first.
        embed_positions: Statements after it, and the parameters that they read.
        tokens: The variable that holds the patches; it is also the first field.
        layout: Of the patches, as in :class:`Split`.
        fields: What crosses. One field: ``embed_patches`` returns it bare. More: a ``NamedTuple`` of them.
        record: Name of that ``NamedTuple``, empty where ``embed_patches`` returns the patches alone.
        recomputed: Statements that ``embed_positions`` starts with, for names that are recomputed and do not cross.
    """

    place: Place
    statement: str
    reasons: tuple[str, ...]
    embed_patches: Method
    embed_positions: Method
    tokens: str
    layout: str
    fields: tuple[Field, ...]
    record: str
    recomputed: tuple[str, ...]


@dataclass(frozen=True)
class Absence:
    """Why an embedding is not cut in two."""

    reason: str


@dataclass(frozen=True)
class Intermediates:
    """``forward_intermediates`` from the embedding on: the method ``forward_stages_intermediates``.

    Attributes:
        place: The last line of ``forward_intermediates`` that makes the embedding, in timm's source.
        statement: That statement's first line, as timm writes it.
        lines: First and last line of each statement that makes the embedding.
        digest: SHA-256 of the source of ``forward_intermediates``.
        stages: Statements after it, and the parameters but for the embedding and the image size.
        taken: The fields of the embedding that it needs, each with the name that it has here; the tokens first.
        image_size: Whether it takes the height and width of the images.
        prologue: Statements that it starts with: for the image size, and for names that are recomputed.
        returns: timm's return annotation, empty if it has none.
        docstring: That of ``forward_intermediates``, without its indentation; empty if it has none.
        imports: Names that the statements and annotations read from the module.
        inside_stem: The lines of ``forward_intermediates`` that take features from before the embedding: asking for
            one of them is an error.
        whole: What the embedding as a whole is called, where it is passed on to an inner model; empty where its fields
            are taken.
    """

    place: Place
    statement: str
    lines: tuple[tuple[int, int], ...]
    digest: str
    stages: Method
    taken: tuple[tuple[str, str], ...]
    image_size: bool
    prologue: tuple[str, ...]
    returns: str
    docstring: str
    imports: tuple[Imported, ...]
    inside_stem: tuple[int, ...] = ()
    whole: str = ""


@dataclass(frozen=True)
class UnitMask:
    """A parameter of ``embed`` by which a model drops patches itself, before its blocks.

    Attributes:
        parameter: Its name: it takes a boolean mask, (B, units). It is a field of the embedding, too.
        keeps: Whether it is true where a unit is kept; else it is true where one is dropped.
        grid: The attribute of the model that holds the height and width of the grid of units, as a path from ``self``;
            ``None`` where each patch is a unit.
    """

    parameter: str
    keeps: bool
    grid: str | None


@dataclass(frozen=True)
class Masking:
    """What masking needs to know of a split.

    Attributes:
        unit_mask: The parameter by which the model drops patches itself, if it does.
        attention_masks: Fields of the embedding that are masks of attention, and entries of fields that are
            dictionaries: their last dimension counts keys.
        features: The key of the tokens where the stages may return a dictionary.
    """

    unit_mask: UnitMask | None
    attention_masks: tuple[str, ...]
    features: str | None


@dataclass(frozen=True)
class Split:
    """A class whose ``forward_features`` was cut in two.

    Attributes:
        boundary: Where and why.
        embed: Statements up to the boundary, without the final ``return``.
        forward_stages: Statements after it.
        forward_features: timm's own parameters and return annotation.
        returns: timm's return annotation, empty if it has none.
        tokens: The variable that one masks; it is also the first field.
        layout: Of the tokens, ``NLC``, ``NHWC`` or ``NCHW``; empty where it cannot be read.
        fields: What crosses. One field: ``embed`` returns it bare. More: a ``NamedTuple`` of them.
        embedding: Name of that ``NamedTuple``, empty where ``embed`` returns the tokens alone.
        recomputed: Statements that ``forward_stages`` starts with, for names that are recomputed and do not cross.
        early: Questions about the model by which ``embed`` returns before the boundary. The stages ask them first, and
            then return what they are given.
        imports: Names that the bodies and annotations read from the module.
        postponed: Whether the module postpones the evaluation of annotations.
        delegate: The inner model whose statements these are, if any.
        passages: For each name that the stages take from before the boundary, how and why.
        position: Whether the embedding gives the tokens a position, absolute or rotary.
        patches: The embedding in two, or why it is in one piece.
        image_batch: Whether the first parameter is known to be an image batch, (B, C, H, W), and nothing else.
        docstring: That of ``forward_features``, without its indentation; empty if it has none.
        masking: What masking needs to know.
        guards: Statements with which the method answers lists of images, by calls of itself.
        context: What all halves enter, as the method does: ``torch.no_grad()``; empty if there is none.
        parents: Full names of the classes whose method is written out in place of ``super().forward_features(...)``.
        intermediates: Its intermediate features, or why there are none from an embedding; ``None`` where the class has
            no ``forward_intermediates``.
    """

    boundary: Boundary
    embed: Method
    forward_stages: Method
    forward_features: tuple[Parameter, ...]
    returns: str
    tokens: str
    layout: str
    fields: tuple[Field, ...]
    embedding: str
    recomputed: tuple[str, ...]
    imports: tuple[Imported, ...]
    early: tuple[str, ...] = ()
    postponed: bool = False
    delegate: Delegate | None = None
    passages: tuple[Passage, ...] = ()
    position: bool = False
    patches: Patches | Absence = Absence("")
    image_batch: bool = False
    docstring: str = ""
    masking: Masking = Masking(None, (), None)
    guards: tuple[str, ...] = ()
    context: str = ""
    parents: tuple[str, ...] = ()
    intermediates: Intermediates | Refusal | None = None


@dataclass(frozen=True)
class Inherited:
    """A class that takes ``forward_features`` from a class that is split, and so takes its split."""

    parent: str


@dataclass(frozen=True)
class Refusal:
    """A class that is not split, the line that stands in the way, and why."""

    place: Place
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What became of one model class.

    Attributes:
        module: Import path of the class's module, ``timm.models.eva``.
        name: The class.
        place: The line of its ``forward_features``, or of the class where that is inherited.
        digest: SHA-256 of the source that decides the split: if it changes, the split has to be reviewed.
        result: The split, its inheritance, or the refusal.
        split_name: What the split class is called, a name that the module does not have: ``EvaSplit``.
        models: Names under which timm registers it.
    """

    module: str
    name: str
    place: Place
    digest: str
    result: Split | Inherited | Refusal
    split_name: str
    models: tuple[str, ...] = field(default=())

    @property
    def path(self) -> str:
        """Full name of the class, ``timm.models.eva.Eva``."""
        return f"{self.module}.{self.name}"
