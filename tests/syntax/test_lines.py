"""Methods and statements taken apart and rewritten by their lines: as libcst does, or not at all."""

import ast
import inspect
import subprocess
import sys

import libcst as cst
import pytest
import timm.models as models
from hypothesis import given
from hypothesis import strategies as st

from codegen.syntax import concrete, lines
from codegen.syntax.lines import own_lines

PIECES = [
    "# a comment",
    "",
    "a = 1  # why",
    "a = (",
    "    2,",
    ")",
    "if a:",
    "    b = 3",
    "    # inside",
    "        # deeper",
    "else:",
    "    pass",
    "@decorated",
    "def f(): return a",
    "for a in b: c; d",
    "a; b",
    "a = 1;",
    "a = 1 + \\",
    "    2",
    '"""text',
    '    more"""',
    "'''docstring'''",
    "x = 'é', ü  # ö",
    "return a",
]


def texts_of(source: str) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The statements of a method as libcst and as its lines give them, without the docstring."""
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    own = own_lines(source.splitlines(), function)
    module = cst.parse_module(source)
    block = cst.ensure_type(module.body[0], cst.FunctionDef).body
    has_docstring = ast.get_docstring(function) is not None
    if own is None:
        return (), None
    assert len(block.body) == len(own.texts)
    theirs = tuple(module.code_for_node(line).rstrip("\n") for line in block.body)
    theirs = (theirs[0].lstrip("\n"), *theirs[1:])
    return theirs[has_docstring:], own.texts[has_docstring:]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9), st.sampled_from(["    ", "  ", "\t"]))
def test_what_lines_say_is_what_libcst_says(pieces, indentation):
    source = "def f(a, b):  # head\n" + "".join(f"{indentation}{piece}".rstrip() + "\n" for piece in pieces)
    try:
        ast.parse(source)
    except SyntaxError:
        return
    theirs, ours = texts_of(source)
    assert ours in (None, theirs)


@pytest.mark.parametrize(
    "body",
    [
        "a = 1; b = 2",
        "a = 1;",
        "a = 1 + \\\n    2",
        'x = """\n    text"""',
        "while a:\n        b\n        # of the block\n    c",
        "if a:\n        b\n      # of no block\n    c",
        "if a:\n    # of the block, but not under it\n        b",
        "for a in b:\n        c\n    # nor this\n        d",
    ],
)
def test_lines_that_do_not_tell_are_left_to_libcst(body):
    assert texts_of(f"def f():\n    {body}\n")[1] is None


@pytest.mark.parametrize(
    "after", ["        # in", "\n        # in", "        # in\n# margin\n        # in\n    # out\n"]
)
@pytest.mark.parametrize(
    "arms", ["", "    else:\n        d\n", "    elif b:\n        d\n", "    else:\n        if c: d\n"]
)
def test_comments_at_the_end_of_a_block_belong_to_it(arms, after):
    theirs, ours = texts_of(f"def f():\n    if a:\n        b\n{arms}{after}\n    c\n")
    assert ours == theirs


def statements_of(source: str, kind: type[ast.stmt]):
    """The statement that a source is, as a tree; ``None`` if it is none."""
    try:
        (tree,) = ast.parse(source).body
    except (SyntaxError, ValueError):
        return None
    return tree if isinstance(tree, kind) else None


INDENTATIONS = st.sampled_from(["    ", "  ", "\t"])
BLOCKS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6)
HEADS = st.sampled_from(["a", "(a)", "a and b  ", "f(\n  a)", "a :  # why"])


def indented(pieces: list[str], indentation: str) -> str:
    return "\n".join(f"{indentation}{piece}".rstrip() for piece in pieces)


@given(
    HEADS,
    BLOCKS,
    st.sampled_from(["", "else:", "else :  # why", "elif b:", "# else\nelse:", "\nelse:"]),
    BLOCKS,
    INDENTATIONS,
)
def test_arms_are_those_of_libcst(head, body, other, orelse, indentation):
    source = f"if {head}".removesuffix(":") + ("" if ":" in head else ":") + "\n" + indented(body, indentation)
    source += f"\n{other}\n{indented(orelse, indentation)}" if other else ""
    tree = statements_of(source, ast.If)
    if tree is not None and (found := lines.arms(source, tree)) is not None:
        assert found == concrete.arms(source)


@given(
    st.sampled_from(["b", "zip(\n        b,\n    c)", "b  # why"]),
    BLOCKS,
    INDENTATIONS,
    st.lists(st.booleans(), max_size=4),
)
def test_loops_are_those_of_libcst(over, body, indentation, guarded):
    over, _, comment = over.partition("  ")
    source = f"# above\nfor a in {over}:  {comment}".rstrip() + f"\n{indented(body, indentation)}"
    tree = statements_of(source, ast.For)
    if tree is None:
        return
    found = lines.loop_body(source, tree)
    assert found in (None, concrete.loop_body(source))
    guarded = guarded[: len(tree.body)]
    changed = lines.guard_loop_head(source, tree, guarded, "i > 0") if any(guarded) else None
    assert changed is None or changed.strip("\n") == concrete.guard_loop_head(source, guarded, "i > 0").strip("\n")


@pytest.mark.parametrize(
    ("parameters", "returns"),
    [
        ("self", ""),
        ("self, x: Tensor, mask : Optional[Tensor]=None, *, n=f(1, 'a b'), **more", " -> Tensor"),
        ("\n        self,\n        x, /, y = (1,),\n        *args: int,\n    ", " -> Tuple[int, str]"),
        ("self, *, n", ""),
        ("self, x=(1)", ""),
        ("self, x=f(\n    1)", ""),
        ("self,  # why\n    x", ""),
        ("self, x", " -> (int)"),
    ],
)
def test_signatures_are_those_of_libcst(parameters, returns):
    source = f"def f({parameters}){returns}:\n    pass"
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef)
    found = lines.signature(source.split("\n")[:-1], node)
    theirs = concrete.read_function("\n".join(f"    {line}" for line in source.split("\n")))
    plain = "(1)" not in parameters and "#" not in parameters and "f(\n" not in parameters and "(int)" not in returns
    assert found == ((theirs.parameters, theirs.returns) if plain else None)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("x = a(a.a, a=a, é='ü', ö=a)[a]  # a", True),
        ("# a\nif a:\n    b = [a for c in a\n        if a]", True),
        ("x = getattr(self, f'cls_token{a + 1}')", True),
        ("x = f'{a=}'", False),
        ("x = lambda a: a", False),
        ("a = 1", False),
        ("del a", False),
        ("def f(): return a", False),
        ("import a", False),
        ("x = {**a, 'a': 'a'}, *a, f(a), (a + a) * g(f(a))", True),
        ("x = f(\n    a,\n    b,\n)", True),
        ("x = f(\n    b, a\n)", True),
        ("x = f(\n    a\n)", False),
        ("x = {**a, 'a': 'a'}, *a, (a)", False),
        ("x = f((a))", False),
        ("x = f(  # why\n    (a))", False),
        ("x = (yield a), [a := b]", False),
    ],
)
def test_names_are_substituted_as_by_libcst(text, plain):
    found = lines.substitute(text, {"a": "self.b[0]"})
    assert (found is not None) is plain
    assert not plain or found == concrete.substitute(text, {"a": "self.b[0]"}).removesuffix("\n")


def test_releases_of_timm_are_split_without_libcst(tmp_path):
    code = "import sys; from codegen.__main__ import main; sys.argv = ['', 'list', '--json']\n"
    code += "try: main()\nfinally: print('libcst' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "False"


def test_a_method_on_the_line_of_its_name_is_left_to_libcst():
    assert texts_of("def f(a,\n      b): return a\n")[1] is None


@pytest.mark.parametrize("name", ["vision_transformer", "swin_transformer", "maxxvit", "resnet", "naflexvit", "volo"])
def test_most_methods_of_timm_have_statements_on_lines_of_their_own(name):
    source = inspect.getsource(getattr(models, name))
    lines = source.splitlines()
    found = []
    for cls in ast.parse(source).body:
        for function in cls.body if isinstance(cls, ast.ClassDef) else ():
            if isinstance(function, ast.FunctionDef):
                own = own_lines(lines[function.lineno - 1 : function.end_lineno], function)
                found.append(own is not None)
    assert sum(found) > 0.8 * len(found)
