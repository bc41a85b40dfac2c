"""The documents and the project's files say what is so."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
README_LINES = 150
# A path in backquotes: it has a slash at the end, or an ending that files of this project have.
PATH = re.compile(r"`([\w@.*{},/-]+?(?:/|\.(?:css|html|js|json|lock|md|py|toml|txt|ts|typed)))`")


def missing_paths(text: str, root: Path) -> list[str]:
    """Paths that the text names and that are neither in the project nor, for short, in the package."""
    named = sorted({match.rstrip("/") for match in PATH.findall(text)})
    places = (root, root / "src" / "clarion", root / "src")
    return [path for path in named if not any(_exists(place, path) for place in places)]


def _exists(place: Path, path: str) -> bool:
    if "{" in path:  # journals/{memory,sqlite}.py
        head, _, rest = path.partition("{")
        inner, _, tail = rest.partition("}")
        return all(_exists(place, f"{head}{name}{tail}") for name in inner.split(","))
    return any(place.glob(path)) if "*" in path else (place / path).exists()


def test_the_architecture_names_only_what_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(PATH.findall(text)) > 10, "an architecture page names its files in backquotes"
    assert missing_paths(text, ROOT) == []


def test_a_path_that_does_not_exist_is_found(tmp_path: Path) -> None:
    for name in ("src/clarion/hub.py", "src/clarion/journals/base.py", "docs/guide.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    text = "`hub.py` `clarion/hub.py` `journals/` `journals/{base,redis}.py` `journals/*.py` `gone.py` `x.y`"
    assert missing_paths(text, tmp_path) == ["gone.py", "journals/{base,redis}.py"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    assert [target for target in targets if ":" not in target and not (ROOT / target).exists()] == []


def test_the_package_is_typed() -> None:
    assert (ROOT / "src" / "clarion" / "py.typed").is_file()


def project() -> dict[str, list[str]]:
    """Every direct dependency in pyproject.toml, by the table it stands in."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tables = {"dependencies": told["project"]["dependencies"], **told["project"]["optional-dependencies"]}
    for group, members in told["dependency-groups"].items():
        tables[f"group {group}"] = [member for member in members if isinstance(member, str)]
    return tables


def test_the_lock_has_every_dependency_in_a_version_that_is_asked_for() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.!+-]+)", lock, re.MULTILINE)
    }
    assert locked
    wrong = [
        f"{table}: {line}"
        for table, lines in project().items()
        for line in lines
        if (wanted := Requirement(line)).name != "clarion"
        and not wanted.specifier.contains(locked.get(canonicalize_name(wanted.name), "0"), prereleases=True)
    ]
    assert wrong == [], "run `make lock`"


def test_the_lock_names_no_place_to_fetch_from() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert re.findall(r"https?:|--\w*index|--find-links|@ ", lock) == []
    entries = re.findall(r"^[\w.-]+==.*?(?=^\w|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_package_needs_only_starlette_and_msgspec() -> None:
    names = sorted(Requirement(line).name for line in project()["dependencies"])
    assert names == ["msgspec", "starlette"]
